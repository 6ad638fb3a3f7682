"""One Redis or Valkey server: a connection that is kept, its breaker, and the lineage of its data.

Commands of concurrent calls are written together and answered in order. A breaker keeps a slow or dead
server from holding calls: after a failure to connect, or a reply that took longer than the timeout, calls
fail at once until a probe succeeds.

**Lineage.** Replication is asynchronous and a server may be restored from an old snapshot: what a promoted
replica, or a server that came back, holds may lack the last writes. Its replication id then is another
(a replica takes a new one when it is promoted, a server when it starts), so the first bytes of that id tell
whether a cached value is of this server's own time. They are asked for when a connection is made and each
second after, and are given to scripts and compared with values that want it (`Request`).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import hiredis

from meshkit.log import get_logger

log = get_logger(__name__)

Argument = str | bytes | int | float

CONNECT_TIMEOUT_S = 1.0
PROBE_INTERVAL_S = 0.25
VERIFY_INTERVAL_S = 1.0
LOOK_AGAIN_S = 0.005
LINEAGE_BYTES = 8

_REPLICATION_ID = re.compile(rb"role:master\r\n(?s:.*)master_replid:([0-9a-f]{%d})" % LINEAGE_BYTES)


class RedisUnavailable(Exception):
    """Redis did not answer in time, or cannot be reached: do without it."""


class RedisReplyError(Exception):
    """Redis answered with an error, e.g. OOM when it is full."""


class Request(NamedTuple):
    """A command, and where it belongs."""

    key: str | None
    """Decides the server of a cluster; None: any."""
    command: tuple[Argument, ...]
    lineage_at: int = 0
    """Before which argument the server's lineage is put; 0: nowhere."""
    current: bool = False
    """The reply is a list of values that begin with the lineage of their writing: that is taken off, and
    a value of another lineage is None. Empty ones have none and stay."""

    def pack(self, lineage: bytes) -> bytes:
        """The bytes to send to a server of that lineage."""
        command, at = self.command, self.lineage_at
        if at:
            command = (*command[:at], lineage, *command[at:])
        # The stub types the tuple as holding one element; it takes any number.
        packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]
        return packed


_INFO = Request(None, ("INFO", "replication"))


class _Batch:
    """Replies that belong together, who waits for all of them, and until when (the loop's time)."""

    __slots__ = ("done", "due", "replies", "wanted")

    def __init__(self, wanted: int, done: asyncio.Future[list[Any]], due: float) -> None:
        self.wanted = wanted
        self.replies: list[Any] = []
        self.done = done
        self.due = due


class Connection(asyncio.Protocol):
    """One connection: replies resolve the batches in the order of the commands.

    Because they come in order, whoever waits longest has one timer for all: when a reply is overdue the
    connection is given up, as those behind it would be late as well.
    """

    def __init__(self, timeout_s: float) -> None:
        self.lineage = b""
        self.timed_out = False
        self._timeout_s = timeout_s
        self._timer: asyncio.TimerHandle | None = None
        self._overdue: _Batch | None = None
        self._reader = hiredis.Reader()
        self._waiting: deque[_Batch] = deque()
        self._outgoing: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self.closed = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while self._waiting and (reply := self._reader.gets()) is not False:
            if isinstance(reply, hiredis.ReplyError):
                reply = RedisReplyError(str(reply))
            batch = self._waiting[0]
            batch.replies.append(reply)
            if len(batch.replies) == batch.wanted:
                self._waiting.popleft()
                if not batch.done.done():
                    batch.done.set_result(batch.replies)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._fail("the connection was lost")
        if not self.closed.done():
            self.closed.set_result(None)

    def send(self, requests: Sequence[Request]) -> asyncio.Future[list[Any]]:
        """Queue requests; what one turn of the loop queues is written at once.

        The replies come in order; an error reply is a RedisReplyError among them.
        """
        if self._transport is None:
            raise RedisUnavailable("not connected")
        done: asyncio.Future[list[Any]] = self._loop.create_future()
        due = self._loop.time() + self._timeout_s
        self._waiting.append(_Batch(len(requests), done, due))
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._check)
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing += [request.pack(self.lineage) for request in requests]
        return done

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _check(self) -> None:
        """Give up if the oldest reply is overdue, else look again when it would be."""
        self._timer = None
        if not self._waiting:
            return
        oldest = self._waiting[0]
        if oldest.due > self._loop.time():
            self._timer = self._loop.call_at(oldest.due, self._check)
            return
        if oldest is not self._overdue:
            # Perhaps it is the loop that was late: first it reads what has come.
            self._overdue = oldest
            self._timer = self._loop.call_later(LOOK_AGAIN_S, self._check)
            return
        self.timed_out = True
        self._fail(f"no reply within {self._timeout_s} s")
        self.close()

    def _fail(self, why: str) -> None:
        while self._waiting:
            batch = self._waiting.popleft()
            if not batch.done.done():
                batch.done.set_exception(RedisUnavailable(why))

    def _flush(self) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()


