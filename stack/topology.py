"""The table of processes: what runs, by which command, on what it needs.

cassandra  nats  redis  zipkin        engines; one that the caller's environment names is not started
schema                                creates and migrates the keyspace, then ends
gateway graph_svc tweet_svc timeline_svc fanout    listen on Unix sockets only
NAME.envoy                            the sidecar of each: mTLS on a TCP port of loopback
edge                                  the public API
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from stack import probes, settings
from stack.cassandra import cassandra
from stack.envoys import DEFAULT_AUDIENCE, DEFAULT_ISSUER, certificates_of, envoys
from stack.errors import StackError
from stack.nats import nats
from stack.ports import LOOPBACK, choose, free_ports
from stack.process import Process, in_order
from stack.run_dir import RunDir
from stack.valkey import valkey
from stack.zipkin import zipkin


@dataclass(frozen=True)
class Service:
    """One of our own programs. What it needs is the other side of what its `__main__` opens."""

    name: str
    module: str
    needs: tuple[str, ...]


SERVICES = (
    Service("gateway", "gateway", ("schema",)),
    Service("graph_svc", "graph_svc", ("schema", "nats")),
    Service("tweet_svc", "tweet_svc", ("schema", "nats")),
    Service("timeline_svc", "timeline_svc", ("schema", "nats", "redis")),
    Service("fanout", "timeline_svc.worker", ("schema", "nats", "redis")),
)

ENGINE_PORTS = {
    "cassandra": 9042,
    "storage": 7000,
    "nats": 4222,
    "nats.monitor": 8222,
    "redis": 6379,
    "zipkin": 9411,
}
SERVICE_PORTS = {
    f"{service.name}.{use}": first + number
    for use, first in (("inbound", 15000), ("admin", 15100), ("metrics", 15200))
    for number, service in enumerate(SERVICES)
}
EDGE_PORTS = {"edge": 8443, "edge.admin": 9901}


@dataclass(frozen=True)
class Topology:
    """Processes, each behind what it needs, and the addresses that a user wants to know."""

    processes: tuple[Process, ...]
    addresses: Mapping[str, str]


def engine_ports() -> dict[str, int]:
    """Free ones, so that the engines stand beside a mesh and not in its way."""
    return dict(zip(ENGINE_PORTS, free_ports(len(ENGINE_PORTS)), strict=True))


def engines(run: RunDir, ports: Mapping[str, int]) -> Topology:
    """The engines alone, for the test suite and for developers."""
    processes, addresses = _engines(run, ports)
    return Topology(tuple(in_order(processes)), addresses)


def _engines(run: RunDir, ports: Mapping[str, int]) -> tuple[list[Process], dict[str, str]]:
    """Cassandra, NATS and Valkey, as far as the environment does not name ones that are there; and
    the addresses of all: `cql`, `nats`, `redis`.
    """
    rows = {
        "cql": ("CASSANDRA_CONTACT_POINTS", cassandra(run, ports["cassandra"], ports["storage"])),
        "nats": ("NATS_URL", nats(run, ports["nats"], ports["nats.monitor"])),
        "redis": ("REDIS_URL", valkey(run, ports["redis"])),
    }
    processes, addresses = [], {}
    for use, (variable, process) in rows.items():
        if given := os.environ.get(variable):
            addresses[use] = given
        else:
            addresses[use] = process.addresses[use]
            processes.append(process)
    return processes, addresses


def mesh_ports() -> dict[str, int]:
    """The fixed ones, or free ones with `STARLING_PORTS=free`; `STARLING_API_PORT` sets the API's."""
    ports = choose(ENGINE_PORTS | SERVICE_PORTS | EDGE_PORTS)
    if api_port := os.environ.get("STARLING_API_PORT"):
        if not api_port.isdigit() or not 0 < int(api_port) < 65536:
            raise StackError(f"STARLING_API_PORT is a port number, not {api_port!r}")
        ports["edge"] = int(api_port)
    return ports


def mesh(run: RunDir, ports: Mapping[str, int]) -> Topology:
    """Everything. Reads the environment for what `stack.settings` names."""
    processes, at = _engines(run, ports)
    store = {"CASSANDRA_CONTACT_POINTS": at["cql"]}
    engine_env = {**store, "NATS_URL": at["nats"], "REDIS_URL": at["redis"]}
    processes.append(zipkin(run, ports["zipkin"]))
    started = {process.name for process in processes}
    processes.append(_schema(store, started))
    started.add("schema")
    names = tuple(service.name for service in SERVICES)
    processes.append(certificates_of(run, names))
    for service in SERVICES:
        needs = tuple(need for need in service.needs if need in started)
        processes.append(_service(run, ports, service, needs, engine_env))
    processes += envoys(run, ports, names)
    api = f"https://localhost:{ports['edge']}"
    addresses = {
        "api": api,
        "docs": f"{api}/docs/",
        "traces": f"http://{LOOPBACK}:{ports['zipkin']}/zipkin",
        "metrics": f"http://{LOOPBACK}:{ports['edge.admin']}/stats/prometheus",
    }
    return Topology(tuple(in_order(processes)), addresses)


def _schema(store: Mapping[str, str], started: set[str]) -> Process:
    return Process(
        name="schema",
        command=(sys.executable, "-m", "meshkit.schema", "apply"),
        needs=tuple(started & {"cassandra"}),
        env=store,
        once=True,
    )


def _service(
    run: RunDir,
    ports: Mapping[str, int],
    service: Service,
    needs: tuple[str, ...],
    engine_env: Mapping[str, str],
) -> Process:
    socket = run.sockets / f"{service.name}.sock"
    metrics = ports[f"{service.name}.metrics"]

    return Process(
        name=service.name,
        command=(sys.executable, "-m", service.module),
        needs=("certificates", *needs),
        # While it drains, it may still call others: through its sidecar.
        stops_before=(f"{service.name}.envoy",),
        ready=probes.grpc_health(socket),
        env={
            "OTEL_TRACES_EXPORTER": "zipkin",
            "OTEL_EXPORTER_ZIPKIN_ENDPOINT": f"http://{LOOPBACK}:{ports['zipkin']}/api/v2/spans",
            "JWT_ISSUER": DEFAULT_ISSUER,
            "JWT_AUDIENCE": DEFAULT_AUDIENCE,
            **settings.current_for(service.name),
            **engine_env,
            "SERVICE_INSTANCE": service.name,
            "LISTEN": f"unix:{socket}",
            "MESH_OUTBOUND": f"unix:{run.sockets / f'{service.name}.out.sock'}",
            "METRICS_PORT": str(metrics),
            "PAGE_TOKEN_KEY_FILE": str(run.keys / "page_token.key"),
            "JWT_SIGNING_KEY_FILE": str(run.keys / "jwt.pem"),
            "PYTHONUNBUFFERED": "1",
            # glibc keeps an arena a thread otherwise, and gives little of it back.
            "MALLOC_ARENA_MAX": "2",
        },
        ports=(metrics,),
        addresses={
            "grpc": f"unix:{socket}",
            "metrics": f"http://{LOOPBACK}:{metrics}/metrics",
        },
        stop_timeout_s=15.0,
    )
