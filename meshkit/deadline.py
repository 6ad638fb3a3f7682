"""The time a call has left, known anywhere below its handler; deadlines shrink, they never reset.

Every outgoing wait (statement, publish, RPC) takes `budget(its own limit)`, which keeps back `RESERVE_S`
so that there is time to report a timeout instead of being cut off by the caller.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Iterator
from contextlib import contextmanager

from meshkit.errors import DeadlineExceeded

RESERVE_S = 0.02
"""Kept back at each hop to report a timeout."""

_deadline: contextvars.ContextVar[float | None] = contextvars.ContextVar(
    "meshkit.deadline", default=None
)


def set_remaining(seconds: float | None) -> None:
    """Set the present context's deadline; None is none. For the server and for tests."""
    _deadline.set(None if seconds is None else time.monotonic() + seconds)


def remaining() -> float | None:
    """Seconds left of the present call (negative when past), or None outside a call."""
    at = _deadline.get()
    return None if at is None else at - time.monotonic()


def budget(limit_s: float) -> float:
    """Seconds an outgoing wait may take: `limit_s`, or what the call has left minus the reserve.

    Raises DeadlineExceeded when nothing is left, so that no work begins whose answer nobody hears.
    """
    at = _deadline.get()
    if at is None:
        return limit_s
    left = at - time.monotonic() - RESERVE_S
    if left <= 0:
        raise DeadlineExceeded("no time left for this call")
    return left if left < limit_s else limit_s


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Run a block under its own deadline (None: none), for work outside a call such as a sweep."""
    token = _deadline.set(None if seconds is None else time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)
