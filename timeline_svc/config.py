"""What the timeline service and its fan-out worker read from their environment."""

from __future__ import annotations

from pydantic import Field

from meshkit.config import MeshConfig


class TimelineConfig(MeshConfig):
    """MeshConfig and the limits of timelines."""

    celebrity_followers: int = Field(
        1_000_000, ge=1, description="From this many followers on, tweets are read, not pushed"
    )
    redis_timeout_s: float = Field(
        0.5, gt=0, description="A reply later than this opens the breaker"
    )
    timeline_ttl_s: int = Field(
        3600, ge=1, description="Of a cached home timeline, from its rebuild"
    )
    rebuild_lease_s: float = Field(10.0, gt=0, description="How long one rebuild may take")
