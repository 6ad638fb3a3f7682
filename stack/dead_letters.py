"""`starling dlq`: events that a consumer gave up on, to look at and to give again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, TypeVar

import nats
import nats.errors
import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from starling.graph.v1.graph_events_pb2 import GraphEvent
from starling.timeline.v1.timeline_events_pb2 import CelebrityActivity, FanoutChunk
from starling.tweet.v1.tweet_events_pb2 import TweetEvent

from meshkit.config import MeshConfig
from meshkit.dead_letters import CannotReplay, DeadLetter, DeadLetters
from meshkit.streams import CELEBRITY_ACTIVITY, FANOUT_CHUNK
from stack.errors import StackError
from stack.mesh_env import environment_of
from stack.run_dir import run_dir

T = TypeVar("T")

dlq = typer.Typer(
    no_args_is_help=True, help="Dead letters: events that a consumer gave up on, kept for 30 days."
)

Sequence = Annotated[int, typer.Argument(help="Of the dead letter, as `dlq list` shows it.")]


@dlq.command("list")
def list_() -> None:
    """List the dead letters, the oldest first."""

    async def show(letters: DeadLetters) -> None:
        found = [letter async for letter in letters.all()]
        if not found:
            Console().print("There are no dead letters.")
            return
        Console(soft_wrap=True).print(_table(found))

    _with_letters(show)


@dlq.command()
def show(sequence: Sequence) -> None:
    """Show a dead letter as JSON: why, when and where it was given up, and what it says."""

    async def print_one(letters: DeadLetters) -> None:
        print(json.dumps(_facts(await _known(letters, sequence)), indent=2))

    _with_letters(print_one)


@dlq.command()
def replay(
    sequences: Annotated[list[int] | None, typer.Argument(help="Of the dead letters.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
) -> None:
    """Give dead letters again to the consumer that gave up on them, and to no other."""
    if bool(sequences) == everything:
        raise StackError("Name the dead letters to replay, as `starling dlq list` does, or --all.")

    async def give(letters: DeadLetters) -> int:
        if everything:
            # Those that are there now: one that fails again is buried again, behind these.
            found = [letter async for letter in letters.all()]
        else:
            found = [await _known(letters, sequence) for sequence in sequences or ()]
        failed = 0
        for letter in found:
            try:
                await letters.replay(letter)
            except CannotReplay as error:
                failed += 1
                print(f"{letter.sequence} stays: {error}")
            else:
                print(f"{letter.sequence} given again to {letter.consumer}: {letter.subject}")
        if not found:
            print("There are no dead letters.")
        return failed

    if failed := _with_letters(give):
        raise StackError(f"{failed} could not be replayed.")


def _with_letters(work: Callable[[DeadLetters], Awaitable[T]]) -> T:
    """Runs `work` on the dead letters of the mesh that runs. Raises StackError."""
    environment = environment_of(run_dir(), "fanout")

    async def connected() -> T:
        async with _connected(environment) as letters:
            return await work(letters)

    try:
        return asyncio.run(connected())
    except (nats.errors.Error, OSError, TimeoutError) as error:
        raise StackError(
            f"NATS does not answer ({error or type(error).__name__}): `starling ps` shows whether it runs."
        ) from error


@asynccontextmanager
async def _connected(environment: dict[str, str]) -> AsyncIterator[DeadLetters]:
    given = {name: environment[name.upper()] for name in _SETTINGS if name.upper() in environment}
    config = MeshConfig.model_validate(given)
    client = await nats.connect(
        config.nats_servers(), connect_timeout=3, allow_reconnect=False, error_cb=_ignore
    )
    try:
        yield DeadLetters(client.jetstream(timeout=5), config.nats_prefix)
    finally:
        await client.close()


async def _ignore(error: Exception) -> None:
    """The connection's errors come to whoever waits as well."""


async def _known(letters: DeadLetters, sequence: int) -> DeadLetter:
    letter = await letters.get(sequence)
    if letter is None:
        raise StackError(
            f"There is no dead letter {sequence}: `starling dlq list` shows which there are."
        )
    return letter


def _table(letters: list[DeadLetter]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for header in ("seq", "subject", "consumer", "given up", "tries", "reason", "trace"):
        table.add_column(header, justify="right" if header in ("seq", "tries") else "left")
    for letter in letters:
        table.add_row(
            str(letter.sequence),
            letter.subject,
            letter.consumer,
            f"{letter.buried_at:%Y-%m-%d %H:%M:%S}",
            str(letter.deliveries),
            escape(letter.reason),
            letter.trace_id,
        )
    return table


def _facts(letter: DeadLetter) -> dict[str, object]:
    return {
        "sequence": letter.sequence,
        "subject": letter.subject,
        "stream": letter.stream,
        "stream_sequence": letter.stream_sequence,
        "consumer": letter.consumer,
        "given_up": letter.buried_at.isoformat(),
        "tries": letter.deliveries,
        "reason": letter.reason,
        "trace_id": letter.trace_id,
        "event": _decoded(letter),
    }


def _decoded(letter: DeadLetter) -> object:
    """The event as JSON; of what cannot be decoded, its bytes in hexadecimal."""
    kind = _KINDS.get(letter.subject) or _KINDS.get(letter.subject.partition(".")[0])
    if kind is not None:
        try:
            message = kind.FromString(letter.payload)
        except DecodeError:
            pass
        else:
            return MessageToDict(message, preserving_proto_field_name=True)
    return {"undecodable_hex": letter.payload.hex()}


_SETTINGS = ("nats_url", "nats_prefix")
_KINDS: dict[str, type[Message]] = {
    "tweet": TweetEvent,
    "graph": GraphEvent,
    FANOUT_CHUNK: FanoutChunk,
    CELEBRITY_ACTIVITY: CelebrityActivity,
}
"""What the events of a subject, or of the subjects that begin so, are."""
