"""A home read of 20 tweets against an echo through an edge and a sidecar of the same kind.

Both answer pages of the same size over the same way; what the home read costs more is the timeline itself.
They take turns in short rounds, so that what else the machine does meets both.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time

import httpx
from rich.console import Console
from rich.table import Table

from bench.echo_path import echo_path
from bench.load import Client, Result, get
from bench.mesh import Mesh, Person, cpu_seconds, cpu_us_each, expect, people

READERS = 30
AUTHORS_EACH = 12
TWEETS_EACH = 4
ROUNDS = 4
ROUND_S = 5.0
CONNECTIONS = 16
OPEN_LOOP_RATES = (100, 250, 500)
PATH = ("edge", "timeline_svc.envoy", "timeline_svc")


async def run(console: Console) -> None:
    """Sets up, measures, prints."""
    mesh = Mesh()
    async with mesh.client() as client:
        console.print(
            f"{READERS} people who follow {AUTHORS_EACH} each and tweet {TWEETS_EACH} times"
        )
        crowd = await people(client, READERS)
        await _befriend(client, crowd)
        await _tweet(client, crowd)
        await _warm(client, crowd)
    requests = [get("/v1/timeline/home?limit=20", person.token) for person in crowd]
    pids = mesh.pids()
    home_pids = {name: pids[name] for name in (*PATH, "redis")}
    async with (
        echo_path(mesh) as echo,
        Client(mesh.port, mesh.tls, CONNECTIONS) as home_client,
        Client(echo.port, mesh.tls, CONNECTIONS) as echo_client,
    ):
        homes, echos = [], []
        home_cpu, echo_cpu = dict.fromkeys(home_pids, 0.0), dict.fromkeys(echo.pids, 0.0)
        await home_client.closed_loop(requests, 2.0)
        await echo_client.closed_loop(requests, 2.0)
        for _ in range(ROUNDS):
            before = cpu_seconds(home_pids)
            homes.append(await home_client.closed_loop(requests, ROUND_S))
            _add(home_cpu, before, cpu_seconds(home_pids))
            before = cpu_seconds(echo.pids)
            echos.append(await echo_client.closed_loop(requests, ROUND_S))
            _add(echo_cpu, before, cpu_seconds(echo.pids))
        _report(console, homes, echos, home_cpu, echo_cpu)
        await _latencies(console, home_client, requests)


def _add(total: dict[str, float], before: dict[str, float], after: dict[str, float]) -> None:
    for name in total:
        total[name] += after[name] - before[name]


def _report(
    console: Console,
    homes: list[Result],
    echos: list[Result],
    home_cpu: dict[str, float],
    echo_cpu: dict[str, float],
) -> None:
    home_requests = sum(len(each.latencies_s) for each in homes)
    echo_requests = sum(len(each.latencies_s) for each in echos)
    none = dict.fromkeys(home_cpu, 0.0)
    home_us = cpu_us_each(none, home_cpu, home_requests)
    echo_us = cpu_us_each(dict.fromkeys(echo_cpu, 0.0), echo_cpu, echo_requests)
    table = Table("", "home read", "echo", "ratio", title=f"Closed loop, {CONNECTIONS} connections")
    home_rate = sum(each.rate for each in homes) / len(homes)
    echo_rate = sum(each.rate for each in echos) / len(echos)
    table.add_row(
        "requests/s", f"{home_rate:.0f}", f"{echo_rate:.0f}", f"{home_rate / echo_rate:.2f}"
    )
    for name in home_us:
        ours, theirs = home_us[name], echo_us.get(name)
        ratio = f"{ours / theirs:.2f}" if theirs else ""
        table.add_row(
            f"CPU µs a request, {name}", f"{ours:.0f}", f"{theirs:.0f}" if theirs else "", ratio
        )
    console.print(table)
    bad = sum((each.statuses for each in homes + echos), start=type(homes[0].statuses)())
    if set(bad) != {200}:
        raise SystemExit(f"not only 200 came back: {dict(bad)}")


async def _latencies(console: Console, client: Client, requests: list[bytes]) -> None:
    table = Table("due/s", "answered/s", "p50 ms", "p99 ms", title="Home read, open loop")
    for rate in OPEN_LOOP_RATES:
        result = await client.open_loop(requests, rate, ROUND_S)
        table.add_row(
            str(rate),
            f"{result.rate:.0f}",
            f"{result.percentile_ms(0.5):.1f}",
            f"{result.percentile_ms(0.99):.1f}",
        )
    console.print(table)


async def _befriend(client: httpx.AsyncClient, crowd: list[Person]) -> None:
    for index, person in enumerate(crowd):
        for step in range(1, AUTHORS_EACH + 1):
            other = crowd[(index + step) % len(crowd)]
            await expect(
                await client.post(f"/v1/users/{other.user_id}/follow", headers=_bearer(person))
            )


async def _tweet(client: httpx.AsyncClient, crowd: list[Person]) -> None:
    for number in range(TWEETS_EACH):
        for person in crowd:
            body = json.dumps({"content": f"{number:04d} {secrets.token_hex(4)} " + "x" * 66})
            await expect(await client.post("/v1/tweets", content=body, headers=_bearer(person)))


async def _warm(client: httpx.AsyncClient, crowd: list[Person]) -> None:
    """Read until every timeline is whole."""
    wanted = (AUTHORS_EACH + 1) * TWEETS_EACH
    end = time.monotonic() + 30
    for person in crowd:
        while True:
            answer = await expect(
                await client.get("/v1/timeline/home?limit=100", headers=_bearer(person))
            )
            tweets = answer["tweets"]
            assert isinstance(tweets, list)
            if len(tweets) == wanted:
                break
            if time.monotonic() > end:
                raise SystemExit(f"{len(tweets)} tweets in a feed that has {wanted}")
            await asyncio.sleep(0.05)


def _bearer(person: Person) -> dict[str, str]:
    return {"authorization": f"Bearer {person.token}", "content-type": "application/json"}
