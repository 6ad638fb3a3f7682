"""The Envoys of the mesh: the edge, and a sidecar for every instance of a service.

What they are configured to do is `envoy/`'s; here stands where they run, and with whose
certificates.
"""

import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from envoy.binary import envoy_path
from envoy.spec import (
    Certificate,
    EdgeSpec,
    MeshSpec,
    RateLimits,
    ServiceSpec,
    TokenSpec,
    TracingSpec,
)
from stack import probes, settings
from stack.errors import StackError
from stack.ports import LOOPBACK
from stack.process import Process
from stack.run_dir import RunDir
from stack.scale import instances, service_of

EDGE = "edge"
EDGE_CONCURRENCY, SIDECAR_CONCURRENCY = 2, 1
DEFAULT_ISSUER, DEFAULT_AUDIENCE = "starling", "starling-api"


def certificates_of(run: RunDir, services: tuple[str, ...]) -> Process:
    """The step that writes certificates and keys."""

    command = (sys.executable, "-m", "stack.certificates", str(run.root), EDGE, *services)
    return Process(name="certificates", command=command, once=True)


def envoys(
    run: RunDir, ports: Mapping[str, int], services: tuple[str, ...], edges: int = 1
) -> list[Process]:
    """The edges, the sidecars of `services` (instances by name), and the step that waits until all see
    each other.
    """
    prepare = _render_once(run, ports, services, edges)
    sidecars = [
        _envoy(
            run,
            f"{name}.envoy",
            admin_port=ports[f"{name}.admin"],
            ports=(ports[f"{name}.inbound"],),
            addresses={"inbound": f"{LOOPBACK}:{ports[f'{name}.inbound']}"},
            concurrency=SIDECAR_CONCURRENCY,
            prepare=prepare,
        )
        for name in services
    ]
    public = [
        _envoy(
            run,
            name,
            admin_port=ports[f"{name}.admin"],
            # Envoy shares its ports: the kernel gives each connection to one of the edges.
            shared_ports=(ports[EDGE],),
            addresses={"api": f"https://localhost:{ports[EDGE]}"},
            concurrency=EDGE_CONCURRENCY if edges == 1 else 1,
            prepare=prepare,
            stops_before=tuple(services),
            # It reads its limits from its configuration: with other settings it is another process.
            env=settings.current_for(EDGE),
        )
        for name in instances(EDGE, edges)
    ]
    every = (*sidecars, *public)
    admin_ports = [ports[f"{envoy.name.removesuffix('.envoy')}.admin"] for envoy in every]
    routes = Process(
        name="routes",
        command=(),
        needs=(*services, *(envoy.name for envoy in every)),
        ready=probes.envoy_upstreams(*admin_ports),
        once=True,
    )
    return [*every, routes]


def _envoy(
    run: RunDir,
    name: str,
    *,
    admin_port: int,
    addresses: Mapping[str, str],
    concurrency: int,
    prepare: Callable[[], None],
    ports: tuple[int, ...] = (),
    shared_ports: tuple[int, ...] = (),
    stops_before: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
) -> Process:
    return Process(
        name=name,
        command=(
            str(envoy_path()),
            "--config-path",
            str(_config(run, name)),
            # Hot restart shares memory between Envoys of the same base id: those here are no kin.
            "--disable-hot-restart",
            "--concurrency",
            str(concurrency),
            "--log-level",
            "warning",
        ),
        needs=("certificates",),
        stops_before=stops_before,
        ready=probes.http_ok(admin_port, "/ready"),
        prepare=prepare,
        env=env or {},
        ports=(admin_port, *ports),
        shared_ports=shared_ports,
        addresses={**addresses, "admin": f"http://{LOOPBACK}:{admin_port}"},
    )


def _config(run: RunDir, name: str) -> Path:
    return run.conf("envoy") / f"{name}.json"


def _render_once(
    run: RunDir, ports: Mapping[str, int], services: tuple[str, ...], edges: int
) -> Callable[[], None]:
    """Renders all configurations, when the first of the Envoys asks for it."""
    lock, rendered = threading.Lock(), threading.Event()

    def prepare() -> None:
        from envoy.rendering import render  # the engines alone need none of it

        with lock:
            if not rendered.is_set():
                for name in reversed(instances(EDGE, edges)):  # the first edge's stays
                    files = render(mesh_spec(run, ports, services, name), run.conf("envoy"))
                    files[EDGE].replace(_config(run, name))
                rendered.set()

    return prepare


def mesh_spec(
    run: RunDir, ports: Mapping[str, int], services: tuple[str, ...], edge: str = EDGE
) -> MeshSpec:
    """What the configurations of a mesh with these ports are rendered from; `edge` is which of its
    edges, and `services` names the instances.
    """
    return MeshSpec(
        edge=EdgeSpec(
            port=ports[EDGE],
            admin_port=ports[f"{edge}.admin"],
            server_certificate=_certificate(run, "localhost"),
            client_certificate=_certificate(run, EDGE),
            private_socket=run.sockets / f"{edge}.keys.sock",
        ),
        services=tuple(
            ServiceSpec(
                name=service_of(name),
                instance=name,
                socket=run.sockets / f"{name}.sock",
                outbound_socket=run.sockets / f"{name}.out.sock",
                inbound_port=ports[f"{name}.inbound"],
                admin_port=ports[f"{name}.admin"],
                certificate=_certificate(run, service_of(name)),
            )
            for name in services
        ),
        ca=run.ca,
        token=TokenSpec(
            issuer=os.environ.get("JWT_ISSUER") or DEFAULT_ISSUER,
            audience=os.environ.get("JWT_AUDIENCE") or DEFAULT_AUDIENCE,
        ),
        limits=RateLimits(
            ip_rps=_limit("RATE_LIMIT_IP_RPS", RateLimits.ip_rps),
            user_rps=_limit("RATE_LIMIT_USER_RPS", RateLimits.user_rps),
            auth_per_min=_limit("RATE_LIMIT_AUTH_PER_MIN", RateLimits.auth_per_min),
        ),
        tracing=TracingSpec(LOOPBACK, ports["zipkin"], 100.0 * _sampling()),
    )


def _certificate(run: RunDir, name: str) -> Certificate:
    return Certificate(chain=run.certs / f"{name}.pem", key=run.certs / f"{name}.key")


def _sampling() -> float:
    """The share of requests that are traced: the edge decides, all others follow it."""
    value = os.environ.get("OTEL_TRACES_SAMPLER_ARG") or "1"
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise StackError(f"OTEL_TRACES_SAMPLER_ARG is a number from 0 to 1, not {value!r}")
    return share


def _limit(name: str, default: int) -> int:
    value = os.environ.get(name) or str(default)
    if not value.isdigit() or int(value) < 1:
        raise StackError(f"{name} is a whole number of 1 or more, not {value!r}")
    return int(value)
