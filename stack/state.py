"""What runs, as files: `stack.json` for everyone, `supervisor.json` for the `starling` command.

`stack.json` is `{"addresses": {purpose: URL}, "processes": [{"name", "pid", "addresses", "log",
"state", "restarts"}]}`, with the processes that were started, in the order of their needs. `pid` is
the program's own; while a process is being started again it is the last one's. Both files are
replaced as a whole: a reader never sees half.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from stack.errors import StackError
from stack.run_dir import RunDir

ProcessState = Literal["waiting", "starting", "ready", "done", "restarting", "stopped"]
Phase = Literal["starting", "up", "failed", "stopping"]


@dataclass
class ProcessStatus:
    """One process as the supervisor sees it."""

    name: str
    log: str
    addresses: dict[str, str]
    once: bool
    state: ProcessState = "waiting"
    pid: int | None = None
    started_at: float = 0.0
    """The kernel's start time of `pid`: with it, a pid that was given to another program is not
    mistaken.
    """
    restarts: int = 0
    reason: str = ""
    """Why it was started again, or is not ready."""


@dataclass
class SupervisorStatus:
    """The supervisor and all of its processes, in the order of their needs."""

    pid: int
    kind: str = "mesh"
    """Which topology: "mesh", "replicated" or "engines"."""
    phase: Phase = "starting"
    error: str = ""
    """Why the phase is "failed": which process, why, and where its log is."""
    addresses: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    processes: list[ProcessStatus] = field(default_factory=list)


def write(run: RunDir, status: SupervisorStatus) -> None:
    """Writes both files."""
    _replace(run.supervisor_json, asdict(status))
    _replace(
        run.stack_json,
        {
            "addresses": status.addresses,
            "processes": [
                {
                    "name": process.name,
                    "pid": process.pid,
                    "addresses": process.addresses,
                    "log": process.log,
                    "state": process.state,
                    "restarts": process.restarts,
                }
                for process in status.processes
                if process.pid and not process.once
            ],
        },
    )


def read(run: RunDir) -> SupervisorStatus | None:
    """What the supervisor last wrote, also when it is gone; None if there is nothing (readable)."""
    try:
        content = json.loads(run.supervisor_json.read_text())
        processes = [ProcessStatus(**process) for process in content.pop("processes")]
        return SupervisorStatus(**content, processes=processes)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_settings(run: RunDir, settings: dict[str, str]) -> None:
    """Leaves `settings` for a running supervisor, which reads them at SIGHUP."""
    _replace(run.settings_json, settings)


def read_settings(run: RunDir) -> dict[str, str]:
    """What `write_settings` left."""
    return {
        str(name): str(value) for name, value in json.loads(run.settings_json.read_text()).items()
    }


def forget(run: RunDir) -> None:
    """Nothing runs any more."""
    run.stack_json.unlink(missing_ok=True)
    run.supervisor_json.unlink(missing_ok=True)
    run.settings_json.unlink(missing_ok=True)


def supervisor_pid(run: RunDir) -> int | None:
    """The pid of the supervisor that runs now. Its lock tells: the kernel lets go of it however it
    ends.
    """
    try:
        with run.supervisor_lock.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read() or 0) or None
    except OSError:
        pass
    return None


@contextmanager
def exclusive(lock: Path, refusal: str) -> Iterator[None]:
    """Holds `lock`, with this process's pid in it. Raises StackError(`refusal`) if another process
    holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(refusal) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _replace(path: Path, content: object) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(new, path)
