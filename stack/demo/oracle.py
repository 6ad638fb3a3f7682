"""What every home timeline must say, from a recorded world alone.

The rule of the one place: a tweet stands at its own time if the reader wrote it or follows its author;
else at the time of the earliest retweet by somebody the reader follows, who is then named; else nowhere.
Newest first, ties in one millisecond by the larger id. Deleted tweets stand nowhere.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from stack.demo.world import Tweet, World

RetweetTimes = Mapping[tuple[int, int], int]
"""(actor, tweet id) -> when, in milliseconds since 1970, of each retweet that stands."""

Json = dict[str, Any]


class Oracle:
    """Answers for one world, at rest."""

    def __init__(self, world: World, retweet_times: RetweetTimes) -> None:
        self._world = world
        self._standing = {tweet.tweet_id: tweet for tweet in world.tweets if not tweet.deleted}
        self._by_author: dict[int, list[Tweet]] = {}
        for tweet in self._standing.values():
            self._by_author.setdefault(tweet.author, []).append(tweet)
        self._retweets_of: dict[int, list[tuple[int, int]]] = {}
        """Actor -> (when, tweet id) of each."""
        for (actor, tweet_id), at_ms in retweet_times.items():
            self._retweets_of.setdefault(actor, []).append((at_ms, tweet_id))
        self._liked = {(like.actor, like.tweet_id) for like in world.likes}
        self._retweeted = {(retweet.actor, retweet.tweet_id) for retweet in world.retweets}
        self._likes = Counter(tweet_id for _, tweet_id in self._liked)
        self._retweets = Counter(tweet_id for _, tweet_id in self._retweeted)

    def home_timeline(self, reader: int) -> list[Json]:
        """A reader's whole home timeline, as the REST API shows it."""
        followees = self._world.followees[reader]
        sources = {reader, *followees}
        places: list[tuple[int, int, str]] = [
            (created_ms(tweet), tweet.tweet_id, "")
            for author in sources
            for tweet in self._by_author.get(author, ())
        ]
        earliest: dict[int, tuple[int, str]] = {}
        for actor in followees:
            username = self._world.person[actor].username
            for at_ms, tweet_id in self._retweets_of.get(actor, ()):
                tweet = self._standing.get(tweet_id)
                if tweet is None or tweet.author in sources:
                    continue
                if tweet_id not in earliest or at_ms < earliest[tweet_id][0]:
                    earliest[tweet_id] = (at_ms, username)
        places += [(at_ms, tweet_id, by) for tweet_id, (at_ms, by) in earliest.items()]
        places.sort(reverse=True)
        return [self._shown(reader, tweet_id, by) for _, tweet_id, by in places]

    def profile(self, number: int) -> Json:
        """A person's counts."""
        friends = len(self._world.followees[number])
        return {
            "followers_count": friends,
            "following_count": friends,
            "tweets_count": len(self._by_author.get(number, ())),
        }

    def _shown(self, reader: int, tweet_id: int, retweeted_by: str) -> Json:
        tweet = self._standing[tweet_id]
        author = self._world.person[tweet.author]
        return {
            "tweet_id": str(tweet_id),
            "user_id": str(author.user_id),
            "username": author.username,
            "content": tweet.content,
            "media_ids": [],
            "created_at": tweet.created_at,
            "likes_count": self._likes[tweet_id],
            "retweets_count": self._retweets[tweet_id],
            "liked": (reader, tweet_id) in self._liked,
            "retweeted": (reader, tweet_id) in self._retweeted,
            "retweeted_by": retweeted_by,
        }


def created_ms(tweet: Tweet) -> int:
    """When it was posted, in milliseconds since 1970."""
    return round(datetime.fromisoformat(tweet.created_at).timestamp() * 1000)
