"""One row of the topology: a process, what it needs, and how to tell that it works."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from stack.errors import StackError
from stack.ports import LOOPBACK

Probe = Callable[[], Awaitable[None]]
"""Returns when the process does its work; raises NotReadyError or OSError while it does not."""


class NotReadyError(Exception):
    """It answers, and says that it is not ready; the text tells why."""


@dataclass(frozen=True)
class Process:
    """A program that the supervisor keeps running; or, if `once`, that must end well first."""

    name: str
    command: tuple[str, ...]
    """Empty: there is no program, only what `prepare` does and `ready` waits for (it is `once`)."""
    needs: tuple[str, ...] = ()
    """Names of those that must be ready before it is started; they are stopped after it."""
    stops_before: tuple[str, ...] = ()
    """Names of those that are stopped after it too, though it starts without them."""
    ready: Probe | None = None
    """None: it is ready when it was started (or, if `once`, when it ended with 0)."""
    sound: Probe | None = None
    """Asked again and again once it is ready. NotReadyError says that only a fresh start can mend it; that
    it does not answer says nothing."""
    prepare: Callable[[], None] | None = None
    """Writes its configuration; called in a thread before its first start. Raises StackError."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the supervisor's own environment."""
    host: str = LOOPBACK
    ports: tuple[int, ...] = ()
    """TCP ports of `host` that it will listen on."""
    shared_ports: tuple[int, ...] = ()
    """Those that it listens on together with other instances (SO_REUSEPORT)."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """What others reach it by: purpose to URL or host:port."""
    once: bool = False
    start_timeout_s: float = 60.0
    stop_timeout_s: float = 10.0


@dataclass(frozen=True)
class Engine:
    """All processes of a store or of the bus, and what its clients are given to reach it."""

    processes: tuple[Process, ...]
    address: str


def in_order(processes: list[Process]) -> list[Process]:
    """`processes`, each behind what it needs. Raises StackError on a cycle or a missing one."""
    by_name = {process.name: process for process in processes}
    ordered: dict[str, Process] = {}

    def place(process: Process, path: tuple[str, ...]) -> None:
        if process.name in path:
            raise StackError(f"Needs go round in a circle: {' -> '.join((*path, process.name))}")
        if process.name in ordered:
            return
        for need in process.needs:
            if need not in by_name:
                raise StackError(f"{process.name} needs {need}, which is not in the topology")
            place(by_name[need], (*path, process.name))
        ordered[process.name] = process

    for process in processes:
        place(process, ())
    return list(ordered.values())
