"""`starling republish`: the events of a stretch of time, once more, from what Cassandra holds."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from stack.errors import StackError
from stack.mesh_env import environment_of
from stack.run_dir import CHECKOUT, run_dir

_AGO = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SERVICES = ("tweet_svc", "graph_svc")


def republish(
    from_: Annotated[
        str, typer.Option("--from", help="A time (2026-11-22T20:15:00, UTC), or how long ago: 90m.")
    ],
    to: Annotated[str, typer.Option("--to", help="The same; by default now.")] = "0s",
) -> None:
    """Tell the mesh again what was written from one time to another: for when JetStream was lost.

    Tweets, retweets, likes, follows and deletions (of the last 25 h) are published from Cassandra under
    their first message ids: what is still there is not doubled. Then all counts are compared with the rows.
    """
    from_ms, to_ms = moment_ms(from_), moment_ms(to)
    if from_ms >= to_ms:
        raise StackError("--from must be before --to.")
    run = run_dir()
    for service in _SERVICES:
        Console().print(f"[bold]{service}[/]")
        done = subprocess.run(
            [sys.executable, "-m", f"{service}.republish", str(from_ms), str(to_ms)],
            env={**environment_of(run, service), "SERVICE_INSTANCE": f"{service}.republish"},
            cwd=CHECKOUT,
            check=False,
        )
        if done.returncode:
            raise StackError(
                f"{service} was not told through. Run it again: what was told already does nothing."
            )


def moment_ms(text: str) -> int:
    """Milliseconds since 1970 of `2026-11-22T20:15:00` (UTC unless it says otherwise) or `90m` (ago).

    Raises StackError.
    """
    if ago := _AGO.fullmatch(text):
        return int((time.time() - int(ago[1]) * _SECONDS[ago[2]]) * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise StackError(
            f"{text!r} is no time: write 2026-11-22T20:15:00 (UTC) or how long ago, such as 90m or 2h."
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
