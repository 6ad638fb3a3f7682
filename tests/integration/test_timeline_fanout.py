"""A fan-out to many followers: pushed page by page, handed to chunks, begun again by another worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio
from starling.tweet.v1.tweet_events_pb2 import RetweetChanged, TweetEvent
from starling.tweet.v1.tweet_pb2 import Activity

from meshkit.config import MeshConfig
from meshkit.events import REPLY_HEADER
from meshkit.redis import Redis, RedisUnavailable
from tests.integration.timeline_rig import STRANGER, Mesh, connected, in_time, posted
from tests.integration.world import START_MS
from timeline_svc import fanout
from timeline_svc.lookups import FollowerPage
from timeline_svc.timeline_cache import Operation

STAR = 50
FOLLOWERS = range(101, 121)


@pytest_asyncio.fixture(loop_scope="session")
async def redis(cache_config: MeshConfig) -> AsyncIterator[Redis]:
    async with connected(cache_config.redis_url) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def mesh(
    redis: Redis, cache_config: MeshConfig, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Mesh]:
    """Twenty who follow the star have cached timelines; pages and chunks are small."""
    monkeypatch.setattr(fanout, "FIRST_PAGE", 2)
    monkeypatch.setattr(fanout, "LARGEST_PAGE", 8)
    monkeypatch.setattr(fanout, "FOLLOWERS_A_CHUNK", 3)
    monkeypatch.setattr(fanout, "PUSH_CHUNK", 8)
    prefix = f"{cache_config.redis_prefix}many:"
    made = Mesh(redis, prefix, entries=1000, celebrity_followers=1000)
    made.world.follows.update((follower, {STAR}) for follower in FOLLOWERS)
    for follower in FOLLOWERS:
        assert await made.read(follower, 20) == []
    yield made
    await made.flush()


async def have(mesh: Mesh, activity: Activity) -> set[int]:
    """Those whose cached timelines hold the tweet; nobody holds it twice."""
    holders = set()
    for follower in FOLLOWERS:
        page = await mesh.cache.read(follower, None, 100)
        assert page is not None
        held = [line.tweet_id for line in page.lines].count(activity.tweet_id)
        assert held <= 1
        if held:
            holders.add(follower)
    return holders


class Pushes:
    """What is pushed to followers, in order; `at` is called before each, with its number."""

    def __init__(self, mesh: Mesh) -> None:
        self.pages: list[list[int]] = []
        self._push = mesh.cache.push
        mesh.cache.push = self._note  # type: ignore[method-assign]

    async def at(self, number: int) -> None:
        """To be replaced by a test."""

    async def _note(self, operation: Operation, reader_ids: Sequence[int]) -> int:
        if set(reader_ids) <= set(FOLLOWERS):
            self.pages.append(list(reader_ids))
            await self.at(len(self.pages))
        return await self._push(operation, reader_ids)


async def test_the_next_page_is_read_while_one_is_pushed(mesh: Mesh) -> None:
    pushes, read = Pushes(mesh), asyncio.Event()
    followers = mesh.lookups.followers

    async def reading(user_id: int, token: bytes, page_size: int) -> FollowerPage:
        page = await followers(user_id, token, page_size)
        if token:
            read.set()
        return page

    async def next_is_read(number: int) -> None:
        if number == 1:
            await asyncio.wait_for(read.wait(), 10)

    mesh.lookups.followers = reading  # type: ignore[method-assign]
    pushes.at = next_is_read  # type: ignore[method-assign]
    tweet = mesh.world.post(STAR, START_MS)
    await mesh.handle(posted(mesh, tweet), in_time())
    assert [len(page) for page in pushes.pages] == [2, 4, 8, 6]
    assert mesh.events == []
    assert await have(mesh, tweet) == set(FOLLOWERS)


async def test_those_beyond_what_one_handler_pushes_are_left_to_chunks(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "DIRECT_FOLLOWERS", 8)
    tweet = mesh.world.post(STAR, START_MS)
    await mesh.handle(posted(mesh, tweet), in_time())
    assert len(await have(mesh, tweet)) == 6
    left = [follower for chunk in mesh.events for follower in chunk.follower_ids]
    assert len(left) == len(set(left)) == 14
    assert max(len(chunk.follower_ids) for chunk in mesh.events) == 3
    for chunk in mesh.events:
        await mesh.handle(chunk)
    assert await have(mesh, tweet) == set(FOLLOWERS)


async def test_a_worker_that_dies_between_two_pages_loses_no_delivery(mesh: Mesh) -> None:
    pushes = Pushes(mesh)
    tweet = mesh.world.post(STAR, START_MS)

    async def die(number: int) -> None:
        if number == 3:
            raise asyncio.CancelledError

    pushes.at = die  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await mesh.handle(posted(mesh, tweet), in_time())
    assert 0 < len(await have(mesh, tweet)) < len(FOLLOWERS)
    await mesh.handle(posted(mesh, tweet))
    assert await have(mesh, tweet) == set(FOLLOWERS)


async def test_a_page_that_cannot_be_pushed_fails_the_event(mesh: Mesh) -> None:
    pushes = Pushes(mesh)

    async def fail(number: int) -> None:
        if number == 4:
            raise RedisUnavailable("away")

    pushes.at = fail  # type: ignore[method-assign]
    with pytest.raises(RedisUnavailable):
        await mesh.handle(posted(mesh, mesh.world.post(STAR, START_MS)), in_time())


async def test_while_others_push_to_many_all_is_left_to_chunks(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a storm of one author's posts does not take all places of the consumer."""
    monkeypatch.setattr(fanout, "DIRECT_AT_ONCE", 1)
    pushes, standing, go = Pushes(mesh), asyncio.Event(), asyncio.Event()

    async def stand_still(number: int) -> None:
        if number == 1:
            standing.set()
            await go.wait()

    pushes.at = stand_still  # type: ignore[method-assign]
    first, second = (mesh.world.post(STAR, START_MS + n) for n in range(2))
    slow = asyncio.create_task(mesh.handle(posted(mesh, first), in_time()))
    await asyncio.wait_for(standing.wait(), 10)
    await asyncio.wait_for(mesh.handle(posted(mesh, second), in_time()), 10)
    left = {follower for chunk in mesh.events for follower in chunk.follower_ids}
    assert left == set(FOLLOWERS)
    go.set()
    await slow
    assert await have(mesh, first) == set(FOLLOWERS)


