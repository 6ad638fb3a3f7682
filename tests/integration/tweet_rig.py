"""tweet_svc in the test's own process, whole: server, counter, relay, on the module's keyspace."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import nats.js.errors
from starling.tweet.v1 import tweet_lookup_service_pb2 as lookup_pb
from starling.tweet.v1 import tweet_service_pb2 as pb
from starling.tweet.v1.tweet_events_pb2 import TweetEvent
from starling.tweet.v1.tweet_lookup_service_pb2_grpc import (
    TweetLookupServiceStub,
    add_TweetLookupServiceServicer_to_server,
)
from starling.tweet.v1.tweet_pb2 import Activity, Position, Tweet
from starling.tweet.v1.tweet_service_pb2_grpc import (
    TweetServiceStub,
    add_TweetServiceServicer_to_server,
)

from meshkit import identity
from meshkit.background import cancel_all
from meshkit.channel import MeshChannel
from meshkit.config import MeshConfig
from meshkit.cql import CqlSession, Statement
from meshkit.events import EventBus, StreamSpec
from meshkit.identity import Caller
from meshkit.outbox import Outbox
from meshkit.server import MeshServer
from meshkit.snowflake import SnowflakeGenerator, wall_clock_ms
from meshkit.streams import COUNTS, TWEETS
from meshkit.write_clock import WriteClock
from tests.conftest import until
from tweet_svc.config import TweetConfig
from tweet_svc.counter import SPEC
from tweet_svc.parts import Parts

# JetStream reserves what a stream may grow to, and many tests share its store.
STREAMS = tuple(replace(stream, max_bytes=16 << 20) for stream in (TWEETS, COUNTS))

_OUTBOX_ROWS = Statement("test.outbox", "SELECT COUNT(*) FROM tweet_outbox", idempotent=True)


def tweet_config(mesh: MeshConfig, **settings: Any) -> TweetConfig:
    """tweet_svc's configuration on the engines and prefixes of `mesh`."""
    return TweetConfig.model_validate({**mesh.model_dump(), "fanout_wait_ms": 0, **settings})


def users(number: int, first: int = 1) -> list[Caller]:
    """Distinct users."""
    return [Caller(first + n, f"user_{first + n}") for n in range(number)]


