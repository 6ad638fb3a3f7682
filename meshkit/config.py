"""What every process of the mesh reads from its environment.

A service subclasses `MeshConfig` in its own `config.py`, adds its fields, and calls `from_env()` once in
`__main__`. The variable's name is the field's name in upper case. Nothing else reads the environment.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class MeshConfig(BaseSettings):
    """The variables all services share. Values out of range stop the process with the field's name."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    service_instance: str = Field(
        default="starling", description="Name of this process, e.g. tweet_svc-2"
    )
    listen: str = Field(
        default="127.0.0.1:0", description="gRPC address: unix:/path.sock or host:port"
    )
    mesh_outbound: str = Field(
        default="", description="The sidecar's outbound listener, unix: or host:port"
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Loopback /metrics; 0 takes a free port, unset is off",
    )

    cassandra_contact_points: str = Field(
        default="127.0.0.1:9042", description="host:port, by comma"
    )
    cassandra_keyspace: str = Field(default="starling", pattern=r"^[a-z][a-z0-9_]{0,47}$")
    cassandra_local_dc: str = "dc1"
    cassandra_replication: int = Field(default=1, ge=1, le=7)
    cassandra_timeout_s: float = Field(default=5.0, gt=0, description="One statement, at most")

    nats_url: str = Field(default="nats://127.0.0.1:4222", description="One or more URLs, by comma")
    nats_replicas: int = Field(default=1, ge=1, le=5)
    nats_prefix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_-]*$",
        description="Before each stream and subject name (tests)",
    )

    redis_url: str = Field(
        default="redis://127.0.0.1:6379",
        pattern=r"^redis(\+cluster)?://",
        description="redis://host:port, or redis+cluster://host:port,host:port: nodes of a cluster",
    )
    redis_prefix: str = ""

    otel_traces_exporter: Literal["zipkin", "otlp", "none"] = "none"
    otel_traces_sampler_arg: float = Field(
        default=1.0, ge=0.0, le=1.0, description="Ratio of new traces"
    )
    otel_exporter_zipkin_endpoint: str = "http://127.0.0.1:9411/api/v2/spans"
    otel_exporter_otlp_endpoint: str = "http://127.0.0.1:4317"

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"

    page_token_key_file: Path | None = Field(
        default=None,
        description="File with the HMAC secret of page tokens, the same for all instances",
    )

    default_deadline_s: float = Field(default=10.0, gt=0, description="For calls that bring none")
    max_in_flight: int = Field(default=512, ge=1, description="Calls past this are refused at once")
    ready_wait_s: float = Field(
        default=10.0, ge=0, description="How long the first readiness waits for the stores"
    )
    drain_s: float = Field(
        default=0.5,
        ge=0,
        description="Between readiness off and refusing calls: at least a health interval",
    )
    stop_grace_s: float = Field(
        default=10.0, ge=0, description="For calls and consumers under way at stop"
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @classmethod
    def from_env(cls) -> Self:
        """Read the environment; pydantic's ValidationError names what is wrong."""
        return cls()

    @cached_property
    def service(self) -> str:
        """The service this is an instance of: `tweet_svc-2` belongs to `tweet_svc`."""
        name, _, number = self.service_instance.rpartition("-")
        return name if name and number.isdigit() else self.service_instance

    def contact_points(self) -> list[tuple[str, int]]:
        """Cassandra's addresses as (host, port)."""
        points: list[tuple[str, int]] = []
        for item in self.cassandra_contact_points.split(","):
            host, _, port = item.strip().rpartition(":")
            points.append((host, int(port)) if host else (port, 9042))
        return points

    def nats_servers(self) -> list[str]:
        """NATS URLs."""
        return [url.strip() for url in self.nats_url.split(",") if url.strip()]

    def page_token_key(self) -> bytes:
        """The page-token secret, at least 16 bytes. Raises ValueError when it is missing or short."""
        if self.page_token_key_file is None:
            raise ValueError("PAGE_TOKEN_KEY_FILE is not set")
        key = self.page_token_key_file.read_bytes().strip()
        if len(key) < 16:
            raise ValueError(f"{self.page_token_key_file} holds fewer than 16 bytes")
        return key
