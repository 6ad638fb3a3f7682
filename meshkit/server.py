"""The gRPC server every service runs: interceptors, health, reflection, unix socket, metrics."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from meshkit.config import MeshConfig
from meshkit.interceptors import Intercepted
from meshkit.log import get_logger

M = TypeVar("M", bound=Message)

Registration = tuple[Callable[[Any, Any], None], object]
"""(the generated add_XServicer_to_server, the servicer)."""

_log = get_logger(__name__)

_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.max_send_message_length", 16 << 20),
    ("grpc.max_metadata_size", 32 << 10),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
]


def serialized(kind: type[M], data: bytes) -> M:
    """`data`, which is a serialized `kind`, as a handler's answer: it goes out as it is, unparsed."""
    del kind
    return cast(M, data)


class MeshServer:
    """A grpc.aio server with everything that is the same in all services."""

    def __init__(self, config: MeshConfig, registrations: Sequence[Registration]) -> None:
        self._config = config
        self._server = grpc.aio.server(options=_OPTIONS)
        self._intercepted = Intercepted(
            self._server,
            max_in_flight=config.max_in_flight,
            default_deadline_s=config.default_deadline_s,
        )
        for add, servicer in registrations:
            add(servicer, self._intercepted)
        self._health = HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._names = ("", *self._intercepted.services)
        reflection.enable_server_reflection(
            (*self._intercepted.services, "grpc.health.v1.Health", reflection.SERVICE_NAME),
            self._server,
        )
        self.port = 0
        self.metrics_port: int | None = None
        self._metrics: Any = None

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return self._intercepted.in_flight

    async def start(self) -> None:
        """Listen, not ready yet. Raises OSError when the address is taken."""
        try:
            await self._listen(self._config.listen)
        except BaseException:
            await self._server.stop(None)
            raise

    async def _listen(self, listen: str) -> None:
        if listen.startswith("unix:"):
            _clear_socket(Path(listen.removeprefix("unix:")))
        for name in self._names:
            await self._health.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)
        # Nothing of the socket may be open to others before its mode is set.
        before = os.umask(0o177)
        try:
            try:
                self.port = self._server.add_insecure_port(listen)
            except RuntimeError as error:
                raise OSError(f"cannot listen on {listen}: {error}") from error
            await self._server.start()
        finally:
            os.umask(before)
        if listen.startswith("unix:"):
            os.chmod(listen.removeprefix("unix:"), 0o600)
        if self._config.metrics_port is not None:
            self._metrics, _ = start_http_server(self._config.metrics_port, addr="127.0.0.1")
            self.metrics_port = self._metrics.server_port
        _log.info("listening", listen=listen, port=self.port, metrics_port=self.metrics_port)

    async def set_ready(self, ready: bool) -> None:
        """Answer health checks with SERVING or NOT_SERVING."""
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if ready
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for name in self._names:
            await self._health.set(name, status)

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, let those under way end for `grace_s`, then cancel them."""
        await self._server.stop(grace_s)
        # stop() does not wait for handlers that were cancelled or aborted.
        end = asyncio.get_running_loop().time() + 1.0
        while self.in_flight and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        if self._metrics is not None:
            await asyncio.to_thread(self._metrics.shutdown)
            self._metrics.server_close()


def _clear_socket(path: Path) -> None:
    """Make the socket's directory, and remove a socket nobody listens on any more."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(f"{path} is in use by another process")
