"""The tweet service: posts, likes, retweets, their lookups, their counts, and the relay of their outbox."""

from __future__ import annotations

from starling.tweet.v1.tweet_lookup_service_pb2_grpc import (
    add_TweetLookupServiceServicer_to_server,
)
from starling.tweet.v1.tweet_service_pb2_grpc import add_TweetServiceServicer_to_server

from meshkit.outbox import Outbox
from meshkit.process import Process, run
from meshkit.snowflake import SnowflakeGenerator
from meshkit.streams import COUNTS, TWEETS
from meshkit.worker_lease import WorkerLease
from tweet_svc.config import TweetConfig
from tweet_svc.parts import Parts


async def main() -> None:
    """Run until SIGTERM."""
    config = TweetConfig.from_env()
    async with Process(config) as process:
        session = await process.cassandra()
        bus = await process.events([TWEETS, COUNTS])
        ids = SnowflakeGenerator()
        lease = WorkerLease(session, ids, config.service_instance)
        outbox = Outbox(session, bus, "tweet_outbox")
        parts = Parts.assemble(config, session, bus, outbox, ids.next_id)
        await process.serve(
            [
                (add_TweetServiceServicer_to_server, parts.service),
                (add_TweetLookupServiceServicer_to_server, parts.lookup),
            ],
            background=[
                lease.background(),
                outbox.relay(config.service_instance, parts.changes.restore).background(),
                parts.counter.consumer().background(),
            ],
            ready=[lease.wait_held],
        )


if __name__ == "__main__":
    run(main)
