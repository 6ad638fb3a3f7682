"""The timeline calls: who asks, for what, and where the answer is made."""

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
from starling.timeline.v1.timeline_service_pb2_grpc import TimelineServiceServicer

from meshkit.identity import current_caller, require_self
from meshkit.server import serialized

from .home_timeline import HomeTimeline
from .line import page_bytes
from .popular import PopularTweets
from .user_timeline import UserTimeline

DEFAULT_LIMIT = 20
DEFAULT_K = 10


class TimelineService(TimelineServiceServicer):
    """starling.timeline.v1.TimelineService. Pages are answered as bytes, never parsed here."""

    def __init__(self, home: HomeTimeline, user: UserTimeline, popular: PopularTweets) -> None:
        self._home = home
        self._user = user
        self._popular = popular

    async def GetHomeTimeline(
        self, request: GetHomeTimelineRequest, context: ServicerContext[Any, Any]
    ) -> GetHomeTimelineResponse:
        given = request.user_id if request.HasField("user_id") else None
        reader_id = require_self("user_id", given).user_id
        limit = request.limit if request.HasField("limit") else DEFAULT_LIMIT
        lines, next_cursor = await self._home.page(reader_id, request.cursor, limit)
        top = await self._popular.top(reader_id, request.top_k) if request.top_k else []
        return serialized(GetHomeTimelineResponse, page_bytes(lines, next_cursor, top))

    async def GetPopularTweets(
        self, request: GetPopularTweetsRequest, context: ServicerContext[Any, Any]
    ) -> GetPopularTweetsResponse:
        given = request.user_id if request.HasField("user_id") else None
        reader_id = require_self("user_id", given).user_id
        k = request.k if request.HasField("k") else DEFAULT_K
        lines = await self._popular.top(reader_id, k)
        return serialized(GetPopularTweetsResponse, page_bytes(lines, ""))

    async def GetUserTimeline(
        self, request: GetUserTimelineRequest, context: ServicerContext[Any, Any]
    ) -> GetUserTimelineResponse:
        viewer_id = current_caller().user_id
        limit = request.limit if request.HasField("limit") else DEFAULT_LIMIT
        lines, next_cursor = await self._user.page(
            viewer_id, request.user_id, request.cursor, limit
        )
        return serialized(GetUserTimelineResponse, page_bytes(lines, next_cursor))
