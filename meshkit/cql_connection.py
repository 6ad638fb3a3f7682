"""The driver's connection to a Cassandra node, on the loop of the process and not in a thread of its own.

The driver brings event loops that run in threads: each request and each answer then crosses from one thread
to the other, with a wake-up and a wait for the interpreter's lock each time, which costs as much as the
request. Here the loop that asks watches the socket. What the driver does besides (connecting, preparing,
heartbeats, the control connection) goes on in its threads, which block for answers that the loop brings
them: so nothing of the driver that blocks may be called on the loop.

What is sent within one turn of the loop goes out by one write.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cassandra.connection import Connection, ConnectionShutdown


class _Timer:
    """A call that is due in a while; `cancel` works from any thread."""

    def __init__(self, on_loop: OnLoop, seconds: float, callback: Callable[[], object]) -> None:
        self._on_loop = on_loop
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None
        self._cancelled = False
        on_loop(lambda: self._start(seconds))

    def _start(self, seconds: float) -> None:
        if not self._cancelled:
            self._handle = self._on_loop.loop.call_later(seconds, self._run)

    def _run(self) -> None:
        if not self._cancelled:
            self._callback()

    def cancel(self) -> None:
        self._cancelled = True
        if self._handle is not None:
            self._on_loop(self._handle.cancel)


class OnLoop:
    """Calls things on the loop it was made on: at once there, soon from another thread."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def __call__(self, callback: Callable[[], object]) -> bool:
        """False when the loop is closed, and nothing will be called."""
        if threading.get_ident() == self._thread:
            callback()
            return True
        try:
            self.loop.call_soon_threadsafe(callback)
        except RuntimeError:
            return False
        return True


def connection_class(on_loop: OnLoop) -> type[Connection]:
    """The class of the connections of one loop, for `Cluster(connection_class=...)`."""
    return type("LoopConnection", (_LoopConnection,), {"on_loop": on_loop})


class _LoopConnection(Connection):  # type: ignore[misc]
    on_loop: OnLoop
    is_closed: bool
    in_buffer_size = 64 << 10

    @classmethod
    def initialize_reactor(cls) -> None:
        """The loop runs already."""

    @classmethod
    def create_timer(cls, timeout: float, callback: Callable[[], object]) -> _Timer:
        """For the driver's time limits of requests."""
        return _Timer(cls.on_loop, timeout, callback)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Connect, in a thread of the driver's."""
        super().__init__(*args, **kwargs)
        self._connect_socket()
        self._socket.setblocking(False)
        self._out = bytearray()
        self._flushing = False
        self.on_loop(self._watch)
        self._send_options_message()

    def push(self, data: bytes) -> None:
        """Send; from any thread."""
        self.on_loop(lambda: self._queue(data))

    def close(self) -> None:
        """Close; from any thread. Requests under way fail."""
        with self.lock:
            if self.is_closed:
                return
            self.is_closed = True
        if not self.on_loop(self._release):
            self._socket.close()
        if not self.is_defunct:
            self.error_all_requests(
                ConnectionShutdown(f"Connection to {self.endpoint} was closed", self.endpoint)
            )
            self.connected_event.set()

    def _watch(self) -> None:
        if not self.is_closed:
            self.on_loop.loop.add_reader(self._socket.fileno(), self._readable)

    def _release(self) -> None:
        loop, fd = self.on_loop.loop, self._socket.fileno()
        if fd >= 0:
            with suppress(RuntimeError):  # the loop is closed
                loop.remove_reader(fd)
                loop.remove_writer(fd)
        self._socket.close()

    def _queue(self, data: bytes) -> None:
        self._out += data
        if not self._flushing:
            self._flushing = True
            self.on_loop.loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Write what there is; what the socket does not take now goes when it is writable."""
        if self.is_closed:
            return
        try:
            sent = self._socket.send(self._out)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self.defunct(error)
            return
        del self._out[:sent]
        loop, fd = self.on_loop.loop, self._socket.fileno()
        if self._out:
            loop.add_writer(fd, self._flush)
        else:
            self._flushing = False
            loop.remove_writer(fd)

    def _readable(self) -> None:
        if self.is_closed:
            return
        try:
            data = self._socket.recv(self.in_buffer_size)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.defunct(error)
            return
        if data:
            self._iobuf.write(data)
            self.process_io_buffer()
        else:
            self.close()
