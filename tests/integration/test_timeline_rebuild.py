"""What happens to a home timeline while it is being rebuilt, and what a late event may not bring back.

Each test holds a rebuild just before it installs what it read, lets something happen, and lets it go on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from starling.graph.v1.graph_events_pb2 import FollowChanged, GraphEvent
from starling.tweet.v1.tweet_events_pb2 import (
    LikeChanged,
    RetweetChanged,
    TweetDeleted,
    TweetEvent,
)

from meshkit.config import MeshConfig
from meshkit.events import REPLY_HEADER
from meshkit.redis import Redis
from tests.integration.timeline_rig import (
    AUTHOR,
    READER,
    STRANGER,
    Mesh,
    connected,
    in_time,
    posted,
    shows,
    wanted,
)
from tests.integration.world import START_MS

PEOPLE_FOLLOWED = 5000


@pytest_asyncio.fixture(loop_scope="session")
async def redis(cache_config: MeshConfig) -> AsyncIterator[Redis]:
    async with connected(cache_config.redis_url) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def mesh(redis: Redis, cache_config: MeshConfig) -> AsyncIterator[Mesh]:
    """The reader follows the author, who has tweeted once."""
    made = Mesh(redis, cache_config.redis_prefix, entries=1000, celebrity_followers=100)
    made.world.follows[READER].add(AUTHOR)
    made.world.post(AUTHOR, START_MS)
    yield made
    await made.flush()


class Held:
    """A reader's first rebuild stands still, with all that it read, until it is let go."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._entries = mesh.home._newest_entries
        self._read = asyncio.Event()
        self._go = asyncio.Event()

    async def __aenter__(self) -> Held:
        async def entries(reader_id: int) -> Any:
            # Flags are read at the same time, and the world answers at once.
            found = await self._entries(reader_id)
            self._mesh.home._newest_entries = self._entries  # type: ignore[method-assign]
            self._read.set()
            await self._go.wait()
            return found

        self._mesh.home._newest_entries = entries  # type: ignore[method-assign]
        self._reading = asyncio.create_task(self._mesh.read(READER, 20))
        await asyncio.wait_for(self._read.wait(), 30)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._go.set()
        self.seen = await asyncio.wait_for(self._reading, 30)


async def test_a_push_during_a_rebuild_survives_it(mesh: Mesh) -> None:
    async with Held(mesh) as held:
        await mesh.handle(posted(mesh, mesh.world.post(AUTHOR, START_MS + 5)))
    assert [tweet.tweet_id for tweet in held.seen] == [i for i, _ in wanted(mesh)]
    assert await shows(mesh) == wanted(mesh)


async def test_an_unfollow_during_a_rebuild_is_not_overwritten(mesh: Mesh) -> None:
    async with Held(mesh) as held:
        mesh.world.follows[READER].clear()
        change = FollowChanged(follower_id=READER, followee_id=AUTHOR)
        await mesh.handle(GraphEvent(follow_changed=change))
    assert held.seen == []
    assert await shows(mesh) == []


async def test_a_follow_during_a_rebuild_is_seen(mesh: Mesh) -> None:
    mesh.world.post(STRANGER, START_MS + 1)
    async with Held(mesh):
        mesh.world.follows[READER].add(STRANGER)
        change = FollowChanged(follower_id=READER, followee_id=STRANGER, following=True)
        await mesh.handle(GraphEvent(follow_changed=change))
    assert await shows(mesh) == wanted(mesh)


async def test_a_retweet_undone_during_a_rebuild_is_gone(mesh: Mesh) -> None:
    stranger = mesh.world.post(STRANGER, START_MS + 1).tweet_id
    mesh.world.retweet(AUTHOR, stranger, START_MS + 2)
    async with Held(mesh):
        undone = mesh.world.unretweet(AUTHOR, stranger)
        change = RetweetChanged(activity=undone, retweeted=False, changed_us=START_MS * 1000 + 9000)
        await mesh.handle(TweetEvent(retweet_changed=change))
    assert await shows(mesh) == wanted(mesh)


async def test_a_like_during_a_rebuild_is_flagged(mesh: Mesh) -> None:
    (tweet_id,) = mesh.world.tweets
    async with Held(mesh):
        mesh.world.likes[tweet_id, READER] = START_MS * 1000
        change = LikeChanged(
            tweet_id=tweet_id, user_id=READER, liked=True, changed_us=START_MS * 1000
        )
        await mesh.handle(TweetEvent(like_changed=change))
    assert [tweet.liked for tweet in await mesh.read(READER, 20)] == [True]


async def test_what_a_celebrity_does_during_a_rebuild_is_merged_after_it(
    redis: Redis, cache_config: MeshConfig
) -> None:
    mesh = Mesh(redis, f"{cache_config.redis_prefix}log:", entries=1000, celebrity_followers=1)
    mesh.world.follows[READER].add(AUTHOR)
    async with Held(mesh) as held:
        await mesh.handle(posted(mesh, mesh.world.post(AUTHOR, START_MS + 5)))
    assert [tweet.tweet_id for tweet in held.seen] == [i for i, _ in wanted(mesh)]


async def test_a_hundred_readers_of_a_cold_timeline_cost_one_rebuild(mesh: Mesh) -> None:
    rebuilds = 0
    followees = mesh.lookups.followees

    async def counted(user_id: int) -> list[int]:
        nonlocal rebuilds
        rebuilds += 1
        await asyncio.sleep(0.05)
        return await followees(user_id)

    mesh.lookups.followees = counted  # type: ignore[method-assign]
    processes = [mesh.home, mesh.another_home()]
    pages = await asyncio.gather(*(processes[n % 2].page(READER, "", 20) for n in range(100)))
    assert rebuilds == 1
    assert all([line.tweet_id for line in lines] == list(mesh.world.tweets) for lines, _ in pages)


