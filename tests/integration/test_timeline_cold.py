"""What a read of a timeline that is not cached asks for, of whom, and what it asks for at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest_asyncio
from starling.tweet.v1 import tweet_lookup_service_pb2 as pb
from starling.tweet.v1.tweet_lookup_service_pb2_grpc import (
    TweetLookupServiceServicer,
    add_TweetLookupServiceServicer_to_server,
)
from starling.tweet.v1.tweet_pb2 import Position, Tweet

from meshkit.channel import MeshChannel
from meshkit.config import MeshConfig
from meshkit.redis import Redis
from tests.integration.timeline_rig import AUTHOR, READER, Mesh, connected
from tests.integration.world import START_MS
from timeline_svc.lookups import Lookups

BUSY = 1000
AUTHORS = range(BUSY, BUSY + 40)


@pytest_asyncio.fixture(loop_scope="session")
async def redis(cache_config: MeshConfig) -> AsyncIterator[Redis]:
    async with connected(cache_config.redis_url) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def mesh(redis: Redis, cache_config: MeshConfig) -> AsyncIterator[Mesh]:
    made = Mesh(redis, f"{cache_config.redis_prefix}cold:", entries=800, celebrity_followers=100)
    yield made
    await made.flush()


class Calls:
    """Calls for activity: how many began with the newest, and how many for older were under way at once."""

    def __init__(self, mesh: Mesh) -> None:
        self.for_newest = 0
        self.for_older = 0
        self.most_at_once = 0
        self._now = 0
        self._activity = mesh.lookups.activity
        mesh.lookups.activity = self._ask  # type: ignore[method-assign]

    async def _ask(
        self, author_ids: Sequence[int], before: Position | None, limit: int, since_ms: int = 0
    ) -> list[pb.AuthorActivity]:
        if before is None:
            self.for_newest += 1
        else:
            self.for_older += 1
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        await asyncio.sleep(0)
        self._now -= 1
        return await self._activity(author_ids, before, limit, since_ms)


def unequal(mesh: Mesh) -> None:
    """The reader follows forty; four of them tweet ten times as much as the others."""
    mesh.world.follows[READER] = set(AUTHORS)
    at_ms = START_MS
    for turn in range(120):
        for author in AUTHORS:
            if author < BUSY + 4 or turn % 10 == 0:
                at_ms += 1
                mesh.world.post(author, at_ms)


async def test_those_who_did_much_are_read_on_all_at_once(mesh: Mesh) -> None:
    unequal(mesh)
    feed = [tweet_id for _, tweet_id, _ in mesh.world.feed(READER)]
    assert [tweet.tweet_id for tweet in await mesh.read(READER, 100)] == feed
    await mesh.cache.invalidate(READER)
    calls = Calls(mesh)
    lines, _ = await mesh.home.page(READER, "", 20)
    assert [line.tweet_id for line in lines] == feed[:20]
    assert calls.for_newest == 0  # of everybody enough is cached
    assert calls.for_older >= 4
    assert calls.most_at_once == 4


async def test_the_tweets_of_the_first_page_are_read_while_the_timeline_is_installed(
    mesh: Mesh,
) -> None:
    mesh.world.follows[READER] = {AUTHOR}
    posted = [mesh.world.post(AUTHOR, START_MS + n).tweet_id for n in range(30)]
    tweets, asked = mesh.lookups.tweets, asyncio.Event()
    calls = []

    async def noting(tweet_ids: Sequence[int]) -> dict[int, Tweet]:
        calls.append(list(tweet_ids))
        asked.set()
        return await tweets(tweet_ids)

    install = mesh.cache.install

    async def held(reader_id: int, **read: Any) -> bool:
        await asyncio.wait_for(asked.wait(), 10)
        return await install(reader_id, **read)

    mesh.lookups.tweets = noting  # type: ignore[method-assign]
    mesh.cache.install = held  # type: ignore[method-assign]
    lines, _ = await mesh.home.page(READER, "", 20)
    assert [line.tweet_id for line in lines] == posted[:-21:-1]
    assert calls == [posted[:-22:-1]]


class OlderTweets(TweetLookupServiceServicer):
    """A tweet_svc of before flags could be listed."""

    async def BatchGetViewerFlags(
        self, request: pb.BatchGetViewerFlagsRequest, context: Any
    ) -> pb.BatchGetViewerFlagsResponse:
        return pb.BatchGetViewerFlagsResponse(
            flags=[pb.ViewerFlags(tweet_id=each, liked_at_us=7) for each in request.tweet_ids]
        )


async def test_of_older_code_flags_are_asked_for_by_ids(mesh: Mesh) -> None:
    """As during a rolling restart, and where a list of likes cannot be read for all that was undone."""
    server = grpc.aio.server()
    add_TweetLookupServiceServicer_to_server(OlderTweets(), server)  # type: ignore[abstract]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    mesh.world.follows[READER] = {AUTHOR}
    for n in range(3):
        mesh.world.post(AUTHOR, START_MS + n)
    try:
        async with MeshChannel(f"127.0.0.1:{port}") as channel:
            older = Lookups(channel)
            mesh.lookups.newest_flags = older.newest_flags  # type: ignore[method-assign]
            mesh.lookups.flags = older.flags  # type: ignore[method-assign]
            assert [tweet.liked for tweet in await mesh.read(READER, 20)] == [True] * 3
    finally:
        await server.stop(None)
