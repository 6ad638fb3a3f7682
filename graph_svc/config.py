"""What graph_svc reads from its environment, besides what every process does."""

from __future__ import annotations

from pydantic import Field

from meshkit.config import MeshConfig


class GraphConfig(MeshConfig):
    """graph_svc's variables."""

    followers_a_shard: int = Field(
        50_000, ge=1, description="Rows in a partition of followers, before the next is opened"
    )
