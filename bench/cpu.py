"""CPU time of processes while something is measured; the load itself is one of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import psutil

LOAD = "the load"


class CpuMeter:
    """Adds up what processes use inside its `with` blocks. They are given by name and pid."""

    def __init__(self, pids: Mapping[str, int | None]) -> None:
        self._processes = {
            name: psutil.Process(pid)
            for name, pid in pids.items()
            if pid and psutil.pid_exists(pid)
        }
        self._processes[LOAD] = psutil.Process()
        self.seconds = dict.fromkeys(self._processes, 0.0)
        self.elapsed_s = 0.0

    def __enter__(self) -> Self:
        self._before = self._used()
        self._started = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.elapsed_s += time.perf_counter() - self._started
        for name, used in self._used().items():
            self.seconds[name] += used - self._before[name]

    def us_each(self, count: int) -> dict[str, float]:
        """Microseconds for each of `count`, by process, the most first."""
        each = {name: 1e6 * used / max(count, 1) for name, used in self.seconds.items()}
        return dict(sorted(each.items(), key=lambda item: -item[1]))

    def _used(self) -> dict[str, float]:
        used = {}
        for name, process in self._processes.items():
            with process.oneshot():
                times = process.cpu_times()
            used[name] = times.user + times.system
        return used
