"""Kept HTTP/1.1 connections with TLS to the edge: one request at a time on each, a new one when all are busy.

Of our own because the load shares the cores with what it loads, and must not become what is slow: a general
client took twenty times the CPU of this one, and fell behind while hundreds of calls waited.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any, cast

CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 15.0
"""The edge ends a call after 10 s; it may itself be stopped for longer."""


class NoAnswerError(Exception):
    """The connection could not be made, broke, or said nothing in time."""


class Connection(asyncio.Protocol):
    """Sends a request, and reads the status and a body of known length."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's TLS transport is none of asyncio's classes, though it has their methods.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(NoAnswerError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._received[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._received) < end + 4 + length:
            return
        body = self._received[end + 4 : end + 4 + length]
        self._received = b""
        if b"\r\nconnection: close" in head:
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((int(head[9:12]), body))

    @property
    def usable(self) -> bool:
        """Whether it is open, as far as is known."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body. Raises NoAnswerError."""
        if self._transport is None:
            raise NoAnswerError("the connection was closed")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await self._answer
        except TimeoutError:
            self.close()
            raise NoAnswerError(f"no answer in {ANSWER_TIMEOUT_S:g} s") from None

    def close(self) -> None:
        """At once."""
        if self._transport is not None:
            self._transport.abort()


class Connections:
    """To one port of this machine."""

    def __init__(self, port: int, tls: ssl.SSLContext) -> None:
        self._port = port
        self._tls = tls
        self._idle: list[Connection] = []

    async def ask(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        body: dict[str, Any] | None = None,
        key: str = "",
    ) -> tuple[int, bytes]:
        """Status and body of an answer; `key` is an Idempotency-Key. Raises NoAnswerError."""
        payload = json.dumps(body).encode() if body is not None else b""
        head = [f"{method} {path} HTTP/1.1", "host: localhost", f"content-length: {len(payload)}"]
        if token:
            head.append(f"authorization: Bearer {token}")
        if body is not None:
            head.append("content-type: application/json")
        if key:
            head.append(f"idempotency-key: {key}")
        connection = await self._connection()
        answer = await connection.ask(("\r\n".join(head) + "\r\n\r\n").encode() + payload)
        if connection.usable:
            self._idle.append(connection)
        return answer

    def close(self) -> None:
        """Those that nobody uses."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _connection(self) -> Connection:
        while self._idle:
            if (kept := self._idle.pop()).usable:
                return kept
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, made = await asyncio.get_running_loop().create_connection(
                    Connection, "127.0.0.1", self._port, ssl=self._tls, server_hostname="localhost"
                )
        except (OSError, TimeoutError) as error:  # an SSLError is an OSError
            raise NoAnswerError(f"no connection: {type(error).__name__}") from None
        return made
