"""What each actor did, newest first: the tweets and retweets of which timelines are made.

    activity        (actor_id, month), at_ms desc, tweet_id desc → kind (1 tweet, 2 retweet), author_id,
                    username (the actor's), text_hash (of tweets)
    activity_month  (actor_id), month desc → tweets_count

A row of `activity_month` is written with the first activity of a month, so it says which partitions
there are; its `tweets_count` is an absolute recount of the tweets in that partition, null before
the first. A retweet of one's own tweet makes no activity: the tweet stands in its author's timeline
already.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from starling.tweet.v1.tweet_events_pb2 import RetweetChanged, TweetDeleted, TweetPosted
from starling.tweet.v1.tweet_pb2 import Activity

from meshkit.cql import CqlSession, Statement
from meshkit.snowflake import timestamp_ms
from tweet_svc.batch import Item
from tweet_svc.months import between, month_of
from tweet_svc.row_count import count_rows
from tweet_svc.text_hash import text_hash

TWEET = 1
RETWEET = 2

MANY = 150
"""From so many tweets in a month on, they are counted by Cassandra and not by their rows."""

_INSERT = Statement(
    "activity.insert",
    "INSERT INTO activity (actor_id, month, at_ms, tweet_id, kind, author_id, username, text_hash)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    idempotent=True,
)
_DELETE = Statement(
    "activity.delete",
    "DELETE FROM activity WHERE actor_id = ? AND month = ? AND at_ms = ? AND tweet_id = ?",
    idempotent=True,
)
_OPEN_MONTH = Statement(
    "activity_month.open",
    "INSERT INTO activity_month (actor_id, month) VALUES (?, ?)",
    idempotent=True,
)
_SINCE = Statement(
    "activity.since",
    "SELECT tweet_id, text_hash FROM activity WHERE actor_id = ? AND month = ? AND at_ms > ?",
    idempotent=True,
)
_AROUND = Statement(
    "activity.around",
    "SELECT at_ms, tweet_id, kind FROM activity"
    " WHERE actor_id = ? AND month = ? AND at_ms >= ? AND at_ms <= ?",
    idempotent=True,
)
_COUNT_TWEETS = Statement(
    "activity.count_tweets",
    # Filters within one partition only.
    "SELECT COUNT(*) FROM activity WHERE actor_id = ? AND month = ? AND kind = 1 ALLOW FILTERING",
    idempotent=True,
)
_SOME_TWEETS = Statement(
    "activity.some_tweets",
    # Rows, since Cassandra warns, in each answer, of a COUNT over several partitions.
    "SELECT actor_id FROM activity WHERE actor_id IN ? AND month = ? AND kind = 1"
    " PER PARTITION LIMIT ? ALLOW FILTERING",
    idempotent=True,
)
_TWEETS = Statement(
    "activity.tweets",
    "SELECT tweet_id FROM activity WHERE actor_id = ? AND month = ? AND kind = 1 ALLOW FILTERING",
    idempotent=True,
)
_STORE_COUNT = Statement(
    "activity_month.store",
    "UPDATE activity_month SET tweets_count = ? WHERE actor_id = ? AND month = ?",
    idempotent=True,
)
_COUNTS = Statement(
    "activity_month.counts",
    "SELECT actor_id, tweets_count, WRITETIME(tweets_count) FROM activity_month WHERE actor_id IN ?",
    idempotent=True,
)


Month = tuple[int, int]
"""An actor's id and a month: one partition of `activity`."""


class Place(NamedTuple):
    """Where an actor's activity has one of its rows."""

    at_ms: int
    tweet_id: int


def deleted_rows(event: TweetDeleted) -> list[Item]:
    """What deleting a tweet writes here."""
    at_ms = timestamp_ms(event.tweet_id)
    return [(_DELETE, (event.author_id, month_of(at_ms), at_ms, event.tweet_id))]


