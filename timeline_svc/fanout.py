"""The fan-out: what an event does to the timelines in Redis.

Everything here may run twice, late, or in another order: an entry takes its place once, later changes win,
the followees of a cached timeline are checked where the entry is placed, and hydration drops tweets that
are gone. An event is acknowledged after its writes; while Redis is away it is not, and comes again.
"""

from __future__ import annotations

from collections.abc import Sequence

from starling.graph.v1.graph_events_pb2 import GraphEvent
from starling.timeline.v1.timeline_events_pb2 import CelebrityActivity, FanoutChunk
from starling.tweet.v1.tweet_events_pb2 import TweetEvent
from starling.tweet.v1.tweet_pb2 import Activity

from meshkit import streams
from meshkit.background import gather_bounded
from meshkit.consumer import EventMeta
from meshkit.events import REPLY_HEADER, EventBus
from meshkit.snowflake import timestamp_ms, wall_clock_ms

from .activity_cache import ActivityCache
from .generation import Generation
from .lookups import Lookups
from .timeline_cache import TimelineCache, flag, place, withdraw
from .tweet_cache import TweetCache

FOLLOWERS_A_CHUNK = 1000
PUBLISHES_AT_ONCE = 8
LATE_MS = 1000  # an event this old may have been overtaken


class Fanout:
    """Handlers of events; each raises when its event has to come again."""

    def __init__(
        self,
        bus: EventBus,
        timelines: TimelineCache,
        tweets: TweetCache,
        activity: ActivityCache,
        generation: Generation,
        lookups: Lookups,
        *,
        celebrity_followers: int,
    ) -> None:
        self._bus = bus
        self._timelines = timelines
        self._tweets = tweets
        self._activity = activity
        self._generation = generation
        self._lookups = lookups
        self._celebrity_followers = celebrity_followers

    async def posted(self, event: TweetEvent, meta: EventMeta) -> None:
        """A tweet goes to its author's own timeline first, and then to the followers'."""
        posted = event.posted
        tweet = posted.tweet
        activity = Activity(
            at_ms=posted.at_ms,
            tweet_id=tweet.tweet_id,
            actor_id=tweet.user_id,
            actor_username=tweet.username,
            author_id=tweet.user_id,
        )
        # Before any push: who rebuilds after a push that found nothing to push to, reads this.
        await self._activity.add(activity)
        generations = await self._generation.current([tweet.tweet_id])
        await self._tweets.fill([tweet], posted.at_ms * 1000, generations)
        await self._push(activity, [tweet.user_id], withdrawn=False)
        await self._say_seen(meta)
        await self._to_followers(activity, meta, withdrawn=False)
        late = meta.delivered > 1 or wall_clock_ms() - meta.published_ms > LATE_MS
        if late and not await self._lookups.tweets([tweet.tweet_id]):
            # Deleted meanwhile, and the mark may have been lost with the cache: looking after the fill
            # leaves no gap, as a later deletion has its own event still to come.
            await self._tweets.mark_deleted(tweet.tweet_id)

    async def retweet_changed(self, event: TweetEvent, meta: EventMeta) -> None:
        """A retweet, or its undoing, goes to the followers of who made it, and flags it for them."""
        change = event.retweet_changed
        activity = change.activity
        await self._timelines.push(
            flag(activity.tweet_id, "retweeted", change.retweeted, change.changed_us),
            [activity.actor_id],
        )
        if activity.actor_id == activity.author_id:
            await self._say_seen(meta)
            return  # stands at its own time with whoever follows them
        if change.retweeted:
            await self._activity.add(activity)
        else:
            await self._activity.clear(activity.actor_id)
        await self._say_seen(meta)
        await self._to_followers(activity, meta, withdrawn=not change.retweeted)

    async def like_changed(self, event: TweetEvent, meta: EventMeta) -> None:
        """A like, or its undoing, flags the tweet for who made it."""
        change = event.like_changed
        await self._timelines.push(
            flag(change.tweet_id, "liked", change.liked, change.changed_us), [change.user_id]
        )
        await self._say_seen(meta)

    async def deleted(self, event: TweetEvent, meta: EventMeta) -> None:
        """A deleted tweet is marked, and so vanishes from wherever its id stands."""
        await self._tweets.mark_deleted(event.deleted.tweet_id)
        await self._activity.clear(event.deleted.author_id)
        await self._say_seen(meta)

    async def counts_changed(self, event: TweetEvent, meta: EventMeta) -> None:
        """New counts of a tweet."""
        counts = event.counts_changed
        await self._tweets.set_counts(
            counts.tweet_id, counts.likes_count, counts.retweets_count, counts.as_of_us
        )

    async def follow_changed(self, event: GraphEvent, meta: EventMeta) -> None:
        """A follow, or its undoing, makes the follower's timeline be rebuilt at the next read."""
        await self._timelines.invalidate(event.follow_changed.follower_id)

    async def follows_changed(self, event: GraphEvent, meta: EventMeta) -> None:
        """The same for one who followed many at once."""
        await self._timelines.invalidate(event.follows_changed.changes[0].follower_id)

    async def chunk(self, event: FanoutChunk, meta: EventMeta) -> None:
        """One activity to up to a thousand followers."""
        await self._deliver(event.activity, event.follower_ids, withdrawn=event.withdrawn)

    async def _say_seen(self, meta: EventMeta) -> None:
        """Tell who waits for it that whoever made the change may read their own write now."""
        if reply := meta.headers.get(REPLY_HEADER):
            await self._bus.notify(reply)

    async def _to_followers(self, activity: Activity, meta: EventMeta, *, withdrawn: bool) -> None:
        """Push to few followers here, to many in chunks, to a celebrity's through the log."""
        first = True
        pages: list[FanoutChunk] = []
        async for follower_ids, followers_count, more in self._lookups.followers(
            activity.actor_id, FOLLOWERS_A_CHUNK
        ):
            if followers_count >= self._celebrity_followers:
                await self._to_log(activity, meta, withdrawn=withdrawn)
                return
            if first and not more:
                await self._deliver(activity, follower_ids, withdrawn=withdrawn)
                return
            first = False
            pages.append(
                FanoutChunk(activity=activity, follower_ids=follower_ids, withdrawn=withdrawn)
            )
            if len(pages) == PUBLISHES_AT_ONCE or not more:
                await self._publish_chunks(pages, meta)
                pages = []

    async def _to_log(self, activity: Activity, meta: EventMeta, *, withdrawn: bool) -> None:
        msg_id = f"celebrity:{_name(meta)}"
        await self._bus.publish(
            streams.CELEBRITY_ACTIVITY,
            CelebrityActivity(activity=activity, withdrawn=withdrawn),
            msg_id=msg_id,
        )
        if not withdrawn and not await self._stands(activity):
            await self._bus.publish(
                streams.CELEBRITY_ACTIVITY,
                CelebrityActivity(activity=activity, withdrawn=True),
                msg_id=f"{msg_id}:withdrawn",
            )

    async def _publish_chunks(self, chunks: Sequence[FanoutChunk], meta: EventMeta) -> None:
        """Under ids that name the followers: when the event comes again, unfollows may have moved the
        pages, and a chunk of others must not be taken for the one before."""

        async def publish(chunk: FanoutChunk) -> None:
            ids = chunk.follower_ids
            bounds = f"{len(ids)}:{ids[0]}:{ids[-1]}" if ids else "none"
            await self._bus.publish(
                streams.FANOUT_CHUNK, chunk, msg_id=f"chunk:{_name(meta)}:{bounds}"
            )

        await gather_bounded(PUBLISHES_AT_ONCE, publish, chunks)

    async def _deliver(
        self, activity: Activity, follower_ids: Sequence[int], *, withdrawn: bool
    ) -> None:
        await self._push(activity, follower_ids, withdrawn=withdrawn)
        if not withdrawn and not await self._stands(activity):
            await self._push(activity, follower_ids, withdrawn=True)

    async def _stands(self, activity: Activity) -> bool:
        """Whether a retweet still stands, asked after it was pushed; a tweet does.

        An undoing that was committed before this moment may have been handled before our push; one
        committed later has its own event still to come. So looking after the push leaves no gap.
        """
        if activity.actor_id == activity.author_id:
            return True
        standing = await self._lookups.earliest_retweets([activity.tweet_id], [activity.actor_id])
        retweet = standing.get(activity.tweet_id)
        return retweet is not None and retweet.at_ms == activity.at_ms

    async def _push(
        self, activity: Activity, reader_ids: Sequence[int], *, withdrawn: bool
    ) -> None:
        operation = (
            withdraw(activity) if withdrawn else place(activity, timestamp_ms(activity.tweet_id))
        )
        await self._timelines.push(operation, reader_ids)


def _name(meta: EventMeta) -> str:
    """One event, by its number and time: in a stream that was made anew numbers begin again."""
    return f"{meta.subject}:{meta.sequence}:{meta.published_ms}"
