"""The running mesh as benchmarks see it: addresses, CPU time of its processes, people to act as."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from stack import state
from stack.run_dir import RunDir, run_dir
from stack.state import SupervisorStatus
from stack.tls import client_context


@dataclass(frozen=True)
class Person:
    """An account and a token to act with."""

    user_id: int
    username: str
    token: str


class Mesh:
    """What `.run/stack.json` says runs."""

    def __init__(self, run: RunDir | None = None) -> None:
        self.run = run or run_dir()
        status = state.read(self.run)
        if not status or not state.supervisor_pid(self.run):
            raise SystemExit("The mesh does not run: `make bench` starts it.")
        self.status: SupervisorStatus = status
        self.stack = json.loads(self.run.stack_json.read_text())
        self.api: str = self.stack["addresses"]["api"]
        self.port = int(self.api.rpartition(":")[2])
        self.tls: ssl.SSLContext = client_context(self.run.ca)

    def address(self, process: str, use: str) -> str:
        """One address of a process."""
        return str(self._process(process)["addresses"][use])

    def pids(self) -> dict[str, int]:
        """The processes by name."""
        return {process["name"]: process["pid"] for process in self.stack["processes"]}

    def setting(self, name: str, default: str) -> str:
        """A variable of the environment that the mesh was started in."""
        return self.status.settings.get(name) or default

    @property
    def sampling(self) -> float:
        """The share of requests that are traced."""
        return float(self.setting("OTEL_TRACES_SAMPLER_ARG", "1"))

    def _process(self, name: str) -> Mapping[str, Mapping[str, str]]:
        found: Mapping[str, Mapping[str, str]] = next(
            process for process in self.stack["processes"] if process["name"] == name
        )
        return found
