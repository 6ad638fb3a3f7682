"""The timeline service's parts over a small world in memory and a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

from starling.graph.v1.graph_events_pb2 import GraphEvent
from starling.timeline.v1.timeline_events_pb2 import CelebrityActivity, FanoutChunk
from starling.tweet.v1.tweet_events_pb2 import TweetEvent, TweetPosted
from starling.tweet.v1.tweet_pb2 import Activity, Tweet

from meshkit import streams
from meshkit.consumer import EventMeta
from meshkit.events import EventBus
from meshkit.page_token import PageTokens
from meshkit.redis import Redis, Script
from meshkit.snowflake import wall_clock_ms
from tests.integration.world import World
from timeline_svc.activity_cache import ActivityCache
from timeline_svc.celebrity_log import CelebrityLog
from timeline_svc.fanout import Fanout
from timeline_svc.generation import Generation
from timeline_svc.home_timeline import HomeTimeline
from timeline_svc.hydration import Hydration
from timeline_svc.lookups import Lookups
from timeline_svc.timeline_cache import TimelineCache
from timeline_svc.tweet_cache import TweetCache

USERS = range(1, 7)
READER, AUTHOR, STRANGER = 1, 2, 3
LATE = EventMeta("test", 1, 1, 0, "", {})


class WorldLookups(Lookups):
    """Answers from the world."""

    def __init__(self, world: World) -> None:
        self.activity = world.activity  # type: ignore[method-assign]
        self.tweets = world.tweets_by_id  # type: ignore[method-assign]
        self.flags = world.flags  # type: ignore[method-assign]
        self.newest_flags = world.newest_flags  # type: ignore[method-assign]
        self.earliest_retweets = world.earliest_retweets  # type: ignore[method-assign]
        self.followees = world.followees  # type: ignore[method-assign]
        self.followers = world.followers  # type: ignore[method-assign]
        self.users = world.users  # type: ignore[method-assign]


class MemoryLog(CelebrityLog):
    """The celebrity log without a server."""

    def __init__(self) -> None:
        bus = SimpleNamespace(prefix="", on_reconnect=lambda callback: None)
        super().__init__(cast(EventBus, bus), streams.CELEBRITY, keep_s=3600)

    def made_anew(self, at_ms: int) -> None:
        """The stream is lost, and another of its name is there from this moment (ms since 1970)."""
        self._follower.created_ms = at_ms
        self._follower.sequence = 0
        self._forget()

    def hear(self, event: CelebrityActivity, published_ms: int = 0) -> None:
        """As it comes from the stream."""
        self._follower.sequence += 1
        meta = EventMeta("celebrity", self._follower.sequence, 1, published_ms, "", {})
        self._append(event.SerializeToString(), meta)


class MemoryBus:
    """Hands what the fan-out publishes to the log, or back to it."""

    def __init__(self, log: MemoryLog, events: list[Any]) -> None:
        self._log = log
        self._events = events
        self.on_notify: Callable[[], Awaitable[None]] | None = None

    async def publish(self, subject: str, message: Any, *, msg_id: str) -> None:
        if isinstance(message, CelebrityActivity):
            self._log.hear(message)
        else:
            self._events.append(message)

    async def notify(self, subject: str, payload: bytes = b"") -> None:
        assert self.on_notify is not None, "no event here asks for an answer"
        await self.on_notify()


class Mesh:
    """The timeline service's parts over a world."""

    def __init__(
        self,
        redis: Redis,
        prefix: str,
        *,
        entries: int,
        celebrity_followers: int,
        flush: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """flush: empties a Redis that is this test's alone; otherwise the prefix's keys are removed."""
        self._flush = flush
        self.world = World(follows={user: set() for user in USERS})
        self.events: list[Any] = []
        self.redis = redis
        self.prefix = prefix
        self.lookups = lookups = WorldLookups(self.world)
        self.log = MemoryLog()
        self.cache = TimelineCache(redis, prefix, ttl_s=3600, rebuild_lease_s=10, entries=entries)
        self.generation = generation = Generation(redis, prefix)
        self.activity = activity = ActivityCache(redis, prefix, generation, lookups)
        self.tweets = tweets = TweetCache(redis, prefix, generation)
        self.bus = MemoryBus(self.log, self.events)
        self.home = self.another_home()
        self.fanout = Fanout(
            cast(EventBus, self.bus),
            self.cache,
            tweets,
            activity,
            generation,
            lookups,
            celebrity_followers=celebrity_followers,
        )

    def another_home(self) -> HomeTimeline:
        """What another process would serve: it shares Redis and the world alone."""
        return HomeTimeline(
            self.cache,
            self.log,
            Hydration(self.tweets, self.generation, self.lookups),
            self.activity,
            self.lookups,
            PageTokens(b"0123456789abcdef"),
            rebuild_lease_s=10,
        )

    async def handle(self, event: Any, meta: EventMeta = LATE) -> None:
        """As a consumer would; without `meta` it is an event that comes late."""
        if isinstance(event, FanoutChunk):
            await self.fanout.chunk(event, meta)
        elif isinstance(event, GraphEvent):
            one = event.WhichOneof("event") == "follow_changed"
            handler = self.fanout.follow_changed if one else self.fanout.follows_changed
            await handler(event, meta)
        else:
            handlers = {
                "posted": self.fanout.posted,
                "deleted": self.fanout.deleted,
                "like_changed": self.fanout.like_changed,
                "retweet_changed": self.fanout.retweet_changed,
            }
            await handlers[event.WhichOneof("event")](event, meta)

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
        """Redis loses everything."""
        if self._flush is not None:
            await self._flush()
            return
        await self.redis.eval(FLUSH, [], [f"{self.prefix}*"])


FLUSH = Script(
    "flush",
    "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end return 1",
)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Redis]:
    """A client of a test's Redis."""
    client = Redis(url, timeout_s=5)
    await client.connect()
    yield client
    await client.close()


def posted(mesh: Mesh, activity: Activity) -> TweetEvent:
    """The event of a post."""
    tweet = mesh.world.tweets[activity.tweet_id]
    return TweetEvent(posted=TweetPosted(tweet=tweet, at_ms=activity.at_ms))


def in_time(**headers: str) -> EventMeta:
    """Of an event that comes at once, the first time."""
    return EventMeta("test", 1, 1, wall_clock_ms(), "", headers)


async def shows(mesh: Mesh, reader: int = READER) -> list[tuple[int, str]]:
    """(tweet id, retweeted_by) of what the reader sees."""
    return [(tweet.tweet_id, tweet.retweeted_by) for tweet in await mesh.read(reader, 20)]


def wanted(mesh: Mesh, reader: int = READER) -> list[tuple[int, str]]:
    """(tweet id, retweeted_by) of what the contract says."""
    return [(tweet_id, by) for _, tweet_id, by in mesh.world.feed(reader)]
