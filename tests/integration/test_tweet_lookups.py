"""The lookups of other services against plain computations: pages over months, earliest retweets, batches."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from starling.tweet.v1 import tweet_lookup_service_pb2 as lookup_pb
from starling.tweet.v1.tweet_events_pb2 import RetweetChanged, TweetDeleted, TweetEvent, TweetPosted
from starling.tweet.v1.tweet_pb2 import Activity, Tweet

from meshkit.background import gather_bounded
from meshkit.config import MeshConfig
from meshkit.errors import InvalidArgument
from meshkit.events import EventBus
from meshkit.identity import Caller
from meshkit.snowflake import first_id_at, wall_clock_ms
from tests.integration.tweet_rig import Instance, running, users
from tweet_svc.activity_pages import ActivityPages
from tweet_svc.activity_store import ActivityStore
from tweet_svc.changes import Changes
from tweet_svc.months import month_of

Entry = tuple[int, int, int]
"""(at_ms, tweet id, author id)"""


def ms(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc, arg-type]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tweet_svc(mesh_config: MeshConfig, bus: EventBus) -> AsyncIterator[Instance]:
    async with running(mesh_config, counting=False) as instance:
        yield instance


async def count(instance: Instance, mesh_config: MeshConfig) -> None:
    """Have everything so far counted."""
    async with running(mesh_config):
        await instance.quiet()


async def write(instance: Instance, event: TweetEvent) -> None:
    """Write a change of any time, as another process would: this one remembers nothing of it."""
    activity = ActivityStore(instance.session)
    row = await Changes(instance.session, instance.outbox, activity).write(event)
    await instance.outbox.publish(row, 5.0)


async def tweeted(instance: Instance, author: Caller, at_ms: int, sequence: int = 0) -> int:
    """A tweet of that time."""
    tweet_id = first_id_at(at_ms) | 77 << 12 | sequence
    tweet = Tweet(
        tweet_id=tweet_id,
        user_id=author.user_id,
        username=author.username,
        content=f"tweet {tweet_id}",
    )
    await write(instance, TweetEvent(posted=TweetPosted(tweet=tweet, at_ms=at_ms)))
    return tweet_id


async def retweeted(
    instance: Instance, actor: Caller, author: Caller, tweet_id: int, at_ms: int
) -> None:
    """A retweet of that time."""
    made = Activity(
        at_ms=at_ms,
        tweet_id=tweet_id,
        actor_id=actor.user_id,
        actor_username=actor.username,
        author_id=author.user_id,
    )
    changed = RetweetChanged(activity=made, retweeted=True, changed_us=at_ms * 1000)
    await write(instance, TweetEvent(retweet_changed=changed))


def entries(page: lookup_pb.AuthorActivity) -> list[Entry]:
    return [(entry.at_ms, entry.tweet_id, entry.author_id) for entry in page.activity]


async def test_pages_over_months_equal_a_sorted_list(tweet_svc: Instance) -> None:
    dice = random.Random(7)
    now_ms = wall_clock_ms()
    actors = users(60, first=5000)
    edges = [ms(2026, month, 1) for month in (3, 4, 5, 8)] + [ms(2025, 12, 31, 23, 59), now_ms - 5]
    truth: dict[int, list[Entry]] = {actor.user_id: [] for actor in actors}
    jobs = []
    for actor in actors[:-2]:
        for number in range(dice.choice([0, 1, 3, 12])):
            # Around month boundaries, several in one millisecond.
            at_ms = min(dice.choice(edges) + dice.randint(-2, 2), now_ms)
            if dice.random() < 0.7:
                jobs.append((actor, actor, at_ms, number))
            else:
                jobs.append((actor, actors[-1], at_ms, number))

    async def make(job: tuple[Caller, Caller, int, int]) -> None:
        actor, author, at_ms, number = job
        if actor is author:
            tweet_id = await tweeted(tweet_svc, actor, at_ms, number)
        else:
            tweet_id = first_id_at(ms(2025, 1, 1)) + actor.user_id * 64 + number
            await retweeted(tweet_svc, actor, author, tweet_id, at_ms)
        truth[actor.user_id].append((at_ms, tweet_id, author.user_id))

    await gather_bounded(32, make, jobs)
    for listed in truth.values():
        listed.sort(reverse=True)

    async def query() -> None:
        some = dice.sample(actors, dice.randint(1, len(actors)))
        limit = dice.choice([1, 2, 5, 100])
        before = None
        if dice.random() < 0.6:
            near = dice.choice([entry for listed in truth.values() for entry in listed])
            before = (near[0], near[1] + dice.choice([-1, 0, 1]))
        since_ms = dice.choice([0, 0, dice.choice(edges) + dice.randint(-2, 2)])
        pages = await tweet_svc.activity(*some, limit=limit, before=before, since_ms=since_ms)
        assert [page.author_id for page in pages] == [actor.user_id for actor in some]
        for actor, page in zip(some, pages, strict=True):
            fits = [
                entry
                for entry in truth[actor.user_id]
                if (before is None or entry[:2] < before) and entry[0] >= since_ms
            ]
            assert entries(page) == fits[:limit]
            assert page.has_more == (len(fits) > limit)
            assert all(entry.actor_username == actor.username for entry in page.activity)

    for _ in range(80):
        await query()
    # A first activity in a month of which the readers know nothing yet.
    late = actors[-2]
    assert entries((await tweet_svc.activity(late))[0]) == []
    tweet_id = await tweeted(tweet_svc, late, now_ms - 3)
    assert entries((await tweet_svc.activity(late))[0]) == [(now_ms - 3, tweet_id, late.user_id)]


async def test_a_month_that_gets_its_first_row_late_is_not_missed(tweet_svc: Instance) -> None:
    """A post resumed under its key carries the time of its first try, perhaps of the month before."""
    ada, midnight_ms = Caller(6050, "ada"), ms(2026, 5, 1)
    pages = ActivityPages(tweet_svc.session, clock_ms=lambda: midnight_ms + 1_800_000)
    for _ in range(2):
        assert not (await pages.newest([ada.user_id], limit=5))[0].activity
    written = [await tweeted(tweet_svc, ada, midnight_ms + step) for step in (-60_000, 1)]
    (page,) = await pages.newest([ada.user_id], limit=5)
    assert [entry.tweet_id for entry in page.activity] == written[::-1]
    assert (await pages.newest([ada.user_id], limit=1))[0].has_more


async def test_bounds_of_a_page_that_lie_outside_of_time(tweet_svc: Instance) -> None:
    ada = Caller(6000, "ada")
    tweet_id = await tweeted(tweet_svc, ada, wall_clock_ms())
    for before in ((1 << 62, 1), (1 << 62, 1 << 62)):
        (page,) = await tweet_svc.activity(ada, before=before)
        assert [entry.tweet_id for entry in page.activity] == [tweet_id]
    for before in ((0, 0), (-5, 3)):
        (page,) = await tweet_svc.activity(ada, before=before)
        assert not page.activity
        assert not page.has_more
    (page,) = await tweet_svc.activity(ada, since_ms=1 << 62)
    assert not page.activity
    for limit in (0, 1001):
        with pytest.raises(InvalidArgument):
            await tweet_svc.activity(ada, limit=limit)
    assert await tweet_svc.activity() == []


async def test_counts_by_month_follow_posts_and_deletions(
    tweet_svc: Instance, mesh_config: MeshConfig
) -> None:
    ada = Caller(6100, "ada")
    first_ms = ms(2026, 2, 1)
    ids = [await tweeted(tweet_svc, ada, first_ms + step) for step in (-2, -1, 0, 1)]
    await retweeted(tweet_svc, ada, Caller(6101, "bob"), 12345, first_ms + 5)
    await count(tweet_svc, mesh_config)
    assert await tweet_svc.tweets_count(ada) == 4
    deleted = TweetDeleted(
        tweet_id=ids[0], author_id=ada.user_id, changed_us=wall_clock_ms() * 1000
    )
    await write(tweet_svc, TweetEvent(deleted=deleted))
    await count(tweet_svc, mesh_config)
    assert await tweet_svc.tweets_count(ada) == 3
    (page,) = await tweet_svc.activity(ada)
    assert [month_of(entry.at_ms) for entry in page.activity] == [202602, 202602, 202602, 202601]
    # Written again, as a retry or the relay would, a post that was deleted stays so.
    await tweeted(tweet_svc, ada, first_ms - 2)
    await count(tweet_svc, mesh_config)
    assert await tweet_svc.tweets_count(ada) == 3
    assert ids[0] not in await tweet_svc.batch(ids)


@pytest.mark.parametrize("counted", [False, True])
async def test_earliest_retweets_equal_a_search_through_all(
    tweet_svc: Instance, mesh_config: MeshConfig, counted: bool
) -> None:
    dice = random.Random(11 + counted)
    start_ms, base = ms(2026, 6, 1), 7000 + 1000 * counted
    author, crowd = Caller(base, "author"), users(120, first=base + 1)
    tweet_ids = [first_id_at(start_ms) + 4096 * (base + n) for n in range(8)]
    truth: dict[int, list[tuple[int, int]]] = {tweet_id: [] for tweet_id in tweet_ids}
    jobs = []
    for tweet_id, share in zip(tweet_ids, (0, 0, 0.01, 0.05, 0.2, 0.5, 0.9, 1), strict=True):
        for user in crowd:
            if dice.random() < share:
                # Few different times: ties go to the smaller user id.
                at_ms = start_ms + dice.randint(0, 40)
                truth[tweet_id].append((at_ms, user.user_id))
                jobs.append((user, tweet_id, at_ms))
    await gather_bounded(32, lambda job: retweeted(tweet_svc, job[0], author, job[1], job[2]), jobs)
    if counted:
        await count(tweet_svc, mesh_config)
    for size in (0, 1, 3, 17, 60, 120):
        among = dice.sample(crowd, size)
        ids = {user.user_id for user in among}
        asked = dice.sample(tweet_ids, len(tweet_ids)) + tweet_ids[:1]
        for tweet_id, found in zip(asked, await tweet_svc.earliest(asked, among), strict=True):
            best = min((made for made in truth[tweet_id] if made[1] in ids), default=None)
            if best is None:
                assert found is None
                continue
            assert found is not None
            assert (found.at_ms, found.actor_id) == best
            assert found.actor_username == f"user_{best[1]}"
            assert (found.tweet_id, found.author_id) == (tweet_id, author.user_id)


@pytest.mark.parametrize("limit", [1, 3, 4, 5, 100])
async def test_the_newest_flags_are_all_down_to_the_floor(tweet_svc: Instance, limit: int) -> None:
    ada, bob = Caller(9100, "ada"), Caller(9101, "bob")
    ids = [await tweeted(tweet_svc, ada, ms(2026, 7, 2) + n) for n in range(10)]
    likes, retweets = {0, 2, 3, 7}, {2, 5, 6, 8, 9}
    for number in likes | {1}:
        await tweet_svc.like(bob, ids[number])
    await tweet_svc.unlike(bob, ids[1])
    for number in retweets:
        await tweet_svc.retweet(bob, ids[number])
    flags, floor = await tweet_svc.newest_flags(bob, limit)
    assert [each.tweet_id for each in flags] == sorted(
        (ids[n] for n in likes | retweets if ids[n] >= floor), reverse=True
    )
    for each in flags:
        number = ids.index(each.tweet_id)
        assert (each.liked, each.retweeted) == (number in likes, number in retweets)
    assert flags
    assert (floor == 0) == (limit > max(len(likes), len(retweets)))


async def test_batches_keep_the_order_asked_and_name_what_is_missing(
    tweet_svc: Instance, mesh_config: MeshConfig
) -> None:
    ada, bob = Caller(9000, "ada"), Caller(9001, "bob")
    ids = [await tweeted(tweet_svc, ada, ms(2026, 7, 1) + n) for n in range(120)]
    for tweet_id in ids[:3]:
        await tweet_svc.like(bob, tweet_id)
    await tweet_svc.retweet(bob, ids[1])
    await count(tweet_svc, mesh_config)
    asked = [*reversed(ids), 42, ids[0], 43]
    found = await tweet_svc.batch(asked)
    assert sorted(found) == sorted(ids)
    assert (found[ids[1]].likes_count, found[ids[1]].retweets_count) == (1, 1)
    assert (found[ids[50]].likes_count, found[ids[50]].retweets_count) == (0, 0)
    assert found[ids[5]].content == f"tweet {ids[5]}"
    flags = await tweet_svc.flags(bob, asked)
    assert [each.tweet_id for each in flags] == asked
    assert {each.tweet_id for each in flags if each.liked} == set(ids[:3])
    assert {each.tweet_id for each in flags if each.retweeted} == {ids[1]}
    assert all(bool(each.liked_at_us) == each.liked for each in flags)
    assert all(bool(each.retweeted_at_us) == each.retweeted for each in flags)
    with pytest.raises(InvalidArgument):
        await tweet_svc.batch(list(range(1, 1002)))
    assert await tweet_svc.batch([]) == {}
    many = await asyncio.gather(*(tweet_svc.batch(list(range(1, 1001))) for _ in range(5)))
    assert many == [{}] * 5
