"""A small world of users, follows, tweets and retweets in memory, and its feeds written from the contract.

It answers what timeline_svc asks of the other services (`Lookups`), so that the rules of timelines are
tested against the real cache at thousands of operations; the end-to-end tests run them with the real
services.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from starling.graph.v1.user_pb2 import User
from starling.tweet.v1.tweet_lookup_service_pb2 import AuthorActivity
from starling.tweet.v1.tweet_pb2 import Activity, Position, Tweet

from meshkit.snowflake import EPOCH_MS, created_at, timestamp_ms
from timeline_svc.lookups import Flags, FollowerPage

FLAGS = 4
START_MS = 1_760_000_000_000


@dataclass
class World:
    """What the store would hold. Times are milliseconds, chosen by the test."""

    follows: dict[int, set[int]] = field(default_factory=dict)
    tweets: dict[int, Tweet] = field(default_factory=dict)
    retweets: dict[tuple[int, int], int] = field(default_factory=dict)
    likes: dict[tuple[int, int], int] = field(default_factory=dict)
    activity_calls: int = 0
    authors: dict[int, int] = field(default_factory=dict)  # also of tweets deleted since
    _sequence: int = 0

    # --- what happens

    def post(self, author: int, at_ms: int) -> Activity:
        """A tweet posted at a time; returns its activity."""
        self._sequence += 1
        tweet_id = ((at_ms - EPOCH_MS) << 22) | (self._sequence & 0x3FFFFF)
        self.tweets[tweet_id] = Tweet(
            tweet_id=tweet_id,
            user_id=author,
            username=f"user{author}",
            content=f"tweet {self._sequence}",
            created_at=created_at(tweet_id),
        )
        self.authors[tweet_id] = author
        return self._posted(self.tweets[tweet_id])

    def retweet(self, user: int, tweet_id: int, at_ms: int) -> Activity | None:
        """A retweet, unless it stands already; returns its activity."""
        if (tweet_id, user) in self.retweets:
            return None
        self.retweets[tweet_id, user] = at_ms
        return self._retweeted(tweet_id, user)

    def unretweet(self, user: int, tweet_id: int) -> Activity | None:
        """Undo a retweet; returns the activity that no longer stands."""
        if (tweet_id, user) not in self.retweets:
            return None
        activity = self._retweeted(tweet_id, user)
        del self.retweets[tweet_id, user]
        return activity

    # --- the contract

    def feed(self, reader: int) -> list[tuple[int, int, str]]:
        """(time, tweet id, retweeted_by), newest first: every tweet once, where its best reason puts it."""
        followees = self.follows.get(reader, set())
        places = []
        for tweet_id, tweet in self.tweets.items():
            if tweet.user_id == reader or tweet.user_id in followees:
                places.append((timestamp_ms(tweet_id), tweet_id, ""))
                continue
            retweets = [
                (at_ms, user)
                for (retweeted, user), at_ms in self.retweets.items()
                if retweeted == tweet_id and user in followees
            ]
            if retweets:
                at_ms, user = min(retweets)
                places.append((at_ms, tweet_id, f"user{user}"))
        return sorted(places, reverse=True)

    # --- what timeline_svc asks

    async def activity(
        self, author_ids: Sequence[int], before: Position | None, limit: int, since_ms: int = 0
    ) -> list[AuthorActivity]:
        self.activity_calls += 1
        answer = []
        for author in author_ids:
            done = [self._posted(t) for t in self.tweets.values() if t.user_id == author]
            done += [
                self._retweeted(tweet_id, user)
                for tweet_id, user in self.retweets
                if user == author
            ]
            done.sort(key=lambda a: (a.at_ms, a.tweet_id), reverse=True)
            done = [
                a
                for a in done
                if a.at_ms >= since_ms
                and (before is None or (a.at_ms, a.tweet_id) < (before.at_ms, before.tweet_id))
            ]
            answer.append(
                AuthorActivity(author_id=author, activity=done[:limit], has_more=len(done) > limit)
            )
        return answer

    async def earliest_retweets(
        self, tweet_ids: Sequence[int], user_ids: Sequence[int]
    ) -> dict[int, Activity]:
        users = set(user_ids)
        found: dict[int, Activity] = {}
        for tweet_id in tweet_ids:
            mine = [
                (at_ms, user)
                for (retweeted, user), at_ms in self.retweets.items()
                if retweeted == tweet_id and user in users
            ]
            if mine:
                found[tweet_id] = self._retweeted(tweet_id, min(mine)[1])
        return found

    async def tweets_by_id(self, tweet_ids: Sequence[int]) -> dict[int, Tweet]:
        return {
            tweet_id: self.tweets[tweet_id] for tweet_id in tweet_ids if tweet_id in self.tweets
        }

    async def flags(self, viewer_id: int, tweet_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
        return {
            tweet_id: (
                self.likes.get((tweet_id, viewer_id), 0),
                1000 * self.retweets.get((tweet_id, viewer_id), 0),
            )
            for tweet_id in tweet_ids
        }

    async def newest_flags(self, viewer_id: int, limit: int) -> Flags:
        """As the store answers, but of so few tweets that a walk also meets what is below the floor."""
        limit = min(limit, FLAGS)
        flagged = [
            sorted((tweet for tweet, user in changed if user == viewer_id), reverse=True)[:limit]
            for changed in (self.likes, self.retweets)
        ]
        floor = max(ids[-1] if len(ids) == limit else 0 for ids in flagged)
        known = {tweet for ids in flagged for tweet in ids if tweet >= floor}
        return Flags(await self.flags(viewer_id, sorted(known)), floor)

    async def followees(self, user_id: int) -> list[int]:
        return sorted(self.follows.get(user_id, set()))

    async def followers(self, user_id: int, token: bytes, page_size: int) -> FollowerPage:
        """By id; a page goes on after the last id of the one before."""
        ids = sorted(user for user, followees in self.follows.items() if user_id in followees)
        later = [user for user in ids if user > int(token or b"0")]
        page = later[:page_size]
        more = len(later) > len(page)
        return FollowerPage(page, len(ids), str(page[-1]).encode() if more else b"")

    async def users(self, user_ids: Sequence[int]) -> dict[int, User]:
        return {
            user: User(
                user_id=user,
                username=f"user{user}",
                followers_count=sum(user in followees for followees in self.follows.values()),
            )
            for user in user_ids
        }

    def _posted(self, tweet: Tweet) -> Activity:
        return Activity(
            at_ms=timestamp_ms(tweet.tweet_id),
            tweet_id=tweet.tweet_id,
            actor_id=tweet.user_id,
            actor_username=tweet.username,
            author_id=tweet.user_id,
        )

    def _retweeted(self, tweet_id: int, user: int) -> Activity:
        # A user's retweet of their own tweet is no activity.
        return Activity(
            at_ms=self.retweets[tweet_id, user],
            tweet_id=tweet_id,
            actor_id=user,
            actor_username=f"user{user}",
            author_id=self.authors[tweet_id],
        )
