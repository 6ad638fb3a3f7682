"""Posts alone: what one costs in every process, and how many a second there can be.

The people and follows of socfb-Reed98; everybody has tweeted before, and nobody's timeline is cached, so that
a post's own work is seen and not that of its pushes. What follows from the posts (counts, events) is waited
for before the CPU is read. Statements are those that tweet_svc and graph_svc counted, for whatever reason.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import urllib.request
from collections import Counter

from bench.cpu import CpuMeter
from bench.crowd import content, crowd
from bench.home_read import OPEN_LOOP_COLUMNS, open_loop_row
from bench.load import Client, Result, post
from bench.mesh import Mesh
from bench.report import Report
from meshkit.snowflake import wall_clock_ms
from stack.demo import graph

TWEETS_EACH = 10
CONNECTIONS = 32
RATE = 60
"""What the mix has of them at 600 requests a second."""
SECONDS = 10.0
SETTLE_S = 1.5
"""Until counts rest and outbox rows are gone; the relays' ticks are in the figures, too."""

_SERVICES = ("tweet_svc", "graph_svc")
_STATEMENT = re.compile(r'^starling_cql_seconds_count\{statement="([^"]+)"\} (\S+)$', re.MULTILINE)


async def run(report: Report) -> None:
    """Sets up, measures, reports."""
    mesh = Mesh()
    followees = graph.followees(graph.read(graph.REED98))
    async with crowd(mesh) as world:
        report.say(f"{len(followees)} people of Reed98 and {TWEETS_EACH} tweets of each ...")
        people = await world.people(len(followees))
        by_number = dict(zip(followees, people, strict=True))
        await world.follow(
            {
                by_number[number]: [by_number[friend] for friend in friends]
                for number, friends in followees.items()
            }
        )
        now_ms, count = wall_clock_ms(), TWEETS_EACH * len(people)
        await world.tweets(people, [now_ms - 1000 * (count - number) for number in range(count)])
    draw = random.Random(1)

    def posts(count: int) -> list[bytes]:
        return [
            post("/v1/tweets", draw.choice(people).token, json.dumps({"content": content(number)}))
            for number in range(count)
        ]

    meters: list[tuple[str, CpuMeter, Result, Counter[str]]] = []
    async with Client(mesh.port, mesh.tls, CONNECTIONS) as client:
        (await client.closed_loop(posts(4000), 4.0)).only(200)
        await asyncio.sleep(SETTLE_S)
        before = await _statements(mesh)
        with CpuMeter(mesh.pids()) as cpu:
            paced = await client.open_loop(posts(int(RATE * SECONDS)), RATE, SECONDS)
            await asyncio.sleep(SETTLE_S)
        after = await _statements(mesh)
        meters.append((f"{RATE}/s", cpu, paced, after - before))
        with CpuMeter(mesh.pids()) as cpu:
            most = await client.closed_loop(posts(int(500 * SECONDS)), SECONDS)
            await asyncio.sleep(SETTLE_S)
        meters.append(("as many as can be", cpu, most, await _statements(mesh) - after))
    report.figure("posts: saturation", most.good_rate, "/s")
    report.figure(f"posts at {RATE}/s: p50", paced.percentile_ms(0.5), "ms")
    report.table(
        "Posts",
        OPEN_LOOP_COLUMNS,
        [open_loop_row(RATE, paced), open_loop_row("as many as can be", most)],
        f"As many as can be: a closed loop of {CONNECTIONS} connections.",
    )
    each = [cpu.us_each(len(result.latencies_s)) for _, cpu, result, _ in meters]
    report.table(
        "CPU µs a post",
        ["process", *(name for name, _, _, _ in meters)],
        [
            *(
                [name, *(f"{column[name]:.0f}" for column in each)]
                for name in each[0]
                if each[0][name] >= 10
            ),
            ["sum", *(f"{sum(column.values()):.0f}" for column in each)],
        ],
    )
    names = sorted({name for _, _, _, found in meters for name in found})
    report.table(
        "Statements a post",
        ["statement", *(name for name, _, _, _ in meters)],
        [
            [name, *(f"{n[name] / len(result.latencies_s):.2f}" for _, _, result, n in meters)]
            for name in names
            if meters[0][3][name] >= 0.02 * len(paced.latencies_s)
        ],
    )


async def _statements(mesh: Mesh) -> Counter[str]:
    """How often each statement has run so far."""
    found: Counter[str] = Counter()
    for service in _SERVICES:
        text = await asyncio.to_thread(_text, mesh.address(service, "metrics"))
        found.update({name: int(float(count)) for name, count in _STATEMENT.findall(text)})
    return found


def _text(address: str) -> str:
    with urllib.request.urlopen(address, timeout=5) as answer:
        return str(answer.read().decode())