class ActivityStore:
    """Writes and counts activity; `activity_pages` reads it for timelines."""

    def __init__(self, session: CqlSession, remembered: int = 100_000) -> None:
        self._session = session
        # Months whose index row was surely written: such a row never goes away again.
        self._open: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._remembered = remembered

    def posted_rows(self, event: TweetPosted) -> list[Item]:
        """What posting a tweet writes here."""
        tweet, month = event.tweet, month_of(event.at_ms)
        values = (
            tweet.user_id,
            month,
            event.at_ms,
            tweet.tweet_id,
            TWEET,
            tweet.user_id,
            tweet.username,
            text_hash(tweet.content),
        )
        return [(_INSERT, values), *self._opening(tweet.user_id, month)]

    def retweet_rows(self, event: RetweetChanged) -> list[Item]:
        """What retweeting, or taking a retweet back, writes here."""
        made = event.activity
        if made.actor_id == made.author_id:
            return []
        month = month_of(made.at_ms)
        if not event.retweeted:
            return [(_DELETE, (made.actor_id, month, made.at_ms, made.tweet_id))]
        return [_retweet_row(made), *self._opening(made.actor_id, month)]

    def written(self, actor_id: int, at_ms: int) -> None:
        """A batch with rows of this actor and month has been written: its month need not be opened
        again."""
        self._open[actor_id, month_of(at_ms)] = None
        if len(self._open) > self._remembered:
            self._open.popitem(last=False)

    async def texts_since(
        self, actor_id: int, since_ms: int, now_ms: int
    ) -> list[tuple[int, bytes]]:
        """(tweet id, text hash) of what the actor tweeted later than `since_ms`, in no order."""
        found: list[tuple[int, bytes]] = []
        for month in between(month_of(since_ms), month_of(now_ms)):
            rows = await self._session.execute(_SINCE, (actor_id, month, since_ms))
            found += [(tweet_id, text) for tweet_id, text in rows if text is not None]
        return found

    async def retweets_around(
        self, actor_id: int, tweet_id: int, first_ms: int, last_ms: int
    ) -> list[Place]:
        """The rows by which the actor has retweeted the tweet within [first_ms, last_ms]."""
        found: list[Place] = []
        for month in between(month_of(first_ms), month_of(last_ms)):
            rows = await self._session.execute(_AROUND, (actor_id, month, first_ms, last_ms))
            found += [
                Place(at_ms, tweet)
                for at_ms, tweet, kind in rows
                if (tweet, kind) == (tweet_id, RETWEET)
            ]
        return found

    async def remove(self, actor_id: int, place: Place, timestamp_us: int) -> None:
        """Delete one row, unless it was written later than `timestamp_us`."""
        month = month_of(place.at_ms)
        await self._session.execute(
            _DELETE, (actor_id, month, place.at_ms, place.tweet_id), timestamp_us=timestamp_us
        )

    async def restore_retweet(self, made: Activity, timestamp_us: int) -> None:
        """Write the row of a retweet, unless it was deleted later than `timestamp_us`."""
        month = month_of(made.at_ms)
        # The month first: where the row is, nobody looks whether its month is open.
        for statement, params in ((_OPEN_MONTH, (made.actor_id, month)), _retweet_row(made)):
            await self._session.execute(statement, params, timestamp_us=timestamp_us)

    async def count_tweets(self, actor_id: int, month: int) -> int:
        """Tweets of one month, counted now."""
        return await count_rows(self._session, _COUNT_TWEETS, _TWEETS, (actor_id, month))

    async def count_tweets_of(self, months: Iterable[Month]) -> dict[Month, int]:
        """Tweets of some months, at most `batch.PARTITIONS`, counted now."""
        by_month: defaultdict[int, list[int]] = defaultdict(list)
        for actor_id, month in months:
            by_month[month].append(actor_id)
        found: dict[Month, int] = {}
        for month, actor_ids in by_month.items():
            rows = await self._session.execute(_SOME_TWEETS, (actor_ids, month, MANY))
            counted = Counter(actor_id for (actor_id,) in rows)
            for actor_id in actor_ids:
                n = counted[actor_id]
                found[actor_id, month] = n if n < MANY else await self.count_tweets(actor_id, month)
        return found

    async def store_tweets_counts(self, counts: Mapping[Month, int], as_of_us: int) -> None:
        """Keep the counts of some months, of which the reading began at `as_of_us`."""
        items = [(_STORE_COUNT, (n, actor_id, month)) for (actor_id, month), n in counts.items()]
        await self._session.batch(items, timestamp_us=as_of_us)

    async def tweets_counts(self, actor_ids: Iterable[int]) -> tuple[dict[int, int], int]:
        """The sums of the months' counts by actor, and the latest `as_of_us` of a month among them all."""
        rows = await self._session.execute(_COUNTS, (list(actor_ids),))
        sums: defaultdict[int, int] = defaultdict(int)
        for actor_id, n, _ in rows:
            sums[actor_id] += n or 0
        return sums, max((as_of or 0 for _, _, as_of in rows), default=0)

    def _opening(self, actor_id: int, month: int) -> list[Item]:
        if (actor_id, month) in self._open:
            self._open.move_to_end((actor_id, month))
            return []
        return [(_OPEN_MONTH, (actor_id, month))]


def _retweet_row(made: Activity) -> Item:
    return _INSERT, (
        made.actor_id,
        month_of(made.at_ms),
        made.at_ms,
        made.tweet_id,
        RETWEET,
        made.author_id,
        made.actor_username,
        None,
    )
