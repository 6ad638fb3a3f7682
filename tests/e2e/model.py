"""What the contract says the API answers, as plain sets and sorts: an oracle for walks of operations.

Time is a counter: operations of one walk come one after another, and each takes the next number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime

Handle = str
"""A username."""


@dataclass(eq=False)
class Posted:
    """A tweet that stands."""

    tweet_id: str
    author: Handle
    content: str
    at: int
    created_at: str
    likes: set[Handle] = field(default_factory=set)
    retweets: dict[Handle, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Shown:
    """A tweet in a list, as one viewer sees it there."""

    tweet_id: str
    author: Handle
    content: str
    likes_count: int
    retweets_count: int
    liked: bool
    retweeted: bool
    retweeted_by: Handle


@dataclass(frozen=True)
class Counts:
    """The counts of a profile."""

    followers: int
    following: int
    tweets: int


class Model:
    """People, what they posted, and what each of them must see."""

    def __init__(self, people: list[Handle]) -> None:
        self.people = people
        self.tweets: dict[str, Posted] = {}
        self.follows: dict[tuple[Handle, Handle], int] = {}
        self._now = 0

    def _next(self) -> int:
        self._now += 1
        return self._now

    def post(self, author: Handle, tweet_id: str, content: str, created_at: str) -> None:
        """A new tweet."""
        self.tweets[tweet_id] = Posted(tweet_id, author, content, self._next(), created_at)

    def delete(self, tweet_id: str) -> None:
        """A tweet, with its likes and retweets, is gone everywhere."""
        del self.tweets[tweet_id]

    def like(self, who: Handle, tweet_id: str) -> None:
        """Liking twice counts once."""
        self.tweets[tweet_id].likes.add(who)

    def unlike(self, who: Handle, tweet_id: str) -> None:
        """Undoing what is not there succeeds."""
        self.tweets[tweet_id].likes.discard(who)

    def retweet(self, who: Handle, tweet_id: str) -> None:
        """Done twice it keeps the first time."""
        self.tweets[tweet_id].retweets.setdefault(who, self._next())

    def unretweet(self, who: Handle, tweet_id: str) -> None:
        """Done again later, it takes the new time."""
        self.tweets[tweet_id].retweets.pop(who, None)

    def follow(self, who: Handle, whom: Handle) -> None:
        """Following twice keeps the first time."""
        self.follows.setdefault((who, whom), self._next())

    def unfollow(self, who: Handle, whom: Handle) -> None:
        """Undoing what is not there succeeds."""
        self.follows.pop((who, whom), None)

    def following(self, who: Handle) -> list[Handle]:
        """Newest follow first."""
        found = [(at, b) for (a, b), at in self.follows.items() if a == who]
        return [whom for _, whom in sorted(found, reverse=True)]

    def followers(self, whom: Handle) -> list[Handle]:
        """Newest follow first."""
        found = [(at, a) for (a, b), at in self.follows.items() if b == whom]
        return [who for _, who in sorted(found, reverse=True)]

    def counts(self, who: Handle) -> Counts:
        """They equal the rows."""
        posted = sum(tweet.author == who for tweet in self.tweets.values())
        return Counts(len(self.followers(who)), len(self.following(who)), posted)

    def home(self, reader: Handle) -> list[Shown]:
        """Each tweet once, where its best reason puts it, newest first."""
        followees = set(self.following(reader))
        places = []
        for tweet in self.tweets.values():
            if tweet.author == reader or tweet.author in followees:
                places.append((tweet.at, tweet, ""))
                continue
            bringing = [(at, who) for who, at in tweet.retweets.items() if who in followees]
            if bringing:
                at, who = min(bringing)
                places.append((at, tweet, who))
        return self._newest_first(places, reader)

    def timeline(self, owner: Handle, viewer: Handle) -> list[Shown]:
        """Tweets and retweets of one user, each tweet once."""
        places = []
        for tweet in self.tweets.values():
            if tweet.author == owner:
                places.append((tweet.at, tweet, ""))
            elif owner in tweet.retweets:
                places.append((tweet.retweets[owner], tweet, owner))
        return self._newest_first(places, viewer)

    def popular(self, reader: Handle, k: int) -> list[str]:
        """The ids of the K highest of the feed by the formula, one's own left out."""
        scored = [
            (self._score(self.tweets[shown.tweet_id]), int(shown.tweet_id))
            for shown in self.home(reader)
            if shown.author != reader
        ]
        return [str(tweet_id) for _, tweet_id in sorted(scored, reverse=True)[:k]]

    def _score(self, tweet: Posted) -> float:
        created_h = datetime.fromisoformat(tweet.created_at).timestamp() / 3600
        return (
            math.log2(1 + len(tweet.likes) + 2 * len(tweet.retweets))
            + 0.25 * math.log2(1 + len(self.followers(tweet.author)))
            + created_h / 6
        )

    @staticmethod
    def _newest_first(places: list[tuple[int, Posted, Handle]], viewer: Handle) -> list[Shown]:
        places.sort(key=lambda place: place[0], reverse=True)
        return [
            Shown(
                tweet.tweet_id,
                tweet.author,
                tweet.content,
                len(tweet.likes),
                len(tweet.retweets),
                viewer in tweet.likes,
                viewer in tweet.retweets,
                retweeted_by,
            )
            for _, tweet, retweeted_by in places
        ]
