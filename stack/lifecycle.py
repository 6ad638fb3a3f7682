"""What `up` and `down` do: start and stop a supervisor, and all that it keeps."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import psutil

from stack import orphans, settings, state
from stack.errors import StackError
from stack.run_dir import CHECKOUT, RunDir
from stack.state import SupervisorStatus

Kind = Literal["mesh", "replicated", "engines"]
Watch = Callable[[SupervisorStatus], None]
"""Shown the supervisor's status again and again while it starts or stops."""

START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 90.0
POLL_INTERVAL_S = 0.1
LEAST_FREE_BYTES = 400_000_000
"""A fresh Cassandra, its commit log of up to 256 MB, the streams and the logs."""


def start(run: RunDir, kind: Kind) -> bool:
    """Starts the supervisor in the background if none runs; whether it was started.

    What an earlier one left behind is ended first. Raises StackError.
    """
    if state.supervisor_pid(run):
        if (status := state.read(run)) and status.kind != kind:
            raise StackError(
                f"Another kind of mesh runs here ({status.kind}, not {kind}).\n"
                "Run `starling down` (or `make down`) first."
            )
        return False
    orphans.end(orphans.find(run))
    state.forget(run)
    if kind == "engines":  # what tests leave behind is of use to nobody
        shutil.rmtree(run.root / "data", ignore_errors=True)
    free_bytes = shutil.disk_usage(run.root).free
    needed_bytes = LEAST_FREE_BYTES * (3 if kind == "replicated" else 1)
    if free_bytes < needed_bytes:
        raise StackError(
            f"Too little space for the mesh's data: {free_bytes // 1_000_000} MB are free in {run.root}, "
            f"{needed_bytes // 1_000_000} MB are needed.\n"
            "Free some, or set STARLING_RUN_DIR to a directory on another disk, and try again."
        )
    log = run.log("supervisor")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "stack.supervisor", str(run.root), kind],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=CHECKOUT,
            env={**os.environ, orphans.MARKER: str(run.root)},
            start_new_session=True,
        )
    deadline = time.monotonic() + 10
    while state.read(run) is None:
        if child.poll() is not None or time.monotonic() > deadline:
            raise StackError(f"The supervisor did not start:\n{_tail(log)}\nIts log is {log}")
        time.sleep(POLL_INTERVAL_S / 2)
    return True


def apply_settings(run: RunDir) -> list[str]:
    """Gives this environment's settings to the supervisor that runs; what changed, in words.

    Raises StackError if one of them cannot change while the mesh runs.
    """
    pid, status = state.supervisor_pid(run), state.read(run)
    wanted = settings.current()
    if not pid or not status or not (changed := settings.differences(status.settings, wanted)):
        return []
    state.write_settings(run, wanted)
    os.kill(pid, signal.SIGHUP)
    deadline = time.monotonic() + 10
    while (status := state.read(run)) and status.settings != wanted:
        if time.monotonic() > deadline:
            raise StackError(f"The supervisor does not answer. Its log is {run.log('supervisor')}")
        time.sleep(POLL_INTERVAL_S / 2)
    return changed


def wait_until_up(run: RunDir, watch: Watch = lambda _: None) -> SupervisorStatus:
    """Waits until all is ready. Raises StackError, with the reason, if a process cannot start."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        status = state.read(run)
        if status:
            watch(status)
            if status.phase == "up":
                return status
        if not state.supervisor_pid(run):
            status = state.read(run)
            if status and status.phase == "failed":
                raise StackError(status.error)
            raise StackError(
                f"The supervisor ended:\n{_tail(run.log('supervisor'))}\n"
                f"Its log is {run.log('supervisor')}"
            )
        if time.monotonic() > deadline:
            late = (
                [p for p in status.processes if p.state not in ("ready", "done")] if status else []
            )
            raise StackError(
                f"Not ready after {START_TIMEOUT_S:.0f} s: "
                + ", ".join(f"{p.name} ({p.reason or p.state}, log {p.log})" for p in late)
            )
        time.sleep(POLL_INTERVAL_S)


def stop(run: RunDir, watch: Watch = lambda _: None) -> list[str]:
    """Stops the supervisor and its processes, or what is left of them; the names of those."""
    stopped: list[str] = []
    status = state.read(run)
    if pid := state.supervisor_pid(run):
        stopped = ["supervisor"]
        if status:
            stopped += [p.name for p in status.processes if p.state in ("starting", "ready")]
        _stop_supervisor(run, pid, watch)
    left = orphans.find(run)
    names = {p.pid: p.name for p in status.processes} if status else {}
    stopped += [names.get(process.pid) or _command(process) for process in left]
    orphans.end(left)
    state.forget(run)
    run.remove_sockets()
    return stopped


def _stop_supervisor(run: RunDir, pid: int, watch: Watch) -> None:
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while state.supervisor_pid(run) == pid:
        if status := state.read(run):
            watch(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_INTERVAL_S)
    with suppress(psutil.Error):  # it let go of its lock: now it only has to vanish
        psutil.Process(pid).wait(timeout=5)


def _command(process: psutil.Process) -> str:
    try:
        return f"{process.name()} (pid {process.pid})"
    except psutil.Error:
        return f"pid {process.pid}"


def _tail(path: Path, lines: int = 10) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"
