"""Doing many things at the same moment."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from .mesh import Mesh

T = TypeVar("T")


def at_once(calls: Iterable[Callable[[], T]], threads: int = 20) -> list[T]:
    """Their results, in order. The first exception is raised."""
    with ThreadPoolExecutor(threads) as pool:
        futures: list[Future[T]] = [pool.submit(call) for call in calls]
        return [future.result() for future in futures]


@contextmanager
def meanwhile(*calls: Callable[[], object]) -> Any:
    """Repeats the calls, each in a thread, until the block ends; raises what they raised."""
    over = False

    def again_and_again(call: Callable[[], object]) -> None:
        while not over:
            call()

    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(again_and_again, call) for call in calls]
        try:
            yield
        finally:
            over = True
        for future in futures:
            future.result()


def flushing(mesh: Mesh, pause_s: float) -> Callable[[], None]:
    """Redis forgets everything, and has a while to learn anew."""

    def flush() -> None:
        mesh.flush_redis()
        time.sleep(pause_s)

    return flush


def unique(text: str = "tweet") -> str:
    """The spam rule refuses the same text within a minute."""
    return f"{text} {secrets.token_hex(5)}"
