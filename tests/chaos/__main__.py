"""`make chaos`, or `python -m tests.chaos --help`."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from stack.run_dir import CHECKOUT
from tests.e2e.mesh import Mesh

from .crowd import Size
from .harness import Options, Run, run
from .report import availability, headline, summary
from .workload import Rates

OUT = CHECKOUT / ".run" / "chaos"
LONGEST_RUN_S = 7200


def main(
    seed: Annotated[
        int | None, typer.Option(help="Chooses the crowd, the load and the faults.")
    ] = None,
    tweets: Annotated[int, typer.Option(help="Go on until so many are acknowledged.")] = 20_000,
    steps: Annotated[
        int, typer.Option(help="Go on until there were so many steps of faults.")
    ] = 45,
    minutes: Annotated[float, typer.Option(help="Start no new fault after so long.")] = 20.0,
    rate: Annotated[float, typer.Option(help="Posts a second.")] = 30.0,
    replicated: Annotated[
        bool, typer.Option("--replicated", help="Three of each store, two of each service.")
    ] = False,
    overlap: Annotated[
        float | None,
        typer.Option(help="The share of steps with two faults at once; 0.15, or 0 if replicated."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the mesh running.")] = False,
) -> None:
    """Posts and reads while everything breaks, and checks that nothing was lost, invented or doubled."""
    console = Console()
    seed = seed if seed is not None else secrets.randbelow(1_000_000)
    if overlap is None:
        overlap = 0.0 if replicated else 0.15
    command = (
        f"python -m tests.chaos --seed {seed} --tweets {tweets} --steps {steps} --minutes {minutes:g} "
        f"--rate {rate:g} --overlap {overlap:g}{' --replicated' if replicated else ''}"
    )
    size = Size()
    mesh = Mesh(
        OUT / "mesh",
        replicated=replicated,
        CELEBRITY_FOLLOWERS=str(size.celebrity_followers),
        ACCESS_TOKEN_TTL_S=str(LONGEST_RUN_S),
    )
    console.print(f"Seed {seed}. Starting a mesh of its own in {mesh.run_dir}", highlight=False)
    mesh.down()
    shutil.rmtree(mesh.run_dir, ignore_errors=True)
    mesh.up()
    options = Options(
        seed, tweets, steps, minutes * 60, Rates(posts=rate), size, overlap, command=command
    )
    out = OUT / str(seed)
    shutil.rmtree(out, ignore_errors=True)
    try:
        with uvloop_runner() as runner:
            done = runner.run(_watched(mesh, options, out, console))
    finally:
        if not keep:
            mesh.down()
    _tell(console, done, out)
    sys.exit(not done.verdict.good)


def uvloop_runner() -> asyncio.Runner:
    """Runs coroutines: on uvloop, because the load shares two cores with what it loads."""
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


async def _watched(mesh: Mesh, options: Options, out: Path, console: Console) -> Run:
    async def watch() -> None:
        faults = out / "faults.jsonl"
        while True:
            await asyncio.sleep(15)
            if faults.exists():
                lines = faults.read_text().splitlines()
                console.print(
                    f"  {len(lines)} faults so far; the last: {lines[-1] if lines else ''}"
                )

    console.print("The storm begins; it may take half an hour.")
    watcher = asyncio.create_task(watch())
    try:
        return await run(mesh, options, out)
    finally:
        watcher.cancel()


def _tell(console: Console, done: Run, out: Path) -> None:
    verdict = done.verdict
    console.print(f"[bold {'green' if verdict.good else 'red'}]{headline(verdict)}[/]")
    for finding in verdict.findings[:20]:
        console.print("  ", finding, markup=False)
    console.print(summary(verdict), availability(verdict), sep="\n", highlight=False)
    console.print(f"Once more: {verdict.command}", highlight=False)
    console.print(f"The report: {out / 'report.html'}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
