"""What the configuration of a mesh is rendered from: addresses, certificates, limits. No policy."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

TRUST_DOMAIN = "starling"
"""Every certificate of the mesh names its holder as `spiffe://starling/<name>`."""

DESCRIPTOR = Path(__file__).with_name("descriptor.binpb")
"""The protos of the API, as `make gen` builds them for the transcoder."""

AccessLog = Literal["off", "errors", "all"]


def spiffe_id(name: str) -> str:
    """The URI that a certificate of `name` (a service, "edge" or "operator") carries."""
    return f"spiffe://{TRUST_DOMAIN}/{name}"


@dataclass(frozen=True)
class Certificate:
    """A PEM certificate chain and its key."""

    chain: Path
    key: Path


@dataclass(frozen=True)
class ServiceSpec:
    """One instance of a service, and its sidecar."""

    name: str
    """Whose RPCs it answers and whose SPIFFE id it has: "tweet_svc"."""
    instance: str
    """This one of them: "tweet_svc", "tweet_svc-2". Its sidecar is the process
    `<instance>.envoy`.
    """
    socket: Path
    """The unix socket that the service listens on."""
    outbound_socket: Path
    """The unix socket that its sidecar listens on for the service's own calls."""
    inbound_port: int
    """Where its sidecar takes calls from others, by mTLS."""
    admin_port: int
    certificate: Certificate
    inbound_host: str = "127.0.0.1"


@dataclass(frozen=True)
class EdgeSpec:
    """The public listener."""

    port: int
    admin_port: int
    server_certificate: Certificate
    """What clients see."""
    client_certificate: Certificate
    """With the SPIFFE id of "edge": what the services' sidecars see."""
    private_socket: Path
    """A unix socket that the edge alone uses, to fetch the keys that verify tokens."""
    host: str = "127.0.0.1"


@dataclass(frozen=True)
class RateLimits:
    """Requests an address or a user may make; bursts of twice the rate a second pass."""

    ip_rps: int = 200
    user_rps: int = 50
    auth_per_min: int = 60
    """Registrations, logins and refreshes of an address, together."""


@dataclass(frozen=True)
class TokenSpec:
    """What an access token must say, beside being signed by the gateway's key."""

    issuer: str
    audience: str


@dataclass(frozen=True)
class TracingSpec:
    """Where spans go: a Zipkin server's HTTP address, and how many requests in a hundred."""

    host: str
    port: int
    sampling_percent: float = 100.0


@dataclass(frozen=True)
class MeshSpec:
    """Everything that `envoy.render` needs."""

    edge: EdgeSpec
    services: tuple[ServiceSpec, ...]
    ca: Path
    """The PEM certificate of the CA that signed every certificate here."""
    token: TokenSpec
    limits: RateLimits = field(default_factory=RateLimits)
    tracing: TracingSpec | None = None
    access_log: AccessLog = "errors"
    descriptor: Path = DESCRIPTOR
    admin_host: str = "127.0.0.1"

    def instances(self, name: str) -> tuple[ServiceSpec, ...]:
        """The instances of service `name`."""
        return tuple(service for service in self.services if service.name == name)
