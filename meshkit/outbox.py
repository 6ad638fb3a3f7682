# ruff: noqa: S608 - the only text put into statements is the table name, given by the code
"""The transactional outbox: the event that tells of a change is written before the change, and holds it.

`write` writes the outbox row and, when that is there, the rows of the change, which follow from the event.
`publish_now` sends the event at once and then deletes the row; what a crash or an outage left, at any point,
is found by the relay (`meshkit.relay`), which writes the rows again and publishes. So the outbox is the log
that makes several partitions one change, in place of Cassandra's batch log, which waits for two certain nodes
of three. A row is never deleted before the PubAck, nor that asked for before the rows are written, so every
accepted change is there and is heard, once or more. Each service that publishes has these tables in its own
schema, `tweet_outbox` for example:

    CREATE TABLE IF NOT EXISTS tweet_outbox (
        shard int,                      -- crc32(msg_id) % SHARDS
        minute bigint,                  -- created_us / 60 s: a partition holds one minute of one shard
        created_us bigint,
        msg_id text,
        subject text,
        payload blob,
        headers map<text, text>,
        PRIMARY KEY ((shard, minute), created_us, msg_id)
    ) WITH gc_grace_seconds = 3600;     -- a row that comes back is published twice, which is harmless

    CREATE TABLE IF NOT EXISTS tweet_outbox_lease (
        name text PRIMARY KEY, holder text      -- LWT only
    );

    CREATE TABLE IF NOT EXISTS tweet_outbox_progress (
        name text PRIMARY KEY, swept_minute bigint
    );
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zlib import crc32

from google.protobuf.message import Message

from meshkit import deadline, telemetry
from meshkit.background import detach
from meshkit.cql import CqlSession, Item, Statement
from meshkit.errors import StarlingError, Unavailable
from meshkit.events import EventBus
from meshkit.log import get_logger

if TYPE_CHECKING:
    from meshkit.relay import Relay

SHARDS = 4
MINUTE_US = 60_000_000
SWEEP_ROWS = 500
"""Rows that one read of a sweep gives at most."""
_DELETE_AFTER_S = 0.4
"""Rows of a partition that are deleted together. Well below the 2 s after which the relay looks at them."""
_PAUSES_S = (0.05, 0.25)
"""Between the tries of one write whose outcome is unknown."""
_LEAST_S = 0.3
"""With less time left than this no further try is begun."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One event that waits to be published; `created_us` is µs since 1970, `subject` without prefix."""

    subject: str
    payload: bytes
    msg_id: str
    created_us: int
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def shard(self) -> int:
        """Which of the `SHARDS` partitions of its minute it lies in."""
        return crc32(self.msg_id.encode()) % SHARDS

    @property
    def minute(self) -> int:
        """Minutes since 1970."""
        return self.created_us // MINUTE_US


class OutboxStatements:
    """The statements on one service's outbox tables."""

    def __init__(self, table: str) -> None:
        self.table = table
        self.insert = Statement(
            f"{table}.insert",
            f"INSERT INTO {table} (shard, minute, created_us, msg_id, subject, payload, headers)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            idempotent=True,
        )
        self.delete = Statement(
            f"{table}.delete",
            f"DELETE FROM {table} WHERE shard = ? AND minute = ? AND created_us = ? AND msg_id = ?",
            idempotent=True,
        )
        self.sweep = Statement(
            f"{table}.sweep",
            f"SELECT created_us, msg_id, subject, payload, headers FROM {table}"
            " WHERE shard = ? AND minute = ? AND (created_us, msg_id) > (?, ?) AND (created_us) <= (?)"
            f" LIMIT {SWEEP_ROWS}",
            idempotent=True,
        )
        self.take = Statement(
            f"{table}.lease_take",
            f"INSERT INTO {table}_lease (name, holder) VALUES ('relay', ?) IF NOT EXISTS USING TTL ?",
            idempotent=False,
        )
        self.keep = Statement(
            f"{table}.lease_keep",
            f"UPDATE {table}_lease USING TTL ? SET holder = ? WHERE name = 'relay' IF holder = ?",
            idempotent=False,
        )
        self.release = Statement(
            f"{table}.lease_release",
            f"DELETE FROM {table}_lease WHERE name = 'relay' IF holder = ?",
            idempotent=False,
        )
        self.progress = Statement(
            f"{table}.progress",
            f"SELECT swept_minute FROM {table}_progress WHERE name = 'relay'",
            idempotent=True,
        )
        self.advance = Statement(
            f"{table}.advance",
            f"INSERT INTO {table}_progress (name, swept_minute) VALUES ('relay', ?)",
            idempotent=True,
        )


