"""What the gateway reads from its environment, besides what every process does."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from meshkit.config import MeshConfig

_DAY_S = 86_400


class GatewayConfig(MeshConfig):
    """The gateway's variables."""

    jwt_signing_key_file: Path = Field(
        description="EC P-256 private key (PEM), or a directory of *.pem: the first by name signs"
    )
    jwt_issuer: str = "starling"
    jwt_audience: str = "starling-api"
    access_token_ttl_s: int = Field(900, ge=1, le=_DAY_S)
    refresh_token_ttl_s: int = Field(
        30 * _DAY_S, ge=60, le=365 * _DAY_S, description="Since sign-in or the last refresh"
    )

    password_threads: int = Field(2, ge=1, le=64, description="Passwords hashed at once")
    password_queue: int = Field(
        64, ge=0, description="Passwords that may wait for a thread; more are refused"
    )

    tweet_max_chars: int = Field(
        140, ge=1, le=280, description="As tweet_svc has it, for the API's documentation"
    )
