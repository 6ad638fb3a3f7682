"""The running mesh as benchmarks see it: addresses, CPU time of its processes, people to act as."""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
import psutil

from stack.run_dir import RunDir, run_dir
from stack.tls import client_context


@dataclass(frozen=True)
class Person:
    """An account and a token to act with."""

    user_id: str
    token: str


class Mesh:
    """What `.run/stack.json` says runs."""

    def __init__(self, run: RunDir | None = None) -> None:
        self.run = run or run_dir()
        if not self.run.stack_json.exists():
            raise SystemExit("The mesh does not run: `make bench` starts it.")
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

    def client(self) -> httpx.AsyncClient:
        """A client for setting things up, not for load."""
        return httpx.AsyncClient(base_url=self.api, verify=self.tls, timeout=30)

    def _process(self, name: str) -> Mapping[str, Mapping[str, str]]:
        found: Mapping[str, Mapping[str, str]] = next(
            process for process in self.stack["processes"] if process["name"] == name
        )
        return found


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """User and system time of each process so far."""
    used = {}
    for name, pid in pids.items():
        times = psutil.Process(pid).cpu_times()
        used[name] = times.user + times.system
    return used


def cpu_us_each(
    before: Mapping[str, float], after: Mapping[str, float], requests: int
) -> dict[str, float]:
    """Microseconds of CPU a request, by process."""
    return {name: 1e6 * (after[name] - before[name]) / max(requests, 1) for name in before}


async def expect(call: httpx.Response) -> dict[str, object]:
    """The answer, or an end of the benchmark that says what came instead."""
    if call.status_code != 200:
        raise SystemExit(
            f"{call.request.method} {call.request.url}: {call.status_code} {call.text}"
        )
    answer: dict[str, object] = call.json()
    return answer


async def people(client: httpx.AsyncClient, count: int) -> list[Person]:
    """Registers people nobody else uses."""
    run = secrets.token_hex(4)
    gate = asyncio.Semaphore(4)

    async def register(number: int) -> Person:
        body = {
            "username": f"bench_{run}_{number}",
            "display_name": f"Bench {number}",
            "password": secrets.token_urlsafe(12),
        }
        async with gate:
            answer = await expect(await client.post("/v1/users", json=body))
        user = answer["user"]
        assert isinstance(user, dict)
        return Person(str(user["user_id"]), str(answer["access_token"]))

    return list(await asyncio.gather(*map(register, range(count))))