class Outbox:
    """Writes events beside changes, and publishes them."""

    def __init__(
        self,
        session: CqlSession,
        bus: EventBus,
        table: str,
        clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        """`table` is the outbox's name; its tables are in the module's docstring."""
        self.session = session
        self.bus = bus
        self.statements = OutboxStatements(table)
        self.clock_us = clock_us
        self._published: dict[tuple[int, int], list[OutboxRow]] = defaultdict(list)
        self._deleting: asyncio.Task[Any] | None = None

    def row(
        self,
        subject: str,
        message: Message | bytes,
        *,
        msg_id: str,
        headers: Mapping[str, str] | None = None,
        created_us: int | None = None,
    ) -> OutboxRow:
        """An event of now, carrying the present trace. `msg_id` names the change, so that telling it twice
        is recognised; a change that is written again must give the same `created_us`."""
        out = dict(headers or {})
        telemetry.inject(out)
        payload = message if isinstance(message, bytes) else message.SerializeToString()
        at = self.clock_us() if created_us is None else created_us
        return OutboxRow(subject, payload, msg_id, at, out)

    async def write(self, row: OutboxRow, items: Sequence[Item], *, timestamp_us: int) -> None:
        """Write the change that `row` tells of: the row first, then `items`, at `timestamp_us`.

        A write without an answer is written again, identically, while there is time. Raises Unavailable or
        DeadlineExceeded when that did not help either: then the change is there, or will be when the relay
        has seen its row, or never was.
        """
        try:
            await self._write(row, items, timestamp_us)
        except asyncio.CancelledError:
            # The caller is gone, and the row may be there: the rest now, not when the relay finds it.
            detach(self._finish(row, items, timestamp_us), "outbox.finish")
            raise

    async def _write(self, row: OutboxRow, items: Sequence[Item], timestamp_us: int) -> None:
        statement, params = self.insert(row)
        await _repeated(
            lambda: self.session.execute(statement, params, timestamp_us=row.created_us)
        )
        await _repeated(lambda: self.session.batch(items, timestamp_us=timestamp_us))

    async def _finish(self, row: OutboxRow, items: Sequence[Item], timestamp_us: int) -> None:
        await self._write(row, items, timestamp_us)
        await self.publish_now(row)

    def insert(self, row: OutboxRow) -> Item:
        """What writes `row`, at its `created_us`."""
        return self.statements.insert, (
            row.shard,
            row.minute,
            row.created_us,
            row.msg_id,
            row.subject,
            row.payload,
            dict(row.headers),
        )

    async def publish_now(self, row: OutboxRow, timeout_s: float = 1.0) -> bool:
        """Publish a row that was just written; False when that failed, and the relay will do it.

        Never raises: the change is accepted already.
        """
        try:
            await self.publish(row, timeout_s)
        except StarlingError as error:
            _log.warning("left to the relay", msg_id=row.msg_id, error=error.message)
            return False
        except Exception:
            _log.exception("left to the relay", msg_id=row.msg_id)
            return False
        return True

    async def publish(self, row: OutboxRow, timeout_s: float) -> None:
        """Publish and, once it is stored, delete the row. Raises Unavailable or DeadlineExceeded."""
        await self.bus.publish(
            row.subject,
            row.payload,
            msg_id=row.msg_id,
            headers=row.headers,
            timeout_s=timeout_s,
        )
        self._published[row.shard, row.minute].append(row)
        if self._deleting is None or self._deleting.done():
            self._deleting = detach(self._delete_published(), "outbox.delete")

    def relay(
        self, instance: str, restore: Callable[[OutboxRow], Awaitable[None]] | None = None
    ) -> Relay:
        """The relay of this outbox, to be run by one or more instances of the service.

        `restore` writes the change that a row tells of once more, identically: see `meshkit.relay`.
        """
        from meshkit.relay import Relay

        return Relay(self, instance, restore=restore)

    async def flush(self) -> None:
        """Wait until the rows published so far are deleted."""
        while self._published or not (self._deleting is None or self._deleting.done()):
            if self._deleting is None or self._deleting.done():
                self._deleting = detach(self._delete_published(0.0), "outbox.delete")
            await asyncio.shield(self._deleting)

    async def _delete_published(self, after_s: float = _DELETE_AFTER_S) -> None:
        """Delete in groups of one partition: one write for all that were published in a moment."""
        while self._published:
            await asyncio.sleep(after_s)
            groups = list(self._published.values())
            self._published = defaultdict(list)
            for rows in groups:
                for start in range(0, len(rows), 100):
                    await self._delete(rows[start : start + 100])

    async def _delete(self, rows: list[OutboxRow]) -> None:
        statement = self.statements.delete
        items = [(statement, (r.shard, r.minute, r.created_us, r.msg_id)) for r in rows]
        # Later than they were written, also by a process whose clock is ahead of this one's.
        at_us = max(self.clock_us(), *(row.created_us + 1 for row in rows))
        try:
            with deadline.within(None):
                await self.session.batch(items, timestamp_us=at_us)
        except StarlingError as error:
            # They stay; the relay publishes them again, under the same ids, and deletes them.
            _log.warning("outbox rows not deleted", rows=len(rows), error=error.message)


async def _repeated(write: Callable[[], Awaitable[Any]]) -> None:
    """Do it until it is answered, a few times, while the call has time."""
    for pause_s in (*_PAUSES_S, None):
        try:
            await write()
            return
        except Unavailable:
            left_s = deadline.remaining()
            if pause_s is None or (left_s is not None and left_s <= pause_s + _LEAST_S):
                raise
        await asyncio.sleep(pause_s)
