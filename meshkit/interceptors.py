"""What every unary call passes through on the server, in one layer.

In this order: in-flight limit, deadline, identity, trace, validation, the handler, errors, metrics. It
wraps handlers once when they are registered (`Intercepted` stands in for the server) instead of being
grpc.aio interceptors, because each of those costs tens of microseconds a call.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NoReturn

import grpc
import protovalidate
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from grpc_status import rpc_status
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode
from prometheus_client import Counter, Gauge, Histogram

from meshkit import deadline, faults, identity, telemetry
from meshkit.errors import (
    DeadlineExceeded,
    FieldViolation,
    Internal,
    InvalidArgument,
    ResourceExhausted,
    StarlingError,
)
from meshkit.log import get_logger

LEAST_S = 0.02
"""A call with less time left than this is refused: nobody would hear the answer."""

_CHARACTERS = re.compile(r"does not match regex pattern `\^\[(.+)\]\{(\d+),(\d+)\}\$`")

_log = get_logger(__name__)
_CALLS = Counter("starling_rpc_calls", "Calls by method and code", ["method", "code"])
_SECONDS = Histogram(
    "starling_rpc_seconds",
    "Time of a call in the handler and around it",
    ["method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
_IN_FLIGHT = Gauge("starling_rpc_in_flight", "Calls under way")

Handler = Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Awaitable[Any]]


class Intercepted:
    """Stands in for a `grpc.aio.Server` when servicers are added, and wraps their unary handlers.

    Streaming handlers (health watch, reflection) pass unchanged.
    """

    def __init__(
        self, server: grpc.aio.Server, *, max_in_flight: int, default_deadline_s: float
    ) -> None:
        self._server = server
        self._max_in_flight = max_in_flight
        self._default_deadline_s = default_deadline_s
        self._in_flight = 0
        self.services: list[str] = []
        _IN_FLIGHT.set_function(lambda: float(self._in_flight))

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Called by generated code; the registered handlers below are the same ones."""

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, Any]
    ) -> None:
        """Called by generated code with all methods of a service."""
        wrapped = {
            name: self._wrap(f"{service_name}/{name}", handler)
            for name, handler in method_handlers.items()
        }
        self.services.append(service_name)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service_name, wrapped),)
        )
        self._server.add_registered_method_handlers(service_name, wrapped)

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return self._in_flight

    def _wrap(self, method: str, inner: Any) -> Any:
        if inner.request_streaming or inner.response_streaming:
            return inner
        return grpc.unary_unary_rpc_method_handler(
            self._around(method, inner.unary_unary),
            request_deserializer=_parser(inner.request_deserializer),
            response_serializer=_serialize,
        )

    def _around(self, method: str, handler: Handler) -> Handler:
        seconds = _SECONDS.labels(method)
        ok = _CALLS.labels(method, "OK")
        attributes = {"rpc.system": "grpc", "rpc.method": method}
        collect = protovalidate.collect_violations

        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            started = time.perf_counter()
            if self._in_flight >= self._max_in_flight:
                await _abort(context, method, ResourceExhausted("too many calls at once"))
            self._in_flight += 1
            parent, limit_s = _enter(context)
            scope = telemetry.span(method, SpanKind.SERVER, attributes, parent=parent)
            scope.__enter__()
            try:
                if limit_s is not None and limit_s < LEAST_S:
                    raise DeadlineExceeded("the deadline is too near")
                if isinstance(request, StarlingError):
                    raise request
                violations = collect(request)
                if violations:
                    raise _invalid(violations)
                if limit_s is not None:
                    deadline.set_remaining(limit_s)
                    response = await handler(request, context)
                else:
                    # grpc cancels a call whose deadline is past; this one brought none.
                    deadline.set_remaining(self._default_deadline_s)
                    async with asyncio.timeout(self._default_deadline_s):
                        response = await handler(request, context)
            except grpc.aio.AbortError:
                raise
            except Exception as error:
                await self._fail(context, method, error)
            else:
                ok.inc()
                return response
            finally:
                self._in_flight -= 1
                seconds.observe(time.perf_counter() - started)
                scope.__exit__(None, None, None)

        return call

    async def _fail(
        self, context: grpc.aio.ServicerContext[Any, Any], method: str, error: Exception
    ) -> NoReturn:
        known = faults.translate(error)
        if known is None or isinstance(known, Internal):
            _log.exception("call failed", method=method, exc_info=error)
            trace_id = trace.get_current_span().get_span_context().trace_id
            metadata = {"trace_id": f"{trace_id:032x}"} if trace_id else None
            known = Internal("internal error", metadata=metadata)
        elif known is not error:
            _log.warning("call failed", method=method, error=repr(error)[:300])
        await _abort(context, method, known)


