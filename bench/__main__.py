"""`make bench`, or `python -m bench NAME ...`: what is measured, and the figures beside their goals."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable

import uvloop
from rich.console import Console

from bench import cold, fanout, home_read, mix, popular, posts, visible
from bench.load import BenchmarkError
from bench.mesh import Mesh
from bench.report import Report

Benchmark = Callable[[Report], Awaitable[None]]

LONGEST_S = 200.0
NO_REPEAT_AFTER_S = 300.0

BENCHMARKS: dict[str, Benchmark] = {
    "home": home_read.run,
    "visible": visible.run,
    "fanout": fanout.run,
    "cold": cold.run,
    "mix": mix.run,
    "posts": posts.run,
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
    report.say(report.where)
    begun = time.monotonic()
    for name in names or BENCHMARKS:
        started, mark = time.monotonic(), report.mark()
        console.rule(name)
        error = _attempt(BENCHMARKS[name], report)
        if error is not None and time.monotonic() - begun < NO_REPEAT_AFTER_S:
            report.say(f"{name}: {error}. Once more ...")
            report.back(mark)
            error = _attempt(BENCHMARKS[name], report)
        if error is not None:
            report.failed(f"{name}: {error}")
        report.say(f"{name} took {time.monotonic() - started:.0f} s")
    path = report.close(folder)
    report.say(f"Kept in {path}")
    return 1 if report.failures else 0


def _attempt(benchmark: Benchmark, report: Report) -> str | None:
    """What went wrong, None if nothing did. The others go on: figures are few and a run is long."""

    async def bounded() -> None:
        async with asyncio.timeout(LONGEST_S):
            await benchmark(report)

    try:
        uvloop.run(bounded())
    except BenchmarkError as error:
        return str(error)
    except TimeoutError:
        return f"not done within {LONGEST_S:.0f} s"
    except Exception as error:
        report.console.print_exception()
        return str(error) or type(error).__name__
    return None


if __name__ == "__main__":
    raise SystemExit(main())
