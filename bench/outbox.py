"""`python -m bench.outbox`: what a sweep of the outbox costs after a million rows went through.

Rows are written and deleted as services do, but many at a time, into some minutes of a table of their own.
The relay's three sweeps over them are timed, before and after. Uses the Cassandra that the environment names
(CASSANDRA_CONTACT_POINTS).
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import time
from statistics import median
from typing import cast

import stamina

from meshkit import outbox as outbox_module
from meshkit import schema
from meshkit.background import gather_bounded
from meshkit.config import MeshConfig
from meshkit.cql import CqlSession, Item
from meshkit.errors import Unavailable
from meshkit.events import EventBus
from meshkit.outbox import MINUTE_US, Outbox, OutboxRow
from meshkit.relay import GRACE_US, OVERLAP_US, Relay

_ROWS_A_BATCH = 50
_PAYLOAD = b"x" * 150
_PASSES = 7


async def main(rows: int, minutes: int) -> None:
    """Prints the figures."""
    config = MeshConfig.from_env().model_copy(
        update={"cassandra_keyspace": f"bench_{secrets.token_hex(4)}"}
    )
    await asyncio.to_thread(schema.apply, config, found=[])
    session = await CqlSession.open(config)
    try:
        await _tables(session)
        first = time.time_ns() // 1000 // MINUTE_US - minutes - 1
        outbox = Outbox(session, cast(EventBus, None), "bench_outbox")
        await _measure(outbox, first, minutes, "no row has passed")
        started = time.monotonic()
        await _pass_through(outbox, first, minutes, rows)
        print(f"({rows:,} rows written and deleted in {time.monotonic() - started:.0f} s)")
        await _measure(outbox, first, minutes, f"{rows:,} rows have passed")
    finally:
        await session.close()
        await asyncio.to_thread(schema.drop, config)


async def _tables(session: CqlSession) -> None:
    """As the outbox's docstring gives them to services."""
    text = (outbox_module.__doc__ or "").replace("tweet_", "bench_")
    for part in text.split("CREATE TABLE")[1:]:
        lines = [line.split("--")[0] for line in part.split(";")[0].splitlines()]
        await session.ddl("CREATE TABLE" + " ".join(lines))


async def _pass_through(outbox: Outbox, first: int, minutes: int, rows: int) -> None:
    """Write and delete rows, evenly over the minutes."""
    step_us = minutes * MINUTE_US // rows
    partitions: dict[tuple[int, int], list[OutboxRow]] = {}

    async def write(some: list[OutboxRow]) -> None:
        inserts = [outbox.insert(row) for row in some]
        await _patiently(outbox.session, inserts)
        delete = outbox.statements.delete
        deletes: list[Item] = [(delete, (r.shard, r.minute, r.created_us, r.msg_id)) for r in some]
        await _patiently(outbox.session, deletes)

    for minute in range(minutes):
        partitions.clear()
        for number in range(minute * rows // minutes, (minute + 1) * rows // minutes):
            at_us = first * MINUTE_US + number * step_us
            row = OutboxRow("bench", _PAYLOAD, f"tweet.posted:{number}", at_us)
            partitions.setdefault((row.shard, row.minute), []).append(row)
        batches = [
            found[at : at + _ROWS_A_BATCH]
            for found in partitions.values()
            for at in range(0, len(found), _ROWS_A_BATCH)
        ]
        await gather_bounded(12, write, batches)


async def _patiently(session: CqlSession, items: list[Item]) -> None:
    """Written again while the store is too busy: what is written twice is there once."""
    async for attempt in stamina.retry_context(on=Unavailable, attempts=20, timeout=None):
        with attempt:
            await session.batch(items)


async def _measure(outbox: Outbox, first: int, count: int, what: str) -> None:
    relay = Relay(outbox, "bench")
    relay._renew_at = float("inf")  # the lease is not what is measured
    last = first + count - 1
    end_us = (last + 1) * MINUTE_US
    sweeps = {
        "a tick": (range(last, last + 1), end_us - GRACE_US - OVERLAP_US - 1_000_000, end_us),
        "closing a minute": (range(last, last + 1), -1, 1 << 62),
        f"taking over ({count} minutes)": (range(first, last + 1), -1, 1 << 62),
    }
    print(f"{what}:")
    for name, (minutes, since_us, until_us) in sweeps.items():
        took_ms = []
        for _ in range(_PASSES):
            started = time.perf_counter()
            await relay._sweep(minutes, since_us, until_us)
            took_ms.append((time.perf_counter() - started) * 1000)
        print(f"  {name:28}{median(took_ms):8.1f} ms median{max(took_ms):9.1f} ms slowest")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.outbox", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=int, default=10)
    given = parser.parse_args()
    asyncio.run(main(given.rows, given.minutes))
