"""A tweet that many like at once: every like counts once, and whoever does something else notices nothing."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from starling.graph.v1.graph_lookup_service_pb2 import CreateUserRequest
from starling.tweet.v1.tweet_service_pb2 import (
    GetTweetRequest,
    LikeTweetRequest,
    UnlikeTweetRequest,
)

from meshkit.background import gather_bounded
from meshkit.snowflake import first_id_at, wall_clock_ms
from stack.demo.loading import patiently
from stack.operator import Metadata, Operator, acting_for

from .at_once import unique
from .mesh import Mesh, eventually
from .rest import Person

Register = Callable[[int], list[Person]]
LIKES_AT_ONCE = 64
RESTS_WITHIN_S = 30.0


def test_five_hundred_like_one_tweet(mesh: Mesh, register: Register) -> None:
    _storm(mesh, register, 500)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_ten_thousand_like_one_tweet(mesh: Mesh, register: Register) -> None:
    took_s, reads_s = _storm(mesh, register, 10_000)
    reads_s.sort()
    print(
        f"\n10,000 likes in {took_s:.1f} s; meanwhile {len(reads_s)} reads of others: "
        f"p50 {1000 * reads_s[len(reads_s) // 2]:.0f} ms, "
        f"p99 {1000 * reads_s[len(reads_s) * 99 // 100]:.0f} ms"
    )


def _storm(mesh: Mesh, register: Register, likers: int) -> tuple[float, list[float]]:
    """How long the likes took, and each of the reads of others meanwhile, in seconds."""
    author, other, fan = register(3)
    fan.follow(author)
    fan.follow(other)
    hot, calm = author.post(unique("hot")), other.post(unique("calm"))
    eventually(lambda: set(fan.home_ids()) == {hot, calm}, RESTS_WITHIN_S, "both tweets")
    users = asyncio.run(_create(mesh, likers))
    reads_s: list[float] = []
    with ThreadPoolExecutor(1) as pool:
        started = time.monotonic()
        storm = pool.submit(lambda: asyncio.run(_like(mesh, int(hot), users)))
        fan.like(calm)
        while not storm.done():
            began = time.monotonic()
            assert {tweet["tweet_id"] for tweet in fan.home()} == {hot, calm}
            assert fan.tweet(calm)["liked"]
            reads_s.append(time.monotonic() - began)
        storm.result()
        took_s = time.monotonic() - started

    def counted() -> bool:
        assert author.tweet(hot)["likes_count"] == likers
        shown = {tweet["tweet_id"]: tweet["likes_count"] for tweet in fan.home()}
        assert shown == {hot: likers, calm: 1}
        return True

    eventually(counted, RESTS_WITHIN_S, "the exact counts")
    assert asyncio.run(_liked(mesh, int(hot), users)) == likers
    mesh.flush_redis()
    assert counted()
    return took_s, reads_s


async def _create(mesh: Mesh, count: int) -> list[Metadata]:
    """What says that each of these users calls. They cannot log in, which spares hashing passwords."""
    run, yesterday_ms = secrets.token_hex(5), wall_clock_ms() - 24 * 3_600_000

    async with mesh.operator() as operator:

        async def one(number: int) -> Metadata:
            request = CreateUserRequest(
                user_id=first_id_at(yesterday_ms + number) | secrets.randbits(22),
                username=f"h{run}_{number}",
                display_name=f"Number {number}",
            )
            await patiently(operator.graph.CreateUser, request)
            return acting_for(request.user_id, request.username)

        return await gather_bounded(32, one, range(count))


async def _like(mesh: Mesh, tweet_id: int, users: list[Metadata]) -> None:
    """Everybody ends by liking it: some at once twice over, some after they changed their mind."""

    async with mesh.operator() as operator:

        async def like(numbered: tuple[int, Metadata]) -> None:
            number, user = numbered
            if number % 10 == 1:
                await asyncio.gather(*(_set_like(operator, tweet_id, user) for _ in range(3)))
            if number % 10 == 2:
                await _set_like(operator, tweet_id, user)
                await _set_like(operator, tweet_id, user, liked=False)
            await _set_like(operator, tweet_id, user)

        await gather_bounded(LIKES_AT_ONCE, like, list(enumerate(users)))


async def _set_like(
    operator: Operator, tweet_id: int, user: Metadata, *, liked: bool = True
) -> None:
    if liked:
        await patiently(operator.tweets.LikeTweet, LikeTweetRequest(tweet_id=tweet_id), user)
    else:
        await patiently(operator.tweets.UnlikeTweet, UnlikeTweetRequest(tweet_id=tweet_id), user)


async def _liked(mesh: Mesh, tweet_id: int, users: list[Metadata]) -> int:
    """How many of them the tweet is shown to as liked."""
    async with mesh.operator() as operator:

        async def shown(user: Metadata) -> bool:
            request = GetTweetRequest(tweet_id=tweet_id)
            return (await patiently(operator.tweets.GetTweet, request, user)).tweet.liked

        return sum(await gather_bounded(32, shown, users))
