"""The most popular tweets of a reader's feed: latency and CPU by how much the feed holds.

Readers who follow fifty authors whose tweets are spread over the last two days. Requests come one after the
other, so a latency is what one reader waits for while nobody else asks.
"""

from __future__ import annotations

from bench.cpu import CpuMeter
from bench.crowd import crowd
from bench.load import Client, get
from bench.mesh import Mesh
from bench.report import Report
from meshkit.snowflake import wall_clock_ms

FEEDS = (100, 1000, 5000)
AUTHORS = 50
SECONDS = 3.0
SPAN_MS = 47 * 3600 * 1000
PROCESSES = ("timeline_svc", "tweet_svc", "graph_svc", "redis", "cassandra")
PATHS = {
    "home": "/v1/timeline/home?limit=20",
    "popular k=10": "/v1/timeline/popular?k=10",
    "home top_k=10": "/v1/timeline/home?limit=20&top_k=10",
}


async def run(report: Report) -> None:
    """Sets up, measures, reports."""
    mesh = Mesh()
    pids = {name: pid for name, pid in mesh.pids().items() if name in PROCESSES}
    rows = []
    async with crowd(mesh) as world, Client(mesh.port, mesh.tls, 1) as client:
        for size in FEEDS:
            report.say(f"A feed of {size} tweets by {AUTHORS} authors ...")
            reader, *authors = await world.people(1 + AUTHORS)
            await world.follow({reader: authors})
            now_ms = wall_clock_ms()
            times = [now_ms - SPAN_MS * (size - number) // size for number in range(size)]
            await world.tweets(authors, times)
            for name, path in PATHS.items():
                requests = [get(path, reader.token)]
                await client.closed_loop(requests, 0.5)
                with CpuMeter(pids) as meter:
                    result = await client.closed_loop(requests, SECONDS)
                result.only(200)
                cpu = meter.us_each(len(result.latencies_s))
                rows.append(
                    [
                        f"{size} tweets, {name}",
                        f"{result.percentile_ms(0.5):.1f}",
                        f"{result.percentile_ms(0.99):.1f}",
                        *(f"{cpu[each] / 1000:.1f}" for each in PROCESSES),
                    ]
                )
                if name.startswith("popular"):
                    report.figure(f"popular, feed of {size}: p50", result.percentile_ms(0.5), "ms")
    report.table(
        "Most popular tweets, one request after the other",
        ["", "p50 ms", "p99 ms", *(f"CPU ms, {each}" for each in PROCESSES)],
        rows,
    )
