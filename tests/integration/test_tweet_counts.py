"""Counts, flags and activity against a model: a random walk, races of two processes, and a hot tweet."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from starling.tweet.v1.tweet_events_pb2 import TweetPosted
from starling.tweet.v1.tweet_pb2 import Tweet

from meshkit.background import cancel_all, gather_bounded
from meshkit.chunks import chunks
from meshkit.config import MeshConfig
from meshkit.errors import NotFound
from meshkit.events import EventBus
from meshkit.identity import Caller
from meshkit.snowflake import EPOCH_MS, timestamp_ms
from meshkit.streams import COUNTS
from meshkit.write_clock import WriteClock, wall_clock_us
from tests.conftest import until
from tests.integration.tweet_rig import Instance, running, users
from tweet_svc.activity_store import MANY
from tweet_svc.months import month_of


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tweet_svc(mesh_config: MeshConfig, bus: EventBus) -> AsyncIterator[Instance]:
    async with running(mesh_config, relaying=True) as instance:
        yield instance


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def other(mesh_config: MeshConfig, tweet_svc: Instance) -> AsyncIterator[Instance]:
    """A second process on the same store."""
    async with running(mesh_config) as instance:
        yield instance


class Model:
    """What the contract says there is after a series of calls."""

    def __init__(self) -> None:
        self.author: dict[int, int] = {}
        self.likes: dict[int, set[int]] = defaultdict(set)
        self.retweets: dict[int, dict[int, int]] = defaultdict(dict)
        """By tweet, by user: how many retweets were made before this one, over all."""


async def test_a_random_walk_leaves_what_the_model_says(
    tweet_svc: Instance, other: Instance
) -> None:
    dice = random.Random(2026)
    crowd, model = users(6, first=100), Model()
    made = 0
    for step in range(450):
        instance = dice.choice((tweet_svc, other))
        user = dice.choice(crowd)
        ids = list(model.author)
        kind = dice.choices(
            ["post", "delete", "like", "unlike", "retweet", "unretweet"], [3, 1, 6, 4, 5, 3]
        )[0]
        if kind == "post" or not ids:
            tweet_id = await instance.post(user, f"step {step}")
            model.author[tweet_id] = user.user_id
            continue
        tweet_id = dice.choice(ids[-12:])
        if kind == "delete":
            author = next(each for each in crowd if each.user_id == model.author[tweet_id])
            await instance.delete(author, tweet_id)
            del model.author[tweet_id]
            with pytest.raises(NotFound):
                await instance.like(user, tweet_id)
        elif kind == "like":
            await instance.like(user, tweet_id)
            model.likes[tweet_id].add(user.user_id)
        elif kind == "unlike":
            await instance.unlike(user, tweet_id)
            model.likes[tweet_id].discard(user.user_id)
        elif kind == "retweet":
            await instance.retweet(user, tweet_id)
            made += 1
            model.retweets[tweet_id].setdefault(user.user_id, made)
        else:
            await instance.unretweet(user, tweet_id)
            model.retweets[tweet_id].pop(user.user_id, None)
    await tweet_svc.quiet()
    ids = sorted(model.author)
    tweets = await tweet_svc.batch(ids)
    assert sorted(tweets) == ids
    for tweet_id in ids:
        tweet = tweets[tweet_id]
        assert tweet.likes_count == len(model.likes[tweet_id]), tweet_id
        assert tweet.retweets_count == len(model.retweets[tweet_id]), tweet_id
    for user in crowd:
        flags = await other.flags(user, ids)
        assert {f.tweet_id for f in flags if f.liked} == {
            each for each in ids if user.user_id in model.likes[each]
        }
        assert {f.tweet_id for f in flags if f.retweeted} == {
            each for each in ids if user.user_id in model.retweets[each]
        }
        (page,) = await tweet_svc.activity(user)
        assert page.activity == sorted(
            page.activity, key=lambda a: (a.at_ms, a.tweet_id), reverse=True
        )
        listed = [a for a in page.activity if a.tweet_id in model.author]
        own = [a.tweet_id for a in listed if a.author_id == user.user_id]
        assert own == sorted((t for t in ids if model.author[t] == user.user_id), reverse=True)
        assert all(
            a.at_ms == timestamp_ms(a.tweet_id) for a in listed if a.author_id == user.user_id
        )
        assert await tweet_svc.tweets_count(user) == len(own)
        # In the order in which they were made, oldest last.
        theirs = [a.tweet_id for a in reversed(listed) if a.author_id != user.user_id]
        order = {
            each: model.retweets[each][user.user_id]
            for each in ids
            if user.user_id in model.retweets[each] and model.author[each] != user.user_id
        }
        assert sorted(theirs) == sorted(order)
        at = {a.tweet_id: a.at_ms for a in listed}
        by_model = sorted(order, key=order.__getitem__)
        assert [at[each] for each in by_model] == sorted(at[each] for each in by_model)
    for tweet_id, found in zip(ids, await tweet_svc.earliest(ids, crowd), strict=True):
        first = min(model.retweets[tweet_id].items(), key=lambda item: item[1], default=None)
        assert (found.actor_id if found else None) == (first[0] if first else None)


async def agrees(instance: Instance, crowd: list[Caller], tweet_id: int) -> None:
    """Every view of the tweet's likes and retweets tells the same."""
    await instance.quiet()
    tweet = await instance.get(crowd[0], tweet_id)
    flags = [(await instance.flags(user, [tweet_id]))[0] for user in crowd]
    assert tweet.likes_count == sum(each.liked for each in flags)
    assert tweet.retweets_count == sum(each.retweeted for each in flags)
    for user, flag in zip(crowd, flags, strict=True):
        (page,) = await instance.activity(user)
        times = [a.at_ms for a in page.activity if a.tweet_id == tweet_id]
        assert times == ([flag.retweeted_at_us // 1000] if flag.retweeted else [])
        (found,) = await instance.earliest([tweet_id], [user])
        assert (found.at_ms if found else None) == (times[0] if times else None)


@pytest.mark.parametrize("seed", range(4))
async def test_races_of_two_processes_leave_one_truth(
    tweet_svc: Instance, other: Instance, seed: int
) -> None:
    dice = random.Random(seed)
    author, crowd = Caller(200 + seed, "author"), users(4, first=210 + 10 * seed)
    tweet_id = await tweet_svc.post(author, f"fought over {seed}")

    async def fight(instance: Instance, user: Caller) -> None:
        for _ in range(12):
            act = dice.choice(
                (instance.like, instance.unlike, instance.retweet, instance.unretweet)
            )
            await act(user, tweet_id)

    await asyncio.gather(
        *(fight(instance, user) for user in crowd for instance in (tweet_svc, other, tweet_svc))
    )
    await agrees(tweet_svc, crowd, tweet_id)


async def test_two_retweets_at_once_leave_one_activity_row(
    tweet_svc: Instance, other: Instance
) -> None:
    author = Caller(300, "author")
    tweet_id = await tweet_svc.post(author, "retweeted twice at once")
    crowd = users(20, first=301)
    for user in crowd:
        await asyncio.gather(tweet_svc.retweet(user, tweet_id), other.retweet(user, tweet_id))
    await agrees(tweet_svc, crowd, tweet_id)


async def test_a_hot_tweet_is_counted_exactly_and_slows_no_other(
    tweet_svc: Instance, other: Instance
) -> None:
    author = Caller(400, "author")
    hot = await tweet_svc.post(author, "hot")
    calm = await tweet_svc.post(author, "calm")
    crowd = users(800, first=10_000)

    async def like(numbered: tuple[int, Caller]) -> None:
        number, user = numbered
        await (tweet_svc, other)[number % 2].like(user, hot)
        if number % 10 == 0:
            await other.unlike(user, hot)

    async def likes_without_end() -> None:
        while True:
            await gather_bounded(64, like, list(enumerate(crowd)))

    async def counted(tweet_id: int, likes: int) -> bool:
        return (await tweet_svc.get(author, tweet_id)).likes_count == likes

    async def some_counted() -> bool:
        return (await tweet_svc.get(author, hot)).likes_count > 0

    storm = asyncio.create_task(likes_without_end())
    await until(some_counted, what="counting the hot tweet")
    await tweet_svc.like(crowd[0], calm)
    await until(lambda: counted(calm, 1), what="counting a calm tweet beside a hot one")
    assert not storm.done()
    await cancel_all([storm])
    await gather_bounded(64, like, list(enumerate(crowd)))
    await until(lambda: counted(hot, 720), what="counting the hot tweet")
    await gather_bounded(16, lambda user: tweet_svc.unlike(user, hot), crowd[1:9] + crowd[11:19])
    await until(lambda: counted(hot, 704), what="counting down")
    await tweet_svc.quiet()
    assert await counted(hot, 704)
    # And the mesh was told: the newest of the absolute counts is right.
    told = [
        event.counts_changed
        for event in await tweet_svc.events(COUNTS)
        if event.counts_changed.tweet_id == hot
    ]
    newest = max(told, key=lambda each: each.as_of_us)
    assert newest.likes_count == 704
    assert len(told) < 200


async def test_the_mesh_hears_of_authors_counts(tweet_svc: Instance) -> None:
    author = Caller(500, "author")
    ids = [await tweet_svc.post(author, f"number {n}") for n in range(5)]
    await tweet_svc.delete(author, ids[2])
    await tweet_svc.quiet()
    assert (await told_of(tweet_svc, author))[-1] == 4


async def told_of(instance: Instance, author: Caller) -> list[int]:
    """What the mesh was told of an author's number of tweets, the newest last."""
    told = [
        (event.authors_counts_changed.as_of_us, count.tweets_count)
        for event in await instance.events(COUNTS)
        for count in event.authors_counts_changed.counts
        if count.author_id == author.user_id
    ]
    return [count for _, count in sorted(told)]


async def test_authors_who_post_at_once_are_counted_together(tweet_svc: Instance) -> None:
    authors = users(40, first=700)

    async def told() -> int:
        kinds = [event.WhichOneof("event") for event in await tweet_svc.events(COUNTS)]
        return kinds.count("authors_counts_changed")

    before = await told()
    for turn in range(3):
        await asyncio.gather(*(tweet_svc.post(each, f"turn {turn}") for each in authors))
    await tweet_svc.quiet()
    assert [await tweet_svc.tweets_count(each) for each in authors] == [3] * 40
    assert [(await told_of(tweet_svc, each))[-1] for each in authors] == [3] * 40
    assert await told() - before < 60


async def test_months_of_many_tweets_are_counted_to_the_last(tweet_svc: Instance) -> None:
    """More than one statement gives as rows, in two months, beside an author of few."""
    many, few = Caller(800, "many"), Caller(801, "few")
    march, april = (
        [(at_ms + n - EPOCH_MS) << 22 for n in range(count)]
        for at_ms, count in ((1_772_500_000_000, MANY + 10), (1_775_200_000_000, MANY))
    )
    for tweet_ids in chunks([*march, *april], 20):
        events = [
            TweetPosted(tweet=Tweet(tweet_id=each, user_id=many.user_id), at_ms=timestamp_ms(each))
            for each in tweet_ids
        ]
        rows = [row for event in events for row in tweet_svc.parts.activity.posted_rows(event)]
        await tweet_svc.session.batch(rows)
    months = [month_of(timestamp_ms(each[0])) for each in (march, april)]
    assert months[0] != months[1]
    await asyncio.gather(
        tweet_svc.parts.counter.recount_author(many.user_id, months),
        tweet_svc.post(few, "one of few"),
    )
    await tweet_svc.quiet()
    assert (await told_of(tweet_svc, many))[-1] == 2 * MANY + 10
    assert await tweet_svc.tweets_count(many) == 2 * MANY + 10
    assert (await told_of(tweet_svc, few))[-1] == 1


async def test_counts_are_exact_though_the_clocks_differ(
    tweet_svc: Instance, mesh_config: MeshConfig
) -> None:
    """A recount stored under a fast clock's time does not outlive the one that saw more."""
    author, crowd = Caller(600, "author"), users(40, first=601)
    fast = WriteClock(lambda: wall_clock_us() + 2_000_000)
    async with running(mesh_config, clock=fast):
        tweet_id = await tweet_svc.post(author, "whose time is it")
        for few in (crowd[n : n + 8] for n in range(0, 40, 8)):
            await asyncio.gather(*(tweet_svc.like(user, tweet_id) for user in few))
            await tweet_svc.post(author, f"after {few[0].user_id}")
        await tweet_svc.quiet()
        assert (await tweet_svc.get(author, tweet_id)).likes_count == 40
        assert await tweet_svc.tweets_count(author) == 6
    told = [
        event.counts_changed
        for event in await tweet_svc.events(COUNTS)
        if event.counts_changed.tweet_id == tweet_id
    ]
    assert max(told, key=lambda each: each.as_of_us).likes_count == 40
    assert (await told_of(tweet_svc, author))[-1] == 6
