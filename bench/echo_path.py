"""The same path for the echo: an edge and a sidecar of its own, rendered from the mesh's own source."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.mesh import Mesh
from envoy.binary import envoy_path
from envoy.rendering import render
from envoy.spec import RateLimits, TracingSpec
from stack import probes
from stack.envoys import EDGE_CONCURRENCY, SIDECAR_CONCURRENCY, mesh_spec
from stack.ports import free_ports
from stack.process import NotReadyError, Probe

SERVICE = "timeline_svc"
START_WITHIN_S = 30.0
NO_LIMIT = 1_000_000


@dataclass(frozen=True)
class EchoPath:
    """Where the echo is reached, and what it consists of."""

    port: int
    pids: dict[str, int]


@asynccontextmanager
async def echo_path(mesh: Mesh) -> AsyncIterator[EchoPath]:
    """Runs edge, sidecar and echo, beside the mesh, whose keys and certificates they use."""
    folder = Path(tempfile.mkdtemp(prefix="starling-bench-"))
    children: dict[str, asyncio.subprocess.Process] = {}
    try:
        edge_port, edge_admin, inbound, admin = free_ports(4)
        socket = folder / "echo.sock"
        spec = mesh_spec(mesh.run, _ports(mesh), tuple(_services(mesh)))
        spec = replace(
            spec,
            tracing=TracingSpec(spec.tracing.host, spec.tracing.port, 100.0 * mesh.sampling)
            if spec.tracing
            else None,
            limits=RateLimits(ip_rps=NO_LIMIT, user_rps=NO_LIMIT, auth_per_min=NO_LIMIT),
            edge=replace(
                spec.edge,
                port=edge_port,
                admin_port=edge_admin,
                private_socket=folder / "keys.sock",
            ),
            services=tuple(
                replace(
                    service,
                    socket=socket,
                    outbound_socket=folder / "out.sock",
                    inbound_port=inbound,
                    admin_port=admin,
                )
                if service.name == SERVICE
                else service
                for service in spec.services
            ),
        )
        files = render(spec, folder / "envoy")
        children[SERVICE] = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.echo_service",
            env=os.environ
            | {
                "SERVICE_INSTANCE": SERVICE,
                "LISTEN": f"unix:{socket}",
                "OTEL_TRACES_EXPORTER": mesh.setting("OTEL_TRACES_EXPORTER", "zipkin"),
                "OTEL_EXPORTER_ZIPKIN_ENDPOINT": mesh.address("zipkin", "spans"),
                "MALLOC_ARENA_MAX": "2",
            },
            stdout=asyncio.subprocess.DEVNULL,
        )
        await _ready(probes.grpc_health(socket))
        for name, concurrency in (
            ("edge", EDGE_CONCURRENCY),
            (f"{SERVICE}.envoy", SIDECAR_CONCURRENCY),
        ):
            children[name] = await asyncio.create_subprocess_exec(
                str(envoy_path()),
                "--config-path",
                str(files[name]),
                "--disable-hot-restart",
                "--concurrency",
                str(concurrency),
                "--log-level",
                "error",
            )
        await _ready(probes.http_ok(admin, "/ready"))
        await _ready(probes.envoy_upstreams(edge_admin))
        yield EchoPath(edge_port, {name: child.pid for name, child in children.items()})
    finally:
        for child in children.values():
            child.send_signal(signal.SIGTERM)
        for child in children.values():
            await asyncio.wait_for(child.wait(), 15)
        shutil.rmtree(folder, ignore_errors=True)


def _services(mesh: Mesh) -> list[str]:
    return [name.removesuffix(".envoy") for name in mesh.pids() if name.endswith(".envoy")]


def _ports(mesh: Mesh) -> dict[str, int]:
    """The ports of the mesh that runs, by the names that the topology has for them."""

    def port(process: str, use: str) -> int:
        return int(mesh.address(process, use).rpartition(":")[2])

    ports = {
        "edge": mesh.port,
        "edge.admin": port("edge", "admin"),
        "zipkin": int(mesh.address("zipkin", "spans").split(":")[2].split("/")[0]),
    }
    for name in _services(mesh):
        ports[f"{name}.inbound"] = port(f"{name}.envoy", "inbound")
        ports[f"{name}.admin"] = port(f"{name}.envoy", "admin")
    return ports


async def _ready(probe: Probe) -> None:
    end = asyncio.get_running_loop().time() + START_WITHIN_S
    while True:
        try:
            await probe()
            return
        except (OSError, NotReadyError):
            if asyncio.get_running_loop().time() > end:
                raise
            await asyncio.sleep(0.1)
