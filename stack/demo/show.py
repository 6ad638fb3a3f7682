"""What the demo shows: a bar while a phase runs, a line when it is done, and the result."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

MOST_SHOWN = 20

Done = Callable[[int], None]
"""Told how many more are done."""


class Phases:
    """Runs phases one after the other, each with its bar and its line."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()

    @property
    def took_s(self) -> float:
        """Since the first began."""
        return time.monotonic() - self._started

    @contextmanager
    def phase(self, title: str, unit: str, total: int) -> Iterator[Done]:
        """A phase of `total` units; it is told how many more are done."""
        started, count = time.monotonic(), 0
        columns = (
            TextColumn("  {task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        silent = not self._console.is_terminal  # it would leave empty lines in a file
        with Progress(*columns, console=self._console, transient=True, disable=silent) as bars:
            task = bars.add_task(title, total=total)

            def done(more: int) -> None:
                nonlocal count
                count += more
                bars.advance(task, more)

            yield done
        took_s = time.monotonic() - started
        self._line(title, f"{count:,} {unit}", took_s, f"{count / took_s:,.0f}/s")

    @contextmanager
    def waiting(self, title: str, unit: str) -> Iterator[Callable[[int], None]]:
        """A phase that waits until nothing is left; it is told how much still is."""
        started, most = time.monotonic(), 0
        with self._console.status(f"{title}") as spinner:

            def left(count: int) -> None:
                nonlocal most
                most = max(most, count)
                spinner.update(f"{title}: {count:,} {unit} left")

            yield left
        self._line(title, f"{most:,} {unit} were left", time.monotonic() - started)

    def _line(self, title: str, what: str, took_s: float, rate: str = "") -> None:
        self._console.print(
            f"  [green]✓[/] {title:<28}{what:<28}[dim]{took_s:>6.1f} s  {rate:>9}[/]",
            highlight=False,
        )


def passed(console: Console, checked: str, took_s: float) -> None:
    """Everything is as it must be."""
    console.print(
        f"\n[bold green]PASSED[/] in {took_s:.1f} s: {checked}", highlight=False, soft_wrap=True
    )


def failed(console: Console, differences: Sequence[str], people: int) -> None:
    """The first differences, and how many there are."""
    console.print(
        f"\n[bold red]FAILED[/]: {_many(len(differences), 'difference', 'differences')}"
        f" for {_many(people, 'person', 'people')}",
        highlight=False,
    )
    for difference in differences[:MOST_SHOWN]:
        console.print(f"  {escape(difference)}", highlight=False, soft_wrap=True)
    if len(differences) > MOST_SHOWN:
        console.print(f"  … and {len(differences) - MOST_SHOWN:,} more", highlight=False)


def _many(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"
