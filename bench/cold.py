"""A home read whose timeline is not cached, by how many people the reader follows.

`dropped`: the timeline alone is gone, as after an hour or a follow; the authors' newest activity and the
tweets are cached. `flushed`: Redis has lost everything, so all comes from Cassandra. One read after the
other.
"""

from __future__ import annotations

from bench.cached import LEASE_S
from bench.crowd import crowd
from bench.load import Client, Result, get
from bench.mesh import Mesh
from bench.report import Report
from meshkit.redis import Redis
from meshkit.snowflake import wall_clock_ms
from timeline_svc.config import TimelineConfig
from timeline_svc.timeline_cache import TimelineCache

CASES = (
    # followees, tweets of each, readers, reads with the timeline dropped, reads after a flush, p99 goal in ms
    (50, 20, 10, 100, 50, 50),
    (5000, 2, 2, 16, 6, 500),
)
HOME = "/v1/timeline/home?limit=20"


async def run(report: Report) -> None:
    """Sets up, measures, reports."""
    mesh = Mesh()
    redis = Redis(mesh.address("redis", "redis"), timeout_s=10)
    await redis.connect()
    ttl_s = TimelineConfig.from_env().timeline_ttl_s
    cache = TimelineCache(redis, "", ttl_s=ttl_s, rebuild_lease_s=LEASE_S)
    rows = []
    try:
        async with crowd(mesh) as world, Client(mesh.port, mesh.tls, 1) as client:
            for followees, tweets, count, dropped_reads, flushed_reads, goal_ms in CASES:
                report.say(
                    f"Readers who follow {followees:,} authors with {tweets} tweets each ..."
                )
                readers = await world.people(count)
                authors = await world.people(followees)
                await world.follow(dict.fromkeys(readers, authors))
                now_ms, total = wall_clock_ms(), followees * tweets
                await world.tweets(authors, [now_ms - 500 * (total - n) for n in range(total)])
                requests = [get(HOME, reader.token) for reader in readers]
                (await client.each(requests)).only(200)

                dropped, flushed = Result(), Result()
                for turn in range(dropped_reads):
                    await cache.invalidate(readers[turn % count].user_id)
                    dropped.add(await client.each([requests[turn % count]]))
                for turn in range(flushed_reads):
                    await redis.call("FLUSHDB")
                    flushed.add(await client.each([requests[turn % count]]))
                warm = Result()
                for _ in range(20):
                    warm.add(await client.each([requests[(flushed_reads - 1) % count]]))
                for name, result in (("cached", warm), ("dropped", dropped), ("flushed", flushed)):
                    result.only(200)
                    rows.append(
                        [
                            f"{followees:,} followees, {name}",
                            str(len(result.latencies_s)),
                            *(f"{result.percentile_ms(share):.0f}" for share in (0.5, 0.99)),
                        ]
                    )
                report.figure(
                    f"cold home read, {followees:,} followees, their activity cached: p99",
                    dropped.percentile_ms(0.99),
                    "ms",
                    at_most=goal_ms,
                )
                report.figure(
                    f"cold home read, {followees:,} followees, nothing cached: p99",
                    flushed.percentile_ms(0.99),
                    "ms",
                    at_most=goal_ms,
                )
    finally:
        await redis.close()
    report.table(
        "Home read by what is cached",
        ["", "reads", "p50 ms", "p99 ms"],
        rows,
        "Dropped: the timeline alone. Flushed: all of Redis.",
    )
