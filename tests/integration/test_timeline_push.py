"""Pushes into one cached timeline: each way that the script may take, looked at in Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest_asyncio
from starling.tweet.v1.tweet_pb2 import Activity

from meshkit.config import MeshConfig
from meshkit.redis import Redis
from meshkit.snowflake import EPOCH_MS
from timeline_svc.lookups import Flags
from timeline_svc.timeline_cache import TimelineCache, place

READER, ANN, BEN, STRANGER = 100, 101, 102, 103
CAP = 4
T0_MS = 1_760_000_000_000


def tweet(at: int, author: int = ANN) -> Activity:
    """A tweet of the second `at`."""
    at_ms = T0_MS + 1000 * at
    return Activity(
        at_ms=at_ms,
        tweet_id=(at_ms - EPOCH_MS) << 22,
        actor_id=author,
        actor_username=f"user{author}",
        author_id=author,
    )


def retweet(of: Activity, at: int, by: int) -> Activity:
    """A retweet in the second `at`."""
    return Activity(
        at_ms=T0_MS + 1000 * at,
        tweet_id=of.tweet_id,
        actor_id=by,
        actor_username=f"user{by}",
        author_id=of.author_id,
    )


class Timeline:
    """One reader's cached timeline."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self.redis = redis
        self.cache = TimelineCache(redis, prefix, ttl_s=600, rebuild_lease_s=10, entries=CAP)
        self.key = self.cache.key(READER)

    async def install(self, entries: Sequence[Activity], *, complete: bool) -> None:
        begun = await self.cache.begin_rebuild(READER, "token")
        assert begun.state == "build"
        assert await self.cache.install(
            READER,
            token="token",
            epoch=begun.epoch,
            sync=0,
            complete=complete,
            followees=[ANN, BEN],
            entries=sorted(entries, key=lambda entry: -entry.at_ms),
            flags=Flags({}, 0),
        )

    async def push(self, activity: Activity) -> None:
        created_ms = (activity.tweet_id >> 22) + EPOCH_MS
        await self.cache.push(place(activity, created_ms), [READER])

    async def shown(self) -> list[tuple[int, str]] | None:
        """(second, by whose retweet), newest first; None when nothing is cached."""
        page = await self.cache.read(READER, None, 100)
        if page is None:
            return None
        return [((line.at_ms - T0_MS) // 1000, line.retweeted_by.decode()) for line in page.lines]

    async def marks(self) -> set[str]:
        """Fields of the state that name a tweet."""
        fields: list[bytes] = await self.redis.call("HKEYS", f"{self.key}:state")
        return {field.decode() for field in fields if field[1:].isdigit()}


@pytest_asyncio.fixture(loop_scope="session")
async def timeline(mesh_config: MeshConfig) -> AsyncIterator[Timeline]:
    redis = Redis(mesh_config.redis_url, timeout_s=5)
    await redis.connect()
    made = Timeline(redis, f"{mesh_config.redis_prefix}push:")
    await made.cache.invalidate(READER)
    yield made
    await made.cache.invalidate(READER)
    await redis.close()


async def test_a_full_timeline_keeps_the_newest(timeline: Timeline) -> None:
    await timeline.install([tweet(n) for n in (10, 20, 30, 40)], complete=False)
    await timeline.push(tweet(50))
    await timeline.push(tweet(15))  # older than all that is cached
    await timeline.push(tweet(35))
    assert await timeline.shown() == [(50, ""), (40, ""), (35, ""), (30, "")]


async def test_a_whole_feed_past_the_cap_is_whole_no_more(timeline: Timeline) -> None:
    await timeline.install([tweet(n) for n in (10, 20, 30, 40)], complete=True)
    await timeline.push(tweet(5))
    page = await timeline.cache.read(READER, None, 100)
    assert page is not None
    assert [line.at_ms for line in page.lines] == [tweet(n).at_ms for n in (40, 30, 20, 10)]
    assert not page.complete


async def test_a_late_tweet_is_not_placed_below_a_gap(timeline: Timeline) -> None:
    """Of what lies between it and the oldest entry nothing is known."""
    await timeline.install([tweet(20), tweet(30)], complete=False)
    await timeline.push(tweet(10))
    assert await timeline.shown() == [(30, ""), (20, "")]
    await timeline.push(tweet(25))
    assert await timeline.shown() == [(30, ""), (25, ""), (20, "")]


async def test_a_late_tweet_ends_a_whole_feed(timeline: Timeline) -> None:
    await timeline.install([tweet(20)], complete=True)
    await timeline.push(tweet(10))
    assert await timeline.shown() == [(20, ""), (10, "")]


async def test_the_first_tweet_expires_with_the_timeline(timeline: Timeline) -> None:
    await timeline.install([], complete=True)
    await timeline.push(tweet(10))
    assert await timeline.shown() == [(10, "")]
    keys = (timeline.key, f"{timeline.key}:state")
    ends = {await timeline.redis.call("PEXPIRETIME", key) for key in keys}
    assert len(ends) == 1
    assert ends.pop() > 0


async def test_an_evicted_sorted_set_is_not_begun_anew(timeline: Timeline) -> None:
    for complete in (True, False):
        await timeline.install([tweet(20), tweet(30)], complete=complete)
        await timeline.redis.call("DEL", timeline.key)
        await timeline.push(tweet(40))
        assert await timeline.shown() is None


async def test_evicted_followees_drop_the_timeline(timeline: Timeline) -> None:
    for author in (ANN, READER):
        await timeline.install([tweet(20)], complete=True)
        await timeline.redis.call("DEL", f"{timeline.key}:followees")
        await timeline.push(tweet(40, author))
        assert await timeline.shown() is None


async def test_who_is_not_followed_brings_nothing_in(timeline: Timeline) -> None:
    await timeline.install([tweet(20)], complete=True)
    await timeline.push(tweet(30, STRANGER))
    await timeline.push(tweet(40, READER))
    assert await timeline.shown() == [(40, ""), (20, "")]


async def test_a_tweet_that_a_retweet_brought_in_moves_to_its_own_time(timeline: Timeline) -> None:
    """Its author is followed, so the retweet was no reason."""
    early = tweet(25)
    entries = [tweet(20), retweet(early, 40, BEN)]
    await timeline.install(entries, complete=False)
    await timeline.push(early)
    assert await timeline.shown() == [(25, ""), (20, "")]
    assert await timeline.marks() == set()


async def test_a_retweet_that_leaves_the_cache_leaves_no_marks(timeline: Timeline) -> None:
    """Whether the rebuild or a push brought it in."""
    brought = retweet(tweet(1, STRANGER), 10, BEN)
    await timeline.install([brought, *(tweet(n) for n in (20, 30, 40))], complete=False)
    await timeline.push(tweet(50))
    assert await timeline.marks() == set()

    pushed = tweet(55, STRANGER)
    await timeline.push(retweet(pushed, 60, BEN))
    assert (await timeline.shown() or [])[0] == (60, f"user{BEN}")
    for at in (70, 80, 90, 100):
        await timeline.push(tweet(at))
    assert await timeline.shown() == [(100, ""), (90, ""), (80, ""), (70, "")]
    assert await timeline.marks() == set()