class RedisServer:
    """A client of one server. Reconnects by itself; safe for concurrent calls."""

    clustered = False

    def __init__(self, host: str, port: int, *, timeout_s: float) -> None:
        self.host = host
        self.port = port
        self._timeout_s = timeout_s
        self._connection: Connection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()

    def start(self) -> None:
        """Start keeping a connection."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name=f"redis-{self.port}")

    async def ready(self, within_s: float = CONNECT_TIMEOUT_S) -> None:
        """Wait shortly for a connection; returns without it if need be."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._connected.wait(), within_s)

    async def close(self) -> None:
        """Drop the connection; calls under way fail."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        self._drop()

    @property
    def available(self) -> bool:
        """Whether a request would be sent now."""
        return self._connection is not None

    def together(self, keys: Sequence[str]) -> list[list[int]]:
        """Which of the keys one command may name: all."""
        return [list(range(len(keys)))] if keys else []

    async def exchange(self, requests: Sequence[Request]) -> list[Any]:
        """The replies in order; an error reply is a RedisReplyError among them.

        Raises RedisUnavailable: then it is not known which requests were carried out.
        """
        connection = self._connection
        if connection is None:
            raise RedisUnavailable("not connected")
        try:
            replies = await connection.send(requests)
        except RedisUnavailable:
            if connection.timed_out:
                self._open_breaker(connection)
            raise
        for i, request in enumerate(requests):
            if request.current and isinstance(replies[i], list):
                replies[i] = _current(replies[i], connection.lineage)
        return replies

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._connected.clear()
        if connection is not None:
            connection.close()

    def _open_breaker(self, connection: Connection) -> None:
        if self._connection is connection:
            log.warning("redis_breaker_open", timeout_s=self._timeout_s, port=self.port)
            self._drop()
        connection.close()

    async def _keep(self) -> None:
        was_down = False
        while True:
            started = time.monotonic()
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    connection = await connect(self.host, self.port, self._timeout_s)
                    try:
                        # A stopped or overloaded server accepts connections and answers nothing.
                        connection.lineage = await _lineage(connection)
                    except BaseException:
                        connection.close()
                        raise
            except (OSError, TimeoutError, RedisUnavailable, RedisReplyError) as error:
                if not was_down:
                    log.warning("redis_unreachable", error=str(error), port=self.port)
                was_down = True
                await asyncio.sleep(max(0.0, PROBE_INTERVAL_S - (time.monotonic() - started)))
                continue
            if was_down:
                log.info("redis_back", port=self.port)
            self._connection = connection
            self._connected.set()
            await self._verify(connection)
            if self._connection is connection:
                self._drop()
            was_down = True

    async def _verify(self, connection: Connection) -> None:
        """Returns when the connection is lost, or the server's data are no longer what they were."""
        while True:
            await asyncio.wait({connection.closed}, timeout=VERIFY_INTERVAL_S)
            if connection.closed.done():
                return
            try:
                if await _lineage(connection) == connection.lineage:
                    continue
                log.warning("redis_lineage_changed", port=self.port)
            except (RedisUnavailable, RedisReplyError) as error:
                if connection.timed_out:
                    self._open_breaker(connection)
                else:
                    log.warning("redis_not_primary", error=str(error), port=self.port)
            return


async def connect(host: str, port: int, timeout_s: float) -> Connection:
    """A connection, nothing said yet; it is given up when a reply takes longer. Raises OSError."""
    loop = asyncio.get_running_loop()
    return (await loop.create_connection(lambda: Connection(timeout_s), host, port))[1]


async def _lineage(connection: Connection) -> bytes:
    """Raises RedisUnavailable when the server is a replica: it may become a primary without our notice."""
    (info,) = await connection.send([_INFO])
    if isinstance(info, RedisReplyError):
        raise info
    found = _REPLICATION_ID.search(info)
    if found is None:
        raise RedisUnavailable("it is a replica")
    return found[1]


def _current(values: list[bytes | None], lineage: bytes) -> list[bytes | None]:
    return [
        value[LINEAGE_BYTES:] if value and value.startswith(lineage) else None if value else value
        for value in values
    ]
