"""Does what a plan says to the processes of a mesh, and sees to it that all is mended afterwards.

A full disk is a limit on the size of the files that a process may write (RLIMIT_FSIZE, by prlimit): every
write that would make a file longer fails, which needs no rights that the mesh does not have. A store that met
the limit is started anew by the mesh: Cassandra ends by itself, NATS is ended by the supervisor.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass

from tests.e2e.mesh import Mesh, eventually

from .ballast import ballast
from .plan import Fault, Step, kind_of

MENDED_WITHIN_S = 300.0
NOTICED_WITHIN_S = 10.0


@dataclass(frozen=True)
class Done:
    """A fault that happened, in seconds of the history's clock."""

    fault: Fault
    begun_s: float
    mended_s: float
    """The process is there again, as the supervisor sees it."""
    failure: str = ""
    """What did not happen, if it was not mended."""


@dataclass(frozen=True)
class StepDone:
    """A step that happened."""

    step: Step
    faults: tuple[Done, ...]

    @property
    def begun_s(self) -> float:
        """When its first fault began."""
        return min(done.begun_s for done in self.faults)

    @property
    def mended_s(self) -> float:
        """When all of it was mended."""
        return max(done.mended_s for done in self.faults)


class Saboteur:
    """Breaks processes of one mesh. Blocks while it does."""

    def __init__(self, mesh: Mesh, now: Callable[[], float]) -> None:
        self._mesh = mesh
        self._now = now

    def do(self, step: Step) -> StepDone:
        """Does the faults of a step, waits until all is mended, and rests."""
        with ThreadPoolExecutor(len(step.faults)) as pool:
            done = StepDone(step, tuple(pool.map(self._do, step.faults)))
        time.sleep(step.rest_s)
        return done

    def _do(self, fault: Fault) -> Done:
        time.sleep(fault.after_s)
        self._wait_ready(fault.process)
        begun_s, failure = self._now(), ""
        do = {
            "kill": self._kill,
            "terminate": self._terminate,
            "pause": self._pause,
            "flush": self._flush,
            "fill": self._fill,
        }[fault.action]
        try:
            do(fault)
        except AssertionError as error:
            failure = f"{fault}: {error}"
        return Done(fault, round(begun_s, 2), round(self._now(), 2), failure)

    def _kill(self, fault: Fault) -> None:
        pid = self._mesh.kill(fault.process)
        self._mesh.wait_restarted(fault.process, pid, MENDED_WITHIN_S)

    def _terminate(self, fault: Fault) -> None:
        pid = self._mesh.pid(fault.process)
        os.kill(pid, signal.SIGTERM)
        self._mesh.wait_restarted(fault.process, pid, MENDED_WITHIN_S)

    def _pause(self, fault: Fault) -> None:
        with self._mesh.stopped(fault.process):
            time.sleep(fault.lasts_s)

    def _flush(self, _: Fault) -> None:
        self._mesh.flush_redis()

    def _fill(self, fault: Fault) -> None:
        pid = self._mesh.pid(fault.process)
        with self._ballast(fault.process) as write, files_limited(pid, 1):
            if write is not None:
                write()
            time.sleep(fault.lasts_s)
        # What met the limit is started again, with nobody's help.
        end = time.monotonic() + NOTICED_WITHIN_S
        while time.monotonic() < end and self._runs(fault.process, pid):
            time.sleep(0.1)
        assert write is None or not self._runs(fault.process, pid), "the full disk went unnoticed"
        self._wait_ready(fault.process)

    def _runs(self, process: str, pid: int) -> bool:
        entry = self._mesh.process(process)
        return bool(entry["pid"] == pid and entry["state"] == "ready")

    def _ballast(self, process: str) -> AbstractContextManager[Callable[[], None] | None]:
        if kind_of(process) != "cassandra":
            return nullcontext()
        nodes = sum(kind_of(name) == "cassandra" for name in processes_of(self._mesh))
        return ballast(self._mesh.process(process)["addresses"]["cql"], nodes)

    def _wait_ready(self, process: str) -> None:
        eventually(
            lambda: self._mesh.process(process)["state"] == "ready",
            MENDED_WITHIN_S,
            f"{process} being ready",
            every_s=0.1,
        )


class files_limited:
    """Inside, the process cannot make any file longer than so many bytes."""

    def __init__(self, pid: int, most_bytes: int) -> None:
        self._pid = pid
        self._most_bytes = most_bytes
        self._hard = resource.RLIM_INFINITY

    def __enter__(self) -> None:
        _, self._hard = resource.prlimit(self._pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (self._most_bytes, self._hard))

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (self._hard, self._hard))


def processes_of(mesh: Mesh) -> list[str]:
    """The names of what runs and may be broken."""
    return [str(process["name"]) for process in mesh.processes()]


def kinds(processes: Iterable[str]) -> set[str]:
    """The kinds of these processes."""
    return {kind_of(process) for process in processes}
