"""The edge's routes: a REST call each, and an answer for whatever is none."""

from envoy import policy
from envoy.api import Api, Binding, Method
from envoy.connection_manager import retry_policy
from envoy.edge_errors import (
    JSON_HEADERS,
    UNKNOWN_PATH,
    WRONG_METHOD,
    Refusal,
    direct_response,
)
from envoy.extension import Json, seconds, set_header, typed
from envoy.requests import HEALTH

TIMEOUT_S = 10.0
"""How long a request may take, from its end to the answer's."""

SERVICE_DEADLINE_MS = 9_900
"""What services are given of it, so that it is they who report a timeout."""

MAX_BODY_BYTES = 64 * 1024

JWT = "jwt"
AUTH_LIMIT = "auth_limit"
REQUESTS = "requests"
TRANSCODER = "transcoder"
BODY_LIMIT = "body_limit"
PRIVATE = "private"
"""The cluster of the edge's own listener, see `edge`."""

# First the calls that there are most of: routes are tried in this order.
_FIRST = ("/v1/timeline/home", "/v1/tweets", "/v1/users/{user_id}/tweets", "/v1/tweets/{tweet_id}")


def routes(api: Api) -> list[Json]:
    """All of the edge's routes, in the order they are tried."""
    calls = [(b, m) for m in api.methods for b in m.bindings]
    templates = dict.fromkeys((*_FIRST, *(b.template for b, _ in calls)))
    found = [_other_protocols()]
    for template in templates:
        here = [(b, m) for b, m in calls if b.template == template]
        found += [call_route(binding, method) for binding, method in here]
        found.append(_wrong_method(here[0][0], [b.verb for b, _ in here]))
    return [*found, _health(), _unknown_path()]


def call_route(binding: Binding, method: Method) -> Json:
    """The route of one REST call."""
    options: Json = {}
    if policy.is_open(method):
        options[JWT] = _disabled()
    if policy.is_auth_limited(method):
        options[AUTH_LIMIT] = typed("config.route.v3.FilterConfig", config={})
    return {
        "name": method.path[1:],
        "match": _match(binding, verb=True),
        "route": {
            "cluster": policy.OWNERS[method.service],
            "timeout": seconds(TIMEOUT_S),
            "retry_policy": retry_policy(method),
        },
        "request_headers_to_add": [set_header("grpc-timeout", f"{SERVICE_DEADLINE_MS}m")],
        "decorator": {"operation": f"{binding.verb} {binding.template}", "propagate": False},
        "typed_per_filter_config": options,
    }


def _match(binding: Binding, verb: bool) -> Json:
    match: Json = {}
    if binding.variables:
        match["safe_regex"] = {"regex": binding.regex}
    else:
        match["path"] = binding.template
    if verb:
        match["headers"] = [{"name": ":method", "string_match": {"exact": binding.verb}}]
    return match


def _wrong_method(binding: Binding, verbs: list[str]) -> Json:
    allow = set_header("allow", ", ".join(verbs))
    return _answer(_match(binding, verb=False), WRONG_METHOD, headers=[allow])


def _other_protocols() -> Json:
    """gRPC in all its forms is for the mesh alone. Envoy would answer it itself with HTTP 200 and a
    gRPC status: it is refused by a listener that does not see the content type.
    """
    kinds = "grpc|connect|proto|x-proto|vnd.google.protobuf".replace(".", r"\.")
    return {
        "match": {
            "prefix": "/",
            "headers": [
                {
                    "name": "content-type",
                    "string_match": {"safe_regex": {"regex": rf"(?i)\s*application/({kinds}).*"}},
                }
            ],
        },
        "route": {"cluster": PRIVATE, "timeout": seconds(TIMEOUT_S)},
        "request_headers_to_remove": ["content-type", "te"],
        "decorator": {"operation": "refused", "propagate": False},
        "typed_per_filter_config": {
            **{name: _disabled() for name in (JWT, REQUESTS, TRANSCODER)},
            # An answer before the body's end would be lost to a client that still sends.
            BODY_LIMIT: typed(
                "extensions.filters.http.buffer.v3.BufferPerRoute",
                buffer={"max_request_bytes": 4 * MAX_BODY_BYTES},
            ),
        },
    }


def _health() -> Json:
    route = _answer({"path": "/healthz"}, Refusal(200, 0, "", ""), body={"status": "ok"})
    route["name"] = HEALTH
    # It takes no query, and this says so.
    del route["typed_per_filter_config"][REQUESTS]
    route["match"]["headers"] = [
        {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}}
    ]
    return route


def _unknown_path() -> Json:
    return _answer({"prefix": "/"}, UNKNOWN_PATH)


def _answer(
    match: Json, refusal: Refusal, body: Json | None = None, headers: list[Json] | None = None
) -> Json:
    return {
        "match": match,
        "direct_response": direct_response(refusal, body),
        "response_headers_to_add": [*JSON_HEADERS, *(headers or [])],
        "decorator": {"operation": refusal.reason.lower() or "health", "propagate": False},
        "typed_per_filter_config": {name: _disabled() for name in (JWT, REQUESTS, TRANSCODER)},
    }


def _disabled() -> Json:
    return typed("config.route.v3.FilterConfig", disabled=True)
