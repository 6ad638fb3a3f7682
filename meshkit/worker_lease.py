"""Leases a Snowflake worker id in Cassandra, so that no two processes ever make the same id.

Table `worker_lease` (schema/001_worker_lease.cql), one row a worker id, written by LWT only. A holder
reserves ms ahead (`RESERVE_MS`, renewed each `RENEW_S`) before it may issue them. A new holder takes a
worker id whose reservation has passed, and starts after it: even if clocks differ, both never issue the
same ms. A process that was killed simply leaves its row to expire and takes another of the 1,024.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable
from contextlib import suppress

from meshkit import deadline
from meshkit.background import Background, check_cancelled
from meshkit.cql import CqlSession, Statement
from meshkit.errors import IDS_UNAVAILABLE, OutcomeUnknown, StarlingError
from meshkit.log import get_logger
from meshkit.snowflake import WORKERS, SnowflakeGenerator, wall_clock_ms

RESERVE_MS = 60_000
RENEW_S = 20.0
_RETRY_S = 1.0
_LEAST_PAUSE_S = 0.25

_log = get_logger(__name__)

_ALL = Statement(
    "worker_lease.all",
    "SELECT worker_id, reserved_until_ms FROM worker_lease",
    idempotent=True,
)
_ONE = Statement(
    "worker_lease.one",
    "SELECT holder, reserved_until_ms FROM worker_lease WHERE worker_id = ?",
    idempotent=True,
    serial=True,
)
_INSERT = Statement(
    "worker_lease.insert",
    "INSERT INTO worker_lease (worker_id, holder, reserved_until_ms) VALUES (?, ?, ?) IF NOT EXISTS",
    idempotent=False,
)
_TAKE = Statement(
    "worker_lease.take",
    "UPDATE worker_lease SET holder = ?, reserved_until_ms = ? WHERE worker_id = ?"
    " IF reserved_until_ms = ?",
    idempotent=False,
)
_RENEW = Statement(
    "worker_lease.renew",
    "UPDATE worker_lease SET reserved_until_ms = ? WHERE worker_id = ? IF holder = ?",
    idempotent=False,
)


class WorkerLease:
    """Keeps a `SnowflakeGenerator` supplied with a worker id and reserved time."""

    def __init__(
        self,
        session: CqlSession,
        generator: SnowflakeGenerator,
        instance: str,
        clock_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self._session = session
        self._generator = generator
        # The nonce tells this process from an earlier one of the same name.
        self._holder = f"{instance}/{secrets.token_hex(8)}"
        self._clock_ms = clock_ms
        self._held = asyncio.Event()
        self._wanted = asyncio.Event()
        generator.on_exhausted = self._wanted.set

    def background(self) -> Background:
        """The task that acquires, renews and at the end gives back the lease."""
        return Background("worker_lease", self.run)

    async def wait_held(self) -> None:
        """Return once ids can be made."""
        await self._held.wait()

    async def run(self) -> None:
        """Acquire and renew until cancelled, then give the rest of the reservation back."""
        try:
            while True:
                try:
                    with deadline.within(10.0):
                        await self.renew()
                    pause_s = RENEW_S
                except StarlingError as error:
                    _log.warning("worker id not leased or renewed", error=error.message)
                    pause_s = _RETRY_S
                    # However many calls want ids meanwhile.
                    await asyncio.sleep(_LEAST_PAUSE_S)
                self._wanted.clear()
                check_cancelled()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._wanted.wait()
                # Someone needs ids now, but not more often than this.
                if self._wanted.is_set():
                    await asyncio.sleep(0.05)
        finally:
            with suppress(StarlingError):
                await self.release()

    async def renew(self) -> None:
        """Reserve the next stretch, with a new worker id if there is none or it was lost.

        Raises Unavailable when the store is away or no worker id is free.
        """
        worker = self._generator.worker
        if worker >= 0:
            until_ms = self._reserve_until()
            if await self._applied(_RENEW, (until_ms, worker, self._holder), worker, until_ms):
                self._generator.extend(until_ms)
                return
            _log.warning("worker id was taken over", worker=worker)
            self._generator.revoke()
            self._held.clear()
        await self._acquire()
        self._held.set()

    async def release(self) -> None:
        """Give back what is reserved and not used, so that the worker id is free at once."""
        worker, last_ms = self._generator.worker, self._generator.last_ms
        self._generator.revoke()
        self._held.clear()
        if worker >= 0:
            with deadline.within(2.0):
                await self._session.execute_lwt(_RENEW, (last_ms, worker, self._holder))

    async def _acquire(self) -> None:
        rows = await self._session.execute(_ALL)
        now_ms = self._clock_ms()
        reserved = {int(worker): int(until or 0) for worker, until in rows}
        free = [worker for worker in range(WORKERS) if reserved.get(worker, -1) < now_ms]
        random.shuffle(free)  # processes that start together rarely pick the same
        for worker in free[:8]:
            before_ms = reserved.get(worker)
            until_ms = self._reserve_until()
            if before_ms is None:
                statement, params = _INSERT, (worker, self._holder, until_ms)
            else:
                statement, params = _TAKE, (self._holder, until_ms, worker, before_ms)  # type: ignore[assignment]
            if await self._applied(statement, params, worker, until_ms):
                self._generator.lease(worker, before_ms or 0, until_ms)
                _log.info("worker id leased", worker=worker)
                return
        raise IDS_UNAVAILABLE.error("no worker id is free")

    def _reserve_until(self) -> int:
        return max(self._clock_ms(), self._generator.last_ms) + RESERVE_MS

    async def _applied(
        self, statement: Statement, params: tuple[object, ...], worker: int, until_ms: int
    ) -> bool:
        """Whether the row is ours up to `until_ms`, also when the LWT's own answer was lost."""
        try:
            return (await self._session.execute_lwt(statement, params)).applied
        except OutcomeUnknown:
            row = await self._session.one(_ONE, (worker,))
            return row is not None and (row[0], row[1]) == (self._holder, until_ms)
