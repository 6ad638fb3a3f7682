"""What celebrities did of late, held by every process that serves timelines.

A celebrity's activity is not pushed to followers: the fan-out worker appends it to one JetStream stream,
which every process follows into memory. A cached timeline remembers the position up to which it is merged;
a reader who comes after something newer has it merged into their cached timeline first. So what a timeline
holds never depends on who counts as a celebrity now, and crossing the line loses and doubles nothing.

A position is the time at which the stream was made and the sequence in it, as one number. Should the stream
be lost and made anew, all its positions are larger than any of the old one, of which nobody knows how it
ended: what was cached under those is rebuilt.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

from starling.timeline.v1.timeline_events_pb2 import CelebrityActivity

from meshkit.background import Background
from meshkit.consumer import EventMeta
from meshkit.events import EventBus, StreamSpec
from meshkit.follower import Follower
from meshkit.log import get_logger
from meshkit.snowflake import EPOCH_MS, timestamp_ms

from .timeline_cache import Operation, place, withdraw

log = get_logger(__name__)

MERGE_AT_MOST = 2000  # operations: past that, a rebuild is cheaper
# A position stays below 2^53, which Redis' scripts can hold, until 2058; a stream made anew has larger ones
# unless the old one took more than six million messages a second.
_SEQUENCE_BITS = 16
_STEP_MS = 10


class CelebrityLog:
    """The celebrity stream in memory, in its order."""

    def __init__(self, bus: EventBus, stream: StreamSpec, *, keep_s: float) -> None:
        """keep_s: at least as long as a cached timeline lives."""
        self._follower = Follower(
            bus, stream.name, self._append, since_s=keep_s, on_reset=self._forget
        )
        self._keep_ms = int(keep_s * 1000)
        self._positions: deque[int] = deque()
        self._published_ms: deque[int] = deque()
        self._operations: deque[Operation] = deque()
        self._dropped_to = 0

    def background(self) -> Background:
        """Follows the stream for the life of the process."""
        return self._follower.background()

    @property
    def position(self) -> int:
        """Up to where it was heard; 0 before anything is known of the stream."""
        return self._position(self._follower.sequence)

    def since(self, position: int) -> list[Operation] | None:
        """Operations after a position, in order; None when too much has gone by: rebuild."""
        if position < self._dropped_to or position < self._position(0):
            return None
        start = bisect_right(self._positions, position)
        if len(self._positions) - start > MERGE_AT_MOST:
            return None
        return [self._operations[i] for i in range(start, len(self._operations))]

    def _position(self, sequence: int) -> int:
        created_ms = self._follower.created_ms
        if not created_ms:
            return sequence
        return ((created_ms - EPOCH_MS) // _STEP_MS << _SEQUENCE_BITS) + sequence

    def _append(self, payload: bytes, meta: EventMeta) -> None:
        event = CelebrityActivity.FromString(payload)
        activity = event.activity
        operation = (
            withdraw(activity)
            if event.withdrawn
            else place(activity, timestamp_ms(activity.tweet_id))
        )
        self._positions.append(self._position(meta.sequence))
        self._published_ms.append(meta.published_ms)
        self._operations.append(operation)
        while self._published_ms[0] < meta.published_ms - self._keep_ms:
            self._published_ms.popleft()
            self._operations.popleft()
            self._dropped_to = self._positions.popleft()

    def _forget(self) -> None:
        # Another stream of the same name. Whether we heard the old one to its end nobody knows.
        self._positions.clear()
        self._published_ms.clear()
        self._operations.clear()
        self._dropped_to = 0
