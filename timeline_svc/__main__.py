"""The timeline service."""

from __future__ import annotations

from starling.timeline.v1.timeline_service_pb2_grpc import add_TimelineServiceServicer_to_server

from meshkit import streams
from meshkit.page_token import PageTokens
from meshkit.process import Process, run
from meshkit.redis import Redis

from .activity_cache import ActivityCache
from .celebrity_log import CelebrityLog
from .config import TimelineConfig
from .generation import Generation
from .home_timeline import HomeTimeline
from .hydration import Hydration
from .lookups import Lookups
from .popular import PopularTweets
from .service import TimelineService
from .timeline_cache import TimelineCache
from .tweet_cache import TweetCache
from .user_timeline import UserTimeline


async def main() -> None:
    """Serve until told to stop."""
    config = TimelineConfig.from_env()
    async with Process(config) as process:
        bus = await process.events([streams.CELEBRITY])
        redis = Redis(config.redis_url, timeout_s=config.redis_timeout_s)
        await redis.connect()
        process.at_exit(redis.close)
        lookups = Lookups(process.mesh())
        tokens = PageTokens(config.page_token_key())
        generation = Generation(redis, config.redis_prefix)
        activity = ActivityCache(redis, config.redis_prefix, generation, lookups)
        hydration = Hydration(
            TweetCache(redis, config.redis_prefix, generation), generation, lookups
        )
        celebrities = CelebrityLog(
            bus, streams.CELEBRITY, keep_s=config.timeline_ttl_s + 2 * config.rebuild_lease_s
        )
        cache = TimelineCache(
            redis,
            config.redis_prefix,
            ttl_s=config.timeline_ttl_s,
            rebuild_lease_s=config.rebuild_lease_s,
        )
        home = HomeTimeline(
            cache,
            celebrities,
            hydration,
            activity,
            lookups,
            tokens,
            rebuild_lease_s=config.rebuild_lease_s,
        )
        user = UserTimeline(hydration, activity, cache, lookups, tokens)
        await process.serve(
            [
                (
                    add_TimelineServiceServicer_to_server,
                    TimelineService(home, user, PopularTweets(home, lookups)),
                )
            ],
            background=[celebrities.background()],
        )


if __name__ == "__main__":
    run(main)
