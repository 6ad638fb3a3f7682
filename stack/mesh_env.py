"""The environment of a service that runs: what a command needs to reach the same stores and events."""

from __future__ import annotations

import psutil

from stack import state
from stack.errors import StackError
from stack.run_dir import RunDir

NOT_RUNNING = "The mesh does not run: `starling up` (or `make up`) starts it."


def environment_of(run: RunDir, service: str) -> dict[str, str]:
    """The variables that a process of `service` was started with. Raises StackError if none runs."""
    status = state.read(run)
    if not status or not state.supervisor_pid(run):
        raise StackError(NOT_RUNNING)
    for process in status.processes:
        if process.name.partition("-")[0] != service or not process.pid:
            continue
        try:
            return psutil.Process(process.pid).environ()
        except psutil.Error:
            continue
    raise StackError(f"{service} does not run now: `starling ps` shows what does.")
