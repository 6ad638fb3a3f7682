"""google.rpc.Status as the edge prints it: its schemas, and the responses that many calls share."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, NamedTuple

from gateway.openapi import notes

Json = dict[str, Any]

MESH_DOMAIN = "mesh.starling"
EDGE_DOMAIN = "edge.starling"
_TYPE = "type.googleapis.com/google.rpc."
# gRPC code → (its number, the HTTP status the edge answers).
CODES = {
    "INVALID_ARGUMENT": (3, 400),
    "DEADLINE_EXCEEDED": (4, 504),
    "NOT_FOUND": (5, 404),
    "ALREADY_EXISTS": (6, 409),
    "PERMISSION_DENIED": (7, 403),
    "RESOURCE_EXHAUSTED": (8, 429),
    "FAILED_PRECONDITION": (9, 400),
    "UNAVAILABLE": (14, 503),
    "UNAUTHENTICATED": (16, 401),
}


class SharedFailure(NamedTuple):
    """A response that many calls have: its status, what it means, its example's name and value."""

    status: int
    description: str
    name: str
    example: Json


def status_json(code: str, message: str, *details: Json) -> Json:
    """A google.rpc.Status as the edge prints it."""
    return {"code": CODES[code][0], "message": message, "details": list(details)}


def error_info(reason: str, domain: str, metadata: dict[str, str] | None = None) -> Json:
    """A google.rpc.ErrorInfo as the edge prints it."""
    return {
        "@type": f"{_TYPE}ErrorInfo",
        "reason": reason,
        "domain": domain,
        "metadata": metadata or {},
    }


def _retry_info(delay: str) -> Json:
    return {"@type": f"{_TYPE}RetryInfo", "retry_delay": delay}


def _by_edge(reason: str, *more: Json) -> tuple[str, Json]:
    code, message = notes.EDGE_REASONS[reason]
    return reason, status_json(code, message, error_info(reason, EDGE_DOMAIN), *more)


def bad_request(field: str, description: str, reason: str) -> Json:
    """A google.rpc.BadRequest of one violation, as the edge prints it."""
    return {
        "@type": f"{_TYPE}BadRequest",
        "field_violations": [{"field": field, "description": description, "reason": reason}],
    }


def invalid_field(field: str) -> Json:
    """The Status for a wrong value of one of notes.WRONG_FIELDS."""
    description, reason = notes.WRONG_FIELDS[field]
    return status_json(
        "INVALID_ARGUMENT",
        f"{field}: {description}",
        error_info("INVALID_FIELD", MESH_DOMAIN),
        bad_request(field, description, reason),
    )


SHARED = {
    "BadRequest": SharedFailure(
        400,
        "A field is outside its limits: `BadRequest` names it. What cannot be read is "
        "`MALFORMED_REQUEST`, and named as well: JSON that is not strict, a value of another type, "
        "a query parameter that does not exist.",
        "INVALID_FIELD",
        invalid_field("limit"),
    ),
    "Unauthenticated": SharedFailure(
        401, "The access token is missing, wrong or expired.", *_by_edge("TOKEN_INVALID")
    ),
    "Forbidden": SharedFailure(
        403,
        "A `user_id` or `follower_id` in the body or the query is not the token's subject.",
        "IDENTITY_MISMATCH",
        status_json(
            "PERMISSION_DENIED",
            notes.REASONS["IDENTITY_MISMATCH"].message,
            error_info(
                "IDENTITY_MISMATCH", MESH_DOMAIN, notes.REASONS["IDENTITY_MISMATCH"].metadata
            ),
        ),
    ),
    "BodyTooLarge": SharedFailure(
        413, "The body is larger than 64 KiB.", *_by_edge("BODY_TOO_LARGE")
    ),
    "WrongContentType": SharedFailure(
        415,
        "The body is gRPC or protobuf by its Content-Type. By any other it is read as JSON.",
        *_by_edge("WRONG_CONTENT_TYPE"),
    ),
    "TooManyRequests": SharedFailure(
        429,
        "Too many calls from this address or by this user; come back after `Retry-After` seconds.",
        *_by_edge("RATE_LIMITED", _retry_info("1s")),
    ),
    "Unavailable": SharedFailure(
        503,
        "Something the call needs is down for the moment; retry after the delay given.",
        "UNAVAILABLE",
        status_json(
            "UNAVAILABLE",
            "Cassandra cannot be reached at the moment.",
            error_info("STORE_UNAVAILABLE", MESH_DOMAIN),
            _retry_info("1s"),
        ),
    ),
    "TooLate": SharedFailure(
        504,
        "The answer was not there in time. A write may or may not have happened.",
        "DEADLINE_EXCEEDED",
        status_json(
            "DEADLINE_EXCEEDED",
            "the work took longer than the call may",
            error_info("DEADLINE_EXCEEDED", MESH_DOMAIN),
        ),
    ),
}
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Whole seconds to wait, at least 1.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    }
}


