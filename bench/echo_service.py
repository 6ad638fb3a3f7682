"""An echo in timeline_svc's place: answers a home read with a page made once, by the same server.

What it costs is what the way there and back costs: edge, sidecar, interceptors. The page is as large as a
real one, so that the edge turns as much into JSON.
"""

from __future__ import annotations

from typing import Any

from grpc.aio import ServicerContext
from starling.timeline.v1.timeline_service_pb2 import (
    GetHomeTimelineRequest,
    GetHomeTimelineResponse,
    GetPopularTweetsRequest,
    GetPopularTweetsResponse,
    GetUserTimelineRequest,
    GetUserTimelineResponse,
)
from starling.timeline.v1.timeline_service_pb2_grpc import (
    TimelineServiceServicer,
    add_TimelineServiceServicer_to_server,
)
from starling.tweet.v1.tweet_pb2 import Tweet

from meshkit.config import MeshConfig
from meshkit.identity import current_caller
from meshkit.process import Process, run
from meshkit.server import serialized

TWEETS = 20


def page() -> bytes:
    """A page of tweets with contents of the length that the benchmark posts."""
    tweets = [
        Tweet(
            tweet_id=1_574_130_107_722_493_952 + number,
            user_id=1_574_130_101_729_898_496,
            username="bench_12345678_12",
            content=f"{number:04d} " + "x" * 75,
            created_at="2026-01-01T00:00:00.000Z",
            likes_count=1,
            liked=number % 2 == 0,
        )
        for number in range(TWEETS)
    ]
    return GetHomeTimelineResponse(tweets=tweets, next_cursor="x" * 60).SerializeToString()


class Echo(TimelineServiceServicer):
    """Answers every call with the same bytes."""

    def __init__(self) -> None:
        self._page = page()

    async def GetHomeTimeline(
        self, request: GetHomeTimelineRequest, context: ServicerContext[Any, Any]
    ) -> GetHomeTimelineResponse:
        current_caller()
        return serialized(GetHomeTimelineResponse, self._page)

    async def GetPopularTweets(
        self, request: GetPopularTweetsRequest, context: ServicerContext[Any, Any]
    ) -> GetPopularTweetsResponse:
        return serialized(GetPopularTweetsResponse, self._page)

    async def GetUserTimeline(
        self, request: GetUserTimelineRequest, context: ServicerContext[Any, Any]
    ) -> GetUserTimelineResponse:
        return serialized(GetUserTimelineResponse, self._page)


async def main() -> None:
    """Serve until told to stop."""
    config = MeshConfig.from_env()
    async with Process(config) as process:
        await process.serve([(add_TimelineServiceServicer_to_server, Echo())])


if __name__ == "__main__":
    run(main)
