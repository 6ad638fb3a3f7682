"""Waiting for the fan-out worker's word that whoever changed something will see it in the next read.

The event of a post, a like, a retweet, their undoing or a deletion carries the subject of an inbox
(`Starling-Reply`); the worker notifies it once the cached timelines of who made the change have it. The
wait is bounded, and after a few waits in vain, when the worker is evidently away or behind, only every
`_PROBE_S` one change waits, to see whether it is back: the others are answered at once. There is one
`FanoutWord` for each of the worker's consumers, as one may be behind and the other not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter

from meshkit import deadline
from meshkit.errors import DeadlineExceeded
from meshkit.events import REPLY_HEADER, EventBus, Reply

_IN_VAIN = 3
_PROBE_S = 5.0
_WAITS = Counter("starling_fanout_waits", "Waits of changes for the fan-out", ["outcome"])


class ExpectedWord:
    """The word that one change expects; `headers` go with its event."""

    def __init__(self, owner: FanoutWord, reply: Reply | None) -> None:
        self._owner = owner
        self._reply = reply
        self.headers = {REPLY_HEADER: reply.subject} if reply else {}

    async def wait(self) -> bool:
        """Whether the word came in time."""
        return self._reply is not None and await self._owner.wait(self._reply)


class FanoutWord:
    """Makes changes wait, as long as that is of use."""

    def __init__(self, bus: EventBus, wait_s: float) -> None:
        self._bus = bus
        self._wait_s = wait_s
        self._in_vain = 0
        self._probe_at = 0.0

    @contextmanager
    def expect(self) -> Iterator[ExpectedWord]:
        """For the time of one change: listen for its word, unless waiting is of no use now."""
        if not self._useful():
            yield ExpectedWord(self, None)
            return
        with self._bus.inbox() as reply:
            yield ExpectedWord(self, reply)

    async def wait(self, reply: Reply) -> bool:
        """Wait for `reply`, at most the configured time or what the call has left."""
        try:
            wait_s = deadline.budget(self._wait_s)
        except DeadlineExceeded:
            return False
        came = await reply.wait(wait_s) is not None
        if came:
            self._in_vain = 0
        elif wait_s >= self._wait_s:
            self._in_vain += 1
            self._probe_at = time.monotonic() + _PROBE_S
        _WAITS.labels("came" if came else "in_vain").inc()
        return came

    def _useful(self) -> bool:
        if self._wait_s <= 0 or not self._bus.connected:
            return False
        if self._in_vain < _IN_VAIN:
            return True
        now = time.monotonic()
        if now < self._probe_at:
            return False
        self._probe_at = now + _PROBE_S
        return True
