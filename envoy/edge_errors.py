"""What the edge itself answers when it refuses a request: google.rpc.Status as JSON, in one form."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from envoy.extension import Json, extension, http_status, set_header

DOMAIN = "edge.starling"


@dataclass(frozen=True)
class Refusal:
    """An HTTP status, and what its body says."""

    status: int
    code: int
    """Of google.rpc.Code."""
    reason: str
    message: str
    retry_after_s: int | None = None
    domain: str = DOMAIN
    field: str = ""
    """The field that is wrong, of a refusal that has one and whose body names no other."""
    violation: str = ""
    """The reason of that field's violation."""

    def body(
        self,
        message: str | None = None,
        field: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Json:
        """The google.rpc.Status; it names `field`, or else the refusal's own, as wrong."""
        message, field = message or self.message, field or self.field
        details: list[Json] = [
            _detail(
                "ErrorInfo", reason=self.reason, domain=self.domain, metadata=dict(metadata or {})
            )
        ]
        if field:
            violation = {"field": field, "description": message, "reason": self.violation}
            details.append(_detail("BadRequest", field_violations=[violation]))
        if self.retry_after_s:
            details.append(_detail("RetryInfo", retry_delay=f"{self.retry_after_s}s"))
        return {"code": self.code, "message": message, "details": details}


MALFORMED = Refusal(
    400,
    3,
    "MALFORMED_REQUEST",
    "the request is malformed",
    # What Envoy itself cannot read has no field of ours.
    field="request",
    violation="MALFORMED",
)

UNAUTHENTICATED = Refusal(
    401, 16, "TOKEN_INVALID", "a valid access token is needed: Authorization: Bearer <token>"
)
IDENTITY_MISMATCH = Refusal(
    403,
    7,
    "IDENTITY_MISMATCH",
    "the user id in the request is not the token's subject",
    domain="mesh.starling",
)
"""As services say it who check it once more."""
UNKNOWN_PATH = Refusal(404, 5, "UNKNOWN_PATH", "there is nothing at this path")
WRONG_METHOD = Refusal(405, 12, "WRONG_METHOD", "this path does not take this method")
WRONG_CONTENT_TYPE = Refusal(
    415, 3, "WRONG_CONTENT_TYPE", "this API takes JSON: Content-Type: application/json"
)
INTERNAL = Refusal(500, 13, "INTERNAL", "internal error")
KEYS_MISSING = Refusal(
    503, 14, "KEYS_UNAVAILABLE", "tokens cannot be verified at the moment; try again", 1
)

REFUSALS = (
    MALFORMED,
    UNAUTHENTICATED,
    Refusal(403, 7, "FORBIDDEN", "this is not allowed"),
    UNKNOWN_PATH,
    WRONG_METHOD,
    Refusal(408, 4, "REQUEST_TIMEOUT", "the request did not arrive in time"),
    Refusal(411, 3, "LENGTH_REQUIRED", "the length of the body is missing"),
    Refusal(413, 3, "BODY_TOO_LARGE", "the body is larger than 65536 bytes"),
    Refusal(414, 3, "PATH_TOO_LONG", "the path is too long"),
    WRONG_CONTENT_TYPE,
    Refusal(426, 3, "UPGRADE_REQUIRED", "HTTP/1.1 or HTTP/2 is needed"),
    Refusal(429, 8, "RATE_LIMITED", "too many requests; try again later", 1),
    Refusal(431, 3, "HEADERS_TOO_LARGE", "the headers are too large"),
    INTERNAL,
    Refusal(501, 12, "NOT_IMPLEMENTED", "this is not implemented"),
    Refusal(502, 14, "UNAVAILABLE", "the service is not available; try again", 1),
    Refusal(503, 14, "UNAVAILABLE", "the service is not available; try again", 1),
    Refusal(504, 4, "DEADLINE_EXCEEDED", "the service did not answer in time"),
)


def direct_response(refusal: Refusal, body: Json | None = None) -> Json:
    """A route's `direct_response`, which `local_reply` leaves as it is."""
    return {
        "status": refusal.status,
        "body": {"inline_string": _compact(body or refusal.body())},
    }


JSON_HEADERS = [set_header("content-type", "application/json")]


def local_reply() -> Json:
    """The `local_reply_config`: the first mapper that fits rewrites what a filter or the connection
    manager answers.
    """
    return {
        "mappers": [
            {"filter": _details(' in ["direct_response", "lua_response"]')},
            _mapper(
                _details('.startsWith("jwt_authn_access_denied{Jwks_remote_fetch")'), KEYS_MISSING
            ),
            _mapper(_details('.startsWith("jwt_authn_access_denied")'), UNAUTHENTICATED),
            *(_mapper(http_status(refusal.status), refusal) for refusal in REFUSALS),
        ]
    }


def _mapper(filter_: Json, refusal: Refusal) -> Json:
    # As text: of JSON, Envoy would sort the names.
    text = _compact(refusal.body()).replace("%", "%%")
    return {
        "filter": filter_,
        "status_code": refusal.status,
        "body_format_override": {
            "text_format_source": {"inline_string": text},
            "content_type": "application/json",
        },
    }


def _compact(body: Json) -> str:
    """As services' errors are printed."""
    return json.dumps(body, separators=(",", ":"))


def _details(test: str) -> Json:
    return {
        "extension_filter": extension(
            "envoy.access_loggers.extension_filters.cel",
            "extensions.access_loggers.filters.cel.v3.ExpressionFilter",
            expression=f"response.code_details{test}",
        )
    }


def _detail(kind: str, **fields: object) -> Json:
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **fields}
