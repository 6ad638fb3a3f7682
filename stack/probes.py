"""Readiness, asked for in each engine's own protocol. A probe opens a connection, and closes it."""

import asyncio
import http
import http.client
import json
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import h2.config
import h2.connection
import h2.events

from stack.ports import LOOPBACK
from stack.process import NotReadyError, Probe

PROBE_TIMEOUT_S = 3.0


@asynccontextmanager
async def _connection(
    target: int | Path, host: str = LOOPBACK
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a port of loopback or to a Unix socket, for PROBE_TIMEOUT_S at most."""
    async with asyncio.timeout(PROBE_TIMEOUT_S):
        if isinstance(target, Path):
            reader, writer = await asyncio.open_unix_connection(target)
        else:
            reader, writer = await asyncio.open_connection(host, target)
        try:
            yield reader, writer
        except asyncio.IncompleteReadError as error:
            raise NotReadyError("it closed the connection") from error
        finally:
            writer.close()


def _get(port: int, path: str) -> bytes:
    """Raises NotReadyError unless the answer is a 200."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except http.client.HTTPException as error:
        raise NotReadyError(f"GET {path}: {error!r}") from error
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        text = body[:200].decode(errors="replace").strip()
        raise NotReadyError(f"GET {path} answers {response.status} {text}")
    return body


def http_ok(port: int, path: str) -> Probe:
    """GET `path` answers 200."""

    async def probe() -> None:
        await asyncio.to_thread(_get, port, path)

    return probe


def nats_writes(monitor_port: int) -> Probe:
    """This NATS server writes its streams. One that could not, when the disk was full, refuses what comes for
    that stream until it is started anew; its health tells. All else that its health tells passes."""

    async def probe() -> None:
        try:
            await asyncio.to_thread(_get, monitor_port, "/healthz")
        except NotReadyError as error:
            if "write error" in str(error):
                raise

    return probe


def envoy_upstreams(*admin_ports: int) -> Probe:
    """Every host that these Envoys send to passes its health check: calls will not meet a 503."""

    async def probe() -> None:
        bodies = await asyncio.gather(
            *(asyncio.to_thread(_get, port, "/clusters?format=json") for port in admin_ports)
        )
        failing = {
            cluster["name"]
            for body in bodies
            for cluster in json.loads(body).get("cluster_statuses", [])
            if any(
                host.get("health_status", {}).get("failed_active_health_check")
                for host in cluster.get("host_statuses", [])
            )
        }
        if failing:
            raise NotReadyError(f"not every host is healthy of {', '.join(sorted(failing))}")

    return probe


def valkey(port: int) -> Probe:
    """PING answers PONG (not LOADING, not an error)."""

    async def probe() -> None:
        async with _connection(port) as (reader, writer):
            writer.write(b"PING\r\n")
            answer = await reader.readline()
            if answer != b"+PONG\r\n":
                raise NotReadyError(f"PING answers {answer!r}")

    return probe


def cql(host: str, port: int) -> Probe:
    """A query is answered with rows."""

    def frame(opcode: int, body: bytes) -> bytes:
        return struct.pack(">BBhBi", 0x04, 0, 0, opcode, len(body)) + body

    def string(text: str) -> bytes:
        return struct.pack(">H", len(text)) + text.encode()

    async def probe() -> None:
        startup, query, ready, result, consistency_one = 0x01, 0x07, 0x02, 0x08, 1
        select = b"SELECT release_version FROM system.local"
        async with _connection(port, host) as (reader, writer):
            for request, wanted in (
                (
                    frame(startup, struct.pack(">H", 1) + string("CQL_VERSION") + string("3.0.0")),
                    ready,
                ),
                (
                    frame(
                        query,
                        struct.pack(">i", len(select))
                        + select
                        + struct.pack(">HB", consistency_one, 0),
                    ),
                    result,
                ),
            ):
                writer.write(request)
                _, _, _, opcode, length = struct.unpack(">BBhBi", await reader.readexactly(9))
                body = await reader.readexactly(length)
                if opcode != wanted:
                    raise NotReadyError(f"CQL answers {body[6:200].decode(errors='replace')!r}")

    return probe


def grpc_health(socket: Path) -> Probe:
    """`grpc.health.v1.Health/Check` of the whole server answers SERVING.

    Spoken over h2, because importing grpcio would cost the supervisor 40 MB and forbid it to fork.
    """
    # An empty HealthCheckRequest in gRPC's framing; and HealthCheckResponse{status: SERVING}.
    empty_request, serving = bytes(5), b"\0\0\0\0\x02\x08\x01"
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]

    async def probe() -> None:
        async with _connection(socket) as (reader, writer):
            http2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
            http2.initiate_connection()
            http2.send_headers(1, headers)
            http2.send_data(1, empty_request, end_stream=True)
            answer, ended, status = b"", False, ""
            while not ended:
                writer.write(http2.data_to_send())
                received = await reader.read(4096)
                if not received:
                    raise NotReadyError("it closed the connection")
                for event in http2.receive_data(received):
                    if isinstance(event, h2.events.DataReceived):
                        answer += event.data
                    elif isinstance(event, h2.events.TrailersReceived | h2.events.ResponseReceived):
                        status = _header(event.headers, "grpc-status") or status
                    elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                        ended = True
            if answer != serving:
                raise NotReadyError(f"its health is not SERVING (grpc-status {status})")

    return probe


def _header(headers: Iterable[tuple[str | bytes, str | bytes]], name: str) -> str | None:
    for key, value in headers:
        if key == name:
            return str(value)
    return None
