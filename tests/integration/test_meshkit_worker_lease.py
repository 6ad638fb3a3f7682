"""Worker ids on a real Cassandra: never two holders, fast, given back, taken over safely."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from meshkit import worker_lease
from meshkit.background import cancel_all
from meshkit.cql import CqlSession, Statement
from meshkit.errors import Unavailable
from meshkit.snowflake import SnowflakeGenerator, wall_clock_ms
from meshkit.worker_lease import RESERVE_MS, WorkerLease
from tests.conftest import until

ROWS = Statement(
    "test.leases", "SELECT worker_id, holder, reserved_until_ms FROM worker_lease", idempotent=True
)


@pytest_asyncio.fixture(autouse=True)
async def empty(session: CqlSession) -> AsyncIterator[None]:
    await session.ddl("TRUNCATE worker_lease")
    yield


async def test_many_processes_never_share_ids(session: CqlSession) -> None:
    generators = [SnowflakeGenerator() for _ in range(30)]
    leases = [WorkerLease(session, ids, f"p-{n}") for n, ids in enumerate(generators)]
    await asyncio.gather(*(lease.renew() for lease in leases))
    assert len({ids.worker for ids in generators}) == 30
    made = [ids.next_id() for _ in range(2_000) for ids in generators]
    assert len(set(made)) == len(made)
    await asyncio.gather(*(lease.renew() for lease in leases))
    assert len({ids.worker for ids in generators}) == 30


async def test_when_few_are_free_they_are_fought_for_safely(
    session: CqlSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_lease, "WORKERS", 4)
    generators = [SnowflakeGenerator() for _ in range(8)]
    leases = [WorkerLease(session, ids, f"p-{n}") for n, ids in enumerate(generators)]
    results = await asyncio.gather(*(each.renew() for each in leases), return_exceptions=True)
    held = [ids.worker for ids in generators if ids.worker >= 0]
    assert sorted(held) == [0, 1, 2, 3]
    assert sum(isinstance(result, Unavailable) for result in results) == 4
    await asyncio.gather(*(each.release() for each in leases))
    await asyncio.gather(*(each.renew() for each in leases[4:]))
    assert sorted(ids.worker for ids in generators[4:]) == [0, 1, 2, 3]


async def test_the_next_holder_starts_past_the_reservation(
    session: CqlSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_lease, "WORKERS", 1)
    killed = SnowflakeGenerator()
    await WorkerLease(session, killed, "p").renew()
    last = killed.next_id()
    # Its clock is an hour behind; the other's is past the reservation.
    later = SnowflakeGenerator(lambda: wall_clock_ms() - 3_600_000)
    lease = WorkerLease(session, later, "p", lambda: wall_clock_ms() + RESERVE_MS + 1_000)
    await lease.renew()
    first = later.next_id()
    assert later.worker == killed.worker == 0
    assert first > last
    assert (first >> 22) > (last >> 22) + RESERVE_MS - 5_000
    # The killed one comes back from a long stop: its lease is gone, and it finds out.
    with pytest.raises(Unavailable):
        await WorkerLease.renew(_as_holder(session, killed))
    assert killed.worker == -1


def _as_holder(session: CqlSession, ids: SnowflakeGenerator) -> WorkerLease:
    return WorkerLease(session, ids, "p")


async def test_the_background_task_holds_renews_and_gives_back(session: CqlSession) -> None:
    ids = SnowflakeGenerator()
    lease = WorkerLease(session, ids, "p")
    started = time.monotonic()
    task = asyncio.create_task(lease.background().run())
    await lease.wait_held()
    assert time.monotonic() - started < 20
    made = ids.next_id()
    # A clock that jumps past the reservation wakes it at once.
    ids._clock_ms = lambda: wall_clock_ms() + RESERVE_MS + 5_000
    lease._clock_ms = ids._clock_ms
    with pytest.raises(Unavailable):
        ids.next_id()

    def again() -> bool:
        try:
            return ids.next_id() > made
        except Unavailable:
            return False

    await until(again, 20, "a longer reservation")
    last_ms = ids.last_ms
    await cancel_all([task])
    ((_, _, reserved_ms),) = await session.execute(ROWS)
    assert reserved_ms == last_ms
    with pytest.raises(Unavailable):
        ids.next_id()
