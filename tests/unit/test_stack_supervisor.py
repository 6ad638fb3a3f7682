"""The supervisor, with small programs in the place of engines."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from stack import child, settings, state
from stack.process import NotReadyError, Process
from stack.run_dir import RunDir
from stack.supervisor import Supervisor
from stack.topology import Topology

T = TypeVar("T")
SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('deaf', flush=True); time.sleep(600)",
)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


@asynccontextmanager
async def supervised(run: RunDir, *processes: Process) -> AsyncIterator[asyncio.Task[None]]:
    """A supervisor of `processes`, ended with the block."""
    supervisor = Supervisor(run, lambda: Topology(processes, {"api": "https://localhost:1"}))
    task = asyncio.create_task(supervisor.run())
    try:
        yield task
    finally:
        if not task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await task


async def until(condition: Callable[[], T], within_s: float = 10.0) -> T:
    """What `condition` gives once it is true."""
    async with asyncio.timeout(within_s):
        while True:
            if result := condition():
                return result
            await asyncio.sleep(0.02)


def entry(run: RunDir, name: str) -> state.ProcessStatus | None:
    status = state.read(run)
    return next((p for p in status.processes if p.name == name), None) if status else None


def pid(run: RunDir, name: str) -> int:
    found = entry(run, name)
    assert found
    assert found.pid
    return found.pid


def phase(run: RunDir) -> str:
    status = state.read(run)
    return status.phase if status else ""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def logs_when(name: str, run: RunDir, event: str) -> tuple[str, ...]:
    """A program that writes `event name` to a file when it starts, and `-name` when it is told to end."""
    file = run.root / "order"
    code = (
        "import signal, sys, time\n"
        f"def tell(text): open({str(file)!r}, 'a').write(text + '\\n')\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (tell('-{name}'), sys.exit(0)))\n"
        f"tell('{event}{name}')\n"
        "time.sleep(600)\n"
    )
    return (sys.executable, "-c", code)


async def test_starts_in_the_order_of_needs_and_stops_in_reverse(run: RunDir) -> None:
    def told(text: str) -> Callable[[], Any]:
        async def probe() -> None:
            file = run.root / "order"
            if not file.exists() or text not in file.read_text().split():
                raise NotReadyError("not yet")

        return probe

    store = Process("store", logs_when("store", run, "+"), ready=told("+store"))
    svc = Process("svc", logs_when("svc", run, "+"), needs=("store",), ready=told("+svc"))
    edge = Process(
        "edge",
        logs_when("edge", run, "+"),
        stops_before=("svc",),
        needs=("store",),
        ready=told("+edge"),
    )
    async with supervised(run, store, svc, edge):
        await until(lambda: phase(run) == "up")
    order = (run.root / "order").read_text().split()
    assert order[0] == "+store"
    assert order[3:] == ["-edge", "-svc", "-store"]


async def test_stack_json_has_the_documented_form(run: RunDir) -> None:
    async with supervised(run, Process("store", SLEEP, addresses={"cql": "127.0.0.1:1"})):
        await until(lambda: phase(run) == "up")
        content = json.loads(run.stack_json.read_text())
        assert content["addresses"] == {"api": "https://localhost:1"}
        (process,) = content["processes"]
        assert process["name"] == "store"
        assert process["addresses"] == {"cql": "127.0.0.1:1"}
        assert process["log"] == str(run.log("store"))
        assert alive(process["pid"])
    assert not run.stack_json.exists()
    assert not alive(process["pid"])


async def test_what_dies_is_started_again_and_the_file_follows(run: RunDir) -> None:
    def with_other_pid(first: int) -> state.ProcessStatus | None:
        found = entry(run, "store")
        return found if found and found.pid != first and found.state == "ready" else None

    async with supervised(run, Process("store", SLEEP)):
        await until(lambda: phase(run) == "up")
        first = pid(run, "store")
        os.kill(first, signal.SIGKILL)
        again = await until(lambda: with_other_pid(first))
        assert again
        assert again.restarts == 1
        assert again.reason == "it was killed by SIGKILL"
        assert alive(pid(run, "store"))


async def never() -> None:
    """A probe."""
    raise NotReadyError("still loading")


async def test_one_that_never_starts_is_named_with_its_reason_and_log(run: RunDir) -> None:
    broken = Process(
        "broken",
        (sys.executable, "-c", "print('no licence found'); raise SystemExit(3)"),
        ready=never,
    )
    async with supervised(run, Process("store", SLEEP), broken) as task:
        await asyncio.wait_for(task, 20)
    status = state.read(run)
    assert status
    assert status.phase == "failed"
    assert "broken does not start: it exited with code 3" in status.error
    assert "no licence found" in status.error
    assert str(run.log("broken")) in status.error
    assert all(not alive(p.pid) for p in status.processes if p.pid)


async def test_one_that_is_not_ready_in_time_is_named_with_what_it_said(run: RunDir) -> None:
    slow = Process("slow", SLEEP, ready=never, start_timeout_s=0.2)
    async with supervised(run, slow) as task:
        await asyncio.wait_for(task, 20)
    status = state.read(run)
    assert status
    assert "slow does not start: not ready after 0 s: still loading" in status.error


async def test_one_that_does_not_hear_sigterm_is_killed(run: RunDir) -> None:
    async with supervised(run, Process("deaf", STUBBORN, stop_timeout_s=0.2)):
        await until(lambda: phase(run) == "up" and "deaf" in run.log("deaf").read_text())
        deaf = pid(run, "deaf")
    assert not alive(deaf)


async def test_new_settings_start_again_only_what_depends_on_them(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELEBRITY_FOLLOWERS", "7")
    wanted = settings.current() | {"CELEBRITY_FOLLOWERS": "5"}

    def plan() -> Topology:
        return Topology(
            (Process("store", SLEEP), Process("svc", SLEEP, env=settings.current())), {}
        )

    def applied() -> bool:
        status = state.read(run)
        return status is not None and status.settings == wanted and status.phase == "up"

    task = asyncio.create_task(Supervisor(run, plan).run())
    await until(lambda: phase(run) == "up")
    store, svc = pid(run, "store"), pid(run, "svc")
    state.write_settings(run, wanted)
    os.kill(os.getpid(), signal.SIGHUP)
    await until(applied)
    assert pid(run, "store") == store
    assert pid(run, "svc") != svc
    assert psutil.Process(pid(run, "svc")).environ()["CELEBRITY_FOLLOWERS"] == "5"
    os.kill(os.getpid(), signal.SIGTERM)
    await task


async def test_a_process_that_only_a_fresh_start_can_mend_is_started_again(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "SOUND_INTERVAL_S", 0.05)
    sick: set[int] = set()
    silent: set[int] = set()
    asked: list[int] = []

    async def sound() -> None:
        asked.append(pid(run, "store"))
        if asked[-1] in silent:
            raise TimeoutError
        if asked[-1] in sick:
            raise NotReadyError("it cannot write")

    async with supervised(run, Process("store", SLEEP, sound=sound)):
        await until(lambda: phase(run) == "up" and asked)
        first = pid(run, "store")
        silent.add(first)  # that it does not answer is no reason to end it
        asked.clear()
        await until(lambda: len(asked) > 3)
        assert pid(run, "store") == first
        silent.clear()
        sick.add(first)
        await until(lambda: pid(run, "store") != first)
        assert not alive(first)
        await until(lambda: (found := entry(run, "store")) and found.state == "ready")
        second = pid(run, "store")
        assert (found := entry(run, "store"))
        assert found.reason == "it cannot write"
        asked.clear()
        await until(lambda: len(asked) > 3)
        assert pid(run, "store") == second
    assert not alive(second)
