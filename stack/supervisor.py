"""Keeps the processes of a topology running: `python -m stack.supervisor RUN_DIR mesh|engines`.

A background process of its own. Each process has one task, `_keep`: wait for its needs, start it, wait until it is
ready, wait until it ends, start it again. SIGTERM (or SIGINT) stops everything, the users of a process before it.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from stack import state, topology
from stack.errors import StackError
from stack.orphans import MARKER
from stack.ports import check_free
from stack.process import NotReadyError, Process
from stack.run_dir import RunDir
from stack.state import ProcessStatus, SupervisorStatus
from stack.topology import Topology

log = logging.getLogger("supervisor")

START_ATTEMPTS = 3
"""How often a process may fail before it was ready once; then the start of the mesh has failed."""
BACK_OFF_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
STEADY_S = 30.0
"""A process that ran this long starts again at the first step of the back-off."""
PROBE_INTERVAL_S = 0.1
LONGEST_LOG_BYTES = 20_000_000
REASON_LOG_LINES = 8


class Kept:
    """A process, and what is known of it."""

    def __init__(self, process: Process, run: RunDir) -> None:
        self.process = process
        self.log = run.log(process.name)
        self.status = ProcessStatus(
            process.name, str(self.log), dict(process.addresses), process.once
        )
        self.ready = asyncio.Event()
        self.gone = asyncio.Event()
        """It is stopped for good."""
        self.child: asyncio.subprocess.Process | None = None


class Supervisor:
    def __init__(self, run: RunDir, plan: Topology) -> None:
        self._run = run
        self._kept = {process.name: Kept(process, run) for process in plan.processes}
        self._status = SupervisorStatus(
            pid=os.getpid(),
            addresses=plan.addresses,
            processes=[kept.status for kept in self._kept.values()],
        )
        self._end = asyncio.Event()

    async def run(self) -> None:
        """Returns when everything is stopped: after SIGTERM, or when a process could not be started."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end.set)
        self._publish()
        keepers = [asyncio.create_task(self._guarded_keep(kept)) for kept in self._kept.values()]
        up = asyncio.create_task(self._announce_up())
        await self._end.wait()
        up.cancel()
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        if self._status.phase != "failed":
            self._status.phase = "stopping"
        await asyncio.gather(*(self._stop(kept) for kept in self._kept.values()))
        log.info("everything is stopped")
        if self._status.phase == "failed":
            self._run.stack_json.unlink(missing_ok=True)
        else:
            state.forget(self._run)

    async def _announce_up(self) -> None:
        for kept in self._kept.values():
            await kept.ready.wait()
        self._status.phase = "up"
        self._publish()
        log.info("everything is ready")

    async def _guarded_keep(self, kept: Kept) -> None:
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

    async def _keep(self, kept: Kept) -> None:
        process, status = kept.process, kept.status
        for need in process.needs:
            await self._kept[need].ready.wait()
        if process.prepare:
            await asyncio.to_thread(process.prepare)
        failures = 0
        while True:
            started = time.monotonic()
            was_ready = kept.ready.is_set()
            try:
                await self._start(kept)
                await self._until_ready(kept)
                log.info("%s is ready after %.1f s", process.name, time.monotonic() - started)
                if process.once:
                    return
                assert kept.child
                status.reason = f"{_ending(await kept.child.wait())}"
            except NotReadyError as error:
                status.reason = str(error)
            lived_s = time.monotonic() - started
            failures = 1 if lived_s >= STEADY_S else failures + 1
            if not was_ready and not kept.ready.is_set() and failures >= START_ATTEMPTS:
                raise StackError(
                    f"{process.name} does not start: {status.reason}\n{_last_lines(kept.log)}\n"
                    f"Its log is {kept.log}"
                )
            back_off_s = BACK_OFF_S[min(failures, len(BACK_OFF_S)) - 1]
            status.restarts += 1
            status.state = "restarting"
            log.warning(
                "%s: %s; restart %d in %.1f s",
                process.name,
                status.reason,
                status.restarts,
                back_off_s,
            )
            self._publish()
            await asyncio.sleep(back_off_s)

    async def _start(self, kept: Kept) -> None:
        process, status = kept.process, kept.status
        check_free(process.name, process.ports)
        kept.log.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if kept.log.stat().st_size > LONGEST_LOG_BYTES:
                kept.log.replace(kept.log.with_suffix(".log.1"))
        with kept.log.open("ab") as output:
            kept.child = await asyncio.create_subprocess_exec(
                *process.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **process.env, MARKER: str(self._run.root)},
                # Its own session: a Ctrl-C in the terminal that started the mesh is not meant for it.
                start_new_session=True,
            )
        status.pid = kept.child.pid
        with suppress(psutil.Error):
            status.started_at = psutil.Process(kept.child.pid).create_time()
        status.state = "starting"
        log.info("%s started, pid %d", process.name, kept.child.pid)
        self._publish()

    async def _until_ready(self, kept: Kept) -> None:
        """Raises NotReadyError when it ended, or was not ready in time (then it is killed)."""
        process, child = kept.process, kept.child
        assert child
        answer = ""
        try:
            async with asyncio.timeout(process.start_timeout_s):
                while True:
                    if process.once:
                        await child.wait()
                    if child.returncode is not None and not (
                        process.once and child.returncode == 0
                    ):
                        raise NotReadyError(_ending(child.returncode))
                    try:
                        if process.ready:
                            await process.ready()
                        break
                    except (NotReadyError, OSError) as error:  # TimeoutError is an OSError
                        answer = str(error) or type(error).__name__
                    await asyncio.sleep(PROBE_INTERVAL_S)
        except TimeoutError:
            await self._kill(kept)
            waited = f"not ready after {process.start_timeout_s:.0f} s"
            raise NotReadyError(f"{waited}: {answer}" if answer else waited) from None
        kept.status.state = "done" if process.once else "ready"
        kept.ready.set()
        self._publish()

    async def _stop(self, kept: Kept) -> None:
        """Ends it, after those that use it."""
        name = kept.process.name
        for user in self._kept.values():
            if name in (*user.process.needs, *user.process.stops_before):
                await user.gone.wait()
        if kept.child and kept.child.returncode is None:
            with suppress(ProcessLookupError):
                kept.child.terminate()
            try:
                async with asyncio.timeout(kept.process.stop_timeout_s):
                    await kept.child.wait()
                log.info("%s stopped", name)
            except TimeoutError:
                log.warning("%s did not stop in %.0f s: killed", name, kept.process.stop_timeout_s)
                await self._kill(kept)
        kept.status.state = "stopped"
        kept.gone.set()
        self._publish()

    async def _kill(self, kept: Kept) -> None:
        """SIGKILL, for it and what it may have started."""
        assert kept.child
        with suppress(ProcessLookupError):
            os.killpg(kept.child.pid, signal.SIGKILL)
        await kept.child.wait()

    def _publish(self) -> None:
        state.write(self._run, self._status)


def _ending(code: int) -> str:
    if code >= 0:
        return f"it exited with code {code}"
    try:
        return f"it was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was killed by signal {-code}"


def _last_lines(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(f"  {line[:300]}" for line in lines[-REASON_LOG_LINES:])


TOPOLOGIES: dict[str, Callable[[RunDir], Topology]] = {
    "engines": topology.engines,
}


async def _supervise(run: RunDir, kind: str) -> None:
    try:
        supervisor = Supervisor(run, TOPOLOGIES[kind](run))
    except StackError as error:
        state.write(run, SupervisorStatus(pid=os.getpid(), phase="failed", error=str(error)))
        return
    await supervisor.run()


def main() -> None:
    root, kind = sys.argv[1:]
    run = RunDir(Path(root))
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    with state.exclusive(run.supervisor_lock, "a supervisor runs already"):
        asyncio.run(_supervise(run, kind))


if __name__ == "__main__":
    main()
