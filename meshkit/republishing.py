"""What `python -m <service>.republish FROM_MS TO_MS` of each service shares."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from meshkit.config import MeshConfig
from meshkit.cql import CqlSession
from meshkit.errors import StarlingError
from meshkit.events import EventBus, StreamSpec

AT_ONCE = 32

T = TypeVar("T")
Work = Callable[[CqlSession, EventBus, int, int], Awaitable[None]]


def main(arguments: list[str], streams: list[StreamSpec], work: Work) -> int:
    """Run `work(session, bus, from_ms, to_ms)` on what the environment names; the process's exit code."""
    logging.getLogger("cassandra").setLevel(logging.CRITICAL)
    try:
        from_ms, to_ms = map(int, arguments)
    except ValueError:
        print("usage: republish FROM_MS TO_MS (milliseconds since 1970)", file=sys.stderr)
        return 2

    async def run() -> None:
        config = MeshConfig.from_env()
        session = await CqlSession.open(config)
        bus = await EventBus.open(config, streams)
        try:
            await work(session, bus, from_ms, to_ms)
        finally:
            await bus.close()
            await session.close()

    try:
        asyncio.run(run())
    except StarlingError as error:
        print(f"{error.message} Run it again: what was told already does nothing.", file=sys.stderr)
        return 1
    return 0


async def each(what: str, items: AsyncIterator[T], do: Callable[[T], Awaitable[object]]) -> int:
    """`do` for all items, `AT_ONCE` at a time, each tried again while a store is away; says and gives how
    many there were."""
    started, count = time.monotonic(), 0
    under_way: set[asyncio.Task[None]] = set()
    async for item in items:
        if len(under_way) >= AT_ONCE:
            done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        under_way.add(asyncio.create_task(_patiently(do, item)))
        count += 1
    await asyncio.gather(*under_way)
    print(f"{count:>9,} {what} in {time.monotonic() - started:.1f} s", flush=True)
    return count


async def _patiently(do: Callable[[T], Awaitable[object]], item: T) -> None:
    for pause_s in (0.2, 0.5, 1.0, 2.0, None):
        try:
            await do(item)
        except StarlingError:
            if pause_s is None:
                raise
            await asyncio.sleep(pause_s)
        else:
            return
