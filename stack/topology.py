"""The table of processes: what runs, by which command, on what it needs.

cassandra  nats  redis  zipkin        engines; one that the caller's environment names is not started
ring  slots                           wait for the clusters of a replicated mesh's engines
schema                                creates and migrates the keyspace, then ends
gateway graph_svc tweet_svc timeline_svc fanout    listen on Unix sockets only
NAME.envoy                            the sidecar of each: mTLS on a TCP port of loopback
edge                                  the public API

Further instances are NAME-2 and so on; `stack.scale` says how many.
"""

import os
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from stack import probes, settings
from stack.cassandra import cassandra
from stack.envoys import DEFAULT_AUDIENCE, DEFAULT_ISSUER, certificates_of, envoys
from stack.errors import StackError
from stack.nats import nats
from stack.ports import LOOPBACK, choose, free_ports
from stack.process import Process, in_order
from stack.run_dir import RunDir
from stack.scale import REPLICATED, SINGLE, Scale, instance, instances, service_of
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

REPLICATED_DRAIN_S = 3.0
"""Longer than every caller needs to see by its health checks that an instance stops."""


def _engine_ports(scale: Scale) -> dict[str, int]:
    """Cassandra's nodes share theirs, on addresses of their own."""
    ports = {"cassandra": 9042, "storage": 7000, "zipkin": 9411}
    for number in range(scale.nats):
        name = instance("nats", number + 1)
        ports |= {name: 4222 + number, f"{name}.monitor": 8222 + number}
        if scale.nats > 1:
            ports[f"{name}.route"] = 6222 + number
    for number in range(scale.redis):
        name = instance("redis", number + 1)
        ports[name] = 6379 + number
        if scale.redis > 1:
            ports[f"{name}.bus"] = 16379 + number
    return ports


def _service_ports(scale: Scale) -> dict[str, int]:
    return {
        f"{instance(service.name, copy + 1)}.{use}": first + 10 * copy + number
        for use, first in (("inbound", 15000), ("admin", 15100), ("metrics", 15200))
        for copy in range(scale.services)
        for number, service in enumerate(SERVICES)
    }


def _edge_ports(scale: Scale) -> dict[str, int]:
    admin = {f"{name}.admin": 9901 + n for n, name in enumerate(instances("edge", scale.edges))}
    return {"edge": 8443, **admin}


@dataclass(frozen=True)
class Topology:
    """Processes, each behind what it needs, and the addresses that a user wants to know."""

    processes: tuple[Process, ...]
    addresses: Mapping[str, str]


def engine_ports() -> dict[str, int]:
    """Free ones, so that the engines stand beside a mesh and not in its way."""
    names = _engine_ports(SINGLE)
    return dict(zip(names, free_ports(len(names)), strict=True))


def engines(run: RunDir, ports: Mapping[str, int]) -> Topology:
    """The engines alone, for the test suite and for developers."""
    processes, addresses = _engines(run, ports, SINGLE)
    return Topology(tuple(in_order(processes)), addresses)


def _engines(
    run: RunDir, ports: Mapping[str, int], scale: Scale
) -> tuple[list[Process], dict[str, str]]:
    """Cassandra, NATS and Valkey, as far as the environment does not name ones that are there; and
    the addresses of all: `cql`, `nats`, `redis`.
    """
    rows = {
        "cql": ("CASSANDRA_CONTACT_POINTS", cassandra(run, ports, scale)),
        "nats": ("NATS_URL", nats(run, ports, scale)),
        "redis": ("REDIS_URL", valkey(run, ports, scale)),
    }
    processes: list[Process] = []
    addresses: dict[str, str] = {}
    for use, (variable, engine) in rows.items():
        if given := os.environ.get(variable):
            addresses[use] = given
        else:
            addresses[use] = engine.address
            processes += engine.processes
    return processes, addresses


