"""`make bench`: what is measured, on what, and the figures."""

from __future__ import annotations

import platform

import psutil
import uvloop
from rich.console import Console

from bench import fanout, home_read


def main() -> None:
    """Runs all benchmarks on the mesh that runs."""
    console = Console()
    console.print(
        f"{psutil.cpu_count()} cores, {psutil.virtual_memory().total >> 30} GiB, "
        f"Python {platform.python_version()}; everything on this machine, the load included"
    )
    uvloop.run(home_read.run(console))
    uvloop.run(fanout.run(console))


if __name__ == "__main__":
    main()
