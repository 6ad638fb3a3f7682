"""The one family of errors that domain code raises, and its translation to google.rpc.Status.

A domain declares each reason once, at module level, and raises the class of the reason's code:

    TWEET_NOT_FOUND = Reason("TWEET_NOT_FOUND", "tweet.starling", NotFound, "No tweet has this id.")
    raise TWEET_NOT_FOUND.error(f"tweet {tweet_id} does not exist", tweet_id=tweet_id)

`catalogue()` lists all declared reasons, so that docs are made from it; raising an undeclared reason is a
ValueError, so tests find it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

MESH_DOMAIN = "mesh.starling"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field that is wrong: its proto path in snake_case, why, and a SCREAMING_SNAKE reason or ""."""

    field: str
    description: str
    reason: str = ""


class StarlingError(Exception):
    """What domain code raises and clients of other services catch; subclasses fix the gRPC code.

    `reason` and `domain` become ErrorInfo, `violations` BadRequest, `retry_delay_s` RetryInfo.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN
    default_reason: ClassVar[str] = "UNKNOWN"
    default_retry_delay_s: ClassVar[float | None] = None

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        domain: str = MESH_DOMAIN,
        metadata: Mapping[str, object] | None = None,
        violations: Sequence[FieldViolation] = (),
        retry_delay_s: float | None = None,
        remote: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.domain = domain
        self.metadata = {key: str(value) for key, value in (metadata or {}).items()}
        self.violations = tuple(violations)
        self.retry_delay_s = (
            retry_delay_s if retry_delay_s is not None else self.default_retry_delay_s
        )
        if not remote and (self.domain, self.reason) not in _CATALOGUE:
            raise ValueError(f"reason {self.domain}/{self.reason} is not declared")

    def to_status(self) -> status_pb2.Status:
        """google.rpc.Status with ErrorInfo, and BadRequest and RetryInfo where they apply."""
        number: int = self.code.value[0]
        status = status_pb2.Status(code=number, message=self.message)
        _pack(
            status,
            error_details_pb2.ErrorInfo(
                reason=self.reason, domain=self.domain, metadata=self.metadata
            ),
        )
        if self.violations:
            bad = error_details_pb2.BadRequest()
            for violation in self.violations:
                bad.field_violations.add(
                    field=violation.field,
                    description=violation.description,
                    reason=violation.reason,
                )
            _pack(status, bad)
        if self.retry_delay_s is not None:
            _pack(status, error_details_pb2.RetryInfo(retry_delay=_duration(self.retry_delay_s)))
        return status


class InvalidArgument(StarlingError):
    """A request that is wrong whatever the state; says which fields."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    default_reason = "INVALID_FIELD"

    @classmethod
    def field(cls, field: str, description: str, reason: str = "") -> InvalidArgument:
        """One field is wrong; `description` is a phrase such as "must be 1 to 140 characters"."""
        return cls(
            f"{field}: {description}", violations=[FieldViolation(field, description, reason)]
        )

    @classmethod
    def fields(cls, violations: Sequence[FieldViolation]) -> InvalidArgument:
        """Several fields are wrong; `violations` is not empty."""
        text = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
        return cls(text, violations=violations)


class FailedPrecondition(StarlingError):
    """Well formed, but refused in the present state."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    default_reason = "FAILED_PRECONDITION"


class NotFound(StarlingError):
    """What was named does not exist."""

    code = grpc.StatusCode.NOT_FOUND
    default_reason = "NOT_FOUND"


class AlreadyExists(StarlingError):
    """What was to be created is there, e.g. the username."""

    code = grpc.StatusCode.ALREADY_EXISTS
    default_reason = "ALREADY_EXISTS"


class PermissionDenied(StarlingError):
    """The caller is known and may not."""

    code = grpc.StatusCode.PERMISSION_DENIED
    default_reason = "PERMISSION_DENIED"


class Unauthenticated(StarlingError):
    """The caller is not known."""

    code = grpc.StatusCode.UNAUTHENTICATED
    default_reason = "UNAUTHENTICATED"


class ResourceExhausted(StarlingError):
    """Too much at once; come back after `retry_delay_s`."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    default_reason = "OVERLOADED"
    default_retry_delay_s = 1.0


class Unavailable(StarlingError):
    """Something needed is down for the moment; come back after `retry_delay_s`."""

    code = grpc.StatusCode.UNAVAILABLE
    default_reason = "UNAVAILABLE"
    default_retry_delay_s = 1.0


