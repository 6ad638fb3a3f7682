"""Deliveries: one activity into the cached timelines of many readers, by the script that the worker uses.

Every timeline is full, so each delivery checks the followees, places the entry and trims the oldest. Against
it, in turns: the least that any fan-out on write does, ZADD and ZREMRANGEBYRANK by pipeline.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from rich.console import Console
from rich.table import Table
from starling.tweet.v1.tweet_pb2 import Activity

from bench.mesh import Mesh, cpu_seconds
from meshkit.redis import Redis
from meshkit.snowflake import EPOCH_MS
from timeline_svc.timeline_cache import CACHED_ENTRIES, TimelineCache, place

READERS = 500
ROUNDS = 6
ACTIVITIES_A_ROUND = 20
AUTHOR = 7
FOLLOWEES = 100
PREFIX = "bench:"
START_MS = 1_760_000_000_000


def _activity(number: int) -> Activity:
    at_ms = START_MS + number
    return Activity(
        at_ms=at_ms,
        tweet_id=((at_ms - EPOCH_MS) << 22) | 1,
        actor_id=AUTHOR,
        actor_username="bench",
        author_id=AUTHOR,
    )


async def run(console: Console) -> None:
    """Fills timelines, measures, prints, and removes them."""
    mesh = Mesh()
    redis = Redis(mesh.address("redis", "redis"), timeout_s=10)
    await redis.connect()
    pid = {"redis": mesh.pids()["redis"]}
    cache = TimelineCache(redis, PREFIX, ttl_s=600, rebuild_lease_s=10)
    readers = list(range(1_000_000, 1_000_000 + READERS))
    try:
        empty = await _used_bytes(redis)
        for reader in readers:
            await _fill(cache, reader)
        filled = await _used_bytes(redis)
        number = CACHED_ENTRIES

        async def ours() -> None:
            nonlocal number
            for _ in range(ACTIVITIES_A_ROUND):
                number += 1
                activity = _activity(number)
                await cache.push(place(activity, activity.at_ms), readers)

        async def least() -> None:
            nonlocal number
            for _ in range(ACTIVITIES_A_ROUND):
                number += 1
                activity = _activity(number)
                for start in range(0, READERS, 200):
                    commands: list[tuple[str | bytes | int | float, ...]] = []
                    for reader in readers[start : start + 200]:
                        key = cache.key(reader)
                        commands.append(("ZADD", key, activity.at_ms, activity.tweet_id))
                        commands.append(("ZREMRANGEBYRANK", key, 0, -CACHED_ENTRIES - 1))
                    await redis.pipeline(commands)

        table = Table(
            "",
            "deliveries/s",
            "a second of Redis' CPU",
            title=f"Fan-out to {READERS} full timelines",
        )
        totals = {"script": [0.0, 0.0], "plain pipeline": [0.0, 0.0]}
        for _ in range(ROUNDS):
            for name, work in (("script", ours), ("plain pipeline", least)):
                seconds, cpu = await _timed(work, pid)
                totals[name][0] += seconds
                totals[name][1] += cpu
        deliveries = ROUNDS * ACTIVITIES_A_ROUND * READERS
        for name, (seconds, cpu) in totals.items():
            table.add_row(name, f"{deliveries / seconds:,.0f}", f"{deliveries / cpu:,.0f}")
        console.print(table)
        entries = READERS * CACHED_ENTRIES
        console.print(
            f"Memory: {(filled - empty) / entries:.0f} B an entry, all keys of a timeline"
        )
    finally:
        for reader in readers:
            key = cache.key(reader)
            await redis.call("DEL", key, f"{key}:state", f"{key}:followees", f"{key}:epoch")
        await redis.close()


async def _timed(work: Callable[[], Awaitable[None]], pid: dict[str, int]) -> tuple[float, float]:
    before, started = cpu_seconds(pid), time.perf_counter()
    await work()
    return time.perf_counter() - started, cpu_seconds(pid)["redis"] - before["redis"]


async def _fill(cache: TimelineCache, reader: int) -> None:
    begun = await cache.begin_rebuild(reader, "bench")
    await cache.install(
        reader,
        token="bench",
        epoch=begun.epoch,
        sync=0,
        complete=False,
        followees=range(AUTHOR, AUTHOR + FOLLOWEES),
        entries=[_activity(number) for number in range(CACHED_ENTRIES, 0, -1)],
        flags={},
    )


async def _used_bytes(redis: Redis) -> int:
    info: bytes = await redis.call("INFO", "memory")
    return int(info.partition(b"used_memory:")[2].split(b"\r\n", 1)[0])
