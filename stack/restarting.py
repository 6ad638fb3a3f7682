"""`starling restart`: processes ended in good order, and started again by the supervisor.

A rolling restart fails no call where there are two instances: the one that ends says so by its health,
serves on until its callers have seen it, finishes what it began; the next one waits until all callers
see this one healthy again.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import httpx
import psutil

from stack import probes, state
from stack.errors import StackError
from stack.process import NotReadyError, Probe
from stack.run_dir import RunDir
from stack.scale import service_of
from stack.state import ProcessStatus, SupervisorStatus

END_WITHIN_S = 60.0
READY_WITHIN_S = 180.0
SEEN_WITHIN_S = 30.0
DRAIN_S = 5.0
"""How long an Envoy that says it ends goes on serving: its callers look every second."""
POLL_INTERVAL_S = 0.1

Say = Callable[[str], None]


def restart(run: RunDir, name: str, *, rolling: bool, say: Say) -> None:
    """Restart process `name`; or, rolling, all instances of it, one after the other.

    Raises StackError when there is no such process, or it does not come back.
    """
    status = _status(run)
    if rolling:
        kind = _kind(name)
        chosen = [p.name for p in status.processes if _kind(p.name) == kind and not p.once]
    else:
        chosen = [p.name for p in status.processes if p.name == name and not p.once]
    if not chosen:
        known = ", ".join(p.name for p in status.processes if not p.once)
        raise StackError(f"There is no process {name}. There are: {known}.")
    for each in chosen:
        started = time.monotonic()
        before = _process(run, each)
        if rolling:
            _leave(before)
        _end(run, before)
        _wait_ready(run, before)
        _wait_seen(run)
        if rolling:
            _wait_whole(run)
        say(f"  {each} is started again, {time.monotonic() - started:.1f} s")


def _kind(process: str) -> str:
    """ "tweet_svc.envoy" of "tweet_svc-2.envoy"."""
    name, dot, role = process.partition(".")
    return service_of(name) + dot + role


def _leave(process: ProcessStatus) -> None:
    """Tell an Envoy's callers to go elsewhere; services do so themselves when told to end."""
    if not (admin := process.addresses.get("admin")):
        return
    with httpx.Client(base_url=admin, timeout=5) as client:
        client.post("/healthcheck/fail").raise_for_status()
        client.post("/drain_listeners", params={"graceful": "", "skip_exit": ""}).raise_for_status()
    time.sleep(DRAIN_S)


def _end(run: RunDir, process: ProcessStatus) -> None:
    if not process.pid:
        return
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + END_WITHIN_S
    while psutil.pid_exists(process.pid):
        if time.monotonic() > deadline:
            raise StackError(
                f"{process.name} (pid {process.pid}) does not end. Its log is {process.log}"
            )
        time.sleep(POLL_INTERVAL_S)


def _wait_ready(run: RunDir, before: ProcessStatus) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while (now := _process(run, before.name)).pid == before.pid or now.state != "ready":
        if time.monotonic() > deadline:
            raise StackError(
                f"{before.name} does not come back: {now.reason or now.state}. Its log is {now.log}"
            )
        time.sleep(POLL_INTERVAL_S)


def _wait_seen(run: RunDir) -> None:
    """Until every Envoy finds all that it sends to healthy."""
    admin_ports = [
        int(p.addresses["admin"].rpartition(":")[2])
        for p in _status(run).processes
        if "admin" in p.addresses
    ]
    _wait_for(probes.envoy_upstreams(*admin_ports))


def _wait_whole(run: RunDir) -> None:
    """Until the stores' clusters, if they are such, have all their members again, with all the data."""
    processes = _status(run).processes
    nodes = [p.addresses["cql"] for p in processes if "cql" in p.addresses]
    if len(nodes) > 1:
        _step("stack.cassandra_ring", *nodes)
    servers = [p.addresses["redis"].rpartition(":")[2] for p in processes if "redis" in p.addresses]
    if len(servers) > 1:
        _step("stack.valkey_cluster", *servers)
    for monitor in (p.addresses["monitor"] for p in processes if "monitor" in p.addresses):
        _wait_for(probes.http_ok(int(monitor.rpartition(":")[2]), "/healthz"))


def _step(module: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise StackError(f"It is started again, but {done.stderr.strip()}")


def _wait_for(probe: Probe) -> None:
    async def once() -> None:
        await probe()

    deadline = time.monotonic() + SEEN_WITHIN_S
    while True:
        try:
            asyncio.run(once())
            return
        except (NotReadyError, OSError) as error:
            if time.monotonic() > deadline:
                raise StackError(f"It is started again, but: {error}") from error
        time.sleep(POLL_INTERVAL_S)


def _status(run: RunDir) -> SupervisorStatus:
    status = state.read(run)
    if not status or not state.supervisor_pid(run):
        raise StackError("The mesh does not run: `starling up` (or `make up`) starts it.")
    return status


def _process(run: RunDir, name: str) -> ProcessStatus:
    return next(p for p in _status(run).processes if p.name == name)
