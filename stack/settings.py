"""Variables of the caller's environment that the mesh takes on.

The supervisor and all its processes inherit the whole environment of the `up` that started them. Of a
later `up`, those named here are taken over too: what depends on them is started again.
"""

import os
from collections.abc import Mapping

from stack.errors import StackError

RELOADABLE = (
    "ACCESS_TOKEN_TTL_S",
    "CELEBRITY_FOLLOWERS",
    "JWT_AUDIENCE",
    "JWT_ISSUER",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_ZIPKIN_ENDPOINT",
    "OTEL_TRACES_EXPORTER",
    "OTEL_TRACES_SAMPLER_ARG",
    "RATE_LIMIT_AUTH_PER_MIN",
    "RATE_LIMIT_IP_RPS",
    "RATE_LIMIT_USER_RPS",
    "TWEET_MAX_CHARS",
)
"""A process that reads one can be started again alone."""

FIXED = (
    "CASSANDRA_CONTACT_POINTS",
    "CASSANDRA_KEYSPACE",
    "CASSANDRA_LOCAL_DC",
    "CASSANDRA_REPLICATION",
    "NATS_PREFIX",
    "NATS_REPLICAS",
    "NATS_URL",
    "REDIS_COMPACT",
    "REDIS_PREFIX",
    "REDIS_URL",
    "STARLING_API_PORT",
)
"""They decide what runs, and where the data is: changing one takes a `down`."""


_READ_BY = {
    "ACCESS_TOKEN_TTL_S": ("gateway",),
    "CELEBRITY_FOLLOWERS": ("fanout",),
    "JWT_AUDIENCE": ("gateway", "edge"),
    "JWT_ISSUER": ("gateway", "edge"),
    "RATE_LIMIT_AUTH_PER_MIN": ("edge",),
    "RATE_LIMIT_IP_RPS": ("edge",),
    "RATE_LIMIT_USER_RPS": ("edge",),
    "TWEET_MAX_CHARS": ("tweet_svc", "gateway"),
}
"""What only some processes read. The others are not started again for it."""


def current() -> dict[str, str]:
    """Those that are set in the environment."""
    return {name: os.environ[name] for name in (*RELOADABLE, *FIXED) if os.environ.get(name)}


def current_for(process: str) -> dict[str, str]:
    """Those that are set in the environment and that `process` reads."""
    return {
        name: value
        for name, value in current().items()
        if process in _READ_BY.get(name, (process,))
    }


def adopt(settings: Mapping[str, str]) -> None:
    """Makes the reloadable ones of this process's environment those of `settings`."""
    for name in RELOADABLE:
        if name in settings:
            os.environ[name] = settings[name]
        else:
            os.environ.pop(name, None)


def differences(running: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """What has to change, as `NAME: old -> new`. Raises StackError if it cannot while all runs."""
    changed = [n for n in (*RELOADABLE, *FIXED) if running.get(n) != wanted.get(n)]
    for name in changed:
        if name in FIXED:
            raise StackError(
                f"The mesh runs with {name}={running.get(name, '')!r}, and not with "
                f"{wanted.get(name, '')!r}, which cannot change while it runs.\n"
                "Run `starling down` (or `make down`) first."
            )
    default = "default"
    return [f"{n}: {running.get(n, default)} -> {wanted.get(n, default)}" for n in changed]
