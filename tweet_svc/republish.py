"""`python -m tweet_svc.republish FROM_MS TO_MS`: tells the mesh once more of what was written in that time.

For the day on which JetStream is lost. The events of tweets, deletions, likes and retweets that the store
knows are published under their first message ids, so those that are still there are not doubled. Then all
counts are compared with the rows and those that differ recounted: a like or retweet taken back has left no
row that could tell of it.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

from starling.tweet.v1.tweet_events_pb2 import TweetEvent, TweetPosted

from meshkit.chunks import chunks
from meshkit.cql import CqlSession
from meshkit.events import EventBus
from meshkit.outbox import Outbox
from meshkit.republishing import each, main
from meshkit.snowflake import timestamp_ms
from meshkit.streams import COUNTS, TWEETS
from meshkit.write_clock import WriteClock
from tweet_svc.activity_store import ActivityStore
from tweet_svc.changes import Changes
from tweet_svc.count_store import LIKES, CountStore
from tweet_svc.counter import Counter
from tweet_svc.history_store import AuthorCounts, HistoryStore, TweetCounts
from tweet_svc.like_store import LikeStore
from tweet_svc.retweet_store import RetweetStore
from tweet_svc.tweet_store import TweetStore

_TWEETS_A_READ = 200


class Republishing:
    """Goes through the store and tells."""

    def __init__(self, session: CqlSession, bus: EventBus) -> None:
        self._history = HistoryStore(session)
        self._tweets = TweetStore(session)
        self._activity = ActivityStore(session)
        self._likes, self._retweets = LikeStore(session), RetweetStore(session)
        self._changes = Changes(session, Outbox(session, bus, "tweet_outbox"), self._activity)
        self._counter = Counter(
            bus, WriteClock(), self._activity, self._likes, self._retweets, CountStore(session)
        )

    async def changes(self, from_ms: int, to_ms: int) -> int:
        """Tell of all changes within [from_ms, to_ms); how many there were."""
        history, told = self._history, 0
        kinds: dict[str, AsyncIterator[TweetEvent]] = {
            "tweets": self._posted(from_ms, to_ms),
            "retweets": (
                TweetEvent(retweet_changed=it) async for it in history.retweets(from_ms, to_ms)
            ),
            "likes": (TweetEvent(like_changed=it) async for it in history.likes(from_ms, to_ms)),
            "deletions": (TweetEvent(deleted=it) async for it in history.deletions(from_ms, to_ms)),
        }
        for what, events in kinds.items():
            told += await each(f"{what} told", events, self._changes.republish)
        return told

    async def counts(self) -> None:
        """Compare all counts with the rows; recount, and tell, those that differ."""
        await each("tweets' counts compared", self._history.tweet_counts(), self._check_tweet)
        await each("authors' counts compared", self._history.author_counts(), self._check_author)

    async def _posted(self, from_ms: int, to_ms: int) -> AsyncIterator[TweetEvent]:
        ids = [tweet_id async for tweet_id in self._history.tweet_ids(from_ms, to_ms)]
        # The oldest first, so that timelines fill in their order.
        for some in chunks(sorted(ids), _TWEETS_A_READ):
            for tweet_id, tweet in (await self._tweets.get_many(some)).items():
                yield TweetEvent(posted=TweetPosted(tweet=tweet, at_ms=timestamp_ms(tweet_id)))

    async def _check_tweet(self, tweet: TweetCounts) -> None:
        wrong = []
        for (kind, shard), n in tweet.stored.items():
            store = self._likes if kind == LIKES else self._retweets
            if await store.count(tweet.tweet_id, shard) != n:
                wrong.append((kind, shard))
        if wrong:
            await self._counter.recount_tweet(tweet.tweet_id, wrong)

    async def _check_author(self, author: AuthorCounts) -> None:
        wrong = [
            month
            for month, n in author.stored.items()
            if await self._activity.count_tweets(author.author_id, month) != n
        ]
        if wrong:
            await self._counter.recount_author(author.author_id, wrong)


async def _work(session: CqlSession, bus: EventBus, from_ms: int, to_ms: int) -> None:
    republishing = Republishing(session, bus)
    await republishing.changes(from_ms, to_ms)
    await republishing.counts()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], [TWEETS, COUNTS], _work))
