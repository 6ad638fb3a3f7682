"""Likes and retweets: reading what stands, and writing the change if there is one.

Doing twice writes nothing the second time, so a retweet keeps the time of its first, and undoing
what is not there writes nothing. The changes of one user to one tweet are made one after another
within the process; of two made by two processes at once the later stands, in all tables alike. Who
made a change sees it in the next read (`fanout_word`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starling.tweet.v1.tweet_events_pb2 import LikeChanged, RetweetChanged, TweetEvent
from starling.tweet.v1.tweet_pb2 import Activity

from meshkit.identity import Caller
from meshkit.keyed_lock import KeyedLock
from meshkit.write_clock import WriteClock
from tweet_svc.changes import Changes
from tweet_svc.fanout_word import FanoutWord
from tweet_svc.like_store import LikeStore
from tweet_svc.reasons import TWEET_NOT_FOUND
from tweet_svc.retweet_store import RetweetStore, Standing
from tweet_svc.tweet_store import TweetStore


class Engagement:
    """Changes likes and retweets. All raise TWEET_NOT_FOUND for a tweet that is not there."""

    def __init__(
        self,
        clock: WriteClock,
        tweets: TweetStore,
        likes: LikeStore,
        retweets: RetweetStore,
        changes: Changes,
        *,
        fanout: FanoutWord,
        likes_fanout: FanoutWord,
    ) -> None:
        self._clock = clock
        self._tweets = tweets
        self._likes = likes
        self._retweets = retweets
        self._changes = changes
        self._fanout = fanout
        self._likes_fanout = likes_fanout
        self._locks = KeyedLock()

    async def like(self, caller: Caller, tweet_id: int) -> None:
        """The caller likes the tweet from now on."""
        await self._set_like(caller.user_id, tweet_id, liked=True)

    async def unlike(self, caller: Caller, tweet_id: int) -> None:
        """The caller does not like the tweet any more."""
        await self._set_like(caller.user_id, tweet_id, liked=False)

    async def retweet(self, caller: Caller, tweet_id: int) -> None:
        """The caller retweets the tweet, at the present time unless they have already."""

        async def change() -> TweetEvent | None:
            author_id, standing = await self._standing_retweet(caller, tweet_id)
            if standing is not None:
                return None
            changed_us = self._clock.next_us()
            event = _retweet_changed(caller, tweet_id, author_id, changed_us // 1000, changed_us)
            event.retweet_changed.retweeted = True
            return event

        await self._make(caller.user_id, tweet_id, change, self._fanout)

    async def unretweet(self, caller: Caller, tweet_id: int) -> None:
        """The caller takes the retweet back."""

        async def change() -> TweetEvent | None:
            author_id, standing = await self._standing_retweet(caller, tweet_id)
            if standing is None:
                return None
            changed_us = self._clock.next_us(standing.written_us)
            return _retweet_changed(caller, tweet_id, author_id, standing.retweeted_ms, changed_us)

        await self._make(caller.user_id, tweet_id, change, self._fanout)

    async def _set_like(self, user_id: int, tweet_id: int, *, liked: bool) -> None:
        async def change() -> TweetEvent | None:
            _, liked_us = await asyncio.gather(
                self._author_of(tweet_id), self._likes.liked_us(user_id, tweet_id)
            )
            if liked == (liked_us is not None):
                return None
            changed = LikeChanged(
                tweet_id=tweet_id,
                user_id=user_id,
                liked=liked,
                changed_us=self._clock.next_us(liked_us or 0),
            )
            return TweetEvent(like_changed=changed)

        await self._make(user_id, tweet_id, change, self._likes_fanout)

    async def _make(
        self,
        user_id: int,
        tweet_id: int,
        change: Callable[[], Awaitable[TweetEvent | None]],
        fanout: FanoutWord,
    ) -> None:
        """Write and tell what `change` finds is to be done, if anything, while no other change of this user
        to this tweet is made here; return once the user sees it."""
        with fanout.expect() as word:
            async with self._locks.hold((user_id, tweet_id)):
                event = await change()
                if event is None:
                    return
                row = await self._changes.write(event, word.headers)
            if await self._changes.publish(row):
                await word.wait()

    async def _standing_retweet(self, caller: Caller, tweet_id: int) -> tuple[int, Standing | None]:
        """The tweet's author, and the caller's retweet of it."""
        return await asyncio.gather(
            self._author_of(tweet_id), self._retweets.get(caller.user_id, tweet_id)
        )

    async def _author_of(self, tweet_id: int) -> int:
        author_id = await self._tweets.author_of(tweet_id)
        if author_id is None:
            raise TWEET_NOT_FOUND.error(f"tweet {tweet_id} does not exist", tweet_id=tweet_id)
        return author_id


def _retweet_changed(
    caller: Caller, tweet_id: int, author_id: int, at_ms: int, changed_us: int
) -> TweetEvent:
    """A retweet taken back; with `retweeted` set, one made."""
    made = Activity(
        at_ms=at_ms,
        tweet_id=tweet_id,
        actor_id=caller.user_id,
        actor_username=caller.username,
        author_id=author_id,
    )
    return TweetEvent(retweet_changed=RetweetChanged(activity=made, changed_us=changed_us))
