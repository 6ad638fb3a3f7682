"""DeathStarBench's mix on its graph: 60 of 100 read their home timeline, 30 a user's, 10 post.

socfb-Reed98, where everybody has tweeted before, and all timelines have been read once; who asks and whose
timeline is asked for are drawn evenly from all 962, pages have ten tweets, and requests come at random
(exponential pauses), whatever the answers do.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from itertools import pairwise

from bench.cpu import CpuMeter
from bench.crowd import content, crowd
from bench.home_read import OPEN_LOOP_COLUMNS, open_loop_row
from bench.load import Client, get, post
from bench.mesh import Mesh, Person
from bench.report import Report
from meshkit.snowflake import wall_clock_ms
from stack.demo import graph

TWEETS_EACH = 10
CONNECTIONS = 64
RATES = (150, 300, 600)
RATE_S = 8.0
SATURATION_S = 8.0
GOAL_RATE = 1200


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
    async with Client(mesh.port, mesh.tls, CONNECTIONS) as client:
        report.say("All home timelines and user timelines are read once ...")
        (await client.each([get(_HOME, person.token) for person in people])).only(200)
        reads = [
            get(_tweets_of(each), reader.token) for each, reader in pairwise([*people, people[0]])
        ]
        (await client.each(reads)).only(200)
        await client.closed_loop(_requests(people, 4000), 2.0)
        rows = []
        for rate in RATES:
            requests = _requests(people, int(rate * RATE_S))
            result = await client.open_loop(requests, rate, RATE_S, at_random=True)
            rows.append(open_loop_row(rate, result))
        report.figure(
            f"DeathStarBench's mix at {RATES[-1]}/s: p50", result.percentile_ms(0.5), "ms"
        )
        report.figure(
            f"DeathStarBench's mix at {RATES[-1]}/s: p99",
            result.percentile_ms(0.99),
            "ms",
            at_most=50,
        )
        requests = _requests(people, int(2 * GOAL_RATE * SATURATION_S))
        with CpuMeter(mesh.pids()) as cpu:
            result = await client.closed_loop(requests, SATURATION_S)
        rows.append(open_loop_row("as many as can be", result))
        report.figure(
            "DeathStarBench's mix: saturation", result.good_rate, "/s", at_least=GOAL_RATE
        )
    report.table(
        "DeathStarBench's mix on socfb-Reed98, open loop",
        OPEN_LOOP_COLUMNS,
        rows,
        "As many as can be: a closed loop of 64 connections.",
    )
    report.table(
        "Where the CPU goes at saturation, µs a request of the mix",
        ["process", "µs"],
        [
            [name, f"{each:.0f}"]
            for name, each in cpu.us_each(len(result.latencies_s)).items()
            if each >= 1
        ],
    )


_HOME = "/v1/timeline/home?limit=10"


def _requests(people: Sequence[Person], count: int) -> list[bytes]:
    draw = random.Random(count)
    return [_request(draw, people, number) for number in range(count)]


def _tweets_of(person: Person) -> str:
    return f"/v1/users/{person.user_id}/tweets?limit=10"


def _request(draw: random.Random, people: Sequence[Person], number: int) -> bytes:
    who, kind = draw.choice(people), draw.random()
    if kind < 0.6:
        return get(_HOME, who.token)
    if kind < 0.9:
        return get(_tweets_of(draw.choice(people)), who.token)
    return post("/v1/tweets", who.token, json.dumps({"content": content(number)}))
