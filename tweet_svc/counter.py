"""Keeps counts equal to the rows: after each change it counts the rows again, and tells the mesh the result.

A durable consumer over tweet_svc's own events. Nothing is ever added up: a change marks what is
dirty (a shard of a tweet's likes or retweets, a month of an author's tweets: `author_counter`), marks that
come together become one recount, and the event is acked once a recount that began after it is stored and
published. So counts are exact at rest, whatever was written twice, delivered twice, or lost with a
process.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from starling.tweet.v1.tweet_events_pb2 import (
    RetweetChanged,
    TweetCountsChanged,
    TweetEvent,
)
from starling.tweet.v1.tweet_pb2 import Activity

from meshkit.background import gather_bounded
from meshkit.consumer import Consumer, EventMeta
from meshkit.errors import Unavailable
from meshkit.events import ConsumerSpec, EventBus
from meshkit.recount import Recounter, of_the_newest
from meshkit.snowflake import timestamp_ms
from meshkit.streams import (
    LIKE_CHANGED,
    RETWEET_CHANGED,
    TWEET_COUNTS_CHANGED,
    TWEET_DELETED,
    TWEET_POSTED,
    TWEETS,
)
from meshkit.write_clock import WriteClock
from tweet_svc.activity_store import ActivityStore
from tweet_svc.author_counter import AuthorCounter
from tweet_svc.count_store import LIKES, RETWEETS, Counts, CountStore
from tweet_svc.like_store import LikeStore
from tweet_svc.months import month_of
from tweet_svc.retweet_store import RetweetStore
from tweet_svc.sharding import shard_of

# Many in flight: most wait for the same recount of a hot tweet, and the others must not wait behind them.
SPEC = ConsumerSpec("tweet-counter", TWEETS.name, max_in_flight=1000)

_AROUND_MS = 60_000
"""Two processes that retweet at once write their rows within this."""
_AT_ONCE = 4
"""Partitions of one tweet counted at a time."""
_FIXES = 4
"""Looks at one retweet's rows before its event is put back for later."""


class Counter:
    """Handles tweet_svc's events."""

    def __init__(
        self,
        bus: EventBus,
        clock: WriteClock,
        activity: ActivityStore,
        likes: LikeStore,
        retweets: RetweetStore,
        counts: CountStore,
    ) -> None:
        self._bus = bus
        self._clock = clock
        # Apart from the clock of writes, which must not be driven ahead by another process's.
        self._times = WriteClock(clock.now_us)
        self._activity = activity
        self._likes = likes
        self._retweets = retweets
        self._counts = counts
        self._dirty_shards: dict[int, set[tuple[int, int]]] = defaultdict(set)
        self._tweets = Recounter(self._recount_tweet, min_interval_s=0.1, max_interval_s=0.5)
        self._authors = AuthorCounter(bus, self._times, activity)

    def consumer(self) -> Consumer:
        """The durable consumer, shared by all instances."""
        return Consumer(
            self._bus,
            SPEC,
            {
                TWEET_POSTED: (TweetEvent, self.on_posted),
                TWEET_DELETED: (TweetEvent, self.on_deleted),
                LIKE_CHANGED: (TweetEvent, self.on_like_changed),
                RETWEET_CHANGED: (TweetEvent, self.on_retweet_changed),
            },
        )

    async def on_posted(self, event: TweetEvent, meta: EventMeta) -> None:
        """Recount the author's month."""
        await self.recount_author(event.posted.tweet.user_id, [month_of(event.posted.at_ms)])

    async def on_deleted(self, event: TweetEvent, meta: EventMeta) -> None:
        """Recount the author's month."""
        at_ms = timestamp_ms(event.deleted.tweet_id)
        await self.recount_author(event.deleted.author_id, [month_of(at_ms)])

    async def on_like_changed(self, event: TweetEvent, meta: EventMeta) -> None:
        """Recount the likes of the user's shard."""
        changed = event.like_changed
        await self._mark_shard(changed.tweet_id, LIKES, changed.user_id)

    async def on_retweet_changed(self, event: TweetEvent, meta: EventMeta) -> None:
        """Make the actor's activity agree with the retweet that stands, and recount the shard."""
        changed = event.retweet_changed
        await self._reconcile(changed)
        await self._mark_shard(changed.activity.tweet_id, RETWEETS, changed.activity.actor_id)

    async def recount_tweet(self, tweet_id: int, shards: Iterable[tuple[int, int]]) -> None:
        """Recount these (kind, shard) of a tweet, and tell the mesh."""
        self._dirty_shards[tweet_id].update(shards)
        await self._tweets.mark(tweet_id)

    async def recount_author(self, author_id: int, months: Iterable[int]) -> None:
        """Recount these months of an author's tweets, and tell the mesh."""
        await self._authors.recount(author_id, months)

    async def _mark_shard(self, tweet_id: int, kind: int, user_id: int) -> None:
        await self.recount_tweet(tweet_id, [(kind, shard_of(user_id))])

    async def _recount_tweet(self, tweet_id: int) -> None:
        # A failure fails the events that wait, which come again and mark again.
        dirty = self._dirty_shards.pop(tweet_id, set())

        async def recount(as_of_us: int) -> tuple[Counts, int]:
            async def shard(mark: tuple[int, int]) -> None:
                kind, number = mark
                store = self._likes if kind == LIKES else self._retweets
                n = await store.count(tweet_id, number)
                await self._counts.store(tweet_id, kind, number, n, as_of_us)

            await gather_bounded(_AT_ONCE, shard, dirty)
            return await self._counts.total(tweet_id)

        counts, as_of_us = await of_the_newest(self._times, recount)
        changed = TweetCountsChanged(
            tweet_id=tweet_id,
            likes_count=counts.likes,
            retweets_count=counts.retweets,
            as_of_us=as_of_us,
        )
        await self._bus.publish(
            TWEET_COUNTS_CHANGED,
            TweetEvent(counts_changed=changed),
            msg_id=f"{TWEET_COUNTS_CHANGED}:{tweet_id}:{as_of_us}:{counts.likes}:{counts.retweets}",
        )

    async def _reconcile(self, changed: RetweetChanged) -> None:
        """Leave exactly one activity row for a retweet that stands, and none for one that does not.

        Two processes that change one retweet at once each know only the row they write: what they left is
        found here, by whichever of their events comes later. A fix may itself rest on what has just changed,
        so it is looked at again until there is nothing to fix.
        """
        made = changed.activity
        if made.actor_id == made.author_id:
            return
        for _ in range(_FIXES):
            if not await self._fix(made):
                return
        raise Unavailable("the activity of a retweet does not come to rest")

    async def _fix(self, made: Activity) -> bool:
        """Make the rows around agree with what stands; whether any had to be written.

        What was written later than this began is not touched: it has an event of its own.
        """
        seen_us = self._clock.next_us()
        standing = await self._retweets.get(made.actor_id, made.tweet_id)
        times = [made.at_ms] if standing is None else [made.at_ms, standing.retweeted_ms]
        places = await self._activity.retweets_around(
            made.actor_id, made.tweet_id, min(times) - _AROUND_MS, max(times) + _AROUND_MS
        )
        wrong = [p for p in places if standing is None or p.at_ms != standing.retweeted_ms]
        for place in wrong:
            await self._activity.remove(made.actor_id, place, seen_us)
        if standing is None or len(places) > len(wrong):
            return bool(wrong)
        missing = Activity()
        missing.CopyFrom(made)
        missing.at_ms = standing.retweeted_ms
        await self._activity.restore_retweet(missing, seen_us)
        return True