@dataclass
class Instance:
    """One running tweet_svc, called as the edge and other services call it."""

    parts: Parts
    outbox: Outbox
    session: CqlSession
    bus: EventBus
    ids: SnowflakeGenerator
    tweets: TweetServiceStub
    lookups: TweetLookupServiceStub

    async def post(
        self, author: Caller, content: str, *, key: str | None = None, media: Sequence[str] = ()
    ) -> int:
        """The id of the tweet posted."""
        identity.set_caller(author)
        answer = await self.tweets.PostTweet(
            pb.PostTweetRequest(content=content, media_ids=media),
            metadata=[("idempotency-key", key)] if key is not None else None,
        )
        return answer.tweet_id

    async def get(self, viewer: Caller, tweet_id: int) -> Tweet:
        """The tweet as the viewer sees it."""
        identity.set_caller(viewer)
        return (await self.tweets.GetTweet(pb.GetTweetRequest(tweet_id=tweet_id))).tweet

    async def delete(self, author: Caller, tweet_id: int) -> None:
        """Delete a tweet."""
        identity.set_caller(author)
        await self.tweets.DeleteTweet(pb.DeleteTweetRequest(tweet_id=tweet_id))

    async def like(self, user: Caller, tweet_id: int) -> None:
        """Like a tweet."""
        identity.set_caller(user)
        await self.tweets.LikeTweet(pb.LikeTweetRequest(tweet_id=tweet_id))

    async def unlike(self, user: Caller, tweet_id: int) -> None:
        """Take a like back."""
        identity.set_caller(user)
        await self.tweets.UnlikeTweet(pb.UnlikeTweetRequest(tweet_id=tweet_id))

    async def retweet(self, user: Caller, tweet_id: int) -> None:
        """Retweet a tweet."""
        identity.set_caller(user)
        await self.tweets.Retweet(pb.RetweetRequest(tweet_id=tweet_id))

    async def unretweet(self, user: Caller, tweet_id: int) -> None:
        """Take a retweet back."""
        identity.set_caller(user)
        await self.tweets.Unretweet(pb.UnretweetRequest(tweet_id=tweet_id))

    async def activity(
        self,
        *actors: Caller,
        limit: int = 1000,
        before: tuple[int, int] | None = None,
        since_ms: int = 0,
    ) -> list[lookup_pb.AuthorActivity]:
        """A page of each actor's activity."""
        request = lookup_pb.ListActivityRequest(
            author_ids=[actor.user_id for actor in actors], limit=limit, since_ms=since_ms
        )
        if before is not None:
            request.before.CopyFrom(Position(at_ms=before[0], tweet_id=before[1]))
        return list((await self.lookups.ListActivity(request)).authors)

    async def batch(self, tweet_ids: Sequence[int]) -> dict[int, Tweet]:
        """Those of the tweets that exist."""
        request = lookup_pb.BatchGetTweetsRequest(tweet_ids=tweet_ids)
        results = (await self.lookups.BatchGetTweets(request)).results
        assert [result.tweet_id for result in results] == list(tweet_ids)
        return {result.tweet_id: result.tweet for result in results if result.HasField("tweet")}

    async def flags(self, viewer: Caller, tweet_ids: Sequence[int]) -> list[lookup_pb.ViewerFlags]:
        """The viewer's flags."""
        request = lookup_pb.BatchGetViewerFlagsRequest(
            viewer_id=viewer.user_id, tweet_ids=tweet_ids
        )
        return list((await self.lookups.BatchGetViewerFlags(request)).flags)

    async def newest_flags(
        self, viewer: Caller, limit: int
    ) -> tuple[list[lookup_pb.ViewerFlags], int]:
        """The viewer's newest flags, and from which id on they are all."""
        request = lookup_pb.ListViewerFlagsRequest(viewer_id=viewer.user_id, limit=limit)
        response = await self.lookups.ListViewerFlags(request)
        return list(response.flags), response.floor

    async def earliest(
        self, tweet_ids: Sequence[int], among: Sequence[Caller]
    ) -> list[Activity | None]:
        """The earliest retweets by any of `among`."""
        request = lookup_pb.FindEarliestRetweetsRequest(
            tweet_ids=tweet_ids, user_ids=[user.user_id for user in among]
        )
        results = (await self.lookups.FindEarliestRetweets(request)).results
        assert [result.tweet_id for result in results] == list(tweet_ids)
        return [result.retweet if result.HasField("retweet") else None for result in results]

    async def tweets_count(self, author: Caller) -> int:
        """The author's recounted number of tweets."""
        sums, _ = await self.parts.activity.tweets_counts([author.user_id])
        return sums[author.user_id]

    async def quiet(self, within_s: float = 15.0) -> None:
        """Return once every event so far has been handled by the counter, and acked."""
        stream = self.bus.prefix + TWEETS.name
        last = (await self.bus.js.stream_info(stream)).state.last_seq

        async def all_handled() -> bool:
            try:
                info = await self.bus.js.consumer_info(stream, SPEC.name)
            except nats.js.errors.NotFoundError:
                return False
            # Not its num_pending, which may not know yet of what was published just now.
            return (info.ack_floor.stream_seq if info.ack_floor else 0) >= last

        await until(all_handled, within_s, "handling all events")

    async def outbox_rows(self) -> int:
        """Rows that wait in the outbox."""
        await self.outbox.flush()
        row = await self.session.one(_OUTBOX_ROWS)
        return int(row[0]) if row else 0

    async def events(self, stream: StreamSpec = TWEETS) -> list[TweetEvent]:
        """All events of a stream so far, in its order."""
        info = await self.bus.js.stream_info(self.bus.prefix + stream.name)
        found = []
        for sequence in range(info.state.first_seq, info.state.last_seq + 1):
            message = await self.bus.js.get_msg(self.bus.prefix + stream.name, sequence)
            found.append(TweetEvent.FromString(message.data or b""))
        return found


@asynccontextmanager
async def running(
    mesh: MeshConfig,
    *,
    counting: bool = True,
    relaying: bool = False,
    clock: WriteClock | None = None,
    nats_wait_s: float = 10.0,
    **settings: Any,
) -> AsyncIterator[Instance]:
    """A tweet_svc of its own on the engines of `mesh`; several may run at once."""
    config = tweet_config(mesh, listen="127.0.0.1:0", **settings)
    session = await CqlSession.open(config)
    bus = await EventBus.open(config, STREAMS, nats_wait_s)
    ids = SnowflakeGenerator()
    ids.lease(random.randrange(1024), 0, wall_clock_ms() + 3_600_000)
    outbox = Outbox(session, bus, "tweet_outbox")
    parts = Parts.assemble(config, session, bus, outbox, ids.next_id, clock)
    server = MeshServer(
        config,
        [
            (add_TweetServiceServicer_to_server, parts.service),
            (add_TweetLookupServiceServicer_to_server, parts.lookup),
        ],
    )
    await server.start()
    tasks = []
    if counting:
        tasks.append(asyncio.create_task(parts.counter.consumer().run()))
    if relaying:
        relay = outbox.relay(config.service_instance, parts.changes.restore)
        tasks.append(asyncio.create_task(relay.run()))
    channel = MeshChannel(f"127.0.0.1:{server.port}")
    try:
        yield Instance(
            parts,
            outbox,
            session,
            bus,
            ids,
            TweetServiceStub(channel),
            TweetLookupServiceStub(channel),
        )
    finally:
        await channel.close()
        await server.stop(1.0)
        await cancel_all(tasks)
        await outbox.flush()
        await bus.close()
        await session.close()