def mesh_ports(scale: Scale = SINGLE) -> dict[str, int]:
    """The fixed ones, or free ones with `STARLING_PORTS=free`; `STARLING_API_PORT` sets the API's."""
    ports = choose(_engine_ports(scale) | _service_ports(scale) | _edge_ports(scale))
    if api_port := os.environ.get("STARLING_API_PORT"):
        if not api_port.isdigit() or not 0 < int(api_port) < 65536:
            raise StackError(f"STARLING_API_PORT is a port number, not {api_port!r}")
        ports["edge"] = int(api_port)
    return ports


def mesh(run: RunDir, ports: Mapping[str, int], scale: Scale = SINGLE) -> Topology:
    """Everything. Reads the environment for what `stack.settings` names."""
    processes, at = _engines(run, ports, scale)
    store = {
        "CASSANDRA_CONTACT_POINTS": at["cql"],
        "CASSANDRA_REPLICATION": os.environ.get("CASSANDRA_REPLICATION") or str(scale.cassandra),
    }
    engine_env = {
        **store,
        "NATS_URL": at["nats"],
        "NATS_REPLICAS": os.environ.get("NATS_REPLICAS") or str(scale.nats),
        "REDIS_URL": at["redis"],
    }
    if scale.services > 1:
        engine_env["DRAIN_S"] = str(REPLICATED_DRAIN_S)
    processes.append(zipkin(run, ports["zipkin"]))
    started = {process.name for process in processes}
    processes.append(_schema(store, started))
    started.add("schema")
    processes.append(certificates_of(run, tuple(service.name for service in SERVICES)))
    names = []
    for service in SERVICES:
        needs = _started(service.needs, started)
        for name in instances(service.name, scale.services):
            names.append(name)
            processes.append(_service(run, ports, name, service.module, needs, engine_env))
    processes += envoys(run, ports, tuple(names), scale.edges)
    api = f"https://localhost:{ports['edge']}"
    addresses = {
        "api": api,
        "docs": f"{api}/docs/",
        "traces": f"http://{LOOPBACK}:{ports['zipkin']}/zipkin",
        "metrics": f"http://{LOOPBACK}:{ports['edge.admin']}/stats/prometheus",
    }
    return Topology(tuple(in_order(processes)), addresses)


def replicated_ports() -> dict[str, int]:
    """As `mesh_ports`."""
    return mesh_ports(REPLICATED)


def replicated(run: RunDir, ports: Mapping[str, int]) -> Topology:
    """Everything several times: any one process may be lost."""
    return mesh(run, ports, REPLICATED)


def _started(needs: Iterable[str], started: Collection[str]) -> tuple[str, ...]:
    """The processes that `needs` comes to: of engines with several servers all, and their step."""
    steps = {"cassandra": "ring", "redis": "slots"}
    return tuple(
        name
        for name in started
        if service_of(name) in needs or name in {steps.get(need) for need in needs}
    )


def _schema(store: Mapping[str, str], started: set[str]) -> Process:
    return Process(
        name="schema",
        command=(sys.executable, "-m", "meshkit.schema", "apply"),
        needs=_started(("cassandra",), started),
        env=store,
        once=True,
        start_timeout_s=180.0,
    )


def _service(
    run: RunDir,
    ports: Mapping[str, int],
    name: str,
    module: str,
    needs: tuple[str, ...],
    engine_env: Mapping[str, str],
) -> Process:
    socket = run.sockets / f"{name}.sock"
    metrics = ports[f"{name}.metrics"]

    return Process(
        name=name,
        command=(sys.executable, "-m", module),
        needs=("certificates", *needs),
        # While it drains, it may still call others: through its sidecar.
        stops_before=(f"{name}.envoy",),
        ready=probes.grpc_health(socket),
        env={
            "OTEL_TRACES_EXPORTER": "zipkin",
            "OTEL_EXPORTER_ZIPKIN_ENDPOINT": f"http://{LOOPBACK}:{ports['zipkin']}/api/v2/spans",
            "JWT_ISSUER": DEFAULT_ISSUER,
            "JWT_AUDIENCE": DEFAULT_AUDIENCE,
            **settings.current_for(service_of(name)),
            **engine_env,
            "SERVICE_INSTANCE": name,
            "LISTEN": f"unix:{socket}",
            "MESH_OUTBOUND": f"unix:{run.sockets / f'{name}.out.sock'}",
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
