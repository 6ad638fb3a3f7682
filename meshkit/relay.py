"""The outbox relay: publishes what was written but not published, whatever crashed in between.

One relay a table works at a time, by a lease of `LEASE_S`; two at once would be harmless, only wasteful.
A tick reads the rows between the last tick (less `OVERLAP_US`, for writes that land late; for a while after a
failure `HELD_OVERLAP_US`) and 2 s ago, so it never walks over the tombstones of what went through before. A
minute's partitions are read once more when the minute is over, and finally when it is `LATE_MINUTES` old,
for writes that a store carries out late; only then does the persistent watermark pass it. After a restart the
relay begins at the watermark.

The row is written before the change, and whoever wrote it may have died in between. So an outbox may be given
`restore`, which the relay calls before it publishes a row: it writes the change again, at the change's own
time.

A row that fails does not hold up those behind it. One that a store did not take is due at the next tick; one
that this code cannot handle (of a newer version, say) is left where it is, and the persistent watermark does
not pass its minute, so the next relay to lead, after the next release if need be, finds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from prometheus_client import Counter

from meshkit import deadline
from meshkit.background import Background, check_cancelled, gather_bounded
from meshkit.errors import OutcomeUnknown, StarlingError
from meshkit.log import get_logger
from meshkit.outbox import MINUTE_US, SHARDS, SWEEP_ROWS, Outbox, OutboxRow

LEASE_S = 10
RENEW_S = 4.0
TICK_S = 1.0
GRACE_US = 2_000_000
"""Younger rows are left to the inline publish."""
OVERLAP_US = 3_000_000
HELD_OVERLAP_US = 30_000_000
"""The same for HOLD_S after any failure: a store that hung carries out late what it was told before."""
LATE_MINUTES = 10
HOLD_S = 120.0
"""After any failure no minute is closed for this long: a store may carry out late what it was told."""
FIRST_MINUTES = 15
"""How far the very first relay of a table looks back."""
SLICE_US = 15_000_000
"""A minute is read in slices: what was published in it are tombstones, and a read passes over few."""
FAILURES = 16
"""Rows that fail before a sweep gives up: then it is the store or JetStream, and not these rows."""

_log = get_logger(__name__)
_RELAYED = Counter("starling_outbox_relayed", "Events published by the relay", ["table"])
_STUCK = Counter("starling_outbox_stuck", "Rows that the relay could not handle", ["table"])


class Relay:
    """Sweeps one outbox, in whichever process holds the lease."""

    def __init__(
        self,
        outbox: Outbox,
        instance: str,
        *,
        restore: Callable[[OutboxRow], Awaitable[None]] | None = None,
        tick_s: float = TICK_S,
        concurrency: int = 32,
    ) -> None:
        self._outbox = outbox
        self._restore = restore
        self._instance = instance
        self._tick_s = tick_s
        self._concurrency = concurrency
        self._leased_until = 0.0
        self._renew_at = 0.0
        self._hold_until = 0.0
        self._cursor_us = 0
        self._closed_minute = 0
        self._final_minute = 0
        self._stuck_minute: int | None = None
        self._relayed = _RELAYED.labels(outbox.statements.table)

    def background(self) -> Background:
        """The task that relays until the process stops."""
        return Background(f"relay.{self._outbox.statements.table}", self.run)

    @property
    def leading(self) -> bool:
        """Whether this relay holds the lease."""
        return asyncio.get_running_loop().time() < self._leased_until

    async def run(self) -> None:
        """Relay until cancelled, then give the lease back."""
        loop = asyncio.get_running_loop()
        failures = 0
        self._cursor_us = 0
        try:
            while True:
                check_cancelled()
                try:
                    if loop.time() >= self._renew_at:
                        await self._lease()
                    if self.leading:
                        await self._sweep_due()
                    failures = 0
                except StarlingError as error:
                    failures += 1
                    self._hold_until = loop.time() + HOLD_S
                    if failures == 1:
                        _log.warning("relay cannot work just now", error=error.message)
                await asyncio.sleep(min(self._tick_s * 2 ** min(failures, 2), 4.0))
        finally:
            if self.leading:
                with suppress(StarlingError), deadline.within(2.0):
                    await self._outbox.session.execute_lwt(
                        self._outbox.statements.release, (self._instance,)
                    )
            self._leased_until = self._renew_at = 0.0

    async def _lease(self) -> None:
        """Keep or take the lease. An instance of the same name takes it over at once."""
        loop = asyncio.get_running_loop()
        session, statements = self._outbox.session, self._outbox.statements
        asked_at = loop.time()
        mine = (LEASE_S, self._instance, self._instance)
        self._renew_at = asked_at + RENEW_S
        try:
            applied = (await session.execute_lwt(statements.keep, mine)).applied
            if not applied:
                applied = (
                    await session.execute_lwt(statements.take, (self._instance, LEASE_S))
                ).applied
        except OutcomeUnknown:
            # If it was applied, the next try, soon, finds the row to be ours.
            self._renew_at = asked_at + 0.5
            return
        if applied and not self.leading:
            # Who does not know where to begin does not lead: it would begin with the year 1970.
            self._renew_at = asked_at + 0.5
            await self._begin()
            self._renew_at = asked_at + RENEW_S
        self._leased_until = asked_at + LEASE_S if applied else 0.0

    async def _begin(self) -> None:
        """Take up where the last relay's watermark stands."""
        now_minute = self._outbox.clock_us() // MINUTE_US
        row = await self._outbox.session.one(self._outbox.statements.progress)
        swept = int(row[0]) if row else now_minute - FIRST_MINUTES
        self._final_minute = min(swept, now_minute - LATE_MINUTES)
        self._stuck_minute = None
        self._closed_minute = self._final_minute
        self._cursor_us = (self._closed_minute + 1) * MINUTE_US - 1
        self._hold_until = asyncio.get_running_loop().time() + HOLD_S
        _log.info("relay leads", table=self._outbox.statements.table, since_minute=swept)

    async def _sweep_due(self) -> None:
        """One tick: fresh rows, then minutes that are over, then minutes that are final."""
        now_us = self._outbox.clock_us()
        until_us = now_us - GRACE_US
        held = asyncio.get_running_loop().time() < self._hold_until
        since_us = self._cursor_us - (HELD_OVERLAP_US if held else OVERLAP_US)
        minutes = range(max(since_us, 0) // MINUTE_US, until_us // MINUTE_US + 1)
        await self._sweep(minutes, since_us, until_us)
        self._cursor_us = max(self._cursor_us, until_us)

        settled = (until_us - OVERLAP_US) // MINUTE_US - 1
        if settled > self._closed_minute:
            behind = range(max(self._closed_minute, settled - 1) + 1, settled + 1)
            await self._sweep(behind)
            self._closed_minute = settled

        final = now_us // MINUTE_US - LATE_MINUTES - 1
        if final > self._final_minute and asyncio.get_running_loop().time() >= self._hold_until:
            await self._sweep(range(self._final_minute + 1, final + 1))
            passed = final if self._stuck_minute is None else min(final, self._stuck_minute - 1)
            await self._outbox.session.execute(self._outbox.statements.advance, (passed,))
            self._final_minute = final

    async def _sweep(
        self, minutes: Sequence[int], since_us: int = -1, until_us: int = (1 << 62)
    ) -> None:
        """Publish all rows of these minutes within (since, until]; raises if one could not be."""
        slices = [
            (shard, minute, max(start, since_us + 1), min(start + SLICE_US - 1, until_us))
            for minute in minutes
            for start in range(minute * MINUTE_US, (minute + 1) * MINUTE_US, SLICE_US)
            for shard in range(SHARDS)
            if start <= until_us and start + SLICE_US > since_us
        ]
        failures: list[StarlingError] = []

        async def publish(row: OutboxRow) -> None:
            try:
                await self._publish(row)
            except StarlingError as error:
                failures.append(error)
                if len(failures) >= FAILURES:
                    raise

        async def sweep_slice(slice_: tuple[int, int, int, int]) -> None:
            shard, minute, from_us, to_us = slice_
            after = (from_us, "")
            while True:
                if asyncio.get_running_loop().time() >= self._renew_at:
                    await self._lease()
                rows = await self._outbox.session.execute(
                    self._outbox.statements.sweep, (shard, minute, *after, to_us)
                )
                found = [
                    OutboxRow(subject, payload, msg_id, created_us, headers or {})
                    for created_us, msg_id, subject, payload, headers in rows
                ]
                if found:
                    await gather_bounded(self._concurrency, publish, found)
                if len(found) < SWEEP_ROWS:
                    return
                after = (found[-1].created_us, found[-1].msg_id)

        # Few at once: a catch-up must not crowd out the calls.
        await gather_bounded(4, sweep_slice, slices)
        if failures:
            raise failures[0]

    async def _publish(self, row: OutboxRow) -> None:
        try:
            if self._restore is not None:
                await self._restore(row)
            await self._outbox.publish(row, timeout_s=3.0)
        except StarlingError:
            raise
        except Exception:
            table = self._outbox.statements.table
            _log.exception("outbox row cannot be handled", table=table, msg_id=row.msg_id)
            _STUCK.labels(table).inc()
            self._stuck_minute = min(row.minute, self._stuck_minute or row.minute)
            return
        self._relayed.inc()
