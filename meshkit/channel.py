"""Calls to other services: one channel to the sidecar, and on every call the deadline, caller and trace.

`MeshChannel` is what generated stubs take. It wraps each method once instead of using grpc's client
interceptors, which cost more than the call. Retries and balancing are the sidecar's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import grpc
from opentelemetry.trace import SpanKind

from meshkit import deadline, faults, identity, telemetry

DEFAULT_TIMEOUT_S = 10.0
"""For calls made outside of any call."""

_OPTIONS: list[tuple[str, Any]] = [
    # Well above the five minutes a server tolerates pings of an idle connection: GOAWAY too_many_pings.
    ("grpc.keepalive_time_ms", 600_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.max_send_message_length", 16 << 20),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
]


class MeshChannel(grpc.aio.Channel):
    """A channel to `target` (the sidecar's outbound listener). Failed calls raise StarlingErrors.

    With `credentials` it speaks TLS itself, to the peer whose certificate names `server_name`: for
    programs that have no sidecar.
    """

    def __init__(
        self,
        target: str,
        default_timeout_s: float = DEFAULT_TIMEOUT_S,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        server_name: str = "",
    ) -> None:
        if not target:
            raise ValueError("MESH_OUTBOUND is not set")
        options = list(_OPTIONS)
        if target.startswith("unix:"):
            # The :authority of a unix socket would be the percent-encoded path, which Envoy refuses.
            options.append(("grpc.default_authority", "mesh.starling"))
        if credentials is None:
            self._inner = grpc.aio.insecure_channel(target, options=options)
        else:
            options.append(("grpc.ssl_target_name_override", server_name))
            self._inner = grpc.aio.secure_channel(target, credentials, options=options)
        self._default_timeout_s = default_timeout_s

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> Any:
        """The callable a stub holds for `method`: `await call(request, timeout=None, metadata=None)`."""
        # Typed loosely: the stubs do not know _registered_method, which saves a lookup a call.
        unary_unary: Any = self._inner.unary_unary
        inner = unary_unary(
            method,
            request_serializer=request_serializer,
            response_deserializer=response_deserializer,
            _registered_method=_registered_method,
        )
        name = method.lstrip("/")
        default_timeout_s = self._default_timeout_s
        attributes = {"rpc.system": "grpc", "rpc.method": name}

        async def call(
            request: Any,
            *,
            timeout: float | None = None,
            metadata: Sequence[tuple[str, str]] | None = None,
            credentials: Any = None,
            wait_for_ready: bool | None = None,
            compression: Any = None,
        ) -> Any:
            limit_s = deadline.budget(default_timeout_s if timeout is None else timeout)
            out = identity.outgoing_metadata()
            if metadata:
                out.extend(metadata)
            with telemetry.span(name, SpanKind.CLIENT, attributes):
                trace = telemetry.traceparent()
                if trace is not None:
                    out.append((telemetry.TRACEPARENT, trace))
                try:
                    return await inner(
                        request, timeout=limit_s, metadata=out, wait_for_ready=wait_for_ready
                    )
                except grpc.aio.AioRpcError as error:
                    raise faults.from_rpc(error) from error

        return call

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Streams pass as they are."""
        return self._inner.unary_stream(*args, **kwargs)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Streams pass as they are."""
        return self._inner.stream_unary(*args, **kwargs)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Streams pass as they are."""
        return self._inner.stream_stream(*args, **kwargs)

    async def close(self, grace: float | None = None) -> None:
        """Close, after calls under way had `grace` seconds."""
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """The connection's state."""
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the state is another."""
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until connected."""
        await self._inner.channel_ready()

    async def __aenter__(self) -> MeshChannel:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
