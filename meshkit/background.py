"""Work beside the calls: supervised tasks that live as long as the process, and small detached ones.

A supervised task that crashes is logged and started again with back-off; cancelling it is the signal to
finish cleanly.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from prometheus_client import Counter

from meshkit.log import get_logger

T = TypeVar("T")
R = TypeVar("R")

_log = get_logger(__name__)
_CRASHES = Counter("starling_background_crashes", "Background tasks that crashed", ["task"])
_BACKOFF_S = (0.2, 10.0)
_detached: set[asyncio.Task[Any]] = set()


@dataclass(frozen=True, slots=True)
class Background:
    """A task of the process: its name, and a function that runs until it is cancelled."""

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]


def detach(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """Run `work` on its own, outside the present call: without its deadline, caller and trace.

    A failure is logged. `drain_detached` waits for those under way when the process stops.
    """
    task = asyncio.get_running_loop().create_task(work, name=name, context=contextvars.Context())
    _detached.add(task)
    task.add_done_callback(_finished)
    return task


async def drain_detached(timeout_s: float) -> None:
    """Wait for detached work, at most this long, then cancel what is left."""
    tasks = [task for task in _detached if task is not asyncio.current_task()]
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=timeout_s)
        await cancel_all(late)


async def supervise(task: Background) -> None:
    """Run `task` for ever, starting it again after a crash; ends only when cancelled."""
    loop = asyncio.get_running_loop()
    delay = _BACKOFF_S[0]
    while True:
        check_cancelled()
        started = loop.time()
        try:
            await task.run()
            _log.warning("background task ended, starting it again", task=task.name)
        except Exception:
            _CRASHES.labels(task.name).inc()
            _log.exception("background task crashed, starting it again", task=task.name)
        # A task that ran well for a while starts again at once; a crash loop slows down.
        delay = _BACKOFF_S[0] if loop.time() - started > 60 else min(delay * 2, _BACKOFF_S[1])
        await asyncio.sleep(delay)


def check_cancelled() -> None:
    """Raise CancelledError if this task was cancelled and the cancellation got lost on its way.

    `asyncio.wait_for` before Python 3.12 swallows a cancellation that comes in the moment its result does,
    and the drivers use it: loops that must end when cancelled call this once a turn.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until each has ended, however it ends."""
    pending = list(tasks)
    for task in pending:
        task.cancel()
    for task in pending:
        with suppress(asyncio.CancelledError, Exception):
            await task


async def gather_bounded(
    limit: int, function: Callable[[T], Awaitable[R]], items: Iterable[T]
) -> list[R]:
    """`function` of each item, at most `limit` at once; results in the order of `items`.

    The first failure cancels the rest and is raised.
    """
    work = list(items)
    results: list[R] = [None] * len(work)  # type: ignore[list-item]
    todo = iter(enumerate(work))

    async def worker() -> None:
        for index, item in todo:
            results[index] = await function(item)

    if not work:
        return results
    if len(work) == 1:
        return [await function(work[0])]
    tasks = [asyncio.ensure_future(worker()) for _ in range(min(limit, len(work)))]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        await cancel_all(tasks)
        raise
    return results


def _finished(task: asyncio.Task[Any]) -> None:
    _detached.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.warning("detached work failed", task=task.get_name(), error=repr(error))
