"""A small multiplexing Redis client for the hot path: one connection, no pool, no locks.

Commands of concurrent calls are written together and answered in order. A general client costs about
twice the CPU a command (`docs/adr/`); what it offers beyond this, the mesh does not need. Redis is a cache
here: every failure is the one exception `RedisUnavailable`, raised quickly, and the caller falls back to
the store. A breaker keeps a slow or dead Redis from holding calls: after a failure to connect, or a reply
that took longer than the timeout, calls fail at once until a probe succeeds.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import hiredis
from opentelemetry.trace import SpanKind

from meshkit import telemetry
from meshkit.log import get_logger

log = get_logger(__name__)

Argument = str | bytes | int | float

CONNECT_TIMEOUT_S = 1.0
PROBE_INTERVAL_S = 0.25

_ATTRIBUTES = {"db.system": "redis"}


class RedisUnavailable(Exception):
    """Redis did not answer in time, or cannot be reached: do without it."""


class RedisReplyError(Exception):
    """Redis answered with an error, e.g. OOM when it is full."""


@dataclass(frozen=True)
class Script:
    """A Lua script, called by its digest. All its keys belong to one hash slot, or to one server."""

    name: str
    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)


def _pack(command: tuple[Argument, ...]) -> bytes:
    # The stub types the tuple as holding one element; it takes any number.
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]
    return packed


class _Connection(asyncio.Protocol):
    """One connection: replies resolve the futures in the order of the commands."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._outgoing: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self.closed = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while True:
            reply = self._reader.gets()
            if reply is False:
                return
            future = self._waiting.popleft()
            if future.done():
                continue
            if isinstance(reply, hiredis.ReplyError):
                future.set_exception(RedisReplyError(str(reply)))
            else:
                future.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(RedisUnavailable("the connection was lost"))
        if not self.closed.done():
            self.closed.set_result(None)

    def send(self, command: bytes, replies: int) -> list[asyncio.Future[Any]]:
        """Queue packed commands; what one turn of the loop queues is written at once."""
        if self._transport is None:
            raise RedisUnavailable("not connected")
        futures: list[asyncio.Future[Any]] = [self._loop.create_future() for _ in range(replies)]
        self._waiting.extend(futures)
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(command)
        return futures

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()


class Redis:
    """A client of one Redis or Valkey server. Reconnects by itself; safe for concurrent calls."""

    def __init__(self, url: str, *, timeout_s: float = 0.5) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or 6379
        self._timeout_s = timeout_s
        self._connection: _Connection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()

    async def connect(self) -> None:
        """Start keeping a connection; waits shortly for the first, and returns without it if need be."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name="redis-keeper")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._connected.wait(), CONNECT_TIMEOUT_S)

    async def close(self) -> None:
        """Drop the connection; calls under way fail."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def available(self) -> bool:
        """Whether a call would be sent now."""
        return self._connection is not None

    async def call(self, *command: Argument) -> Any:
        """One command. Replies are bytes, int, None, or lists of them.

        Raises RedisUnavailable, or RedisReplyError when the server refuses.
        """
        return (await self._traced(str(command[0]).lower(), _pack(command), 1))[0]

    async def pipeline(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        """Several commands in one round trip, not atomic; an error reply is raised after all answered."""
        if not commands:
            return []
        packed = b"".join(_pack(command) for command in commands)
        return await self._traced("pipeline", packed, len(commands))

    async def eval(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Run a script; it is loaded when the server does not know it, as after a restart."""
        try:
            packed = _pack(("EVALSHA", script.sha, len(keys), *keys, *args))
            return (await self._traced(script.name, packed, 1))[0]
        except RedisReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        packed = _pack(("EVAL", script.source, len(keys), *keys, *args))
        return (await self._traced(script.name, packed, 1))[0]

    async def _traced(self, name: str, packed: bytes, replies: int) -> list[Any]:
        if not telemetry.enabled():
            return await self._exchange(packed, replies)
        with telemetry.span(f"redis {name}", SpanKind.CLIENT, _ATTRIBUTES):
            return await self._exchange(packed, replies)

    async def _exchange(self, packed: bytes, replies: int) -> list[Any]:
        connection = self._connection
        if connection is None:
            raise RedisUnavailable("not connected")
        futures = connection.send(packed, replies)
        try:
            async with asyncio.timeout(self._timeout_s):
                if replies == 1:
                    return [await futures[0]]
                results = await asyncio.gather(*futures, return_exceptions=True)
        except TimeoutError:
            # Replies come in order, so whoever waits behind this one would be late as well.
            self._open_breaker(connection)
            raise RedisUnavailable(f"no reply within {self._timeout_s} s") from None
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results

    def _open_breaker(self, connection: _Connection) -> None:
        if self._connection is connection:
            self._connection = None
            self._connected.clear()
            log.warning("redis_breaker_open", timeout_s=self._timeout_s)
        connection.close()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        was_down = False
        while True:
            started = time.monotonic()
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    _, connection = await loop.create_connection(
                        _Connection, self._host, self._port
                    )
                    # A stopped or overloaded server accepts connections and answers nothing.
                    (pong,) = connection.send(_pack(("PING",)), 1)
                    await pong
            except (OSError, TimeoutError, RedisUnavailable, RedisReplyError) as error:
                if not was_down:
                    log.warning("redis_unreachable", error=str(error), port=self._port)
                was_down = True
                await asyncio.sleep(max(0.0, PROBE_INTERVAL_S - (time.monotonic() - started)))
                continue
            if was_down:
                log.info("redis_back", port=self._port)
            was_down = False
            self._connection = connection
            self._connected.set()
            await connection.closed
            if self._connection is connection:
                self._connection = None
                self._connected.clear()
            was_down = True
