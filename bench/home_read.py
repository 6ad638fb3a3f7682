"""A home read of 20 tweets against an echo through an edge and a sidecar of the same kind.

Both answer pages of the same size over the same way; what the home read costs more is the timeline itself.
They take turns in short rounds, so that what else the machine does meets both. Then home reads at fixed
rates, and as many as there can be.
"""

from __future__ import annotations

from bench.cpu import CpuMeter
from bench.crowd import Crowd, crowd
from bench.echo_path import echo_path
from bench.load import Client, Result, get
from bench.mesh import Mesh, Person
from bench.report import Report
from meshkit.snowflake import wall_clock_ms

READERS = 100
FOLLOWEES = 12
TWEETS_EACH = 4
ROUNDS = 4
ROUND_S = 4.0
CONNECTIONS = 16
MANY_CONNECTIONS = 64
SATURATION_S = 6.0
OPEN_LOOP_RATES = (100, 250, 500)
OPEN_LOOP_S = 8.0
PATH = ("edge", "timeline_svc.envoy", "timeline_svc")
OPEN_LOOP_COLUMNS = ("due/s", "answered/s", "p50 ms", "p99 ms", "p99.9 ms", "failed")
HOME = "/v1/timeline/home?limit=20"


async def run(report: Report) -> None:
    """Sets up, measures, reports."""
    mesh = Mesh()
    async with crowd(mesh) as world:
        people = await readers(world)
    requests = [get(HOME, person.token) for person in people]
    async with (
        echo_path(mesh) as echo,
        Client(mesh.port, mesh.tls, CONNECTIONS) as home_client,
        Client(echo.port, mesh.tls, CONNECTIONS) as echo_client,
    ):
        await warm(home_client, requests)
        await echo_client.closed_loop(requests, 2.0)
        pids = mesh.pids()
        home_cpu = CpuMeter({name: pids[name] for name in (*PATH, "redis", "zipkin")})
        echo_cpu = CpuMeter({**echo.pids, "zipkin": pids["zipkin"]})
        homes, echos = [], []
        for _ in range(ROUNDS):
            with home_cpu:
                homes.append(await home_client.closed_loop(requests, ROUND_S))
            with echo_cpu:
                echos.append(await echo_client.closed_loop(requests, ROUND_S))
        for each in (*homes, *echos):
            each.only(200)
        _compare(report, homes, echos, home_cpu, echo_cpu)
        async with Client(mesh.port, mesh.tls, MANY_CONNECTIONS) as client:
            await _rates(report, mesh, client, requests)


async def readers(world: Crowd) -> list[Person]:
    """People in a ring who follow the next dozen; each has tweeted, so every feed fills a page."""
    people = await world.people(READERS)
    await world.follow(
        {
            person: [people[(index + step) % READERS] for step in range(1, FOLLOWEES + 1)]
            for index, person in enumerate(people)
        }
    )
    now_ms = wall_clock_ms()
    count = READERS * TWEETS_EACH
    await world.tweets(people, [now_ms - 1000 * (count - number) for number in range(count)])
    return people


async def warm(client: Client, requests: list[bytes]) -> None:
    """Asks for everything once, and then a little longer."""
    (await client.each(requests)).only(200)
    (await client.closed_loop(requests, 2.0)).only(200)


def _compare(
    report: Report,
    homes: list[Result],
    echos: list[Result],
    home_cpu: CpuMeter,
    echo_cpu: CpuMeter,
) -> None:
    home_us = home_cpu.us_each(sum(len(each.latencies_s) for each in homes))
    echo_us = echo_cpu.us_each(sum(len(each.latencies_s) for each in echos))
    home_rate = sum(each.rate for each in homes) / len(homes)
    echo_rate = sum(each.rate for each in echos) / len(echos)
    ratio = home_rate / echo_rate
    rows = [["requests/s", f"{home_rate:.0f}", f"{echo_rate:.0f}", f"{ratio:.2f}"]]
    for name, ours in home_us.items():
        theirs = echo_us.get(name)
        rows.append(
            [
                f"CPU µs a request, {name}",
                f"{ours:.0f}",
                f"{theirs:.0f}" if theirs else "",
                f"{ours / theirs:.2f}" if theirs else "",
            ]
        )
    report.table(
        f"Home read against echo, closed loop, {CONNECTIONS} connections, "
        f"{ROUNDS} rounds of {ROUND_S:.0f} s each",
        ["", "home read", "echo", "ratio"],
        rows,
    )
    report.figure("home read: throughput against the echo", ratio, "", at_least=0.8)


async def _rates(report: Report, mesh: Mesh, client: Client, requests: list[bytes]) -> None:
    rows = []
    for rate in OPEN_LOOP_RATES:
        result = await client.open_loop(requests, rate, OPEN_LOOP_S)
        rows.append(open_loop_row(rate, result))
        if rate == OPEN_LOOP_RATES[-1]:
            name = f"home read at {rate}/s"
            report.figure(f"{name}: p50", result.percentile_ms(0.5), "ms")
            report.figure(f"{name}: p99", result.percentile_ms(0.99), "ms", at_most=15)
    pids = mesh.pids()
    with CpuMeter(pids) as cpu:
        result = await client.closed_loop(requests, SATURATION_S)
    rows.append(open_loop_row("as many as can be", result))
    report.table("Home read, open loop", OPEN_LOOP_COLUMNS, rows)
    report.figure("home read: saturation", result.good_rate, "/s", at_least=2000)
    used = cpu.us_each(len(result.latencies_s))
    report.table(
        "Where the CPU goes at saturation, µs a home read",
        ["process", "µs"],
        [[name, f"{each:.0f}"] for name, each in used.items() if each >= 1],
    )


def open_loop_row(due: object, result: Result) -> list[str]:
    """How a rate went."""
    return [
        str(due),
        f"{result.good_rate:.0f}",
        *(f"{result.percentile_ms(share):.1f}" for share in (0.5, 0.99, 0.999)),
        str(result.failed or ""),
    ]
