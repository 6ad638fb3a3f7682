"""The most popular tweets of a feed against the formula, computed by brute force over the whole feed."""

from __future__ import annotations

import math
import random
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from starling.tweet.v1.tweet_pb2 import Tweet

from meshkit.config import MeshConfig
from meshkit.redis import Redis
from meshkit.snowflake import timestamp_ms
from tests.integration.timeline_rig import USERS, Mesh, connected
from timeline_svc.popular import PopularTweets

HOUR_MS = 3_600_000
READER = 1


@pytest_asyncio.fixture(loop_scope="session")
async def redis(cache_config: MeshConfig) -> AsyncIterator[Redis]:
    async with connected(cache_config.redis_url) as client:
        yield client


def by_the_formula(mesh: Mesh, k: int, now_ms: int) -> list[int]:
    """From the contract, word by word."""
    world = mesh.world
    ranked = []
    for _, tweet_id, _ in world.feed(READER):
        tweet, created_ms = world.tweets[tweet_id], timestamp_ms(tweet_id)
        if tweet.user_id == READER or created_ms < now_ms - 48 * HOUR_MS:
            continue
        followers = sum(tweet.user_id in followees for followees in world.follows.values())
        score = (
            math.log2(1 + tweet.likes_count + 2 * tweet.retweets_count)
            + 0.25 * math.log2(1 + followers)
            - (now_ms - created_ms) / HOUR_MS / 6
        )
        ranked.append((score, tweet_id))
    return [tweet_id for _, tweet_id in sorted(ranked, reverse=True)[:k]]


@pytest.mark.parametrize("seed", range(3))
async def test_the_list_is_the_formulas(redis: Redis, cache_config: MeshConfig, seed: int) -> None:
    chance = random.Random(seed)
    prefix = f"{cache_config.redis_prefix}popular{seed}:"
    mesh = Mesh(redis, prefix, entries=50, celebrity_followers=100)  # most lie past the cache
    world = mesh.world
    world.follows = {user: set(chance.sample(USERS, 3)) - {user} for user in USERS}
    world.follows[READER] = {2, 3}
    for number in range(100, 160):
        world.follows[number] = {3}  # one has many followers
    now_ms = time.time_ns() // 1_000_000
    # Some share a millisecond; none is near the end of the 48 hours, which may pass meanwhile.
    times = [
        *(now_ms - chance.randrange(0, 47 * HOUR_MS) for _ in range(250)),
        *(now_ms - chance.randrange(49 * HOUR_MS, 60 * HOUR_MS) for _ in range(60)),
        *[now_ms - 5 * HOUR_MS] * 20,
    ]
    for at_ms in times:
        tweet = world.tweets[world.post(chance.choice(USERS), at_ms).tweet_id]
        tweet.likes_count = chance.choice((0, 0, 0, 1, 2, 50, 3000))
        tweet.retweets_count = chance.choice((0, 0, 1, 20))
    for tweet_id in chance.sample(sorted(world.tweets), 80):
        user = chance.choice(USERS)
        if world.tweets[tweet_id].user_id != user:
            world.retweet(user, tweet_id, max(timestamp_ms(tweet_id) + 1, now_ms - 40 * HOUR_MS))
    for tweet_id in chance.sample(sorted(world.tweets), 150):
        world.likes[tweet_id, READER] = now_ms * 1000
    popular = PopularTweets(mesh.home, mesh.lookups)
    for k in (1, 10, 50):
        lines = await popular.top(READER, k)
        assert [line.tweet_id for line in lines] == by_the_formula(mesh, k, now_ms)
        shown = [Tweet.FromString(line.to_bytes()) for line in lines]
        assert all(tweet.user_id != READER for tweet in shown)
        assert [t.liked for t in shown] == [(t.tweet_id, READER) in world.likes for t in shown]
    await mesh.flush()
