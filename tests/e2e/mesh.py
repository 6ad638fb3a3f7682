"""One whole mesh of processes, on free ports, in a run directory of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nats

from stack import settings
from stack.operator import Operator
from stack.run_dir import RunDir

ROOMY = {
    "RATE_LIMIT_IP_RPS": "100000",
    "RATE_LIMIT_USER_RPS": "100000",
    "RATE_LIMIT_AUTH_PER_MIN": "100000",
    # Spans of thousands of calls would fill the trace store, and take the two cores from the calls.
    "OTEL_TRACES_SAMPLER_ARG": "0",
    # A machine that does much else takes longer than the 400 ms which users would wait at most.
    "FANOUT_WAIT_MS": "2000",
}
"""Settings under which no test meets a limit by accident."""

FRESH_S = 15.0
"""The contract's 2 s are those of a healthy mesh, which the benchmark measures. Here the clients take the
mesh's two cores, and whatever else runs beside."""


def eventually(
    condition: Callable[[], object], within_s: float = 20.0, what: str = "it", every_s: float = 0.05
) -> None:
    """Poll `condition` until it is true and raises nothing of AssertionError; fail after `within_s`."""
    end = time.monotonic() + within_s
    while True:
        try:
            if condition():
                return
            problem: AssertionError | None = None
        except AssertionError as error:
            problem = error
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen in {within_s:g} s: {problem}")
        time.sleep(every_s)


class Mesh:
    """Starts and stops processes by the command that users have, and reads `stack.json`."""

    def __init__(self, run_dir: Path, *, replicated: bool = False, **settings: str) -> None:
        self.run_dir = run_dir
        self._kind = ["--replicated"] if replicated else []
        self._settings: dict[str, str] = ROOMY | settings

    @property
    def api(self) -> str:
        """The URL of the public API."""
        return str(self._stack()["addresses"]["api"])

    @property
    def ca(self) -> Path:
        """The certificate that signed the edge's."""
        return self.run_dir / "ca.pem"

    def up(self) -> None:
        """Start it, or bring it to other settings, and wait until it is healthy."""
        self._starling("up", "--no-tour", "--quiet", *self._kind)

    def down(self) -> None:
        """Stop all of it."""
        self._starling("down")

    @contextmanager
    def settings(self, **changed: str) -> Iterator[None]:
        """The mesh with other settings, and afterwards with those it had."""
        before = dict(self._settings)
        try:
            self._settings |= changed
            self.up()
            yield
        finally:
            self._settings = before
            self.up()

    def processes(self) -> list[Mapping[str, Any]]:
        """The entries of `stack.json`."""
        return list(self._stack()["processes"])

    def process(self, name: str) -> Mapping[str, Any]:
        """The entry of `stack.json`."""
        (found,) = [p for p in self._stack()["processes"] if p["name"] == name]
        return found  # type: ignore[no-any-return]

    def pid(self, name: str) -> int:
        """The process that runs under this name now."""
        return int(self.process(name)["pid"])

    def kill(self, name: str) -> int:
        """kill -9; the pid it had."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """The process hangs: it neither runs nor closes its connections."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def wait_restarted(self, name: str, old_pid: int, within_s: float = 60.0) -> None:
        """Wait until another process than `old_pid` runs under this name, and is ready."""

        def again() -> bool:
            process = self.process(name)
            return bool(process["pid"] != old_pid and process["state"] == "ready")

        eventually(again, within_s, f"the restart of {name}", every_s=0.1)

    def flush_redis(self) -> None:
        """Redis forgets everything: all of its servers do."""
        for process in self.processes():
            if "redis" in process["addresses"]:
                self.redis("FLUSHALL", server=process["name"])

    def lose_streams(self) -> None:
        """JetStream forgets everything."""

        async def delete_all() -> None:
            client = await nats.connect(self.process("nats")["addresses"]["nats"])
            for stream in await client.jetstream().streams_info():
                await client.jetstream().delete_stream(str(stream.config.name))
            await client.close()

        asyncio.run(delete_all())

    def redis(self, *command: str, server: str = "redis") -> str:
        """The first line of Redis's answer to a command."""
        host, _, port = self.process(server)["addresses"]["redis"].rpartition("/")[2].partition(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall((" ".join(command) + "\r\n").encode())
            return connection.makefile("r").readline().rstrip("\r\n")

    def redis_figure(self, name: str) -> int:
        """A figure of Redis's INFO: "used_memory", "evicted_keys"."""
        host, _, port = (
            self.process("redis")["addresses"]["redis"].rpartition("/")[2].partition(":")
        )
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(b"INFO ALL\r\nQUIT\r\n")
            text = connection.makefile("r").read()
        return int(text.partition(f"\n{name}:")[2].split()[0])

    @contextmanager
    def redis_memory(self, spare_bytes: int, policy: str) -> Iterator[None]:
        """Redis may use but so much more memory than now, and has another policy when that is full."""
        limit = self.redis_figure("used_memory") + spare_bytes
        usual = self.redis_figure("maxmemory")
        try:
            self._redis_limits(limit, policy)
            yield
        finally:
            self._redis_limits(usual, "allkeys-lru")

    def _redis_limits(self, maxmemory_bytes: int, policy: str) -> None:
        self.redis("CONFIG", "SET", "maxmemory", str(maxmemory_bytes), "maxmemory-policy", policy)

    def operator(self) -> Operator:
        """Calls past the edge, to be used in its `async with`."""
        return Operator(RunDir(self.run_dir))

    def _stack(self) -> dict[str, Any]:
        return json.loads((self.run_dir / "stack.json").read_text())  # type: ignore[no-any-return]

    def starling(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the `starling` command on this mesh."""
        environment = {
            name: value for name, value in os.environ.items() if name not in _NOT_INHERITED
        }
        return subprocess.run(
            [sys.executable, "-m", "stack.cli", *arguments],
            env={
                **environment,
                **self._settings,
                "STARLING_RUN_DIR": str(self.run_dir),
                "STARLING_PORTS": "free",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def _starling(self, *arguments: str) -> None:
        done = self.starling(*arguments)
        assert done.returncode == 0, f"starling {' '.join(arguments)}: {done.stdout}{done.stderr}"


_NOT_INHERITED = {*settings.RELOADABLE, *settings.FIXED}
