"""From sending a post to seeing it in a follower's home timeline, over REST.

Authors with ten, a thousand and ten thousand followers, all of whose timelines are cached; and one whose
followers count makes a celebrity, so that readers merge. A sample of the followers ask for their newest
tweet all the time until it is the one just posted: drawn at random, and the two who come first and last in
the order of the fan-out. Then a burst of posts to ten thousand, for what a delivery costs from end to end.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from bench.cached import LEASE_S, install
from bench.cpu import CpuMeter
from bench.crowd import Crowd, content, crowd
from bench.load import BenchmarkError, Client, Result, get, post
from bench.mesh import Mesh, Person
from bench.report import Report
from meshkit.background import gather_bounded
from meshkit.redis import Redis
from timeline_svc.config import TimelineConfig
from timeline_svc.timeline_cache import TimelineCache

FOLLOWERS = (10, 1000, 10_000)
CELEBRITY = 2_000_000
SAMPLE = 6
POSTS = 30
BURST = 10
ASK_AGAIN_S = 0.004
GIVE_UP_S = 20.0
NEWEST = "/v1/timeline/home?limit=1"


@dataclass
class _Stage:
    """An author, all followers in the order of their follows, and what measures them."""

    mesh: Mesh
    world: Crowd
    cache: TimelineCache
    author: Person
    followers: Sequence[Person]

    async def prepare(self) -> None:
        """Everybody's timeline is cached, and empty."""
        await self.world.follow({follower: [self.author] for follower in self.followers})
        readers = [follower.user_id for follower in self.followers]
        await install(self.cache, readers, [self.author.user_id], complete=True)
        await install(self.cache, [self.author.user_id], [], complete=True)

    def sample(self) -> list[Person]:
        """The first and the last to follow, and others."""
        others = random.Random(7).sample(self.followers[1:-1], SAMPLE - 2)
        return [self.followers[0], *others, self.followers[-1]]


async def run(report: Report) -> None:
    """Sets up, measures, reports."""
    mesh = Mesh()
    redis = Redis(mesh.address("redis", "redis"), timeout_s=10)
    await redis.connect()
    config = TimelineConfig.from_env()
    cache = TimelineCache(redis, "", ttl_s=config.timeline_ttl_s, rebuild_lease_s=LEASE_S)
    rows = []
    try:
        async with (
            crowd(mesh) as world,
            Client(mesh.port, mesh.tls, SAMPLE) as readers,
            Client(mesh.port, mesh.tls, 1) as writer,
        ):
            everybody = await world.people(max(FOLLOWERS))
            report.say(f"{len(everybody)} followers with cached timelines ...")
            stage: _Stage | None = None
            for count in FOLLOWERS:
                (author,) = await world.people(1)
                stage = _Stage(mesh, world, cache, author, everybody[:count])
                await stage.prepare()
                result = await _posts(stage, readers, writer)
                name = f"{count:,} followers"
                rows.append(_row(name, result))
                report.figure(f"post → visible, {name}: p50", result.percentile_ms(0.5), "ms")
                report.figure(
                    f"post → visible, {name}: p99", result.percentile_ms(0.99), "ms", at_most=250
                )
            assert stage is not None
            await _burst(report, stage, readers, writer)
            await world.count_followers(stage.author, CELEBRITY)
            result = await _posts(stage, readers, writer)
            rows.append(_row("a celebrity", result))
            report.figure(
                "post → visible, a celebrity: p99", result.percentile_ms(0.99), "ms", at_most=1000
            )
    finally:
        await redis.close()
    report.table(
        f"From post to visible, {POSTS} posts, each seen by {SAMPLE} followers",
        ["author with", "p50 ms", "p99 ms", "longest ms"],
        rows,
        "From sending the post to the arrival of an answer with it, the last follower's included.",
    )


def _row(name: str, result: Result) -> list[str]:
    return [name, *(f"{result.percentile_ms(share):.0f}" for share in (0.5, 0.99, 1.0))]


async def _posts(stage: _Stage, readers: Client, writer: Client) -> Result:
    """Posts one by one; how long each of the sample waited for each."""
    sample = stage.sample()
    for number, reader in enumerate(sample):
        await readers.answer(number, get(NEWEST, reader.token))
    result = Result()
    for number in range(POSTS):
        await _post_and_see(stage, readers, writer, sample, number, result)
    return result


async def _post_and_see(
    stage: _Stage,
    readers: Client,
    writer: Client,
    sample: Sequence[Person],
    number: int,
    result: Result,
) -> None:
    text = content(number)
    started = time.perf_counter()

    async def write() -> None:
        await writer.answer(0, _post(stage.author, text))

    async def see(index: int, reader: Person) -> None:
        request, wanted = get(NEWEST, reader.token), text.encode()
        while wanted not in await readers.answer(index, request):
            if time.perf_counter() - started > GIVE_UP_S:
                raise BenchmarkError(f"a follower did not see a tweet within {GIVE_UP_S:.0f} s")
            await asyncio.sleep(ASK_AGAIN_S)
        result.latencies_s.append(time.perf_counter() - started)

    work: list[Callable[[], Awaitable[None]]] = [
        write,
        *(partial(see, index, reader) for index, reader in enumerate(sample)),
    ]
    await gather_bounded(len(work), lambda each: each(), work)


def _post(author: Person, text: str) -> bytes:
    return post("/v1/tweets", author.token, json.dumps({"content": text}))


async def _burst(report: Report, stage: _Stage, readers: Client, writer: Client) -> None:
    """Posts as fast as they are answered; until the last follower has the last of them."""
    pids = stage.mesh.pids()
    names = ("fanout", "fanout.envoy", "redis", "graph_svc", "cassandra", "nats")
    deliveries = BURST * len(stage.followers)
    last = stage.followers[0]  # the newest follow comes first
    with CpuMeter({name: pids[name] for name in names}) as cpu:
        texts = [content(number) for number in range(BURST)]
        for text in texts:
            await writer.answer(0, _post(stage.author, text))
        request = get("/v1/timeline/home?limit=20", last.token)
        end = time.perf_counter() + GIVE_UP_S
        unseen = set(texts)
        while True:
            seen = await readers.answer(0, request)
            unseen = {text for text in unseen if text.encode() not in seen}
            if not unseen:
                break
            if time.perf_counter() > end:
                raise BenchmarkError("a burst of posts did not reach the last follower")
            await asyncio.sleep(0.02)
    each = cpu.us_each(deliveries)
    rows = [
        [
            name,
            f"{each[name]:.1f}",
            f"{deliveries / cpu.seconds[name]:,.0f}" if cpu.seconds[name] else "",
        ]
        for name in each
        if name in names
    ]
    report.table(
        f"Fan-out from end to end: {BURST} posts to {len(stage.followers):,} cached timelines",
        ["process", "CPU µs a delivery", "deliveries a second of its CPU"],
        rows,
    )
    report.figure("fan-out, from end to end", deliveries / cpu.elapsed_s, "deliveries/s")
    if cpu.seconds["fanout"]:
        report.figure(
            "fan-out, from end to end: a worker core", deliveries / cpu.seconds["fanout"], "/s"
        )
