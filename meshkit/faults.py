"""Third-party failures in our own terms: the only file that knows the drivers' exceptions.

What is not listed here is a fault of ours and is answered INTERNAL, without its text.
"""

from __future__ import annotations

import asyncio

import grpc
import nats.errors
import nats.js.errors
from cassandra import (
    CoordinationFailure,
    OperationTimedOut,
    RequestExecutionException,
)
from cassandra import Timeout as CassandraTimeout
from cassandra import Unavailable as CassandraUnavailable
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.pool import NoConnectionsAvailable
from cassandra.protocol import ErrorMessage
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from meshkit import deadline, errors
from meshkit.errors import DeadlineExceeded, FieldViolation, StarlingError
from meshkit.redis import RedisReplyError, RedisUnavailable

_CASSANDRA = (
    CassandraUnavailable,
    CassandraTimeout,
    CoordinationFailure,
    OperationTimedOut,
    NoHostAvailable,
    NoConnectionsAvailable,
    ConnectionException,
)
_NOT_SENT = (CassandraUnavailable, NoConnectionsAvailable)
# Codes of ErrorMessage that say "not now": server error, overloaded, bootstrapping, truncate.
_BUSY_CODES = frozenset({0x0000, 0x1001, 0x1002})

_CLASSES: dict[int, type[StarlingError]] = {
    kind.code.value[0]: kind
    for kind in (
        errors.InvalidArgument,
        errors.FailedPrecondition,
        errors.NotFound,
        errors.AlreadyExists,
        errors.PermissionDenied,
        errors.Unauthenticated,
        errors.ResourceExhausted,
        errors.Unavailable,
        errors.DeadlineExceeded,
        errors.Unimplemented,
    )
}


def translate(error: BaseException) -> StarlingError | None:
    """The StarlingError that stands for a driver's exception, or None for a fault of ours."""
    if isinstance(error, StarlingError):
        return error
    if isinstance(error, _CASSANDRA) or is_cassandra_busy(error):
        return _late() or errors.STORE_UNAVAILABLE.error()
    if isinstance(error, nats.errors.Error):
        if isinstance(error, nats.js.errors.BadRequestError | nats.errors.BadSubjectError):
            return None
        return _late() or errors.EVENTS_UNAVAILABLE.error()
    if isinstance(error, RedisUnavailable | RedisReplyError):
        return _late() or errors.CACHE_UNAVAILABLE.error()
    if isinstance(error, grpc.aio.AioRpcError):
        return from_rpc(error)
    if isinstance(error, NotImplementedError):
        # What the generated base class of a servicer raises.
        return errors.Unimplemented("this method is not implemented")
    # asyncio.TimeoutError is the builtin TimeoutError since 3.11.
    if isinstance(error, TimeoutError):
        return DeadlineExceeded("the work took longer than the call may")
    if isinstance(error, asyncio.QueueFull):
        return errors.ResourceExhausted("a queue is full")
    if isinstance(error, ConnectionError):
        return _late() or errors.Unavailable("a store cannot be reached")
    return None


def is_cassandra_busy(error: BaseException) -> bool:
    """Whether it is one of the server's passing errors that have no class of their own."""
    if isinstance(error, ErrorMessage):
        return error.code in _BUSY_CODES
    return isinstance(error, RequestExecutionException)


def lwt_outcome_unknown(error: BaseException) -> bool:
    """Whether a lightweight transaction that failed so may have been applied all the same."""
    if isinstance(error, NoHostAvailable):
        # A map of host to what it said: unknown only if some host may have taken the request.
        return any(
            not isinstance(each, (*_NOT_SENT, OSError)) for each in dict(error.errors).values()
        )
    if isinstance(error, _NOT_SENT):
        return False
    return isinstance(error, _CASSANDRA) or is_cassandra_busy(error)


def from_rpc(error: grpc.aio.AioRpcError) -> StarlingError:
    """What another service answered, typed again, with its reason, violations and retry delay."""
    status = _status_of(error)
    kind = _CLASSES.get(error.code().value[0], errors.Internal)
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    bad = error_details_pb2.BadRequest()
    found_info = found_retry = False
    for detail in status.details if status else ():
        found_info = detail.Unpack(info) or found_info
        found_retry = detail.Unpack(retry) or found_retry
        detail.Unpack(bad)
    if kind is errors.Unavailable and not found_info:
        return errors.REMOTE_UNAVAILABLE.error(_text(error))
    return kind(
        _text(error),
        reason=info.reason if found_info else None,
        domain=info.domain if found_info else errors.MESH_DOMAIN,
        metadata=dict(info.metadata),
        violations=[FieldViolation(v.field, v.description, v.reason) for v in bad.field_violations],
        retry_delay_s=(
            retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9 if found_retry else None
        ),
        remote=True,
    )


def _status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    try:
        return rpc_status.from_call(error)  # type: ignore[arg-type]
    except ValueError:
        # Details that contradict the call's own code: believe the code.
        return None


def _text(error: grpc.aio.AioRpcError) -> str:
    if error.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
        return "another service failed"
    return error.details() or error.code().name


def _late() -> StarlingError | None:
    left = deadline.remaining()
    if left is not None and left <= deadline.RESERVE_S:
        return DeadlineExceeded("a store did not answer in the time this call had")
    return None
