"""Cassandra for asyncio: declared statements, LOCAL_QUORUM, and no repeat of what is not idempotent.

A store declares its statements at module level and hands them to a session:

    GET = Statement("tweet.get", "SELECT author_id, content FROM tweet WHERE tweet_id = ?", idempotent=True)
    rows = await session.execute(GET, (tweet_id,))          # list of tuples, in the order selected

Each is prepared when first used. All failures come as StarlingErrors: Unavailable
(STORE_UNAVAILABLE) at once while there is no connection, DeadlineExceeded when the call's time is up,
OutcomeUnknown for a lightweight transaction of which nobody knows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from cassandra import ConsistencyLevel
from cassandra.cluster import Cluster, ResponseFuture, Session
from cassandra.query import (
    BatchStatement,
    BatchType,
    PreparedStatement,
    SimpleStatement,
)
from opentelemetry.trace import SpanKind
from prometheus_client import Histogram

from meshkit import cql_policy, deadline, errors, faults, telemetry
from meshkit.background import cancel_all
from meshkit.config import MeshConfig
from meshkit.cql_connection import OnLoop, connection_class
from meshkit.log import get_logger

Row = tuple[Any, ...]

_log = get_logger(__name__)
_SECONDS = Histogram(
    "starling_cql_seconds",
    "Time of a Cassandra statement as the service sees it",
    ["statement"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5),
)


class Statement:
    """One CQL statement, declared at module level by a store.

    `idempotent` is a promise that running it twice is the same as once: only then is it ever repeated.
    `serial` reads at LOCAL_SERIAL, which sees (and finishes) a lightweight transaction under way.
    """

    __slots__ = ("cql", "fetch_size", "idempotent", "name", "seconds", "serial")

    def __init__(
        self,
        name: str,
        cql: str,
        *,
        idempotent: bool,
        serial: bool = False,
        fetch_size: int = 5000,
    ) -> None:
        self.name = name
        self.cql = " ".join(cql.split())
        self.idempotent = idempotent
        self.serial = serial
        self.fetch_size = fetch_size
        self.seconds = _SECONDS.labels(name)

    def __repr__(self) -> str:
        return f"Statement({self.name})"


Item = tuple[Statement, Sequence[Any]]
"""A statement with its values, as `CqlSession.batch` takes it."""


@dataclass(frozen=True, slots=True)
class Lwt:
    """What a lightweight transaction did: whether it applied, and if not the row it met, by column."""

    applied: bool
    row: dict[str, Any]


class CqlSession:
    """An asyncio session on Cassandra that connects, and comes back, on its own."""

    def __init__(self, config: MeshConfig) -> None:
        self._config = config
        self._session: Session | None = None
        self._cluster: Cluster | None = None
        self._prepared: dict[Statement, PreparedStatement] = {}
        self._preparing: dict[Statement, asyncio.Task[PreparedStatement]] = {}
        self._loop = asyncio.get_running_loop()
        self._on_loop = OnLoop()
        self._connected = asyncio.Event()
        self._connecting: asyncio.Task[None] | None = None
        self._timestamp_us: int | None = None
        self._last_timestamp_us = 0

    @classmethod
    async def open(cls, config: MeshConfig, wait_s: float = 10.0) -> CqlSession:
        """A session that is connected, or after `wait_s` goes on trying in the background."""
        session = cls(config)
        session._connecting = asyncio.create_task(session._connect(), name="cassandra.connect")
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await session._connected.wait()
        return session

    @property
    def connected(self) -> bool:
        """Whether the first connection stands (the driver sees to all later ones)."""
        return self._session is not None

    async def wait_connected(self) -> None:
        """Return once the first connection stands."""
        await self._connected.wait()

    async def close(self) -> None:
        """Close all connections."""
        if self._connecting is not None:
            await cancel_all([self._connecting])
        cluster, self._cluster, self._session = self._cluster, None, None
        if cluster is not None:
            await asyncio.to_thread(cluster.shutdown)

    async def execute(
        self, statement: Statement, params: Sequence[Any] = (), *, timestamp_us: int | None = None
    ) -> list[Row]:
        """All rows of the first page (`statement.fetch_size`) as tuples in the order selected.

        `timestamp_us` is the write time of all cells, for writes that must be repeatable identically.
        """
        future = await self._run(statement, params, timestamp_us)
        return future[0]

    async def one(self, statement: Statement, params: Sequence[Any] = ()) -> Row | None:
        """The first row, or None."""
        rows = await self.execute(statement, params)
        return rows[0] if rows else None

    async def page(
        self, statement: Statement, params: Sequence[Any] = (), state: bytes | None = None
    ) -> tuple[list[Row], bytes | None]:
        """One page of `statement.fetch_size` rows and the state of the next, None after the last."""
        rows, response = await self._run(statement, params, None, state)
        return rows, response._paging_state

    async def pages(
        self, statement: Statement, params: Sequence[Any] = ()
    ) -> AsyncIterator[list[Row]]:
        """All pages in order; an empty result yields nothing."""
        state: bytes | None = None
        while True:
            rows, state = await self.page(statement, params, state)
            if rows:
                yield rows
            if state is None:
                return

    async def batch(
        self,
        items: Sequence[Item],
        *,
        timestamp_us: int | None = None,
    ) -> None:
        """Write several rows in one request. All are there when it returns; when it fails, some may be.

        It is UNLOGGED: what must be whole although a process dies is told to an outbox first
        (`meshkit.outbox`). It is repeated after a timeout only if every statement is idempotent.
        """
        self._ready()
        batch = BatchStatement(BatchType.UNLOGGED)
        batch.is_idempotent = all(statement.idempotent for statement, _ in items)
        for statement, params in items:
            prepared = self._prepared.get(statement) or await self._prepare(statement)
            batch.add(prepared, params)
        names = items[0][0] if items else None
        if names is None:
            return
        with telemetry.span(f"cassandra batch {names.name}", SpanKind.CLIENT, _BATCH_ATTRIBUTES):
            started = time.perf_counter()
            try:
                await self._send(batch, timestamp_us, None)
            except Exception as error:
                _raise(error)
            names.seconds.observe(time.perf_counter() - started)

    async def execute_lwt(self, statement: Statement, params: Sequence[Any] = ()) -> Lwt:
        """Run a conditional statement (IF …).

        Raises OutcomeUnknown when it may have been applied: read at LOCAL_SERIAL (a `serial` statement)
        and decide. Never repeated by the driver.
        """
        prepared = await self._bindable(statement)
        with telemetry.span(f"cassandra {statement.name}", SpanKind.CLIENT, _ATTRIBUTES):
            started = time.perf_counter()
            try:
                rows, response = await self._send(prepared.bind(params), None, None)
            except Exception as error:
                if faults.lwt_outcome_unknown(error):
                    raise errors.OutcomeUnknown(f"{statement.name} got no answer") from error
                _raise(error)
            statement.seconds.observe(time.perf_counter() - started)
        row = dict(zip(response._col_names, rows[0], strict=True))
        return Lwt(bool(row.pop("[applied]")), row)

    async def ddl(self, cql: str) -> None:
        """Run one statement as it is, unprepared: for schema changes and tests."""
        self._ready()
        try:
            await self._send(SimpleStatement(cql), None, None)
        except Exception as error:
            _raise(error)

    async def _run(
        self,
        statement: Statement,
        params: Sequence[Any],
        timestamp_us: int | None,
        state: bytes | None = None,
    ) -> tuple[list[Row], Any]:
        prepared = self._prepared.get(statement) or await self._bindable(statement)
        started = time.perf_counter()
        try:
            if telemetry.recording():
                with telemetry.span(f"cassandra {statement.name}", SpanKind.CLIENT, _ATTRIBUTES):
                    result = await self._send(prepared.bind(params), timestamp_us, state)
            else:
                result = await self._send(prepared.bind(params), timestamp_us, state)
        except Exception as error:
            _raise(error)
        statement.seconds.observe(time.perf_counter() - started)
        return result

    async def _send(
        self, query: Any, timestamp_us: int | None, state: bytes | None
    ) -> tuple[list[Row], Any]:
        session = self._ready()
        timeout_s = deadline.budget(self._config.cassandra_timeout_s)
        future: asyncio.Future[list[Row]] = self._loop.create_future()
        # Read by _timestamp() within execute_async, on this thread.
        self._timestamp_us = timestamp_us
        response: ResponseFuture = session.execute_async(
            query, timeout=timeout_s, paging_state=state
        )
        response.add_callbacks(
            self._on_result, self._on_error, callback_args=(future,), errback_args=(future,)
        )
        return await future, response

    # Both come on the loop, but for what a thread of the driver's gives up.

    def _on_result(self, rows: list[Row] | None, future: asyncio.Future[list[Row]]) -> None:
        self._on_loop(lambda: _finish(future, rows or [], None))

    def _on_error(self, error: BaseException, future: asyncio.Future[list[Row]]) -> None:
        self._on_loop(lambda: _finish(future, [], error))

    def _timestamp(self) -> int:
        """The write time of the statement being sent: the caller's, or a strictly growing now."""
        given, self._timestamp_us = self._timestamp_us, None
        if given is not None:
            return given
        self._last_timestamp_us = max(time.time_ns() // 1000, self._last_timestamp_us + 1)
        return self._last_timestamp_us

    def _ready(self) -> Session:
        if self._session is None:
            raise errors.STORE_UNAVAILABLE.error()
        return self._session

    async def _bindable(self, statement: Statement) -> PreparedStatement:
        self._ready()
        return self._prepared.get(statement) or await self._prepare(statement)

    async def _prepare(self, statement: Statement) -> PreparedStatement:
        task = self._preparing.get(statement)
        if task is None:
            task = asyncio.create_task(self._prepare_once(statement))
            self._preparing[statement] = task
            task.add_done_callback(lambda done: self._preparing.pop(statement, None))
        timeout_s = deadline.budget(self._config.cassandra_timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(task)
        except Exception as error:
            _raise(error)

    async def _prepare_once(self, statement: Statement) -> PreparedStatement:
        session = self._ready()
        prepared = await asyncio.to_thread(session.prepare, statement.cql)
        prepared.is_idempotent = statement.idempotent
        prepared.fetch_size = statement.fetch_size
        prepared.consistency_level = (
            ConsistencyLevel.LOCAL_SERIAL if statement.serial else ConsistencyLevel.LOCAL_QUORUM
        )
        prepared.serial_consistency_level = ConsistencyLevel.LOCAL_SERIAL
        self._prepared[statement] = prepared
        return prepared

    async def _connect(self) -> None:
        delay_s = 0.1
        while True:
            try:
                self._cluster, self._session = await asyncio.to_thread(self._open)
            except Exception as error:
                _log.warning("cassandra not reached yet", error=str(error)[:300])
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, 2.0)
            else:
                self._connected.set()
                return

    def _open(self) -> tuple[Cluster, Session]:
        cluster = cql_policy.cluster(self._config, self._timestamp, connection_class(self._on_loop))
        try:
            return cluster, cluster.connect(self._config.cassandra_keyspace)
        except Exception:
            cluster.shutdown()
            raise


_ATTRIBUTES = {"db.system": "cassandra"}
_BATCH_ATTRIBUTES = {"db.system": "cassandra", "db.operation": "BATCH"}


def _finish(
    future: asyncio.Future[list[Row]], rows: list[Row], error: BaseException | None
) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(rows)
    else:
        future.set_exception(error)


def _raise(error: Exception) -> NoReturn:
    known = faults.translate(error)
    if known is None or known is error:
        raise error
    raise known from error


TimestampSource = Callable[[], int]
