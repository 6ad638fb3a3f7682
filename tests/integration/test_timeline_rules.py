"""Home timelines against a model written from the contract, over the real cache.

A walk of random operations; their events reach the fan-out late, twice and in any order, timelines are read
in between (so that they are cached, rebuilt, trimmed at a tiny cap), and Redis loses everything at times.
Once all events are handled, every reader's timeline, read to its end, equals the model's, whether tweets are
pushed or merged from the celebrity log, and whether Redis is one server or a cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from starling.tweet.v1.tweet_events_pb2 import TweetEvent, TweetPosted

from meshkit.config import MeshConfig
from meshkit.redis import Redis
from meshkit.redis_server import Request
from tests.integration.timeline_rig import Mesh, connected
from tests.integration.timeline_walk import Walk
from tests.integration.valkey_cluster import ValkeyCluster
from tests.integration.world import START_MS

CELEBRITIES = [1, 3, 1_000_000]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("celebrity_followers", CELEBRITIES)
async def test_a_walk_ends_where_the_contract_says(
    cache_config: MeshConfig, seed: int, celebrity_followers: int
) -> None:
    prefix = f"{cache_config.redis_prefix}{seed}:{celebrity_followers}:"
    async with connected(cache_config.redis_url) as redis:
        mesh = Mesh(redis, prefix, entries=6, celebrity_followers=celebrity_followers)
        await walked(mesh, seed)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("celebrity_followers", CELEBRITIES)
async def test_a_walk_over_a_cluster_ends_there_too(
    cluster: ValkeyCluster, seed: int, celebrity_followers: int
) -> None:
    async with connected(cluster.url) as redis:
        await walked(
            Mesh(
                redis,
                f"{seed}:{celebrity_followers}:",
                entries=6,
                celebrity_followers=celebrity_followers,
                flush=cluster.flush,
            ),
            seed,
        )


async def walked(mesh: Mesh, seed: int) -> None:
    walk = Walk(mesh, seed)
    for _ in range(4):
        for _ in range(120):
            await walk.step()
        await walk.quiet()
        await walk.check()
    await mesh.flush()
    await walk.check()


async def test_a_warm_read_is_one_round_trip_and_two_in_a_cluster(
    cache_config: MeshConfig, cluster: ValkeyCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips = 0
    exchange = Redis._exchange

    async def counted(redis: Redis, requests: Sequence[Request]) -> list[Any]:
        nonlocal trips
        trips += 1
        return await exchange(redis, requests)

    monkeypatch.setattr(Redis, "_exchange", counted)
    prefix = f"{cache_config.redis_prefix}trips:"
    for url, allowed in ((cache_config.redis_url, 1), (cluster.url, 2)):
        async with connected(url) as redis:
            mesh = Mesh(redis, prefix, entries=1000, celebrity_followers=1_000_000)
            mesh.world.follows[1] = {2}
            for number in range(30):
                activity = mesh.world.post(2, START_MS + number)
                tweet = mesh.world.tweets[activity.tweet_id]
                await mesh.handle(TweetEvent(posted=TweetPosted(tweet=tweet, at_ms=activity.at_ms)))
            await mesh.read(1, 20)
            calls, trips = mesh.world.activity_calls, 0
            lines, _ = await mesh.home.page(1, "", 20)
            assert len(lines) == 20
            assert trips == allowed
            assert mesh.world.activity_calls == calls
