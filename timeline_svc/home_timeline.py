"""The home timeline: skeleton, hydrate, page.

The skeleton comes from the cached timeline, after what celebrities did since is merged into it; on a miss
the timeline is rebuilt from the store; past the cached 1000, and while Redis is away, it comes from the
store itself.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence

from starling.tweet.v1.tweet_pb2 import Activity, Position

from meshkit.deadline import within
from meshkit.errors import StarlingError
from meshkit.log import get_logger
from meshkit.page_token import PageTokens
from meshkit.redis import RedisReplyError, RedisUnavailable
from meshkit.telemetry import span

from .activity_cache import ActivityCache
from .celebrity_log import CelebrityLog
from .feed import Feed
from .hydration import Hydration
from .line import Line
from .lookups import Lookups
from .timeline_cache import CachedPage, TimelineCache
from .tweet_cache import DELETED

log = get_logger(__name__)

REBUILD_ATTEMPTS = 5
WAIT_POLL_S = 0.01
CURSOR_KIND = "home"
RECENT_AT_ONCE = 10_000
FIRST_LINES = 21  # of a first page: 20, and one more to know whether it is the last
KNOWN_FLAGS = 500
"""So many likes, and retweets, of a reader are kept with their timeline, about 100 bytes each."""


class HomeTimeline:
    """Pages of home timelines."""

    def __init__(
        self,
        cache: TimelineCache,
        celebrities: CelebrityLog,
        hydration: Hydration,
        activity: ActivityCache,
        lookups: Lookups,
        tokens: PageTokens,
        *,
        rebuild_lease_s: float,
    ) -> None:
        self._rebuild_lease_s = rebuild_lease_s
        self._cache = cache
        self._celebrities = celebrities
        self._hydration = hydration
        self._activity = activity
        self._lookups = lookups
        self._tokens = tokens
        self._rebuilds: dict[int, asyncio.Task[None]] = {}

    async def page(self, reader_id: int, cursor: str, limit: int) -> tuple[list[Line], str]:
        """Lines ready to be shown, newest first, and the next cursor ("" at the end).

        Raises InvalidArgument for a cursor that is not of this reader's home timeline.
        """
        before = None
        if cursor:
            at_ms, tweet_id = self._tokens.decode(cursor, CURSOR_KIND, reader_id)
            before = Position(at_ms=at_ms, tweet_id=tweet_id)
        lines = await self.newest(reader_id, before, limit + 1)
        if len(lines) <= limit:
            return lines, ""
        lines = lines[:limit]
        last = lines[-1]
        return lines, self._tokens.encode(CURSOR_KIND, reader_id, (last.at_ms, last.tweet_id))

    async def newest(self, reader_id: int, before: Position | None, count: int) -> list[Line]:
        """Up to `count` hydrated lines strictly older than `before`; fewer only at the feed's end."""
        shown: list[Line] = []
        while True:
            lines, ended = await self._skeleton(reader_id, before, count - len(shown))
            visible = await self._hydration.complete(lines)
            await self._learn_flags(reader_id, visible)
            shown += visible
            if ended or len(shown) >= count:
                return shown
            before = lines[-1].position

    async def since(self, reader_id: int, since_ms: int) -> list[Line]:
        """All lines that stand at or after a time, newest first, hydrated; flags only as far as the cache
        has them (`flag`)."""
        found: list[Line] = []
        before = None
        while True:
            lines, ended = await self._skeleton(reader_id, before, RECENT_AT_ONCE, since_ms)
            found += await self._hydration.complete(lines)
            if ended or lines[-1].at_ms < since_ms:
                return [line for line in found if line.at_ms >= since_ms]
            before = lines[-1].position

    async def flag(self, reader_id: int, lines: list[Line]) -> None:
        """Fill in the flags that are not known, and remember them."""
        await self._learn_flags(reader_id, lines)

    async def _skeleton(
        self, reader_id: int, before: Position | None, count: int, since_ms: int = 0
    ) -> tuple[list[Line], bool]:
        """Up to `count` lines, and whether the feed ends with them, as far as it is not before
        `since_ms`; older lines may be among them."""
        try:
            cached = await self._cached(reader_id, before, count)
        except (RedisUnavailable, RedisReplyError) as error:
            log.warning("home timeline read without Redis", error=str(error))
            cached = None
        if cached is None:
            return await self._from_store(reader_id, before, count, since_ms)
        if cached.lines and cached.lines[-1].at_ms < since_ms:
            return cached.lines, True
        if not cached.ended or cached.complete or len(cached.lines) >= count:
            return cached.lines, cached.ended and cached.complete
        older, ended = await self._from_store(
            reader_id,
            cached.lines[-1].position if cached.lines else before,
            count - len(cached.lines),
            since_ms,
        )
        return cached.lines + older, ended

    async def _cached(
        self, reader_id: int, before: Position | None, count: int
    ) -> CachedPage | None:
        """A page of the cached timeline, rebuilt and merged as need be; None when it cannot be."""
        for _ in range(REBUILD_ATTEMPTS):
            cached = await self._cache.read(reader_id, before, count)
            if cached is None:
                await self._rebuild(reader_id)
                continue
            position = self._celebrities.position
            if cached.sync >= position:
                return await self._filled(reader_id, cached)
            operations = self._celebrities.since(cached.sync)
            if operations is None:
                await self._cache.invalidate(reader_id)
                continue
            await self._cache.merge(reader_id, operations, position)
        return None

    async def _filled(self, reader_id: int, page: CachedPage) -> CachedPage:
        """The page with what is cached of its tweets; those deleted are taken out for the next."""
        if not self._cache.reads_tweets:
            await self._hydration.load_cached(page.lines)
        deleted = [line.tweet_id for line in page.lines if line.body == DELETED]
        if deleted:
            await self._cache.forget(reader_id, deleted)
        return page

    async def _from_store(
        self, reader_id: int, before: Position | None, count: int, since_ms: int
    ) -> tuple[list[Line], bool]:
        with span("feed from store"):
            followees = await self._lookups.followees(reader_id)
            feed = Feed(self._activity, self._lookups, reader_id, followees, since_ms)
            entries, ended = await feed.newest(before, count)
        lines = [
            Line(
                entry.at_ms,
                entry.tweet_id,
                b"" if entry.actor_id == entry.author_id else entry.actor_username.encode(),
                flags_known=False,
            )
            for entry in entries
        ]
        await self._hydration.load_cached(lines)
        try:
            await self._cache.flag(reader_id, lines)
        except (RedisUnavailable, RedisReplyError) as error:
            log.debug("flags not read from Redis", error=str(error))
        return lines, ended

    async def _learn_flags(self, reader_id: int, lines: list[Line]) -> None:
        flags = await self._hydration.flag(reader_id, lines)
        if flags:
            try:
                await self._cache.learn_flags(reader_id, flags)
            except (RedisUnavailable, RedisReplyError) as error:
                log.debug("flags not cached", error=str(error))

    async def _rebuild(self, reader_id: int) -> None:
        """Rebuild a timeline once, however many ask for it: here by one task, in the mesh by a lease.

        The task outlives the call that began it, so that a caller who hangs up fails nobody else.
        """
        task = self._rebuilds.get(reader_id)
        if task is None:
            task = asyncio.create_task(self._rebuild_once(reader_id), name=f"rebuild-{reader_id}")
            self._rebuilds[reader_id] = task
            task.add_done_callback(lambda _: self._rebuilds.pop(reader_id, None))
        await asyncio.shield(task)

    async def _rebuild_once(self, reader_id: int) -> None:
        token = secrets.token_hex(8)
        for _ in range(REBUILD_ATTEMPTS):
            begun = await self._cache.begin_rebuild(reader_id, token)
            while begun.state == "wait":
                await asyncio.sleep(WAIT_POLL_S)
                begun = await self._cache.begin_rebuild(reader_id, token)
            if begun.state == "warm":
                return
            try:
                with span("rebuild home timeline"), within(self._rebuild_lease_s):
                    installed = await self._build(reader_id, token, begun.epoch)
            except BaseException:
                await asyncio.shield(self._cache.abandon_rebuild(reader_id, token))
                raise
            if installed:
                return

    async def _build(self, reader_id: int, token: str, epoch: str) -> bool:
        # What is appended to the log from here on is merged later; what was before is in the store.
        sync = self._celebrities.position
        (followees, entries, complete), flags = await asyncio.gather(
            self._newest_entries(reader_id), self._lookups.newest_flags(reader_id, KNOWN_FLAGS)
        )

        async def install() -> bool:
            if older := [e.tweet_id for e in entries if e.tweet_id < flags.floor]:
                flags.of_tweets.update(await self._lookups.flags(reader_id, older))
            return await self._cache.install(
                reader_id,
                token=token,
                epoch=epoch,
                sync=sync,
                complete=complete,
                followees=followees,
                entries=entries,
                flags=flags,
            )

        installed, _ = await asyncio.gather(install(), self._warm(entries[:FIRST_LINES]))
        return installed

    async def _warm(self, entries: Sequence[Activity]) -> None:
        """Cache the tweets that whoever asked for the rebuild will look for, if it was for a first page."""
        lines = [Line(entry.at_ms, entry.tweet_id) for entry in entries]
        try:
            await self._hydration.load_cached(lines)
            await self._hydration.complete(lines)
        except StarlingError as error:
            log.info("first page not cached", error=str(error))  # the page itself asks again

    async def _newest_entries(self, reader_id: int) -> tuple[list[int], list[Activity], bool]:
        """Whom the reader follows, what their timeline holds, and whether that is the whole feed."""
        followees = await self._lookups.followees(reader_id)
        feed = Feed(self._activity, self._lookups, reader_id, followees)
        return followees, *await feed.newest(None, self._cache.entries)
