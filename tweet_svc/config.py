"""What tweet_svc reads from its environment, beside what every process does."""

from __future__ import annotations

from pydantic import Field

from meshkit.config import MeshConfig

CONTENT_CEILING = 280
"""No setting raises the length of a tweet past this."""


class TweetConfig(MeshConfig):
    """tweet_svc's own variables."""

    tweet_max_chars: int = Field(
        140, ge=1, le=CONTENT_CEILING, description="Code points of a tweet, at most"
    )
    fanout_wait_ms: int = Field(
        400,
        ge=0,
        le=5000,
        description="How long a change waits for the fan-out worker's word that who made it sees it",
    )
