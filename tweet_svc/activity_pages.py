"""The newest activity of many actors at once, walking back over the months that have any.

Tables `activity` and `activity_month`: see `activity_store`. Which months an actor has is
remembered for a day. That is right however many processes write, because activity carries its own
time, which is now or, for a post resumed under its idempotency key, at most a day ago: a month that
was over for `_LATE_MS` when the index was read gets no first row any more, and every later month is
read without asking the index.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from starling.tweet.v1.tweet_pb2 import Activity

from meshkit.background import gather_bounded
from meshkit.chunks import chunks
from meshkit.cql import CqlSession, Statement
from meshkit.snowflake import wall_clock_ms
from tweet_svc.batch import AT_ONCE, PARTITIONS
from tweet_svc.months import between, month_of

_MONTHS = Statement(
    "activity_month.many",
    "SELECT actor_id, month FROM activity_month WHERE actor_id IN ?",
    idempotent=True,
)
_PAGE = Statement(
    "activity.page",
    "SELECT actor_id, at_ms, tweet_id, author_id, username FROM activity"
    " WHERE actor_id IN ? AND month = ?"
    " AND (at_ms, tweet_id) < (?, ?) AND (at_ms, tweet_id) >= (?, ?) PER PARTITION LIMIT ?",
    idempotent=True,
)

_FAR = (1 << 62, 1 << 62)
_LATE_MS = 25 * 3_600_000
_AHEAD_MS = 3_600_000
"""How far another process's clock may be ahead of ours."""


class ActorPage(NamedTuple):
    """One actor's activity, newest first, and whether there is older."""

    actor_id: int
    activity: list[Activity]
    has_more: bool


class _Known(NamedTuple):
    """An actor's months as read at some time; complete for those before `open_from`."""

    months: list[int]
    open_from: int
    read_ms: int


@dataclass(slots=True)
class _Walk:
    """How far one actor's activity is read: what was found, and the months still to visit."""

    found: list[Activity] = field(default_factory=list)
    months: list[int] = field(default_factory=list)

    def take(self, number: int) -> list[int]:
        """The next months to visit, newest first."""
        return [self.months.pop() for _ in range(min(number, len(self.months)))]


class ActivityPages:
    """Reads pages of activity."""

    def __init__(
        self,
        session: CqlSession,
        remembered: int = 200_000,
        clock_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self._session = session
        self._clock_ms = clock_ms
        self._remembered = remembered
        self._known: OrderedDict[int, _Known] = OrderedDict()

    async def newest(
        self,
        actor_ids: Sequence[int],
        *,
        limit: int,
        before: tuple[int, int] | None = None,
        since_ms: int = 0,
    ) -> list[ActorPage]:
        """Up to `limit` entries of each actor, in the order of `actor_ids`.

        Only what is strictly older than `before` (ms since 1970, tweet id), and not before `since_ms`.
        `has_more` says exactly whether an entry within these bounds was left out.
        """
        now_ms = self._clock_ms()
        last_ms = now_ms + _AHEAD_MS
        newest = month_of(min(before[0], last_ms) if before else last_ms)
        oldest = month_of(min(since_ms, last_ms))
        bounds = (*(before or _FAR), since_ms, 0, limit + 1)
        walks = {actor_id: _Walk() for actor_id in actor_ids}

        # The present month is where most of what is asked for lies: read it before asking the index.
        present = between(max(month_of(now_ms - _LATE_MS), oldest), newest)[:1]
        found = await self._visit({month: list(walks) for month in present}, bounds)
        for actor_id, walk in walks.items():
            for month in present:
                walk.found += found.get((actor_id, month), ())
        wanting = [a for a, walk in walks.items() if len(walk.found) <= limit]
        for actor_id, known in (await self._learn(wanting, now_ms)).items():
            months = {*known.months, *between(known.open_from, newest)} - set(present)
            # The nearest is taken off the end.
            walks[actor_id].months = sorted(m for m in months if oldest <= m <= newest)
        ahead = 1
        while wanting := [a for a in wanting if walks[a].months and len(walks[a].found) <= limit]:
            visits: dict[int, list[int]] = defaultdict(list)
            taken = {a: walks[a].take(ahead) for a in wanting}
            for actor_id, months_taken in taken.items():
                for month in months_taken:
                    visits[month].append(actor_id)
            found = await self._visit(visits, bounds)
            for actor_id, months_taken in taken.items():
                for month in months_taken:
                    walks[actor_id].found += found.get((actor_id, month), ())
            # Who did little in some months did little in more: twice as many at a time.
            ahead *= 2
        return [
            ActorPage(a, walks[a].found[:limit], len(walks[a].found) > limit) for a in actor_ids
        ]

    async def _visit(
        self, visits: dict[int, list[int]], bounds: tuple[int, ...]
    ) -> dict[tuple[int, int], list[Activity]]:
        """What lies within `bounds` by (actor, month), newest first, of the actors of each month."""
        found: dict[tuple[int, int], list[Activity]] = defaultdict(list)

        async def read(work: tuple[int, list[int]]) -> None:
            month, actor_ids = work
            async for rows in self._session.pages(_PAGE, (actor_ids, month, *bounds)):
                for actor_id, at_ms, tweet_id, author_id, username in rows:
                    found[actor_id, month].append(
                        Activity(
                            at_ms=at_ms,
                            tweet_id=tweet_id,
                            actor_id=actor_id,
                            actor_username=username,
                            author_id=author_id,
                        )
                    )

        works = [(month, some) for month, ids in visits.items() for some in chunks(ids, PARTITIONS)]
        await gather_bounded(AT_ONCE, read, works)
        return found

    async def _learn(self, actor_ids: Sequence[int], now_ms: int) -> dict[int, _Known]:
        """The months of these actors, from memory where that is good enough."""
        fresh_ms = now_ms - _LATE_MS
        learnt: dict[int, _Known] = {}
        unknown = []
        for actor_id in actor_ids:
            known = self._known.get(actor_id)
            if known is None or known.read_ms < fresh_ms:
                unknown.append(actor_id)
            else:
                learnt[actor_id] = known
                self._known.move_to_end(actor_id)

        async def read(ids: list[int]) -> None:
            months: dict[int, list[int]] = {actor_id: [] for actor_id in ids}
            async for rows in self._session.pages(_MONTHS, (ids,)):
                for actor_id, month in rows:
                    months[actor_id].append(month)
            for actor_id, list_of_months in months.items():
                learnt[actor_id] = _Known(list_of_months, month_of(fresh_ms), now_ms)

        await gather_bounded(AT_ONCE, read, chunks(unknown, PARTITIONS))
        self._known.update((actor_id, learnt[actor_id]) for actor_id in unknown)
        while len(self._known) > self._remembered:
            self._known.popitem(last=False)
        return learnt
