"""Finds and ends what a supervisor left behind when it was killed.

Every process of a mesh carries the mesh's run directory in its environment (`STARLING_MESH_OF`);
besides, the supervisor writes down each pid with its start time. Only a process that one of the two
names is ours to end. The processes do not ask the kernel to end them with the supervisor
(PR_SET_PDEATHSIG): a mesh whose supervisor died goes on serving.
"""

import os
from contextlib import suppress

import psutil

from stack import state
from stack.run_dir import RunDir

MARKER = "STARLING_MESH_OF"
TERM_TIMEOUT_S = 15.0


def find(run: RunDir) -> list[psutil.Process]:
    """The processes of `run` that live, without this one and without a live supervisor."""
    ours = {process.pid: process for process in psutil.process_iter() if _marked(process, run)}
    status = state.read(run)
    for recorded in status.processes if status else []:
        if recorded.pid and recorded.pid not in ours:
            try:
                process = psutil.Process(recorded.pid)
                if abs(process.create_time() - recorded.started_at) < 0.05:
                    ours[recorded.pid] = process
            except psutil.Error:
                continue
    for pid in (os.getpid(), state.supervisor_pid(run)):
        if pid:
            ours.pop(pid, None)
    return [process for process in ours.values() if _alive(process)]


def end(processes: list[psutil.Process]) -> None:
    """SIGTERM, and SIGKILL for those that are still there after TERM_TIMEOUT_S."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, stubborn = psutil.wait_procs(processes, timeout=TERM_TIMEOUT_S)
    for process in stubborn:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stubborn, timeout=TERM_TIMEOUT_S)


def _marked(process: psutil.Process, run: RunDir) -> bool:
    try:
        return process.environ().get(MARKER) == str(run.root)
    except (psutil.Error, OSError):
        return False


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
