"""Home timelines against a model written from the contract, over the real cache.

A walk of random operations; their events reach the fan-out late, twice and in any order, timelines are read
in between (so that they are cached, rebuilt, trimmed at a tiny cap), and Redis loses everything at times.
Once all events are handled, every reader's timeline, read to its end, equals the model's, whether tweets are
pushed or merged from the celebrity log.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest
import pytest_asyncio
from starling.graph.v1.graph_events_pb2 import FollowChanged, GraphEvent
from starling.timeline.v1.timeline_events_pb2 import CelebrityActivity, FanoutChunk
from starling.tweet.v1.tweet_events_pb2 import (
    LikeChanged,
    RetweetChanged,
    TweetDeleted,
    TweetEvent,
    TweetPosted,
)
from starling.tweet.v1.tweet_pb2 import Tweet

from meshkit.config import MeshConfig
from meshkit.consumer import EventMeta
from meshkit.events import EventBus
from meshkit.page_token import PageTokens
from meshkit.redis import Redis, Script
from tests.integration.world import START_MS, World
from timeline_svc.activity_cache import ActivityCache
from timeline_svc.celebrity_log import CelebrityLog
from timeline_svc.fanout import Fanout
from timeline_svc.generation import Generation
from timeline_svc.home_timeline import HomeTimeline
from timeline_svc.hydration import Hydration
from timeline_svc.lookups import Lookups
from timeline_svc.timeline_cache import Operation, TimelineCache, place, withdraw
from timeline_svc.tweet_cache import TweetCache

USERS = range(1, 7)
META = EventMeta("test", 1, 1, 0, "", {})


class WorldLookups(Lookups):
    """Answers from the world."""

    def __init__(self, world: World) -> None:
        self.activity = world.activity  # type: ignore[method-assign]
        self.tweets = world.tweets_by_id  # type: ignore[method-assign]
        self.flags = world.flags  # type: ignore[method-assign]
        self.earliest_retweets = world.earliest_retweets  # type: ignore[method-assign]
        self.followees = world.followees  # type: ignore[method-assign]
        self.followers = world.followers  # type: ignore[method-assign]
        self.users = world.users  # type: ignore[method-assign]


class MemoryLog(CelebrityLog):
    """The celebrity log without a server."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    @property
    def sequence(self) -> int:
        return len(self.operations)

    def since(self, sequence: int) -> list[Operation] | None:
        return self.operations[sequence:]


class MemoryBus:
    """Hands what the fan-out publishes to the log, or back to it."""

    def __init__(self, log: MemoryLog, events: list[Any]) -> None:
        self._log = log
        self._events = events

    async def publish(self, subject: str, message: Any, *, msg_id: str) -> None:
        if isinstance(message, CelebrityActivity):
            tweet_ms = (message.activity.tweet_id >> 22) + 1_420_070_400_000
            self._log.operations.append(
                withdraw(message.activity)
                if message.withdrawn
                else place(message.activity, tweet_ms)
            )
        else:
            self._events.append(message)

    async def notify(self, subject: str, payload: bytes = b"") -> None:
        raise AssertionError("no event here asks for an answer")


class Mesh:
    """The timeline service's parts over a world."""

    def __init__(
        self, redis: Redis, prefix: str, *, entries: int, celebrity_followers: int
    ) -> None:
        self.world = World(follows={user: set() for user in USERS})
        self.events: list[Any] = []
        self.redis = redis
        self.prefix = prefix
        lookups = WorldLookups(self.world)
        self.log = MemoryLog()
        self.cache = TimelineCache(redis, prefix, ttl_s=3600, rebuild_lease_s=10, entries=entries)
        generation = Generation(redis, prefix)
        activity = ActivityCache(redis, prefix, generation, lookups)
        tweets = TweetCache(redis, prefix, generation)
        self.home = HomeTimeline(
            self.cache,
            self.log,
            Hydration(tweets, generation, lookups),
            activity,
            lookups,
            PageTokens(b"0123456789abcdef"),
            rebuild_lease_s=10,
        )
        self.fanout = Fanout(
            cast(EventBus, MemoryBus(self.log, self.events)),
            self.cache,
            tweets,
            activity,
            generation,
            lookups,
            celebrity_followers=celebrity_followers,
        )

    async def handle(self, event: Any) -> None:
        if isinstance(event, FanoutChunk):
            await self.fanout.chunk(event, META)
        elif isinstance(event, GraphEvent):
            await self.fanout.follow_changed(event, META)
        else:
            handlers = {
                "posted": self.fanout.posted,
                "deleted": self.fanout.deleted,
                "like_changed": self.fanout.like_changed,
                "retweet_changed": self.fanout.retweet_changed,
            }
            await handlers[event.WhichOneof("event")](event, META)

    async def read(self, reader: int, limit: int) -> list[Tweet]:
        """The whole home timeline, by pages."""
        tweets: list[Tweet] = []
        cursor = ""
        while True:
            lines, cursor = await self.home.page(reader, cursor, limit)
            tweets += [Tweet.FromString(line.to_bytes()) for line in lines]
            if not cursor:
                return tweets
            assert len(lines) == limit

    async def flush(self) -> None:
        await self.redis.eval(FLUSH, [], [f"{self.prefix}*"])


FLUSH = Script(
    "flush",
    "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end return 1",
)


@pytest_asyncio.fixture(loop_scope="session")
async def redis(mesh_config: MeshConfig) -> AsyncIterator[Redis]:
    client = Redis(mesh_config.redis_url, timeout_s=5)
    await client.connect()
    yield client
    await client.close()


class Walk:
    """Random operations on a mesh."""

    def __init__(self, mesh: Mesh, seed: int) -> None:
        self.mesh = mesh
        self.random = random.Random(seed)
        self.now_ms = START_MS

    async def step(self) -> None:
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
            [20, 16, 6, 3, 8, 8, 4, 12, 30, 1],
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
            event = GraphEvent(follow_changed=FollowChanged(follower_id=user, followee_id=other))
        elif kind == "read":
            await mesh.home.page(user, "", pick.choice([1, 3, 20]))
        elif kind == "event":
            await self.handle_one(again=pick.random() < 0.2)
        elif kind == "flush":
            await mesh.flush()
        if event is not None:
            mesh.events.append(event)

    async def handle_one(self, *, again: bool) -> None:
        events = self.mesh.events
        if events:
            # Mostly the oldest first; at times any.
            index = 0 if self.random.random() < 0.7 else self.random.randrange(len(events))
            event = events[index] if again else events.pop(index)
            await self.mesh.handle(event)

    async def quiet(self) -> None:
        while self.mesh.events:
            await self.handle_one(again=False)

    async def check(self, users: Sequence[int] = USERS) -> None:
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


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("celebrity_followers", [1, 3, 1_000_000])
async def test_a_walk_ends_where_the_contract_says(
    redis: Redis, mesh_config: MeshConfig, seed: int, celebrity_followers: int
) -> None:
    prefix = f"{mesh_config.redis_prefix}{seed}:{celebrity_followers}:"
    mesh = Mesh(redis, prefix, entries=6, celebrity_followers=celebrity_followers)
    walk = Walk(mesh, seed)
    for _ in range(4):
        for _ in range(120):
            await walk.step()
        await walk.quiet()
        await walk.check()
    await mesh.flush()
    await walk.check()
