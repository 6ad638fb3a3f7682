"""A user's timeline: their tweets and retweets, newest first."""

from __future__ import annotations

from starling.tweet.v1.tweet_pb2 import Position

from meshkit.log import get_logger
from meshkit.page_token import PageTokens
from meshkit.redis import RedisReplyError, RedisUnavailable

from .activity_cache import ActivityCache
from .hydration import Hydration
from .line import Line
from .lookups import Lookups
from .reasons import USER_NOT_FOUND
from .timeline_cache import TimelineCache

log = get_logger(__name__)


class UserTimeline:
    """Pages of user timelines, as one viewer sees them."""

    def __init__(
        self,
        hydration: Hydration,
        activity: ActivityCache,
        timelines: TimelineCache,
        lookups: Lookups,
        tokens: PageTokens,
    ) -> None:
        self._hydration = hydration
        self._timelines = timelines
        self._activity = activity
        self._lookups = lookups
        self._tokens = tokens

    async def page(
        self, viewer_id: int, user_id: int, cursor: str, limit: int
    ) -> tuple[list[Line], str]:
        """Lines ready to be shown, newest first, and the next cursor ("" at the end).

        Raises USER_NOT_FOUND, and InvalidArgument for a cursor of another list or viewer.
        """
        kind = f"user:{user_id}"
        before = None
        if cursor:
            at_ms, tweet_id = self._tokens.decode(cursor, kind, viewer_id)
            before = Position(at_ms=at_ms, tweet_id=tweet_id)
        shown: list[Line] = []
        while True:
            lines, ended = await self._skeleton(user_id, before, limit + 1 - len(shown))
            if not lines and before is None and not await self._lookups.users([user_id]):
                raise USER_NOT_FOUND.error(f"user {user_id} does not exist", user_id=user_id)
            await self._hydration.load_cached(lines)
            visible = await self._hydration.complete(lines)
            shown += visible
            if ended or len(shown) > limit:
                break
            before = lines[-1].position
        next_cursor = ""
        if len(shown) > limit:
            shown = shown[:limit]
            last = shown[-1]
            next_cursor = self._tokens.encode(kind, viewer_id, (last.at_ms, last.tweet_id))
        await self._flag(viewer_id, shown)
        return shown, next_cursor

    async def _flag(self, viewer_id: int, lines: list[Line]) -> None:
        """Fill in the viewer's flags: from their cached home timeline, and past that from the store."""
        try:
            await self._timelines.flag(viewer_id, lines)
        except (RedisUnavailable, RedisReplyError) as error:
            log.debug("flags not read from Redis", error=str(error))
        await self._hydration.flag(viewer_id, lines)

    async def _skeleton(
        self, user_id: int, before: Position | None, count: int
    ) -> tuple[list[Line], bool]:
        """Up to `count` lines, and whether the list ends with them."""
        (author,) = await self._activity.newest([user_id], before, count)
        lines = [
            Line(
                entry.at_ms,
                entry.tweet_id,
                b"" if entry.actor_id == entry.author_id else entry.actor_username.encode(),
                flags_known=False,
            )
            for entry in author.activity
        ]
        return lines, not author.has_more