async def test_five_thousand_followees_are_read_from_the_cache(mesh: Mesh) -> None:
    world = mesh.world
    world.follows[READER] = set(range(2, 2 + PEOPLE_FOLLOWED))
    for author in range(2, 42):
        world.post(author, START_MS + author)
    assert await shows(mesh) == wanted(mesh)
    calls = world.activity_calls
    assert calls == 1, "authors are asked for together"
    world.follows[READER].discard(AUTHOR)
    change = FollowChanged(follower_id=READER, followee_id=AUTHOR)
    await mesh.handle(GraphEvent(follow_changed=change))
    assert await shows(mesh) == wanted(mesh)
    assert world.activity_calls == calls, "a rebuild after an unfollow asks the store of nobody"


async def test_the_author_hears_once_their_own_timeline_has_it(mesh: Mesh) -> None:
    assert await shows(mesh, AUTHOR) == wanted(mesh, AUTHOR)
    own: list[tuple[int, str]] = []

    async def heard() -> None:
        own.extend(await shows(mesh, AUTHOR))

    mesh.bus.on_notify = heard
    event = posted(mesh, mesh.world.post(AUTHOR, START_MS + 5))
    await mesh.handle(event, in_time(**{REPLY_HEADER: "inbox"}))
    assert own == wanted(mesh, AUTHOR)


async def test_who_likes_hears_once_their_own_timeline_has_the_flag(mesh: Mesh) -> None:
    await shows(mesh)
    tweet_id = next(iter(mesh.world.tweets))
    seen: list[bool] = []

    async def heard() -> None:
        seen.extend(tweet.liked for tweet in await mesh.read(READER, 20))

    mesh.bus.on_notify = heard
    change = LikeChanged(tweet_id=tweet_id, user_id=READER, liked=True, changed_us=START_MS * 1000)
    await mesh.handle(TweetEvent(like_changed=change), in_time(**{REPLY_HEADER: "inbox"}))
    assert seen == [True]


async def test_a_fan_out_that_comes_after_the_deletion_brings_nothing_back(mesh: Mesh) -> None:
    activity = mesh.world.post(AUTHOR, START_MS + 5)
    event = posted(mesh, activity)
    before = [tweet.tweet_id for tweet in await mesh.read(READER, 20)]
    del mesh.world.tweets[activity.tweet_id]
    gone = TweetDeleted(tweet_id=activity.tweet_id, author_id=AUTHOR)
    await mesh.handle(TweetEvent(deleted=gone), in_time())
    await mesh.handle(event, in_time())
    after = [tweet.tweet_id for tweet in await mesh.read(READER, 20)]
    assert after == before[1:]
    # Redis lost the mark, and then the event comes once more.
    await mesh.flush()
    assert [tweet.tweet_id for tweet in await mesh.read(READER, 20)] == after
    await mesh.handle(event)
    assert [tweet.tweet_id for tweet in await mesh.read(READER, 20)] == after


async def test_what_was_read_before_redis_lost_its_data_is_not_cached(mesh: Mesh) -> None:
    (tweet,) = mesh.world.tweets.values()
    lines, _ = await mesh.home.page(READER, "", 20)
    generation = await mesh.generation.current([tweet.tweet_id])
    await mesh.flush()
    await mesh.tweets.fill([tweet], 1, generation)
    await mesh.tweets.load(lines)
    assert [line.body for line in lines] == [None]
    now = await mesh.generation.current([tweet.tweet_id])
    await mesh.tweets.fill([tweet], 1, now)
    await mesh.tweets.load(lines)
    assert lines[0].body


async def test_older_counts_change_nothing(mesh: Mesh) -> None:
    (tweet_id,) = mesh.world.tweets
    await mesh.read(READER, 20)
    now_us = time.time_ns() // 1000 + 60_000_000
    await mesh.tweets.set_counts(tweet_id, 7, 3, now_us)
    await mesh.tweets.set_counts(tweet_id, 6, 3, now_us - 1)
    (shown,) = await mesh.read(READER, 20)
    assert (shown.likes_count, shown.retweets_count) == (7, 3)
    await mesh.tweets.set_counts(tweet_id, 8, 3, now_us + 1)
    assert [tweet.likes_count for tweet in await mesh.read(READER, 20)] == [8]


async def test_a_celebrity_log_made_anew_is_not_taken_for_the_old_one(
    redis: Redis, mesh_config: MeshConfig
) -> None:
    """Its sequences begin again, far below those up to which timelines are merged."""
    mesh = Mesh(redis, f"{mesh_config.redis_prefix}anew:", entries=1000, celebrity_followers=1)
    mesh.world.follows[READER].add(AUTHOR)
    mesh.log.made_anew(START_MS)
    for number in range(5):
        await mesh.handle(posted(mesh, mesh.world.post(AUTHOR, START_MS + number)))
        assert len(await mesh.read(READER, 20)) == number + 1
    mesh.log.made_anew(START_MS + 3_600_000)
    await mesh.handle(posted(mesh, mesh.world.post(AUTHOR, START_MS + 3_600_001)))
    assert [tweet.tweet_id for tweet in await mesh.read(READER, 20)] == [i for i, _ in wanted(mesh)]
    mesh.log.made_anew(START_MS + 7_200_000)  # and what the third says is heard as well
    await mesh.handle(posted(mesh, mesh.world.post(AUTHOR, START_MS + 7_200_001)))
    assert [tweet.tweet_id for tweet in await mesh.read(READER, 20)] == [i for i, _ in wanted(mesh)]
