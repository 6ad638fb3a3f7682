"""One process under the supervisor: started, found ready, ended, and what is known of it."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress

import psutil

from stack.orphans import MARKER
from stack.ports import check_free
from stack.process import NotReadyError, Probe, Process
from stack.run_dir import RunDir
from stack.state import ProcessStatus

log = logging.getLogger("supervisor")

PROBE_INTERVAL_S = 0.1
SOUND_INTERVAL_S = 3.0
LONGEST_LOG_BYTES = 20_000_000
"""A log that is longer when its process is started is put aside as `.log.1`."""


class SupervisedProcess:
    """A row of the topology with its child process. `changed` is called after each change of `status`."""

    def __init__(self, process: Process, run: RunDir, changed: Callable[[], None]) -> None:
        self.process = process
        self.log = run.log(process.name)
        self.status = ProcessStatus(
            process.name, str(self.log), dict(process.addresses), process.once
        )
        self.ready = asyncio.Event()
        """Set when it was ready first; what needs it may start, and copes when it dies later."""
        self.gone = asyncio.Event()
        """It is stopped for good."""
        self._mesh = str(run.root)
        self._changed = changed
        self._child: asyncio.subprocess.Process | None = None
        self._prepared: Process | None = None
        self._replaced = False
        self._answer = ""
        """What its probe said last."""

    async def start(self) -> None:
        """Prepares it, starts it, and waits until it is ready.

        Raises NotReadyError when it ended, or was not ready in time (then it is killed); StackError
        when it cannot be prepared, or another program holds one of its ports.
        """
        self._replaced = False
        while self._prepared is not (process := self.process):
            if process.prepare:
                await asyncio.to_thread(process.prepare)
            self._prepared = process
        self._child = await self._spawn() if process.command else None
        try:
            async with asyncio.timeout(process.start_timeout_s):
                await self._until_ready(self._child)
        except TimeoutError:
            if self._child:
                await self._kill(self._child)
            waited = f"not ready after {process.start_timeout_s:.0f} s"
            raise NotReadyError(f"{waited}: {self._answer}") from None
        self.status.state = "done" if self.process.once else "ready"
        self.ready.set()
        self._changed()

    async def ended(self) -> str:
        """Waits until it ends, or ends it if it is found unsound; how it did."""
        if not self._child:
            return "it was not started"
        if not self.process.sound:
            return _ending(await self._child.wait())
        watch = asyncio.create_task(self._until_unsound(self.process.sound))
        try:
            end = asyncio.create_task(self._child.wait())
            await asyncio.wait((watch, end), return_when=asyncio.FIRST_COMPLETED)
            if end.done():
                return _ending(end.result())
            reason = await watch
            log.warning("%s is ended: %s", self.process.name, reason)
            await self._terminate(self._child)
            return reason
        finally:
            watch.cancel()

    @property
    def replaced(self) -> bool:
        """Whether it ended because another row is to be started in its place."""
        return self._replaced

    def replace(self, process: Process) -> None:
        """Ends it; the next `start` starts `process`."""
        self.process = process
        self._replaced = True
        self.status.state = "starting"
        self.ready.clear()
        if self._child and self._child.returncode is None:
            self._child.terminate()

    def restarting(self, reason: str) -> None:
        """Notes that it will be started again, because of `reason`."""
        self.status.restarts += 1
        self.status.state, self.status.reason = "restarting", reason
        self._changed()

    async def stop(self) -> None:
        """Ends it for good: SIGTERM, and SIGKILL if that is not heard in time."""
        if self._child and self._child.returncode is None:
            await self._terminate(self._child)
        self.status.state = "stopped"
        self.gone.set()
        self._changed()

    async def _spawn(self) -> asyncio.subprocess.Process:
        process, status = self.process, self.status
        check_free(process.name, process.ports, process.host)
        check_free(process.name, process.shared_ports, process.host, shared=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if self.log.stat().st_size > LONGEST_LOG_BYTES:
                self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            child = await asyncio.create_subprocess_exec(
                *process.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **process.env, MARKER: self._mesh},
                # Its own session: a Ctrl-C in the terminal of `up` is not meant for it.
                start_new_session=True,
            )
        status.pid, status.state = child.pid, "starting"
        with suppress(psutil.Error):
            status.started_at = psutil.Process(child.pid).create_time()
        log.info("%s started, pid %d", process.name, child.pid)
        self._changed()
        return child

    async def _until_ready(self, child: asyncio.subprocess.Process | None) -> None:
        if child and self.process.once:
            if code := await child.wait():
                raise NotReadyError(_ending(code))
            return
        while not child or child.returncode is None:
            try:
                if self.process.ready:
                    await self.process.ready()
                return
            except (NotReadyError, OSError) as error:  # TimeoutError is an OSError
                self._answer = str(error) or type(error).__name__
            await asyncio.sleep(PROBE_INTERVAL_S)
        raise NotReadyError(_ending(child.returncode))

    async def _until_unsound(self, sound: Probe) -> str:
        """Asks until the answer is that it is not; the answer."""
        while True:
            await asyncio.sleep(SOUND_INTERVAL_S)
            try:
                await sound()
            except NotReadyError as error:
                return str(error)
            except OSError:
                continue

    async def _terminate(self, child: asyncio.subprocess.Process) -> None:
        """SIGTERM, and SIGKILL if that is not heard in time."""
        with suppress(ProcessLookupError):
            child.terminate()
        try:
            async with asyncio.timeout(self.process.stop_timeout_s):
                await child.wait()
            log.info("%s stopped", self.process.name)
        except TimeoutError:
            waited_s = self.process.stop_timeout_s
            log.warning("%s did not stop in %.0f s: killed", self.process.name, waited_s)
            await self._kill(child)

    async def _kill(self, child: asyncio.subprocess.Process) -> None:
        """SIGKILL, for it and what it may have started."""
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()


def _ending(code: int) -> str:
    if code >= 0:
        return f"it exited with code {code}"
    try:
        return f"it was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was killed by signal {-code}"
