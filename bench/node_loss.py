"""`python -m bench.node_loss`: what callers notice when one Cassandra node of three is gone.

On a mesh that `starling up --replicated` started: posts, likes and reads that go to Cassandra come at a
fixed rate whatever becomes of them; after a while one node is killed with -9 (the supervisor starts it
again), or, with `--stop SECONDS`, only stopped for a time: its connections stay, and nobody answers on them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
from collections.abc import Sequence

from bench.crowd import content, crowd
from bench.load import Client, Result, get, post
from bench.mesh import Mesh

FAULT_AFTER_S = 10.0
CONNECTIONS = 120
"""Of each kind of request: so many may wait for an answer at once."""
PEOPLE = 20


async def main(node: str, rate: float, seconds: float, stop_s: float) -> None:
    """Prints a line for each kind of request."""
    mesh = Mesh()
    async with crowd(mesh) as world:
        people = await world.people(PEOPLE)
        now_ms = time.time_ns() // 1_000_000
        liked = await world.tweets(
            people, [now_ms - 60_000 - n for n in range(int(rate * seconds))]
        )
        profiles = [get(f"/v1/users/{each.user_id}", each.token) for each in people]
        posts = [
            post("/v1/tweets", people[n % PEOPLE].token, f'{{"content":"{content(n)}"}}')
            for n in range(int(rate * seconds))
        ]
        likes = [
            post(f"/v1/tweets/{tweet}/like", people[n % PEOPLE].token, "{}")
            for n, tweet in enumerate(liked)
        ]
        tweets = [get(f"/v1/tweets/{tweet}", people[0].token) for tweet in liked[:50]]
        await _warm(mesh, profiles[:5] + likes[:1] + tweets[:5])
        loads = {"posts": posts, "likes": likes[1:], "profiles": profiles, "tweets": tweets}
        fault = asyncio.create_task(_fault(mesh.pids()[node], stop_s))
        results = await asyncio.gather(
            *(_load(mesh, requests, rate, seconds) for requests in loads.values())
        )
        await fault
        for name, result in zip(loads, results, strict=True):
            print(
                f"{name:10}{len(result.latencies_s):6} of which failed {result.failed:4}"
                f"   median {result.percentile_ms(0.5):7.0f} ms   p99 {result.percentile_ms(0.99):7.0f}"
                f"   longest {result.percentile_ms(1):7.0f}"
                f"   over 1 s: {sum(each > 1 for each in result.latencies_s):4}"
                f"   {dict(result.statuses)}"
            )


async def _warm(mesh: Mesh, requests: Sequence[bytes]) -> None:
    async with Client(mesh.port, mesh.tls, 1) as client:
        await client.each(requests)


async def _load(mesh: Mesh, requests: Sequence[bytes], rate: float, seconds: float) -> Result:
    async with Client(mesh.port, mesh.tls, CONNECTIONS) as client:
        return await client.open_loop(requests, rate, seconds)


async def _fault(pid: int, stop_s: float) -> None:
    await asyncio.sleep(FAULT_AFTER_S)
    if not stop_s:
        os.kill(pid, signal.SIGKILL)
        return
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(stop_s)
    finally:
        os.kill(pid, signal.SIGCONT)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.node_loss", description=__doc__)
    parser.add_argument("--node", default="cassandra-2")
    parser.add_argument("--rate", type=float, default=10.0, help="of each kind, a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--stop", type=float, default=0.0, help="stop it so long, do not kill it")
    given = parser.parse_args()
    asyncio.run(main(given.node, given.rate, given.seconds, given.stop))
