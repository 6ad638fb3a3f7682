"""What the benchmarks found: tables as they come, and at the end every figure beside its goal.

Kept in `bench/` of the run directory, as JSON for programs and as Markdown for people.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stack.run_dir import CHECKOUT


@dataclass(frozen=True)
class Figure:
    """A number that is measured, in its unit, and the bound that it should keep."""

    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def goal(self) -> str:
        """The bound in words, "" without one."""
        if self.at_least is not None:
            return f"≥ {_number(self.at_least)}"
        return f"≤ {_number(self.at_most)}" if self.at_most is not None else ""

    @property
    def verdict(self) -> str:
        """`met`, `missed`, or "" without a goal."""
        if self.at_least is not None:
            return "met" if self.value >= self.at_least else "missed"
        if self.at_most is not None:
            return "met" if self.value <= self.at_most else "missed"
        return ""


@dataclass(frozen=True)
class Section:
    """One table with its title, and what is to be known about it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass
class Report:
    """Collects what is found, and shows it at once."""

    console: Console
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    figures: list[Figure] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def where(self) -> str:
        """The machine, and how busy it was before."""
        return f"{machine()} Load average before: {self.load:.1f}."

    def say(self, text: str) -> None:
        """What is being done."""
        self.console.print(f"[dim]{escape(text)}[/]", highlight=False, soft_wrap=True)

    def table(
        self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], note: str = ""
    ) -> None:
        """A table; its first column says what the row is."""
        section = Section(title, columns, rows, note)
        self.sections.append(section)
        self.console.print(_table(section))
        if note:
            self.say(note)

    def figure(
        self,
        name: str,
        value: float,
        unit: str,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """A figure for the summary."""
        self.figures.append(Figure(name, value, unit, at_least, at_most))

    def mark(self) -> tuple[int, int]:
        """Where it stands, to come `back` to."""
        return len(self.figures), len(self.sections)

    def back(self, mark: tuple[int, int]) -> None:
        """Forgets what was found since."""
        del self.figures[mark[0] :], self.sections[mark[1] :]

    def failed(self, what: str) -> None:
        """A benchmark came to no figure."""
        self.failures.append(what)
        self.console.print(f"[red]{escape(what)}[/]", highlight=False, soft_wrap=True)

    def close(self, folder: Path) -> Path:
        """Prints the summary and writes both files; the path of the Markdown."""
        summary = Section("Figures", ("figure", "value", "goal", ""), _summary(self.figures))
        self.console.print(_table(summary))
        self.say(self.where)
        for failure in self.failures:
            self.console.print(f"[red]{escape(failure)}[/]", highlight=False, soft_wrap=True)
        folder.mkdir(parents=True, exist_ok=True)
        name = self.started.strftime("%Y-%m-%dT%H%M%SZ")
        content = {
            "started": self.started.isoformat(timespec="seconds"),
            "machine": self.where,
            "commit": _commit(),
            "figures": [
                {**asdict(figure), "goal": figure.goal, "verdict": figure.verdict}
                for figure in self.figures
            ],
            "tables": [asdict(section) for section in self.sections],
            "failures": self.failures,
        }
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2, ensure_ascii=False))
        markdown = [
            f"# {content['started']}, commit {content['commit']}",
            self.where,
            *(_markdown(section) for section in (summary, *self.sections)),
            *self.failures,
        ]
        path = folder / f"{name}.md"
        path.write_text("\n\n".join(markdown) + "\n")
        (folder / "latest.md").write_text(path.read_text())
        return path


def machine() -> str:
    """What all was measured on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory_gib = psutil.virtual_memory().total >> 30
    return (
        f"{psutil.cpu_count()} cores of {cpu}, {memory_gib} GiB, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}; everything on this machine, "
        "the load included."
    )


def _commit() -> str:
    found = subprocess.run(
        ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "unknown"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def _summary(figures: Sequence[Figure]) -> list[list[str]]:
    return [
        [each.name, f"{_number(each.value)} {each.unit}".rstrip(), each.goal, each.verdict]
        for each in figures
    ]


def _table(section: Section) -> Table:
    table = Table(title=section.title, title_justify="left")
    for number, column in enumerate(section.columns):
        table.add_column(column, justify="right" if number else "left")
    for row in section.rows:
        table.add_row(*row)
    return table


def _markdown(section: Section) -> str:
    lines = [
        f"## {section.title}\n",
        "| " + " | ".join(section.columns) + " |",
        "|---" + "|---:" * (len(section.columns) - 1) + "|",
        *("| " + " | ".join(row) + " |" for row in section.rows),
    ]
    return "\n".join(lines) + (f"\n\n{section.note}" if section.note else "")
