"""The parts of the tweet service and how they fit together; for the process and for its tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meshkit.cql import CqlSession
from meshkit.events import EventBus
from meshkit.outbox import Outbox
from meshkit.write_clock import WriteClock
from tweet_svc.activity_pages import ActivityPages
from tweet_svc.activity_store import ActivityStore
from tweet_svc.changes import Changes
from tweet_svc.config import TweetConfig
from tweet_svc.count_store import CountStore
from tweet_svc.counter import Counter
from tweet_svc.engagement import Engagement
from tweet_svc.fanout_word import FanoutWord
from tweet_svc.idempotency_store import IdempotencyStore
from tweet_svc.like_store import LikeStore
from tweet_svc.lookup_service import TweetLookupService
from tweet_svc.posting import Posting
from tweet_svc.retweet_store import RetweetStore
from tweet_svc.service import TweetService
from tweet_svc.tweet_store import TweetStore


@dataclass(frozen=True, slots=True)
class Parts:
    """What a tweet_svc process serves and runs."""

    posting: Posting
    engagement: Engagement
    service: TweetService
    lookup: TweetLookupService
    counter: Counter
    changes: Changes
    activity: ActivityStore

    @classmethod
    def assemble(
        cls,
        config: TweetConfig,
        session: CqlSession,
        bus: EventBus,
        outbox: Outbox,
        next_id: Callable[[], int],
        clock: WriteClock | None = None,
    ) -> Parts:
        """The parts over one session, bus and outbox; `next_id` makes tweet ids."""
        clock = clock or WriteClock()
        tweets, activity = TweetStore(session), ActivityStore(session)
        likes, retweets, counts = LikeStore(session), RetweetStore(session), CountStore(session)
        changes = Changes(session, outbox, activity)
        wait_s = config.fanout_wait_ms / 1000
        # The worker's consumers of activity (posts, retweets, deletions) and of likes.
        fanout, likes_fanout = FanoutWord(bus, wait_s), FanoutWord(bus, wait_s)
        posting = Posting(
            next_id=next_id,
            clock=clock,
            tweets=tweets,
            activity=activity,
            claims=IdempotencyStore(session),
            changes=changes,
            fanout=fanout,
        )
        engagement = Engagement(
            clock, tweets, likes, retweets, changes, fanout=fanout, likes_fanout=likes_fanout
        )
        service = TweetService(
            config=config,
            clock=clock,
            posting=posting,
            engagement=engagement,
            tweets=tweets,
            counts=counts,
            likes=likes,
            retweets=retweets,
            changes=changes,
            fanout=fanout,
        )
        return cls(
            posting=posting,
            engagement=engagement,
            service=service,
            lookup=TweetLookupService(tweets, counts, likes, retweets, ActivityPages(session)),
            counter=Counter(bus, clock, activity, likes, retweets, counts),
            changes=changes,
            activity=activity,
        )
