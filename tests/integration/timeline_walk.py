"""Random operations on a small world; their events reach the fan-out late, twice and in any order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from starling.graph.v1.graph_events_pb2 import FollowChanged, FollowsChanged, GraphEvent
from starling.tweet.v1.tweet_events_pb2 import (
    LikeChanged,
    RetweetChanged,
    TweetDeleted,
    TweetEvent,
    TweetPosted,
)

from tests.integration.timeline_rig import USERS, Mesh
from tests.integration.world import START_MS


class Walk:
    """Random operations on a mesh."""

    def __init__(self, mesh: Mesh, seed: int) -> None:
        self.mesh = mesh
        self.random = random.Random(seed)
        self.now_ms = START_MS

    async def step(self, *, flushes: bool = True) -> None:
        """One operation, or one event handled."""
        mesh, world, pick = self.mesh, self.mesh.world, self.random
        self.now_ms += pick.choice([0, 0, 1, 1, 2, 500])  # several things share a millisecond
        user = pick.choice(USERS)
        kind = pick.choices(
            [
                "post",
                "retweet",
                "unretweet",
                "delete",
                "like",
                "follow",
                "unfollow",
                "read",
                "event",
                "flush",
            ],
            [20, 16, 6, 3, 8, 8, 4, 12, 30, 1 if flushes else 0],
        )[0]
        tweet_id = pick.choice(list(world.tweets)) if world.tweets else None
        event: Any = None
        if kind == "post":
            activity = world.post(user, self.now_ms)
            event = TweetEvent(
                posted=TweetPosted(tweet=world.tweets[activity.tweet_id], at_ms=activity.at_ms)
            )
        elif (
            kind in {"retweet", "unretweet"} and tweet_id and world.tweets[tweet_id].user_id != user
        ):
            change = (
                world.retweet(user, tweet_id, self.now_ms)
                if kind == "retweet"
                else world.unretweet(user, tweet_id)
            )
            if change is not None:
                self.now_ms += 1  # a write is later than the one it replaces
                event = TweetEvent(
                    retweet_changed=RetweetChanged(
                        activity=change,
                        retweeted=kind == "retweet",
                        changed_us=self.now_ms * 1000,
                    )
                )
        elif kind == "delete" and tweet_id:
            author = world.tweets.pop(tweet_id).user_id
            event = TweetEvent(deleted=TweetDeleted(tweet_id=tweet_id, author_id=author))
        elif kind == "like" and tweet_id:
            liked = (tweet_id, user) not in world.likes
            self.now_ms += 1
            if liked:
                world.likes[tweet_id, user] = self.now_ms * 1000
            else:
                del world.likes[tweet_id, user]
            event = TweetEvent(
                like_changed=LikeChanged(
                    tweet_id=tweet_id, user_id=user, liked=liked, changed_us=self.now_ms * 1000
                )
            )
        elif kind in {"follow", "unfollow"}:
            other = pick.choice([each for each in USERS if each != user])
            if kind == "follow":
                world.follows[user].add(other)
            else:
                world.follows[user].discard(other)
            followed = FollowChanged(follower_id=user, followee_id=other)
            event = (
                GraphEvent(follow_changed=followed)
                if pick.random() < 0.5
                else GraphEvent(follows_changed=FollowsChanged(changes=[followed]))
            )
        elif kind == "read":
            await mesh.home.page(user, "", pick.choice([1, 3, 20]))
        elif kind == "event":
            await self.handle_one(again=pick.random() < 0.2)
        elif kind == "flush":
            await mesh.flush()
        if event is not None:
            mesh.events.append(event)

    async def handle_one(self, *, again: bool) -> None:
        """An event reaches the fan-out, and may come again."""
        events = self.mesh.events
        if events:
            # Mostly the oldest first; at times any.
            index = 0 if self.random.random() < 0.7 else self.random.randrange(len(events))
            event = events[index] if again else events.pop(index)
            await self.mesh.handle(event)

    async def quiet(self) -> None:
        """All events reach it."""
        while self.mesh.events:
            await self.handle_one(again=False)

    async def check(self, users: Sequence[int] = USERS) -> None:
        """Every reader's feed is the model's."""
        world = self.mesh.world
        for user in users:
            shown = await self.mesh.read(user, self.random.choice([1, 2, 7, 100]))
            expected = world.feed(user)
            places = [(tweet.tweet_id, tweet.retweeted_by) for tweet in shown]
            wanted = [(tweet_id, retweeted_by) for _, tweet_id, retweeted_by in expected]
            assert places == wanted, (
                f"timeline of {user}: unexpected {set(places) - set(wanted)}, "
                f"missing {set(wanted) - set(places)}"
            )
            assert {t.tweet_id for t in shown if t.liked} == {
                tweet_id for _, tweet_id, _ in expected if (tweet_id, user) in world.likes
            }, f"likes of {user}"
            assert {t.tweet_id for t in shown if t.retweeted} == {
                tweet_id for _, tweet_id, _ in expected if (tweet_id, user) in world.retweets
            }, f"retweets of {user}"
