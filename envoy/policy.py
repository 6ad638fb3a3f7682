"""Who answers which RPCs, who may call them, and what clients may call without a token.

What the protos say (public or internal, safe to repeat) is read from their descriptor; this table
adds what they do not say. Whatever is not granted here is refused.
"""

from dataclasses import dataclass

from envoy.api import Api, Method

EDGE = "edge"
OPERATOR = "operator"
"""Whoever holds the operator's certificate: maintenance and the demo."""

HEALTH = "/grpc.health.v1.Health/Check"
REFLECTION = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)

OWNERS = {
    "starling.gateway.v1.AccountService": "gateway",
    "starling.gateway.v1.DiscoveryService": "gateway",
    "starling.graph.v1.GraphService": "graph_svc",
    "starling.graph.v1.GraphLookupService": "graph_svc",
    "starling.tweet.v1.TweetService": "tweet_svc",
    "starling.tweet.v1.TweetLookupService": "tweet_svc",
    "starling.timeline.v1.TimelineService": "timeline_svc",
}
"""Which of the mesh's services answers a gRPC service."""


@dataclass(frozen=True)
class Grant:
    """`caller` may call `methods` of `service`, or all of them."""

    caller: str
    service: str
    methods: tuple[str, ...] = ()

    def covers(self, method: Method) -> bool:
        """Whether it allows `method`."""
        return method.service == self.service and (not self.methods or method.name in self.methods)


GRANTS = (
    Grant(EDGE, "starling.gateway.v1.AccountService"),
    Grant(EDGE, "starling.gateway.v1.DiscoveryService"),
    Grant(EDGE, "starling.graph.v1.GraphService"),
    Grant(EDGE, "starling.tweet.v1.TweetService"),
    Grant(EDGE, "starling.timeline.v1.TimelineService"),
    Grant(
        "gateway",
        "starling.graph.v1.GraphLookupService",
        ("CreateUser", "BatchGetUsers", "ResolveUsername"),
    ),
    *(
        Grant(caller, service, methods)
        for caller in ("timeline_svc", "fanout")
        for service, methods in (
            (
                "starling.graph.v1.GraphLookupService",
                ("BatchGetUsers", "ResolveUsername", "ListFollowerIds", "ListFolloweeIds"),
            ),
            ("starling.tweet.v1.TweetLookupService", ()),
        )
    ),
    *(
        Grant(OPERATOR, service)
        for service in OWNERS
        if service != "starling.gateway.v1.DiscoveryService"
    ),
)

IDENTITY_SETTERS = frozenset({EDGE, "gateway", "timeline_svc", "fanout", OPERATOR})
"""Whose `x-starling-*` headers are believed. Nobody else may call anything (`check` holds it), so
that a service need not ask who said whom a call is for.
"""

OPEN = frozenset(
    {
        "starling.gateway.v1.AccountService/Register",
        "starling.gateway.v1.AccountService/Login",
        "starling.gateway.v1.AccountService/Refresh",
        "starling.gateway.v1.DiscoveryService/GetJwks",
        "starling.gateway.v1.DiscoveryService/GetOpenApi",
        "starling.gateway.v1.DiscoveryService/GetDocs",
    }
)
"""What needs no token."""

AUTH_LIMITED = frozenset(
    {
        "starling.gateway.v1.AccountService/Register",
        "starling.gateway.v1.AccountService/Login",
        "starling.gateway.v1.AccountService/Refresh",
    }
)
"""What counts against an address's limit of calls that try passwords and tokens."""


TOLD_APART = frozenset({"starling.tweet.v1.TweetService/DeleteTweet"})
"""What has no further effect when done again, but another answer (404): a repeat that a client did not
ask for would tell it that there had been nothing to delete.
"""


def is_repeated(method: Method) -> bool:
    """Whether proxies send it again when an instance may have carried it out and did not answer."""
    return method.repeatable and method.path[1:] not in TOLD_APART


def is_open(method: Method) -> bool:
    """Whether it needs no token."""
    return method.path[1:] in OPEN


def is_auth_limited(method: Method) -> bool:
    """Whether it counts against RATE_LIMIT_AUTH_PER_MIN."""
    return method.path[1:] in AUTH_LIMITED


def owned_by(api: Api, name: str) -> tuple[Method, ...]:
    """The methods that service `name` answers."""
    return api.methods_of(*(service for service, owner in OWNERS.items() if owner == name))


def callers_of(method: Method) -> frozenset[str]:
    """Who may call `method`."""
    return frozenset(grant.caller for grant in GRANTS if grant.covers(method))


def callable_by(api: Api, caller: str) -> tuple[Method, ...]:
    """What `caller` may call."""
    return tuple(method for method in api.methods if caller in callers_of(method))


def check(api: Api) -> None:
    """Raises ValueError if the tables here do not fit the API: an RPC without an owner, a name that
    the API does not know, a public RPC that the edge may not call, an internal one that it may, a
    caller whose word about identity is not to be believed.
    """
    services = {method.service for method in api.methods}
    if services != OWNERS.keys():
        raise ValueError(f"not in both OWNERS and the API: {sorted(services ^ OWNERS.keys())}")
    known = {method.path[1:] for method in api.methods}
    named = OPEN | AUTH_LIMITED | TOLD_APART
    named |= {f"{grant.service}/{name}" for grant in GRANTS for name in grant.methods}
    if unknown := named - known:
        raise ValueError(f"the API does not know {sorted(unknown)}")
    if strangers := {grant.caller for grant in GRANTS} - IDENTITY_SETTERS:
        raise ValueError(f"{sorted(strangers)} may call, but not say whom for")
    for method in api.methods:
        if bool(method.bindings) != (EDGE in callers_of(method)):
            raise ValueError(f"{method.path}: the edge may call the public methods, and no other")
