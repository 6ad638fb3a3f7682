"""The edge's HTTP filters, in the order that a request meets them:

its body, whole, and its size → limit of its address → limit of password attempts → token → limit of its
user → what it says (`requests`) → JSON to gRPC → router. Answers meet them from the end, and last
`answers.lua`, which completes errors, and `clean_answer`.
"""

import math
from pathlib import Path
from typing import Any

from envoy.api import Api
from envoy.edge_routes import (
    AUTH_LIMIT,
    BODY_LIMIT,
    JWT,
    MAX_BODY_BYTES,
    PRIVATE,
    REQUESTS,
    TRANSCODER,
)
from envoy.extension import Json, extension, seconds, set_header
from envoy.requests import script
from envoy.spec import MeshSpec

MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_KNOWN_CLIENTS = 10_000
"""Addresses, and users, whose rates are remembered; the longest unseen is forgotten first."""

CLOCK_SKEW_S = 5
KEYS_AGE_S = 10.0
"""How long a new key of the gateway's may stay unknown."""

_ANSWERS = Path(__file__).with_name("answers.lua")
_IDENTITY = "x-starling-"


def filters(spec: MeshSpec, api: Api, descriptor: Path) -> list[Json]:
    """All HTTP filters but the router."""
    limits = spec.limits
    return [
        _clean_answer(),
        _lua("answers", _ANSWERS.read_text()),
        # Before whatever may refuse: over HTTP/2 an answer that comes while the body is still being sent is
        # followed by a reset of the stream, and clients such as curl then drop the answer.
        extension(
            BODY_LIMIT,
            "extensions.filters.http.buffer.v3.Buffer",
            max_request_bytes=MAX_BODY_BYTES,
        ),
        _limit("ip_limit", {"remote_address": {}}, "remote_address", limits.ip_rps, 1),
        {
            **_limit(AUTH_LIMIT, {"remote_address": {}}, "remote_address", limits.auth_per_min, 60),
            # Routes that it is for enable it.
            "disabled": True,
        },
        _jwt(spec),
        _limit(
            "user_limit",
            {
                "request_headers": {
                    "header_name": f"{_IDENTITY}user-id",
                    "descriptor_key": "user",
                    "skip_if_absent": True,
                }
            },
            "user",
            limits.user_rps,
            1,
        ),
        _lua(REQUESTS, script(api)),
        transcoder(descriptor, list(api.public_services), reject_unknown=True),
    ]


def clean_request() -> Json:
    """Removes what clients may not say before anything reads it: identity, Envoy's and gRPC's own
    headers, trace context (a trace begins here), and names that gRPC does not allow.
    """
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[
            _remove(prefix=_IDENTITY),
            _remove(prefix="x-envoy-"),
            _remove(prefix="x-forwarded-client-cert"),
            _remove(prefix="grpc-"),
            _remove(suffix="-bin"),
            _remove(prefix="x-b3-"),
            _remove(exact="b3"),
            _remove(exact="traceparent"),
            _remove(exact="tracestate"),
            _remove(exact="cookie"),
            _remove(safe_regex={"regex": r".+[!#$%&'*+^`|~].*|[!#$%&'*+^`|~].*"}),
        ],
    )


def _clean_answer() -> Json:
    """Removes what is for the mesh, adds the trace's id."""
    return extension(
        "clean_answer",
        "extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={
            "response_mutations": [
                _remove(prefix="grpc-"),
                _remove(prefix="x-envoy-"),
                _remove(prefix=_IDENTITY),
                _append("x-trace-id", "%TRACE_ID%"),
            ]
        },
    )


def _lua(name: str, source: str) -> Json:
    return extension(
        name,
        "extensions.filters.http.lua.v3.Lua",
        default_source_code={"inline_string": source},
        # What a script changes never concerns the route.
        clear_route_cache=False,
    )


def _remove(**matcher: Any) -> Json:
    return {"remove_on_match": {"key_matcher": matcher}}


def _append(name: str, value: str) -> Json:
    return {
        "append": {
            "header": {"key": name, "value": value},
            "append_action": "ADD_IF_ABSENT",
        }
    }


def _limit(name: str, action: Json, key: str, rate: int, interval_s: int) -> Json:
    """At most `rate` requests in each `interval_s` from one client, known by `action`."""
    always = {"default_value": {"numerator": 100}}
    burst = 2 * rate if interval_s == 1 else rate
    return extension(
        name,
        "extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        stat_prefix=name,
        filter_enabled=always,
        filter_enforced=always,
        # Not a limit: requests are counted by their client's bucket alone.
        token_bucket={
            "max_tokens": 4_000_000_000,
            "tokens_per_fill": 4_000_000_000,
            "fill_interval": seconds(1),
        },
        always_consume_default_token_bucket=False,
        rate_limits=[{"actions": [action]}],
        descriptors=[
            {
                "entries": [{"key": key}],
                "token_bucket": {
                    "max_tokens": burst,
                    "tokens_per_fill": rate,
                    "fill_interval": seconds(interval_s),
                },
            }
        ],
        max_dynamic_descriptors=MAX_KNOWN_CLIENTS,
        response_headers_to_add=[
            set_header("retry-after", str(max(1, math.ceil(interval_s / rate))))
        ],
    )


def _jwt(spec: MeshSpec) -> Json:
    provider = {
        "issuer": spec.token.issuer,
        "audiences": [spec.token.audience],
        "require_expiration": True,
        "clock_skew_seconds": CLOCK_SKEW_S,
        # Whatever the scheme: `requests` then reads the header to the letter, and so needs it.
        "from_headers": [{"name": "authorization", "value_prefix": " "}],
        "forward": True,
        "claim_to_headers": [
            {"header_name": f"{_IDENTITY}user-id", "claim_name": "sub"},
            {"header_name": f"{_IDENTITY}username", "claim_name": "username"},
        ],
        "jwt_cache_config": {"jwt_cache_size": 2000},
        "remote_jwks": {
            "http_uri": {
                "uri": "http://edge/.well-known/jwks.json",
                "cluster": PRIVATE,
                "timeout": seconds(2),
            },
            "cache_duration": seconds(KEYS_AGE_S),
            # The edge serves before the gateway does, and asks again until it answers.
            "async_fetch": {"fast_listener": True, "failed_refetch_duration": seconds(0.5)},
        },
    }
    return extension(
        JWT,
        "extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        providers={"gateway": provider},
        # Whatever no route makes open needs a token.
        rules=[{"match": {"prefix": "/"}, "requires": {"provider_name": "gateway"}}],
    )


def transcoder(descriptor: Path, services: list[str], reject_unknown: bool) -> Json:
    """JSON to gRPC and back for `services`; routes are those of the REST path."""
    return extension(
        TRANSCODER,
        "extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        proto_descriptor=str(descriptor),
        services=services,
        print_options={
            "always_print_primitive_fields": True,
            "preserve_proto_field_names": True,
        },
        convert_grpc_status=True,
        match_incoming_request_route=True,
        max_request_body_size=MAX_BODY_BYTES,
        max_response_body_size=MAX_ANSWER_BYTES,
        request_validation_options={
            "reject_unknown_method": reject_unknown,
            "reject_unknown_query_parameters": True,
            "reject_binding_body_field_collisions": True,
        },
    )