def _enter(
    context: grpc.aio.ServicerContext[Any, Any],
) -> tuple[Context | None, float | None]:
    """Set the caller of this task's context; gives the trace parent and the seconds the client allows."""
    traceparent: str | None = None
    tracestate: str | None = None
    user_id: str | None = None
    username: str | None = None
    for key, value in context.invocation_metadata() or ():
        if key == identity.USER_ID_KEY:
            user_id = _text(value)
        elif key == identity.USERNAME_KEY:
            username = _text(value)
        elif key == telemetry.TRACEPARENT:
            traceparent = _text(value)
        elif key == telemetry.TRACESTATE:
            tracestate = _text(value)
    identity.set_caller(identity.parse_caller(user_id, username) if user_id else None)
    remote = telemetry.parse_traceparent(traceparent, tracestate) if traceparent else None
    return (telemetry.context_of(remote) if remote else None), context.time_remaining()


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _parser(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Gives an InvalidArgument in the place of a request that cannot be parsed: grpc would answer UNKNOWN.

    What comes through the edge is a message; only its texts may be bytes that are no UTF-8.
    """
    kind = getattr(deserialize, "__self__", None)
    fields = kind.DESCRIPTOR.fields if kind is not None else ()
    texts = [field.name for field in fields if field.type == FieldDescriptor.TYPE_STRING]

    def parse(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return InvalidArgument.fields(
                [FieldViolation(name, "must be UTF-8 text") for name in texts]
                or [FieldViolation("", "the request cannot be parsed")]
            )

    return parse


def _serialize(response: Any) -> bytes:
    """Handlers may answer with bytes that are serialized already (`server.serialized`)."""
    return response if type(response) is bytes else response.SerializeToString()


async def _abort(
    context: grpc.aio.ServicerContext[Any, Any], method: str, error: StarlingError
) -> NoReturn:
    _CALLS.labels(method, error.code.name).inc()
    current = trace.get_current_span()
    if current.is_recording():
        # abort_with_status leaves the span UNSET: say what was answered, and what is our fault.
        current.set_attribute("rpc.grpc.status_code", error.code.value[0])
        current.set_attribute("error.type", error.reason)
        if error.code in _SERVER_FAULTS:
            current.set_status(Status(StatusCode.ERROR, error.message))
    await context.abort_with_status(rpc_status.to_status(error.to_status()))
    raise AssertionError("abort returned")


_SERVER_FAULTS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


def _invalid(violations: Sequence[Any]) -> InvalidArgument:
    return InvalidArgument.fields(
        [
            FieldViolation(
                _path(violation.proto.field),
                _description(violation.proto.message or violation.proto.rule_id),
                _reason(violation.proto.rule_id),
            )
            for violation in violations
        ]
    )


def _description(message: str) -> str:
    """protovalidate's words, but for two that read badly."""
    if found := _CHARACTERS.fullmatch(message):
        characters, least, most = found.groups()
        return f"must be {least} to {most} characters of [{characters}]"
    return message.replace("must be at least 1 characters", "must not be empty")


def _path(field: Any) -> str:
    """`media_ids[2]`, `filter.user_id`, `labels["x"]`."""
    parts: list[str] = []
    for element in field.elements if field is not None else ():
        part = element.field_name
        subscript = element.subscript
        if subscript is not None:
            value = subscript.value
            part += f'["{value}"]' if isinstance(value, str) else f"[{value}]"
        parts.append(part)
    return ".".join(parts)


def _reason(rule_id: str) -> str:
    """`string.max_len` → `STRING_MAX_LEN`."""
    return "".join(char if char.isalnum() else "_" for char in rule_id).upper()