def components() -> Json:
    """The responses that operations refer to."""
    answers: Json = {}
    for name, shared in SHARED.items():
        answers[name] = {
            "description": shared.description,
            **({"headers": _RETRY_AFTER} if shared.status == HTTPStatus.TOO_MANY_REQUESTS else {}),
            "content": content({shared.name: {"value": shared.example}}),
        }
    return answers


def schemas() -> Json:
    """The schemas of an error's body."""
    return {
        "Status": {
            "type": "object",
            "description": "An error, in the form of google.rpc.Status.",
            "properties": {
                "code": {
                    "type": "integer",
                    "format": "int32",
                    "description": "The gRPC code: " + _code_list(),
                },
                "message": {
                    "type": "string",
                    "description": "For developers, in English; programs go by `details`.",
                },
                "details": {
                    "type": "array",
                    "description": "What programs can rely on; other types may join.",
                    "items": {
                        "anyOf": [
                            {"$ref": f"#/components/schemas/{name}"}
                            for name in ("ErrorInfo", "BadRequest", "RetryInfo")
                        ]
                    },
                },
            },
            "required": ["code", "message", "details"],
        },
        "ErrorInfo": _detail(
            "ErrorInfo",
            "Why a call was refused: one reason of the domain's catalogue.",
            {
                "reason": {"type": "string", "pattern": "^[A-Z][A-Z0-9_]*$"},
                "domain": {"type": "string", "description": "Who says so, e.g. tweet.starling."},
                "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        ),
        "BadRequest": _detail(
            "BadRequest",
            "The fields that are wrong.",
            {
                "field_violations": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "field": {"type": "string", "description": "Such as media_ids[2]."},
                            "description": {"type": "string"},
                            "reason": {
                                "type": "string",
                                "description": "Such as TOO_LONG, or empty.",
                            },
                        },
                        "required": ["field", "description", "reason"],
                    },
                }
            },
        ),
        "RetryInfo": _detail(
            "RetryInfo",
            "When trying again may help.",
            {
                "retry_delay": {
                    "type": "string",
                    "description": "Seconds, such as 1s or 0.500s.",
                    "pattern": r"^[0-9]+(\.[0-9]+)?s$",
                }
            },
        ),
    }


def _detail(name: str, description: str, properties: Json) -> Json:
    kind = {"type": "string", "const": f"{_TYPE}{name}"}
    return {
        "type": "object",
        "description": description,
        "properties": {"@type": kind, **properties},
        "required": ["@type", *properties],
    }


def _code_list() -> str:
    numbers = sorted((number, name) for name, (number, _) in CODES.items())
    return ", ".join(f"{number} {name}" for number, name in numbers) + "."


def content(examples: Json) -> Json:
    """An error's body, with examples by name."""
    schema = {"$ref": "#/components/schemas/Status"}
    return {"application/json": {"schema": schema, "examples": examples}}
