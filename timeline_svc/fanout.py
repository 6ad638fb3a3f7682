"""The fan-out: what an event does to the timelines in Redis.

Everything here may run twice, late, or in another order: an entry takes its place once, later changes win,
the followees of a cached timeline are checked where the entry is placed, and hydration drops tweets that
are gone. An event is acknowledged after its writes; while Redis is away it is not, and comes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starling.graph.v1.graph_events_pb2 import GraphEvent
from starling.timeline.v1.timeline_events_pb2 import CelebrityActivity, FanoutChunk
from starling.tweet.v1.tweet_events_pb2 import TweetEvent
from starling.tweet.v1.tweet_pb2 import Activity, Tweet

from meshkit import streams
from meshkit.background import gather_bounded
from meshkit.chunks import chunks
from meshkit.consumer import EventMeta
from meshkit.events import REPLY_HEADER, EventBus
from meshkit.snowflake import timestamp_ms, wall_clock_ms

from .activity_cache import ActivityCache
from .generation import Generation
from .lookups import FollowerPage, Lookups
from .timeline_cache import PUSH_CHUNK, TimelineCache, flag, place, withdraw
from .tweet_cache import TweetCache

FIRST_PAGE = 1000  # nearly all authors have fewer followers; each later page is twice as large
LARGEST_PAGE = 8000
DIRECT_FOLLOWERS = 10_000  # whom one handler pushes to, in about a tenth of a second
DIRECT_AT_ONCE = 4
SCRIPTS_AT_ONCE = 4  # of about 2 ms each
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
        self._scripts = asyncio.Semaphore(SCRIPTS_AT_ONCE)
        self._direct = 0  # handlers that push, or hand out, more than a page of followers

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
        # Followers are read no earlier: who is not among them yet rebuilds from what was added.
        _, page = await asyncio.gather(
            self._to_author(tweet, activity, meta), self._first_page(activity)
        )
        await self._to_followers(activity, page, meta, withdrawn=False)
        late = meta.delivered > 1 or wall_clock_ms() - meta.published_ms > LATE_MS
        if late and not await self._lookups.tweets([tweet.tweet_id]):
            # Deleted meanwhile, and the mark may have been lost with the cache: looking after the fill
            # leaves no gap, as a later deletion has its own event still to come.
            await self._tweets.mark_deleted(tweet.tweet_id)

    async def _to_author(self, tweet: Tweet, activity: Activity, meta: EventMeta) -> None:
        generations = await self._generation.current([tweet.tweet_id])
        await self._tweets.fill([tweet], activity.at_ms * 1000, generations)
        await self._push(activity, [tweet.user_id], withdrawn=False)
        await self._say_seen(meta)

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
        page = await self._first_page(activity)
        await self._to_followers(activity, page, meta, withdrawn=not change.retweeted)

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

    async def _first_page(self, activity: Activity) -> FollowerPage:
        return await self._lookups.followers(activity.actor_id, b"", FIRST_PAGE)

    async def _to_followers(
        self, activity: Activity, page: FollowerPage, meta: EventMeta, *, withdrawn: bool
    ) -> None:
        """Push to the followers, of whom `page` is the first page; to a celebrity's through the log."""
        if page.followers_count >= self._celebrity_followers:
            await self._to_log(activity, meta, withdrawn=withdrawn)
            return
        if not page.next_token:
            await self._deliver(activity, page.follower_ids, withdrawn=withdrawn)
            return
        # While others push to many too, all is left to chunks: the consumer's places are for words.
        room = DIRECT_FOLLOWERS if self._direct < DIRECT_AT_ONCE else 0
        self._direct += 1
        try:
            await self._to_many(activity, page, room, meta, withdrawn=withdrawn)
        finally:
            self._direct -= 1

    async def _to_many(
        self,
        activity: Activity,
        page: FollowerPage,
        room: int,
        meta: EventMeta,
        *,
        withdrawn: bool,
    ) -> None:
        """Push to up to `room` followers here, each page while the next is read, and to the rest in chunks.

        The event is acknowledged after all of it, so a worker that dies between two pages has them all
        pushed again.
        """
        pushed: list[int] = []
        size = FIRST_PAGE
        coming: FollowerPage | None = page
        while coming is not None:
            page = coming
            if len(pushed) + len(page.follower_ids) <= room:
                pushed += page.follower_ids
                work = self._push_to_many(activity, page.follower_ids, withdrawn=withdrawn)
            else:
                room = 0
                work = self._publish_chunks(activity, page.follower_ids, meta, withdrawn=withdrawn)
            size = min(2 * size, LARGEST_PAGE)
            _, coming = await asyncio.gather(work, self._page_after(page, activity, size))
        if pushed and not withdrawn and not await self._stands(activity):
            await self._push_to_many(activity, pushed, withdrawn=True)

    async def _page_after(
        self, page: FollowerPage, activity: Activity, size: int
    ) -> FollowerPage | None:
        if not page.next_token:
            return None
        return await self._lookups.followers(activity.actor_id, page.next_token, size)

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

    async def _publish_chunks(
        self,
        activity: Activity,
        follower_ids: Sequence[int],
        meta: EventMeta,
        *,
        withdrawn: bool,
    ) -> None:
        """Under ids that name the followers: when the event comes again, unfollows may have moved the
        pages, and a chunk of others must not be taken for the one before."""

        async def publish(ids: list[int]) -> None:
            chunk = FanoutChunk(activity=activity, follower_ids=ids, withdrawn=withdrawn)
            bounds = f"{len(ids)}:{ids[0]}:{ids[-1]}"
            await self._bus.publish(
                streams.FANOUT_CHUNK, chunk, msg_id=f"chunk:{_name(meta)}:{bounds}"
            )

        await gather_bounded(PUBLISHES_AT_ONCE, publish, chunks(follower_ids, FOLLOWERS_A_CHUNK))

    async def _deliver(
        self, activity: Activity, follower_ids: Sequence[int], *, withdrawn: bool
    ) -> None:
        await self._push_to_many(activity, follower_ids, withdrawn=withdrawn)
        if not withdrawn and not await self._stands(activity):
            await self._push_to_many(activity, follower_ids, withdrawn=True)

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

    async def _push_to_many(
        self, activity: Activity, reader_ids: Sequence[int], *, withdrawn: bool
    ) -> None:
        """Push to followers, a script's worth at a time.

        Several are under way, so that Redis need not wait for us between two; but no more than
        `SCRIPTS_AT_ONCE` of all handlers, so that an author's own timeline waits for no others.
        """

        async def push(ids: list[int]) -> None:
            async with self._scripts:
                await self._push(activity, ids, withdrawn=withdrawn)

        await gather_bounded(SCRIPTS_AT_ONCE, push, chunks(reader_ids, PUSH_CHUNK))

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
