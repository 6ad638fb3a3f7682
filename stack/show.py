"""What the `starling` command shows: progress, tables, and sums of what it did."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from stack import state
from stack.jars import JarCache, locked
from stack.lifecycle import Watch
from stack.run_dir import RunDir
from stack.state import SupervisorStatus

NAMES = {
    "api": "API",
    "docs": "API docs",
    "traces": "Traces",
    "metrics": "Metrics",
    "cql": "Cassandra",
    "redis": "Valkey",
    "nats": "NATS",
}
BUSY = "Another `starling up` or `down` is at work in this run directory; wait until it ends."


def fetch_jars(console: Console, engine: str) -> None:
    """Fetches what is missing of the jars of `engine`, with a progress bar."""
    cache, jars = JarCache(), locked(engine)
    if not (missing := cache.missing(jars)):
        return
    columns = (
        TextColumn(f"fetching {engine} ({len(missing)} jars)"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        task = bars.add_task("", total=sum(jar.size_bytes for jar in missing))
        cache.fetch(missing, lambda count: bars.advance(task, count))


@contextmanager
def progress(console: Console, *, fresh: bool) -> Iterator[Watch]:
    """A line for each process as it becomes ready, and a spinner naming those that are awaited."""
    started = time.monotonic()
    shown: set[str] | None = set() if fresh else None
    restarts: dict[str, int] = {}
    with console.status("starting") as spinner:

        def watch(status: SupervisorStatus) -> None:
            nonlocal shown
            done = {p.name for p in status.processes if p.state in ("ready", "done")}
            if shown is None:  # what was ready before is no news
                shown = done
            for process in status.processes:
                if process.restarts > restarts.get(process.name, 0):
                    restarts[process.name] = process.restarts
                    console.print(f"  [yellow]![/] {process.name}: {escape(process.reason)}")
                if process.name in done - shown:
                    shown.add(process.name)
                    took_s = time.monotonic() - started
                    console.print(f"  [green]✓[/] {process.name} [dim]{took_s:.1f} s[/]")
            awaited = [p.name for p in status.processes if p.state in ("starting", "restarting")]
            spinner.update(f"waiting for {', '.join(awaited) or 'the supervisor'}")

        yield watch


def stopped(console: Console, names: list[str]) -> None:
    """What `down` did."""
    if names:
        console.print(f"Stopped {len(names)}: {', '.join(names)}", highlight=False, soft_wrap=True)
    else:
        console.print("Nothing was running.")


def processes(console: Console, run: RunDir) -> None:
    """A table of what runs, with what it uses of the machine."""
    status = state.read(run)
    if not status or not state.supervisor_pid(run):
        left = " (a supervisor was killed: `starling down` ends what it left)" if status else ""
        console.print(f"Nothing runs in {run.root}{left}.", highlight=False, soft_wrap=True)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for header in ("process", "state", "pid", "up", "MB", "restarts", "last restart because"):
        table.add_column(header, justify="right" if header in ("pid", "up", "MB") else "left")
    for process in status.processes:
        if process.once:
            continue
        colour = {"ready": "green", "starting": "yellow"}.get(process.state, "red")
        table.add_row(
            process.name,
            f"[{colour}]{process.state}[/]",
            str(process.pid or ""),
            *_usage(process.pid),
            str(process.restarts or ""),
            escape(process.reason),
        )
    console.print(table)


def addresses(console: Console, run: RunDir) -> None:
    """Where to go from here."""
    status = state.read(run)
    if not status:
        return
    console.print()
    for name, address in status.addresses.items():
        console.print(f"  [bold]{NAMES.get(name, name):10}[/] {address}", soft_wrap=True)


def _usage(pid: int | None) -> tuple[str, str]:
    """How long it runs, and its resident memory in MB."""
    try:
        process = psutil.Process(pid or -1)
        seconds = int(time.time() - process.create_time())
        resident = process.memory_info().rss // 1_000_000
    except (psutil.Error, ValueError):
        return "", ""
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}:{minutes:02}:{seconds % 60:02}", str(resident)
