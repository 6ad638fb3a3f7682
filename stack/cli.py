"""The `starling` command."""

import sys
from typing import Annotated

import typer
from rich.console import Console

from stack import lifecycle, show, state
from stack.errors import StackError
from stack.run_dir import engines_run_dir

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The Starling mesh on this machine."
)
engines = typer.Typer(
    no_args_is_help=True,
    help="Cassandra, NATS and Valkey alone: for the tests, and for developers.",
)
app.add_typer(engines, name="engines")

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing unless it fails.")]


@engines.command("up")
def engines_up(quiet: Quiet = False) -> None:
    """Start the engines, if they do not run already, and leave them running."""
    run = engines_run_dir()
    console = Console(quiet=quiet)
    with state.exclusive(run.command_lock, show.BUSY):
        show.fetch_jars(console, "cassandra")
        lifecycle.start(run, "engines")
        with show.progress(console) as watch:
            status = lifecycle.wait_until_up(run, watch)
    for name, address in status.addresses.items():
        console.print(f"  {name:10} {address}")


@engines.command("down")
def engines_down() -> None:
    """Stop the engines."""
    run = engines_run_dir()
    with state.exclusive(run.command_lock, show.BUSY):
        show.stopped(Console(), lifecycle.stop(run))


@engines.command("ps")
def engines_ps() -> None:
    """Show the engines."""
    show.processes(Console(), engines_run_dir())


def main() -> None:
    """Runs the command; expected failures end with their message and status 1, without a traceback."""
    try:
        app(standalone_mode=True)
    except StackError as error:
        Console(stderr=True).print(f"[bold red]Failed:[/] {error}", highlight=False, markup=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
