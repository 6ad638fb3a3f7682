"""Authors' newest activity in Redis: what rebuilds and user timelines read instead of the store.

    activity:{b042}:456  STRING  a serialized AuthorActivity: newest first, has_more as to what is older; ""
                                 keeps others from caching for some seconds what they read before a change

The fan-out worker puts each activity before what is cached, before it pushes it to anybody; an undoing
clears it. Serialized messages concatenate, so nothing is parsed for that; an activity delivered twice stands
twice, and is dropped by who reads. A reader of the store caches what it found only where nothing is, and
only if it read shortly ago. Before each value stands the lineage of the server that took it; what is of
another is as if it were not there, as an activity may have been lost in a failover. Buckets: `buckets.py`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib import resources
from itertools import pairwise

from starling.tweet.v1.tweet_lookup_service_pb2 import AuthorActivity
from starling.tweet.v1.tweet_pb2 import Activity, Position

from meshkit.log import get_logger
from meshkit.redis import Argument, Redis, RedisReplyError, RedisUnavailable, Script

from .buckets import bucket
from .generation import Generation, Generations
from .lookups import Lookups

TTL_S = 3600
ENTRIES = 30  # of an author, when read from the store
MOST_BYTES = 8192  # about 100 entries; past that it is read anew
HOLD_OFF_S = 2  # longer than FILL_WITHIN_S
FILL_WITHIN_S = 1.0
AUTHORS_A_SCRIPT = 500

log = get_logger(__name__)
_folder = resources.files(__package__) / "lua"
FILL = Script("activity fill", (_folder / "activity_fill.lua").read_text(), lineage=True)
ADD = Script("activity add", (_folder / "activity_add.lua").read_text(), lineage=True)


class ActivityCache:
    """The newest activity of authors, from Redis, and past it from tweet_svc."""

    def __init__(self, redis: Redis, prefix: str, generation: Generation, lookups: Lookups) -> None:
        self._redis = redis
        self._prefix = prefix
        self._generation = generation
        self._lookups = lookups

    async def newest(
        self,
        author_ids: Sequence[int],
        before: Position | None,
        limit: int,
        since_ms: int = 0,
        *,
        enough: int | None = None,
    ) -> list[AuthorActivity]:
        """Up to `limit` entries of each author strictly older than `before`, newest first, in any order of
        authors; of those before `since_ms` there may be any number. Without Redis it reads the store.

        Of whom `enough` entries are cached, no more are read from the store.
        """
        if before is not None:
            return await self._lookups.activity(author_ids, before, limit, since_ms)
        try:
            found, missing = await self._cached(author_ids, limit, enough or limit)
        except (RedisUnavailable, RedisReplyError) as error:
            log.debug("activity read without Redis", error=str(error))
            return await self._lookups.activity(author_ids, None, limit, since_ms)
        if missing:
            generations: Generations = {}
            try:
                generations = await self._generation.current(missing)
            except (RedisUnavailable, RedisReplyError) as error:
                log.debug("activity will not be cached", error=str(error))
            started = time.monotonic()
            stored = await self._lookups.activity(missing, None, max(limit, ENTRIES))
            if time.monotonic() - started < FILL_WITHIN_S:
                await self._fill(generations, stored)
            found += [_first(author, limit) for author in stored]
        return found

    async def add(self, activity: Activity) -> None:
        """An author did something. Raises RedisUnavailable or RedisReplyError."""
        entry = AuthorActivity(activity=[activity]).SerializeToString()
        await self._redis.eval(ADD, [self._key(activity.actor_id)], [entry, MOST_BYTES, HOLD_OFF_S])

    async def clear(self, author_id: int) -> None:
        """An author undid something. Raises RedisUnavailable or RedisReplyError."""
        await self._redis.call("SET", self._key(author_id), b"", "EX", HOLD_OFF_S)

    async def _cached(
        self, author_ids: Sequence[int], limit: int, enough: int
    ) -> tuple[list[AuthorActivity], list[int]]:
        """What is cached of `limit` entries each, where it is `enough` or all; and whose is not."""
        found: list[AuthorActivity] = []
        missing: list[int] = []
        values = await self._redis.mget_current([self._key(author) for author in author_ids])
        for author_id, value in zip(author_ids, values, strict=True):
            author = _in_order(author_id, value) if value else None
            if author is None or (len(author.activity) < enough and author.has_more):
                missing.append(author_id)
            else:
                found.append(_first(author, limit))
        return found, missing

    async def _fill(self, generations: Generations, authors: Sequence[AuthorActivity]) -> None:
        calls = []
        for key, indices in self._generation.grouped([a.author_id for a in authors]).items():
            if key not in generations:
                continue
            for start in range(0, len(indices), AUTHORS_A_SCRIPT):
                keys = [key]
                arguments: list[Argument] = [generations[key], TTL_S]
                for i in indices[start : start + AUTHORS_A_SCRIPT]:
                    keys.append(self._key(authors[i].author_id))
                    arguments.append(_cacheable(authors[i]).SerializeToString())
                calls.append((keys, arguments))
        for reply in await self._redis.eval_each(FILL, calls):
            if isinstance(reply, Exception):
                log.debug("activity not cached", error=str(reply))

    def _key(self, author_id: int) -> str:
        return f"{self._prefix}activity:{{{bucket(author_id)}}}:{author_id}"


def _cacheable(author: AuthorActivity) -> AuthorActivity:
    if len(author.activity) <= ENTRIES:
        return author
    return AuthorActivity(
        author_id=author.author_id,
        activity=author.activity[:ENTRIES],
        has_more=author.has_more or len(author.activity) > ENTRIES,
    )


def _in_order(author_id: int, value: bytes) -> AuthorActivity:
    """The cached entries, newest first, each once; they come late and twice at times."""
    author = AuthorActivity.FromString(value)
    author.author_id = author_id
    places = [(entry.at_ms, entry.tweet_id) for entry in author.activity]
    if any(newer <= older for newer, older in pairwise(places)):
        entries = {(entry.at_ms, entry.tweet_id): entry for entry in author.activity}
        ordered = [entries[place] for place in sorted(entries, reverse=True)]
        del author.activity[:]
        author.activity.extend(ordered)
    return author


def _first(author: AuthorActivity, limit: int) -> AuthorActivity:
    if len(author.activity) > limit:
        del author.activity[limit:]
        author.has_more = True
    return author
