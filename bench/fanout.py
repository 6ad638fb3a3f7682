"""Deliveries: one tweet into the cached timelines of many readers, by the script that the worker uses.

Every timeline is full, so each delivery checks the followees, places the entry by the rules and trims the
oldest. Against it, in turns: the least that any fan-out on write does, ZADD and ZREMRANGEBYRANK by
pipeline. On Valkeys of its own: one with the default encodings, one with compact ones (`REDIS_COMPACT=1`),
of which it also tells what an entry takes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starling.tweet.v1.tweet_pb2 import Activity

from bench.cached import LEASE_S, install
from bench.cpu import LOAD, CpuMeter
from bench.report import Report
from bench.valkey import Server, server
from meshkit.snowflake import EPOCH_MS
from timeline_svc.timeline_cache import CACHED_ENTRIES, TimelineCache, place

READERS = 500
ROUNDS = 5
TWEETS_A_ROUND = 20
AUTHOR = 1_574_130_101_729_898_496
FOLLOWEES = range(AUTHOR, AUTHOR + 100)
START_MS = 1_760_000_000_000
SETTINGS = {"default": False, "compact": True}
# Of the sorted set alone; what design.md asks of either.
GOAL_BYTES = {"default": 121, "compact": 21}


def _tweet(number: int) -> Activity:
    at_ms = START_MS + 1000 * number
    return Activity(
        at_ms=at_ms,
        tweet_id=((at_ms - EPOCH_MS) << 22) | 1,
        actor_id=AUTHOR,
        actor_username="bench",
        author_id=AUTHOR,
    )


async def run(report: Report) -> None:
    """Fills timelines, measures, reports."""
    speed: list[list[str]] = []
    memory: list[list[str]] = []
    for name, compact in SETTINGS.items():
        async with server(compact=compact) as valkey:
            timelines = _Timelines(valkey)
            empty = await valkey.used_bytes()
            await timelines.fill()
            whole = (await valkey.used_bytes() - empty) / (READERS * CACHED_ENTRIES)
            entry = await timelines.bytes_an_entry()
            memory.append([name, f"{entry:.1f}", f"{whole:.1f}"])
            report.figure(
                f"memory an entry of a full timeline, {name}",
                entry,
                "B",
                at_most=GOAL_BYTES[name],
            )
            speed += await timelines.measure(report, name)
    report.table(
        f"Fan-out to {READERS} full timelines",
        ["", "deliveries/s", "a second of Redis' CPU", "a second of the worker's CPU"],
        speed,
        "The worker is this process: it makes the script's arguments and waits.",
    )
    report.table(
        f"Memory an entry, timelines of {CACHED_ENTRIES}, {len(FOLLOWEES)} followees",
        ["encodings", "B, the sorted set", "B, with state, followees and keys"],
        memory,
    )


class _Timelines:
    """Full timelines of readers who all follow one author."""

    def __init__(self, valkey: Server) -> None:
        self._redis = valkey.redis
        self._pid = valkey.pid
        self._cache = TimelineCache(valkey.redis, "", ttl_s=600, rebuild_lease_s=LEASE_S)
        self._readers = list(range(AUTHOR + 1_000_000, AUTHOR + 1_000_000 + READERS))
        self._number = CACHED_ENTRIES

    async def fill(self) -> None:
        """A thousand tweets each, older ones in the store."""
        entries = [_tweet(number) for number in range(CACHED_ENTRIES, 0, -1)]
        await install(self._cache, self._readers, FOLLOWEES, entries, complete=False)

    async def bytes_an_entry(self) -> float:
        """Of one sorted set, all of it looked at."""
        key = self._cache.key(self._readers[0])
        used: int = await self._redis.call("MEMORY", "USAGE", key, "SAMPLES", 0)
        return used / CACHED_ENTRIES

    async def measure(self, report: Report, name: str) -> list[list[str]]:
        """Both ways in turns: rows of the table."""
        ways: dict[str, Callable[[], Awaitable[None]]] = {
            "by the rules": self._by_the_rules,
            "ZADD and ZREMRANGEBYRANK alone": self._plainly,
        }
        meters = {way: CpuMeter({"redis": self._pid}) for way in ways}
        for _ in range(ROUNDS):
            for way, work in ways.items():
                with meters[way]:
                    await work()
        rows = []
        deliveries = ROUNDS * TWEETS_A_ROUND * READERS
        for way, meter in meters.items():
            redis_core = deliveries / meter.seconds["redis"]
            rows.append(
                [
                    f"{name}: {way}",
                    f"{deliveries / meter.elapsed_s:,.0f}",
                    f"{redis_core:,.0f}",
                    f"{deliveries / meter.seconds[LOAD]:,.0f}",
                ]
            )
            if way == "by the rules":
                report.figure(
                    f"fan-out, {name}: deliveries a Redis core",
                    redis_core,
                    "/s",
                    at_least=100_000 if name == "default" else None,
                )
        return rows

    async def _by_the_rules(self) -> None:
        for _ in range(TWEETS_A_ROUND):
            self._number += 1
            tweet = _tweet(self._number)
            warm = await self._cache.push(place(tweet, tweet.at_ms), self._readers)
            assert warm == READERS

    async def _plainly(self) -> None:
        for _ in range(TWEETS_A_ROUND):
            self._number += 1
            tweet = _tweet(self._number)
            for start in range(0, READERS, 200):
                commands: list[tuple[str | bytes | int | float, ...]] = []
                for reader in self._readers[start : start + 200]:
                    key = self._cache.key(reader)
                    commands.append(("ZADD", key, tweet.at_ms, tweet.tweet_id))
                    commands.append(("ZREMRANGEBYRANK", key, 0, -CACHED_ENTRIES - 1))
                await self._redis.pipeline(commands)