class OutcomeUnknown(Unavailable):
    """A write that may or may not have happened: resolve it by reading, or repeat it identically."""

    default_reason = "OUTCOME_UNKNOWN"


class DeadlineExceeded(StarlingError):
    """The caller's time ran out."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    default_reason = "DEADLINE_EXCEEDED"


class Unimplemented(StarlingError):
    """The method, or this use of it, does not exist."""

    code = grpc.StatusCode.UNIMPLEMENTED
    default_reason = "UNIMPLEMENTED"


class Internal(StarlingError):
    """A fault of ours. Never carries the text of an exception to a client."""

    code = grpc.StatusCode.INTERNAL
    default_reason = "INTERNAL"


@dataclass(frozen=True, slots=True)
class Reason:
    """A declared reason: its name, the domain that raises it, the error class, and what it means."""

    name: str
    domain: str
    kind: type[StarlingError]
    meaning: str

    def __post_init__(self) -> None:
        known = _CATALOGUE.get((self.domain, self.name))
        if known is not None and (known.kind, known.meaning) != (self.kind, self.meaning):
            raise ValueError(f"reason {self.domain}/{self.name} is declared twice")
        _CATALOGUE[self.domain, self.name] = self

    def error(
        self,
        message: str = "",
        *,
        violations: Sequence[FieldViolation] = (),
        retry_delay_s: float | None = None,
        **metadata: object,
    ) -> StarlingError:
        """The error to raise; `metadata` goes into ErrorInfo; the message defaults to the meaning."""
        return self.kind(
            message or self.meaning,
            reason=self.name,
            domain=self.domain,
            metadata=metadata,
            violations=violations,
            retry_delay_s=retry_delay_s,
        )


_CATALOGUE: dict[tuple[str, str], Reason] = {}


def catalogue() -> list[Reason]:
    """Every reason declared by the modules imported so far, by domain and name."""
    return [_CATALOGUE[key] for key in sorted(_CATALOGUE)]


def _pack(status: status_pb2.Status, detail: object) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)  # type: ignore[arg-type]
    status.details.append(packed)


def _duration(seconds: float) -> duration_pb2.Duration:
    whole = int(seconds)
    return duration_pb2.Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))


# Reasons of the runtime itself.
for _kind, _meaning in (
    (InvalidArgument, "A field of the request is wrong; BadRequest names it."),
    (FailedPrecondition, "The request does not fit the present state."),
    (NotFound, "What the request names does not exist."),
    (AlreadyExists, "What the request would create exists."),
    (PermissionDenied, "The caller may not do this."),
    (Unauthenticated, "The call needs an authenticated user."),
    (ResourceExhausted, "The service is at its limit; retry after the delay."),
    (Unavailable, "Something the service needs is down; retry after the delay."),
    (OutcomeUnknown, "The write may or may not have happened; repeat it with the same key."),
    (DeadlineExceeded, "The deadline passed before the answer was there."),
    (Unimplemented, "The method is not implemented."),
    (Internal, "A fault of the service, logged under the trace id."),
):
    Reason(_kind.default_reason, MESH_DOMAIN, _kind, _meaning)

IDENTITY_MISMATCH = Reason(
    "IDENTITY_MISMATCH",
    MESH_DOMAIN,
    PermissionDenied,
    "The user id in the request is not the token's subject.",
)
STORE_UNAVAILABLE = Reason(
    "STORE_UNAVAILABLE", MESH_DOMAIN, Unavailable, "Cassandra cannot be reached at the moment."
)
EVENTS_UNAVAILABLE = Reason(
    "EVENTS_UNAVAILABLE", MESH_DOMAIN, Unavailable, "JetStream cannot be reached at the moment."
)
CACHE_UNAVAILABLE = Reason(
    "CACHE_UNAVAILABLE", MESH_DOMAIN, Unavailable, "Redis cannot be reached at the moment."
)
IDS_UNAVAILABLE = Reason(
    "IDS_UNAVAILABLE", MESH_DOMAIN, Unavailable, "No leased worker id: ids cannot be made just now."
)
REMOTE_UNAVAILABLE = Reason(
    "REMOTE_UNAVAILABLE", MESH_DOMAIN, Unavailable, "Another service cannot be reached."
)
