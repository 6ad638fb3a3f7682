"""Load over HTTP/1.1 with TLS on kept connections: closed loop for saturation, open loop for latency.

A request is bytes made once, of an answer only the status is read. A client of our own, because one in Python
that parses everything costs more CPU than what is measured, and this machine's cores are shared with it. What
this one takes stands in the tables as "the load": about a twentieth of the whole.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

TIMEOUT_S = 10.0


class BenchmarkError(Exception):
    """What was measured did not do what it should; says what it did."""


@dataclass
class Result:
    """What came back: latencies in seconds, from the moment a request was due; answers by status."""

    latencies_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies_s) / self.seconds if self.seconds else 0.0

    @property
    def failed(self) -> int:
        """How many were answered with anything but a 200, or not at all."""
        return len(self.latencies_s) - self.statuses[200]

    @property
    def good_rate(self) -> float:
        """Answers with a 200 a second."""
        return self.statuses[200] / self.seconds if self.seconds else 0.0

    def percentile_ms(self, share: float) -> float:
        """The latency that `share` of the requests stayed within, in ms."""
        ordered = sorted(self.latencies_s)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def add(self, other: Result) -> None:
        """What another loop found, too."""
        self.latencies_s += other.latencies_s
        self.statuses += other.statuses
        self.seconds += other.seconds

    def only(self, status: int) -> None:
        """Ends the benchmark unless all answers have this status."""
        if set(self.statuses) != {status}:
            raise BenchmarkError(f"not only {status} came back: {dict(self.statuses)}")


class _Connection(asyncio.Protocol):
    """One request at a time; reads the status, and the body by its content-length."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's TLS transport is none of asyncio's classes, though it has their methods.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the connection was closed"))
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._buffer[:head_end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        body_end = head_end + 4 + length
        if len(self._buffer) < body_end:
            return
        body = self._buffer[head_end + 4 : body_end]
        self._buffer = self._buffer[body_end:]
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((int(head[9:12]), body))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request, and return the status and the body of its answer."""
        if self._transport is None:
            raise ConnectionError("not connected")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        async with asyncio.timeout(TIMEOUT_S):
            return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def get(path: str, token: str) -> bytes:
    """A GET request with a bearer token."""
    return (
        f"GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n"
    ).encode()


def post(path: str, token: str, body: str) -> bytes:
    """A POST request with a JSON body and a bearer token."""
    payload = body.encode()
    return (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
    ).encode() + payload


class Client:
    """A number of kept connections to one port of this machine."""

    def __init__(self, port: int, tls: ssl.SSLContext, connections: int) -> None:
        self._port = port
        self._tls = tls
        self._connections: list[_Connection] = []
        self._count = connections

    async def __aenter__(self) -> Client:
        self._connections = [await self._connect() for _ in range(self._count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()

    async def answer(self, number: int, request: bytes) -> bytes:
        """The body of an answer on one of the connections. Raises BenchmarkError for any but a 200."""
        status, body = await self._connections[number].ask(request)
        if status != 200:
            raise BenchmarkError(f"{request.split(b' HTTP', 1)[0]!r}: {status} {body[:300]!r}")
        return body

    async def each(self, requests: Sequence[bytes]) -> Result:
        """Each request once, as many at once as there are connections."""
        result = Result()
        started = time.perf_counter()
        todo = iter(requests)

        async def run(number: int) -> None:
            for request in todo:
                await self._ask(number, request, time.perf_counter(), result)

        await asyncio.gather(*map(run, range(self._count)))
        result.seconds = time.perf_counter() - started
        return result

    async def closed_loop(self, requests: Sequence[bytes], seconds: float) -> Result:
        """Each connection asks again as soon as it was answered, for a time."""
        result = Result()
        started = time.perf_counter()

        async def run(number: int) -> None:
            turn = number
            while time.perf_counter() - started < seconds:
                asked = time.perf_counter()
                await self._ask(number, requests[turn % len(requests)], asked, result)
                turn += self._count

        await asyncio.gather(*map(run, range(self._count)))
        result.seconds = time.perf_counter() - started
        return result

    async def open_loop(
        self, requests: Sequence[bytes], rate: float, seconds: float, *, at_random: bool = False
    ) -> Result:
        """Requests are due at a fixed rate, whatever the answers do; waiting for a connection counts.

        Evenly spaced, or `at_random`: as independent clients come, with exponential pauses.
        """
        result = Result()
        draw = random.Random(1).expovariate
        due: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()
        started = time.perf_counter()

        async def run(number: int) -> None:
            while (item := await due.get()) is not None:
                await self._ask(number, item[1], item[0], result)

        runners = [asyncio.create_task(run(number)) for number in range(self._count)]
        at = started
        for turn in range(int(rate * seconds)):
            at += draw(rate) if at_random else 1 / rate
            if (pause := at - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            due.put_nowait((at, requests[turn % len(requests)]))
        for _ in runners:
            due.put_nowait(None)
        await asyncio.gather(*runners)
        result.seconds = time.perf_counter() - started
        return result

    async def _ask(self, number: int, request: bytes, due: float, result: Result) -> None:
        try:
            status, _ = await self._connections[number].ask(request)
        except (OSError, TimeoutError):
            status = 0
            self._connections[number].close()
            self._connections[number] = await self._connect()
        result.statuses[status] += 1
        result.latencies_s.append(time.perf_counter() - due)

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            _Connection, "127.0.0.1", self._port, ssl=self._tls, server_hostname="localhost"
        )
        return connection
