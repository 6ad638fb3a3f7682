"""A process of the mesh from start to end, so that each `__main__` reads like a list of parts.

    async def main() -> None:
        config = TweetConfig.from_env()
        async with Process(config) as process:
            session = await process.cassandra()
            bus = await process.events(STREAMS)
            ...
            await process.serve([(add_TweetServiceServicer_to_server, service)], background=[...])

    if __name__ == "__main__":
        run(main)

A process is ready when its stores are reached for the first time, or after `ready_wait_s` without them:
from then on a store's absence is answered with Unavailable on the calls that need it, so readiness goes off
only at SIGTERM. Drivers reconnect by themselves; nothing needs a restart.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any

import uvloop

from meshkit import log, telemetry
from meshkit.background import Background, cancel_all, drain_detached, supervise
from meshkit.channel import MeshChannel
from meshkit.config import MeshConfig
from meshkit.cql import CqlSession
from meshkit.events import EventBus, StreamSpec
from meshkit.server import MeshServer, Registration

_log = log.get_logger(__name__)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `main` on uvloop until it ends; exit code 1 when it fails."""
    try:
        uvloop.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        _log.exception("process failed", error=repr(error))
        sys.exit(1)


class Process:
    """Logging, telemetry, stores and server of one process; what it opened it closes, last first."""

    def __init__(self, config: MeshConfig) -> None:
        self._config = config
        self._resources = AsyncExitStack()
        self._reached: list[Callable[[], Awaitable[None]]] = []
        self._stopping = asyncio.Event()
        self.server: MeshServer | None = None

    async def __aenter__(self) -> Process:
        log.configure(self._config)
        telemetry.configure(self._config)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._resources.aclose()
        await asyncio.to_thread(telemetry.shutdown)
        _log.info("stopped")

    async def cassandra(self) -> CqlSession:
        """A session; it connects in the background while the rest is being set up."""
        session = await CqlSession.open(self._config, wait_s=0)
        self.at_exit(session.close)
        self._reached.append(session.wait_connected)
        return session

    async def events(self, streams: Sequence[StreamSpec]) -> EventBus:
        """A bus that ensures `streams`; it connects in the background."""
        bus = await EventBus.open(self._config, streams, wait_s=0)
        self.at_exit(bus.close)
        self._reached.append(bus.wait_connected)
        return bus

    def mesh(self) -> MeshChannel:
        """The channel to other services."""
        channel = MeshChannel(self._config.mesh_outbound)
        self.at_exit(channel.close)
        return channel

    def at_exit(self, close: Callable[[], Awaitable[None]]) -> None:
        """Close something when the process ends, before what was opened earlier."""
        self._resources.push_async_callback(close)

    async def serve(
        self,
        registrations: Sequence[Registration],
        *,
        background: Sequence[Background] = (),
        ready: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        """Serve until SIGTERM or SIGINT, then drain.

        `background` runs supervised beside the calls; `ready` are waited for, besides the stores, before the
        first readiness. Without registrations it serves health and reflection only.
        """
        config = self._config
        server = self.server = MeshServer(config, registrations)
        await server.start()
        tasks = [
            asyncio.create_task(supervise(each), name=f"background.{each.name}")
            for each in background
        ]
        becoming = asyncio.create_task(self._become_ready(server, [*self._reached, *ready]))
        try:
            await self._stopping.wait()
            _log.info("stopping")
            await cancel_all([becoming])
            await server.set_ready(False)
            # Whoever checks our health has to see it before calls are refused.
            await asyncio.sleep(config.drain_s)
            await server.stop(config.stop_grace_s)
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=config.stop_grace_s)
            await drain_detached(2.0)

    async def _become_ready(
        self, server: MeshServer, waits: Sequence[Callable[[], Awaitable[None]]]
    ) -> None:
        pending = [asyncio.ensure_future(wait()) for wait in waits]
        try:
            if pending:
                _, late = await asyncio.wait(pending, timeout=self._config.ready_wait_s)
                if late:
                    _log.warning("serving without some stores: their calls answer UNAVAILABLE")
                for task in pending:
                    if task.done() and (error := task.exception()) is not None:
                        _log.warning("a readiness check failed", error=repr(error))
            await server.set_ready(True)
            _log.info("ready")
        finally:
            for task in pending:
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task
