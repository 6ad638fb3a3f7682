"""The engines that integration tests share: those of the environment, those that run, or new ones.

With `CASSANDRA_CONTACT_POINTS`, `NATS_URL` and `REDIS_URL` set, these are used. Otherwise the engines of
`starling engines up` are: if they do not run, they are started for this run and stopped after it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass

from stack import state
from stack.run_dir import engines_run_dir

_VARIABLES = ("CASSANDRA_CONTACT_POINTS", "NATS_URL", "REDIS_URL")


@dataclass(frozen=True)
class Engines:
    """Where the engines listen, and whether this run has to stop them."""

    cassandra: str
    nats: str
    redis: str
    started_here: bool

    def stop(self) -> None:
        """Stop what this run started."""
        if self.started_here:
            _starling("down")


def find_or_start() -> Engines:
    """The engines, answering."""
    given = [os.environ.get(name) for name in _VARIABLES]
    if all(given):
        cassandra, nats, redis = (value or "" for value in given)
        return Engines(cassandra, nats, redis, started_here=False)
    running = _running()
    if running is not None:
        return running
    _starling("up")
    started = _running()
    if started is None:
        raise RuntimeError("`starling engines up` succeeded, and yet the engines do not answer")
    return Engines(started.cassandra, started.nats, started.redis, started_here=True)


def _running() -> Engines | None:
    run = engines_run_dir()
    if not state.supervisor_pid(run) or (status := state.read(run)) is None:
        return None
    try:
        cassandra, nats, redis = (status.addresses[name] for name in ("cql", "nats", "redis"))
    except KeyError:
        return None
    if not all(_answers(address) for address in (cassandra, nats, redis)):
        return None
    return Engines(cassandra, nats, redis, started_here=False)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition("/")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def _starling(verb: str) -> None:
    subprocess.run([sys.executable, "-m", "stack.cli", "engines", verb], check=True)
