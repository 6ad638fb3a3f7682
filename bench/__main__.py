"""`make bench`, or `python -m bench NAME ...`: what is measured, and the figures beside their goals."""

from __future__ import annotations

import argparse
import time
from collections.abc import Awaitable, Callable

import uvloop
from rich.console import Console

from bench import cold, fanout, home_read, mix, popular, visible
from bench.load import BenchmarkError
from bench.mesh import Mesh
from bench.report import Report, machine

BENCHMARKS: dict[str, Callable[[Report], Awaitable[None]]] = {
    "home": home_read.run,
    "visible": visible.run,
    "fanout": fanout.run,
    "cold": cold.run,
    "mix": mix.run,
    "popular": popular.run,
}


def main() -> int:
    """Runs all benchmarks, or those named, on the mesh that runs; 1 if one came to no figure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"of {', '.join(BENCHMARKS)}; all without one")
    names = parser.parse_args().name
    if unknown := sorted(set(names) - set(BENCHMARKS)):
        parser.error(f"no benchmark is called {unknown[0]!r}: there are {', '.join(BENCHMARKS)}")
    console = Console(width=None if Console().is_terminal else 120)
    report = Report(console)
    folder = Mesh().run.root / "bench"
    report.say(machine())
    for name in names or BENCHMARKS:
        started = time.monotonic()
        console.rule(name)
        try:
            uvloop.run(_run(BENCHMARKS[name], report))
        except Exception as error:
            # The others go on: figures are few and a run is long.
            report.failed(f"{name}: {error or type(error).__name__}")
            if not isinstance(error, BenchmarkError):
                console.print_exception()
        report.say(f"{name} took {time.monotonic() - started:.0f} s")
    path = report.close(folder)
    report.say(f"Kept in {path}")
    return 1 if report.failures else 0


async def _run(benchmark: Callable[[Report], Awaitable[None]], report: Report) -> None:
    await benchmark(report)


if __name__ == "__main__":
    raise SystemExit(main())