async def test_an_authors_own_timeline_does_not_wait_for_the_followers_of_others(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "DIRECT_AT_ONCE", 100)
    pushes, go, heard = Pushes(mesh), asyncio.Event(), asyncio.Event()
    most = fanout.SCRIPTS_AT_ONCE
    all_stand = asyncio.Event()

    async def stand_still(number: int) -> None:
        if number == most:
            all_stand.set()
        await go.wait()

    async def hear() -> None:
        heard.set()

    pushes.at = stand_still  # type: ignore[method-assign]
    mesh.bus.on_notify = hear
    storm = [
        asyncio.create_task(
            mesh.handle(posted(mesh, mesh.world.post(STAR, START_MS + n)), in_time())
        )
        for n in range(2 * most)
    ]
    await asyncio.wait_for(all_stand.wait(), 10)
    mine = mesh.world.post(STRANGER, START_MS + 100)
    event = posted(mesh, mine)
    storm.append(asyncio.create_task(mesh.handle(event, in_time(**{REPLY_HEADER: "inbox"}))))
    await asyncio.wait_for(heard.wait(), 10)
    assert len(pushes.pages) == most
    go.set()
    await asyncio.gather(*storm)


async def test_a_retweet_undone_while_it_is_pushed_is_withdrawn_from_all(mesh: Mesh) -> None:
    tweet = mesh.world.post(STRANGER, START_MS)
    made = mesh.world.retweet(STAR, tweet.tweet_id, START_MS + 1)
    pushes = Pushes(mesh)

    async def undo(number: int) -> None:
        if number == 4:
            mesh.world.unretweet(STAR, tweet.tweet_id)

    pushes.at = undo  # type: ignore[method-assign]
    change = RetweetChanged(activity=made, retweeted=True, changed_us=START_MS * 1000)
    await mesh.handle(TweetEvent(retweet_changed=change), in_time())
    withdrawn = [follower for page in pushes.pages[4:] for follower in page]
    assert sorted(withdrawn) == list(FOLLOWERS)
    for follower in FOLLOWERS:
        assert await mesh.read(follower, 20) == []
