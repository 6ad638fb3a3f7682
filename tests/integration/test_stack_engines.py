"""`starling engines` with real engines: what happens when one, or the supervisor, is killed.

Cassandra is the run's shared one: what is tested here is the supervisor, with NATS and Valkey under it.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from stack import orphans, state
from stack.run_dir import RunDir
from tests.engines import Engines


class Stack:
    """A run directory of its own, and the command on it."""

    def __init__(self, root: Path, engines: Engines) -> None:
        self.run = RunDir(root / "engines")
        self._env = {
            **{k: v for k, v in os.environ.items() if k not in ("NATS_URL", "REDIS_URL")},
            "STARLING_RUN_DIR": str(root),
            "CASSANDRA_CONTACT_POINTS": engines.cassandra,
        }

    def starling(self, *arguments: str, fails: bool = False) -> str:
        """Runs `starling engines ...`; what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "stack.cli", "engines", *arguments],
            env=self._env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def pids(self) -> dict[str, int]:
        """What stack.json says."""
        content = json.loads(self.run.stack_json.read_text())
        return {process["name"]: process["pid"] for process in content["processes"]}

    def supervisor(self) -> int:
        pid = state.supervisor_pid(self.run)
        assert pid
        return pid


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, engines: Engines) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("stack"), engines)
    yield made
    made.starling("down")
    assert orphans.find(made.run) == []


@pytest.fixture
def stack(shared: Stack) -> Stack:
    """It runs."""
    if state.supervisor_pid(shared.run) is None:
        shared.starling("up")
    return shared


def until(condition: Callable[[], bool], within_s: float = 15.0) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def answers(stack: Stack) -> bool:
    """Whether Valkey does."""
    status = state.read(stack.run)
    assert status
    host, _, port = status.addresses["redis"].removeprefix("redis://").partition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16) == b"+PONG\r\n"
    except OSError:
        return False


def test_up_when_up_changes_nothing(stack: Stack) -> None:
    before = stack.pids()
    started = time.monotonic()
    assert "nats://" in stack.starling("up")
    assert time.monotonic() - started < 60
    assert stack.pids() == before
    assert set(before) == {"nats", "redis"}


def test_a_killed_engine_comes_back_and_the_file_follows(stack: Stack) -> None:
    before = stack.pids()
    os.kill(before["redis"], signal.SIGKILL)
    until(lambda: stack.pids()["redis"] != before["redis"] and answers(stack))
    assert stack.pids()["nats"] == before["nats"]
    assert "SIGKILL" in stack.starling("ps")


def test_pids_are_the_programs_own(stack: Stack) -> None:
    names = {name: psutil.Process(pid).name() for name, pid in stack.pids().items()}
    assert names == {"nats": "nats-server", "redis": "valkey-server"}


def test_after_the_supervisor_was_killed_down_ends_the_rest(stack: Stack) -> None:
    pids = stack.pids()
    os.kill(stack.supervisor(), signal.SIGKILL)
    until(lambda: state.supervisor_pid(stack.run) is None)
    assert answers(stack)  # it goes on serving
    assert "supervisor was killed" in stack.starling("ps")
    said = stack.starling("down")
    assert "nats" in said
    assert "redis" in said
    assert not any(psutil.pid_exists(pid) for pid in pids.values())


def test_after_the_supervisor_was_killed_up_starts_anew(stack: Stack) -> None:
    before = stack.pids()
    os.kill(stack.supervisor(), signal.SIGKILL)
    until(lambda: state.supervisor_pid(stack.run) is None)
    stack.starling("up")
    assert answers(stack)
    assert not set(stack.pids().values()) & set(before.values())
    assert not any(psutil.pid_exists(pid) for pid in before.values())


def test_orphans_are_found_without_any_file(stack: Stack) -> None:
    pids = stack.pids()
    os.kill(stack.supervisor(), signal.SIGKILL)
    until(lambda: state.supervisor_pid(stack.run) is None)
    for file in (stack.run.supervisor_json, stack.run.stack_json, stack.run.supervisor_lock):
        file.unlink()
    assert "Stopped 2" in stack.starling("down")
    assert not any(psutil.pid_exists(pid) for pid in pids.values())


def test_another_programs_pid_in_a_stale_file_is_left_alone(stack: Stack) -> None:
    stack.starling("down")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as bystander:
        reused = state.ProcessStatus("nats", "", {}, once=False, pid=bystander.pid, started_at=1.0)
        state.write(
            stack.run, state.SupervisorStatus(pid=bystander.pid, phase="up", processes=[reused])
        )
        assert "Nothing was running" in stack.starling("down")
        assert bystander.poll() is None
        bystander.kill()


def test_a_stale_or_damaged_run_directory_is_no_obstacle(stack: Stack) -> None:
    stack.starling("down")
    stack.run.stack_json.write_text("{")
    stack.run.supervisor_json.write_text("not json")
    stack.run.supervisor_lock.write_text("1")
    stack.starling("up")
    assert answers(stack)


def test_two_commands_at_once_are_told_apart(stack: Stack) -> None:
    with state.exclusive(stack.run.command_lock, "taken"):
        assert "Another" in stack.starling("up", fails=True)
