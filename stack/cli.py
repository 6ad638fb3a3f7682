"""The `starling` command."""

import errno
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from stack import lifecycle, restarting, show, state
from stack.dead_letters import dlq
from stack.errors import StackError
from stack.republish import republish
from stack.run_dir import RunDir, engines_run_dir, run_dir

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The Starling mesh on this machine.",
)
engines = typer.Typer(
    no_args_is_help=True, help="Cassandra, NATS and Valkey alone, for tests and developers."
)
demo = typer.Typer(no_args_is_help=True, help="The main job on real data.")
app.add_typer(engines, name="engines")
app.add_typer(demo, name="demo")
app.add_typer(dlq, name="dlq")
app.command()(republish)

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing unless it fails.")]


@app.command()
def up(
    tour: Annotated[bool, typer.Option(help="Walk through the main job when it is up.")] = True,
    replicated: Annotated[
        bool,
        typer.Option(
            "--replicated",
            help="Three Cassandra nodes, three NATS servers, a Valkey cluster of three primaries with "
            "replicas, two of each service: any one process may be lost. Its data is its own.",
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Start the whole mesh, wait until it is healthy, and leave it running."""
    run, console = run_dir(), Console(quiet=quiet)
    with state.exclusive(run.command_lock, show.BUSY):
        _start(run, "replicated" if replicated else "mesh", console)
    if tour:
        _tour(run, console)
    show.addresses(console, run)


@app.command()
def down() -> None:
    """Stop the mesh, and whatever an earlier one left behind. Its data stays."""
    _stop(run_dir())


@app.command()
def restart(
    name: Annotated[
        str, typer.Argument(help="A process; with --rolling all instances of its kind.")
    ],
    rolling: Annotated[
        bool,
        typer.Option(
            "--rolling", help="One instance after the other, each once its callers see the last."
        ),
    ] = False,
) -> None:
    """Stop a process in good order, and start it again."""
    run, console = run_dir(), Console()
    with state.exclusive(run.command_lock, show.BUSY):
        restarting.restart(run, name, rolling=rolling, say=console.print)


@app.command()
def ps() -> None:
    """Show the processes of the mesh."""
    show.processes(Console(), run_dir())


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="A process, as `starling ps` names it.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last.")] = 100,
) -> None:
    """Show the log of a process (or of the `supervisor`)."""
    log = run_dir().log(name)
    if not log.exists():
        known = sorted(path.stem for path in log.parent.glob("*.log"))
        raise StackError(f"{name} has no log. There are: {', '.join(known) or 'none yet'}.")
    tail = ["tail", "-n", str(lines), *(["-F"] if follow else []), str(log)]
    sys.exit(subprocess.run(tail, check=False).returncode)


@app.command()
def tour() -> None:
    """Walk through the main job over REST: register, follow, post, like, read the home timeline."""
    run, console = run_dir(), Console()
    _tour(run, console)
    show.addresses(console, run)


@engines.command("up")
def engines_up(quiet: Quiet = False) -> None:
    """Start the engines, if they do not run already, and leave them running."""
    run, console = engines_run_dir(), Console(quiet=quiet)
    with state.exclusive(run.command_lock, show.BUSY):
        _start(run, "engines", console)
    show.addresses(console, run)


@engines.command("down")
def engines_down() -> None:
    """Stop the engines."""
    _stop(engines_run_dir())


@engines.command("ps")
def engines_ps() -> None:
    """Show the engines."""
    show.processes(Console(), engines_run_dir())


@demo.command("reed98")
def demo_reed98(
    people: Annotated[
        int | None, typer.Option(min=2, help="Only so many, the best connected.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Who tweets, likes and retweets what.")] = 98,
) -> None:
    """Load a real social graph, let everyone tweet, and check every home timeline against it."""
    from stack.demo.reed98 import reed98

    sys.exit(not reed98(run_dir(), Console(), people=people, seed=seed))


@demo.command("verify")
def demo_verify(
    file: Annotated[
        Path | None, typer.Argument(help="What a run recorded; the last one by default.")
    ] = None,
) -> None:
    """Check the home timelines of an earlier `starling demo reed98` once more."""
    from stack.demo.reed98 import verify

    sys.exit(not verify(run_dir(), Console(), file))


def _start(run: RunDir, kind: lifecycle.Kind, console: Console) -> None:
    """Fetches what is missing, starts the supervisor if none runs, and waits until all is ready."""
    if not state.supervisor_pid(run):
        show.fetch_jars(console, "cassandra")
    started = lifecycle.start(run, kind)
    try:
        if started:
            if kind != "engines":  # while Cassandra starts
                show.fetch_jars(console, "zipkin")
        elif changes := lifecycle.apply_settings(run):
            console.print(
                *(f"  new setting, {change}" for change in changes), sep="\n", highlight=False
            )
        else:
            console.print("It runs already.")
        with show.progress(console, fresh=started) as watch:
            lifecycle.wait_until_up(run, watch)
    except BaseException:
        if started:  # nothing is left half up
            lifecycle.stop(run)
        raise


def _stop(run: RunDir) -> None:
    console = Console()
    with state.exclusive(run.command_lock, show.BUSY), console.status("stopping"):
        names = lifecycle.stop(run)
    show.stopped(console, names)


def _tour(run: RunDir, console: Console) -> None:
    from stack.tour import walk

    status = state.read(run)
    if not status or not state.supervisor_pid(run):
        raise StackError("The mesh does not run: `starling up` (or `make up`) starts it.")
    walk(console, status.addresses["api"], run.ca)


def main() -> None:
    """Runs the command. Expected failures end with their message and status 1."""
    try:
        app()
    except StackError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        _fail(
            f"{run_dir().root} cannot be written to: {error}.\n"
            "Free space or mend its rights, or set STARLING_RUN_DIR to another directory."
        )


def _fail(reason: str) -> None:
    console = Console(stderr=True)
    console.print("[bold red]Failed:[/]", end=" ")
    console.print(reason, markup=False, highlight=False, soft_wrap=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
