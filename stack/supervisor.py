"""Keeps the processes of a topology running: `python -m stack.supervisor RUN_DIR mesh|replicated|engines`.

A background process of its own. Each process has one task, `_keep`: wait for its needs, start it,
wait until it is ready, wait until it ends, start it again. SIGTERM (or SIGINT) stops everything, the
users of a process before it. SIGHUP takes over the settings of a later `up`.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from stack import settings, state, topology
from stack.child import SupervisedProcess
from stack.errors import StackError
from stack.process import NotReadyError
from stack.run_dir import RunDir
from stack.state import SupervisorStatus
from stack.topology import Topology

log = logging.getLogger("supervisor")

START_ATTEMPTS = 3
"""How often a process may fail before it was ready once; then the start of the mesh has failed."""
BACK_OFF_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
STEADY_S = 30.0
"""A process that ran this long starts again at the first step of the back-off."""
REASON_LOG_LINES = 8

Plan = Callable[[], Topology]
"""The topology as the environment has it now, with the same ports each time."""


class Supervisor:
    def __init__(self, run: RunDir, plan: Plan, kind: str = "mesh") -> None:
        self._run = run
        self._plan = plan
        first = plan()
        self._kept = {
            process.name: SupervisedProcess(process, run, self._publish)
            for process in first.processes
        }
        self._status = SupervisorStatus(
            pid=os.getpid(),
            kind=kind,
            addresses=dict(first.addresses),
            settings=settings.current(),
            processes=[kept.status for kept in self._kept.values()],
        )
        self._end = asyncio.Event()
        self._reloaded = False
        self._announcer: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Returns when everything is stopped: after SIGTERM, or when a process cannot be started."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        self._publish()
        keepers = [asyncio.create_task(self._guarded_keep(kept)) for kept in self._kept.values()]
        self._announcer = asyncio.create_task(self._announce_up())
        await self._end.wait()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
        for task in (*keepers, self._announcer):
            task.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        if self._status.phase != "failed":
            self._status.phase = "stopping"
        await asyncio.gather(*(self._stop(kept) for kept in self._kept.values()))
        log.info("everything is stopped")
        if self._status.phase == "failed":  # the command that waits is to read why
            self._run.stack_json.unlink(missing_ok=True)
        else:
            state.forget(self._run)

    async def _announce_up(self) -> None:
        for kept in self._kept.values():
            if kept.process.command or not self._reloaded:
                await kept.ready.wait()
            else:  # a step that waits for others to see each other is done again
                with suppress(NotReadyError):
                    await kept.start()
        self._status.phase = "up"
        self._publish()
        log.info("everything is ready")

    def _reload(self) -> None:
        """Starts again, with the settings that a command left, the processes that depend on them."""
        wanted = state.read_settings(self._run)
        settings.adopt(wanted)
        self._status.settings = wanted
        self._reloaded = True
        for process in self._plan().processes:
            kept = self._kept[process.name]
            if process.env != kept.process.env and not process.once:
                log.info("%s is started again with new settings", process.name)
                kept.replace(process)
        self._status.phase = "starting"
        self._publish()
        if self._announcer:
            self._announcer.cancel()
        self._announcer = asyncio.create_task(self._announce_up())

    async def _guarded_keep(self, kept: SupervisedProcess) -> None:
        try:
            await self._keep(kept)
        except StackError as error:
            self._fail(str(error))
        except Exception as error:
            log.exception("keeping %s", kept.process.name)
            self._fail(f"{kept.process.name}: {error!r}; see {self._run.log('supervisor')}")

    def _fail(self, reason: str) -> None:
        if not self._end.is_set():
            log.error("%s", reason)
            self._status.phase, self._status.error = "failed", reason
            self._publish()
            self._end.set()

    async def _keep(self, kept: SupervisedProcess) -> None:
        for need in kept.process.needs:
            await self._kept[need].ready.wait()
        failures, was_ready = 0, False
        while True:
            started = time.monotonic()
            try:
                await kept.start()
                was_ready = True
                log.info("%s is ready after %.1f s", kept.process.name, time.monotonic() - started)
                if kept.process.once:
                    return
                reason = await kept.ended()
            except NotReadyError as error:
                reason = str(error)
            except StackError as error:
                if not was_ready:
                    raise
                reason = str(error)
            if kept.replaced:
                failures = 0
                continue
            failures = 1 if time.monotonic() - started >= STEADY_S else failures + 1
            if not was_ready and failures >= START_ATTEMPTS:
                raise StackError(
                    f"{kept.process.name} does not start: {reason}\n"
                    f"{_last_lines(kept.log)}\nIts log is {kept.log}"
                )
            back_off_s = BACK_OFF_S[min(failures, len(BACK_OFF_S)) - 1]
            kept.restarting(reason)
            log.warning("%s: %s; again in %.1f s", kept.process.name, reason, back_off_s)
            await asyncio.sleep(back_off_s)

    async def _stop(self, kept: SupervisedProcess) -> None:
        name = kept.process.name
        for user in self._kept.values():
            if name in (*user.process.needs, *user.process.stops_before):
                await user.gone.wait()
        await kept.stop()

    def _publish(self) -> None:
        try:
            state.write(self._run, self._status)
        except OSError:  # a full disk: what runs is kept running
            log.exception("the state cannot be written")


def _last_lines(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(f"  {line[:300]}" for line in lines[-REASON_LOG_LINES:])


Ports = Mapping[str, int]
TOPOLOGIES: dict[str, tuple[Callable[[], Ports], Callable[[RunDir, Ports], Topology]]] = {
    "engines": (topology.engine_ports, topology.engines),
    "mesh": (topology.mesh_ports, topology.mesh),
    "replicated": (topology.replicated_ports, topology.replicated),
}


async def _supervise(run: RunDir, kind: str) -> None:
    choose_ports, plan = TOPOLOGIES[kind]
    try:
        ports = choose_ports()
        run.make_sockets()
        supervisor = Supervisor(run, lambda: plan(run, ports), kind)
    except StackError as error:
        state.write(run, SupervisorStatus(os.getpid(), kind, "failed", str(error)))
        return
    await supervisor.run()
    run.remove_sockets()


def main() -> None:
    root, kind = sys.argv[1:]
    run = RunDir(Path(root))
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    with (
        suppress(KeyboardInterrupt),
        state.exclusive(run.supervisor_lock, "a supervisor runs already"),
    ):
        asyncio.run(_supervise(run, kind))


if __name__ == "__main__":
    main()
