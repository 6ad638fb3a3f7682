"""A reader's feed as the store has it: what a home timeline is rebuilt from, and what follows after it.

The feed merges the activity of everybody the reader follows, and their own tweets, newest first, by the
one-place rule: a tweet whose author the reader follows, or is, stands at its own time; any other stands
where the earliest retweet by somebody they follow puts it. The reader's own retweets bring nothing in.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection
from dataclasses import dataclass, field

from starling.tweet.v1.tweet_lookup_service_pb2 import AuthorActivity
from starling.tweet.v1.tweet_pb2 import Activity, Position

from meshkit.background import gather_bounded

from .activity_cache import ENTRIES, ActivityCache
from .lookups import Lookups

MOST_PER_AUTHOR = 1000  # what one ListActivity call answers at most
LEAST_PER_AUTHOR = 10
AUTHORS_AT_ONCE = 16


@dataclass(slots=True)
class _Source:
    """One author's activity, read as far as `entries`; `next` is the first not yet taken."""

    author_id: int
    entries: list[Activity]
    has_more: bool
    next: int = 0

    def key(self) -> tuple[int, int, int]:
        """Heap order: newest first. A source that must be read on stands where it was read to."""
        entry = self.entries[min(self.next, len(self.entries) - 1)]
        return (-entry.at_ms, -entry.tweet_id, self.author_id)

    @property
    def spent(self) -> bool:
        return self.next >= len(self.entries)


@dataclass(slots=True)
class Feed:
    """Reads one reader's feed from the store; with `since_ms` as if it began there."""

    activity: ActivityCache
    lookups: Lookups
    reader_id: int
    followees: Collection[int]
    since_ms: int = 0
    _members: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        self._members = frozenset(self.followees) | {self.reader_id}

    async def newest(self, before: Position | None, count: int) -> tuple[list[Activity], bool]:
        """Up to `count` entries strictly older than `before`, newest first.

        Also returns whether the feed ends there. A tweet deleted since may be among them, where it was
        a retweet that brought it in.
        """
        authors = sorted(self._members)
        limit = max(LEAST_PER_AUTHOR, min(MOST_PER_AUTHOR, 2 * count // len(authors) + 1))
        sources = [
            _Source(author.author_id, list(author.activity), author.has_more)
            for author in await self.activity.newest(
                authors,
                before,
                limit,
                self.since_ms,
                enough=ENTRIES if limit <= 2 * ENTRIES else limit,
            )
            if author.activity
        ]
        await self._read_ahead(sources, count)
        heap = [(source.key(), source) for source in sources]
        heapq.heapify(heap)

        entries: list[Activity] = []
        while heap and len(entries) < count:
            block = await self._take(heap, count - len(entries))
            entries += await self._in_their_place(block)
        return entries[:count], not heap and len(entries) <= count

    async def _read_ahead(self, sources: list[_Source], count: int) -> None:
        """Read on, all at once, with those who did so much that the newest `count` may need more of it.

        Without it each of them would be waited for in turn.
        """
        while short := self._read_too_short(sources, count):
            await gather_bounded(AUTHORS_AT_ONCE, self._extend, short)

    def _read_too_short(self, sources: list[_Source], count: int) -> list[_Source]:
        open_ended = [source for source in sources if source.has_more]
        if not open_ended:
            return []
        times = sorted(entry.at_ms for source in sources for entry in source.entries)
        oldest_ms = max(self.since_ms, times[-count] if len(times) >= count else 0)
        return [source for source in open_ended if source.entries[-1].at_ms > oldest_ms]

    async def _extend(self, source: _Source) -> None:
        more = await self._older(source)
        source.entries += more.activity
        source.has_more = more.has_more and len(more.activity) > 0

    async def _take(
        self, heap: list[tuple[tuple[int, int, int], _Source]], count: int
    ) -> list[Activity]:
        """The next activities in order, at most `count`."""
        block: list[Activity] = []
        while heap and len(block) < count:
            source = heap[0][1]
            if source.spent:
                heapq.heappop(heap)
                if source.has_more:
                    await self._read_on(source)
                    if source.entries:
                        heapq.heappush(heap, (source.key(), source))
                continue
            block.append(source.entries[source.next])
            source.next += 1
            heapq.heapreplace(heap, (source.key(), source))
        return block

    async def _read_on(self, source: _Source) -> None:
        author = await self._older(source)
        source.entries = list(author.activity)
        source.has_more = author.has_more
        source.next = 0

    async def _older(self, source: _Source) -> AuthorActivity:
        last = source.entries[-1]
        before = Position(at_ms=last.at_ms, tweet_id=last.tweet_id)
        limit = min(MOST_PER_AUTHOR, 2 * len(source.entries))
        (author,) = await self.activity.newest([source.author_id], before, limit, self.since_ms)
        return author

    async def _in_their_place(self, block: list[Activity]) -> list[Activity]:
        """Those activities that put their tweet where the one-place rule wants it."""
        strangers = [entry for entry in block if self._brings_in_a_stranger(entry)]
        earliest = await self.lookups.earliest_retweets(
            sorted({entry.tweet_id for entry in strangers}),
            sorted(self._members - {self.reader_id}),
        )
        kept = []
        for entry in block:
            if entry.actor_id == entry.author_id:
                kept.append(entry)
            elif self._brings_in_a_stranger(entry):
                first = earliest.get(entry.tweet_id)
                if first is not None and first.actor_id == entry.actor_id:
                    kept.append(entry)
        return kept

    def _brings_in_a_stranger(self, entry: Activity) -> bool:
        return (
            entry.actor_id not in (entry.author_id, self.reader_id)
            and entry.author_id not in self._members
        )
