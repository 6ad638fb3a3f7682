"""The fan-out worker: consumes the mesh's events and keeps the timelines in Redis up to date.

A process of its own, so that a storm of deliveries does not slow reads.
"""

from __future__ import annotations

from starling.graph.v1.graph_events_pb2 import GraphEvent
from starling.timeline.v1.timeline_events_pb2 import FanoutChunk
from starling.tweet.v1.tweet_events_pb2 import TweetEvent

from meshkit import streams
from meshkit.consumer import Consumer
from meshkit.events import ConsumerSpec
from meshkit.process import Process, run
from meshkit.redis import Redis

from .activity_cache import ActivityCache
from .config import TimelineConfig
from .fanout import Fanout
from .generation import Generation
from .lookups import Lookups
from .timeline_cache import TimelineCache
from .tweet_cache import TweetCache

ACTIVITY = ConsumerSpec(
    "fanout-activity",
    streams.TWEETS.name,
    (streams.TWEET_POSTED, streams.RETWEET_CHANGED, streams.TWEET_DELETED),
)
LIKES = ConsumerSpec("fanout-likes", streams.TWEETS.name, (streams.LIKE_CHANGED,))
COUNTS = ConsumerSpec("fanout-counts", streams.COUNTS.name, (streams.TWEET_COUNTS_CHANGED,))
FOLLOWS = ConsumerSpec(
    "fanout-follows", streams.GRAPH.name, (streams.FOLLOW_CHANGED, streams.FOLLOWS_CHANGED)
)
CHUNKS = ConsumerSpec(
    "fanout-chunks",
    streams.FANOUT.name,
    (streams.FANOUT_CHUNK,),
    max_in_flight=8,
)


async def main() -> None:
    """Run the worker until it is told to stop."""
    config = TimelineConfig.from_env()
    async with Process(config) as process:
        bus = await process.events(
            [streams.TWEETS, streams.COUNTS, streams.GRAPH, streams.FANOUT, streams.CELEBRITY]
        )
        redis = Redis(config.redis_url, timeout_s=config.redis_timeout_s)
        await redis.connect()
        process.at_exit(redis.close)
        lookups = Lookups(process.mesh())
        generation = Generation(redis, config.redis_prefix)
        fanout = Fanout(
            bus,
            TimelineCache(
                redis,
                config.redis_prefix,
                ttl_s=config.timeline_ttl_s,
                rebuild_lease_s=config.rebuild_lease_s,
            ),
            TweetCache(redis, config.redis_prefix, generation),
            ActivityCache(redis, config.redis_prefix, generation, lookups),
            generation,
            lookups,
            celebrity_followers=config.celebrity_followers,
        )
        consumers = [
            Consumer(
                bus,
                ACTIVITY,
                {
                    streams.TWEET_POSTED: (TweetEvent, fanout.posted),
                    streams.RETWEET_CHANGED: (TweetEvent, fanout.retweet_changed),
                    streams.TWEET_DELETED: (TweetEvent, fanout.deleted),
                },
            ),
            Consumer(bus, LIKES, {streams.LIKE_CHANGED: (TweetEvent, fanout.like_changed)}),
            Consumer(
                bus, COUNTS, {streams.TWEET_COUNTS_CHANGED: (TweetEvent, fanout.counts_changed)}
            ),
            Consumer(
                bus,
                FOLLOWS,
                {
                    streams.FOLLOW_CHANGED: (GraphEvent, fanout.follow_changed),
                    streams.FOLLOWS_CHANGED: (GraphEvent, fanout.follows_changed),
                },
            ),
            Consumer(bus, CHUNKS, {streams.FANOUT_CHUNK: (FanoutChunk, fanout.chunk)}),
        ]
        await process.serve([], background=[consumer.background() for consumer in consumers])


if __name__ == "__main__":
    run(main)
