"""A small multiplexing Redis client for the hot path: one connection a server, no pool, no locks.

A general client costs more than twice the CPU a command (`docs/adr/`); what it offers beyond this, the mesh
does not need. Redis is a cache here: every failure is the one exception `RedisUnavailable`, raised quickly,
and the caller falls back to the store.

One interface for one server (`redis://host:port`) and for a cluster (`redis+cluster://h1:p1,h2:p2`, any of
its nodes). What speaks of many keys (`mget_current`, `eval_each`) is one round trip on either: a cluster's
servers are asked in parallel. What a command or a script names must lie in one hash slot; `together` says
which keys do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.trace import SpanKind

from meshkit import telemetry
from meshkit.redis_cluster import RedisCluster
from meshkit.redis_server import (
    CONNECT_TIMEOUT_S,
    LINEAGE_BYTES,
    Argument,
    RedisReplyError,
    RedisServer,
    RedisUnavailable,
    Request,
)

__all__ = [
    "LINEAGE_BYTES",
    "Argument",
    "Redis",
    "RedisReplyError",
    "RedisUnavailable",
    "Script",
]

DEFAULT_PORT = 6379
CLUSTER_SCHEME = "redis+cluster"
KEYS_A_COMMAND = 1000

_ATTRIBUTES = {"db.system": "redis"}


@dataclass(frozen=True)
class Script:
    """A Lua script, called by its digest. All its keys belong to one hash slot, or to one server."""

    name: str
    source: str
    lineage: bool = False
    """Its first argument is the lineage of the server that runs it, put in here (`redis_server`)."""
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)

    def request(self, keys: Sequence[str], args: Sequence[Argument], *, known: bool) -> Request:
        """How to call it on a server that knows it, or is told it by this."""
        start = ("EVALSHA", self.sha) if known else ("EVAL", self.source)
        key = keys[0] if keys else None
        lineage_at = 3 + len(keys) if self.lineage else 0
        return Request(key, (*start, len(keys), *keys, *args), lineage_at)


class Redis:
    """A client of one Redis or Valkey server, or of a cluster. Safe for concurrent calls.

    Methods raise RedisUnavailable, or RedisReplyError when the server refuses.
    """

    def __init__(self, url: str, *, timeout_s: float = 0.5) -> None:
        """Raises ValueError for a URL of another kind."""
        scheme, addresses = _parse(url)
        self._at: RedisServer | RedisCluster
        if scheme == CLUSTER_SCHEME:
            self._at = RedisCluster(addresses, timeout_s=timeout_s)
        else:
            self._at = RedisServer(*addresses[0], timeout_s=timeout_s)

    async def connect(self) -> None:
        """Start keeping connections; waits shortly for the first, and returns without it if need be."""
        self._at.start()
        await self._at.ready(CONNECT_TIMEOUT_S)

    async def close(self) -> None:
        """Drop the connections; calls under way fail."""
        await self._at.close()

    @property
    def available(self) -> bool:
        """Whether a call would be sent now, to some server at least."""
        return self._at.available

    @property
    def clustered(self) -> bool:
        """Whether keys lie on several servers."""
        return self._at.clustered

    def together(self, keys: Sequence[str]) -> list[list[int]]:
        """Indices of `keys`, grouped by what one command or script may name."""
        return self._at.together(keys)

    async def call(self, *command: Argument) -> Any:
        """One command whose first argument is its key. Replies are bytes, int, None, or lists of them."""
        key = str(command[1]) if len(command) > 1 else None
        (reply,) = await self._traced(str(command[0]).lower(), [Request(key, command)])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def pipeline(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        """Several commands as in `call` in one round trip, not atomic; an error is raised at the end."""
        if not commands:
            return []
        requests = [Request(str(command[1]), command) for command in commands]
        replies = await self._traced("pipeline", requests)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    async def mget_current(self, keys: Sequence[str]) -> list[bytes | None]:
        """Values that were written in the present lineage of their server, without their mark of it.

        None: not there, of another lineage, or on a server that does not answer. An empty value has no
        lineage and is given as it is. Raises when no server answers.
        """
        groups = [
            group[start : start + KEYS_A_COMMAND]
            for group in self._at.together(keys)
            for start in range(0, len(group), KEYS_A_COMMAND)
        ]
        requests = [
            Request(keys[group[0]], ("MGET", *[keys[i] for i in group]), current=True)
            for group in groups
        ]
        values: list[bytes | None] = [None] * len(keys)
        failures = []
        for group, reply in zip(groups, await self._traced("mget", requests), strict=True):
            if isinstance(reply, Exception):
                failures.append(reply)
            else:
                for i, value in zip(group, reply, strict=True):
                    values[i] = value
        if failures and len(failures) == len(groups):
            raise failures[0]
        return values

    async def eval(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Run a script; it is loaded when the server does not know it, as after a restart."""
        (reply,) = await self.eval_each(script, [(keys, args)])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def eval_each(
        self, script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Argument]]]
    ) -> list[Any]:
        """Run a script once for each (keys, args), in one round trip; the replies in that order.

        A call that failed has its RedisUnavailable or RedisReplyError for a reply.
        """
        if not calls:
            return []
        requests = [script.request(keys, args, known=True) for keys, args in calls]
        replies = await self._traced(script.name, requests)
        unknown = [i for i, reply in enumerate(replies) if _is_noscript(reply)]
        if unknown:
            told = [script.request(*calls[i], known=False) for i in unknown]
            for i, reply in zip(unknown, await self._traced(script.name, told), strict=True):
                replies[i] = reply
        return replies

    async def _traced(self, name: str, requests: Sequence[Request]) -> list[Any]:
        if not requests:
            return []
        if not telemetry.recording():
            return await self._exchange(requests)
        with telemetry.span(f"redis {name}", SpanKind.CLIENT, _ATTRIBUTES):
            return await self._exchange(requests)

    async def _exchange(self, requests: Sequence[Request]) -> list[Any]:
        """Replies, and failures in their places."""
        try:
            return await self._at.exchange(requests)
        except RedisUnavailable as error:
            return [error] * len(requests)


def _is_noscript(reply: object) -> bool:
    return isinstance(reply, RedisReplyError) and str(reply).startswith("NOSCRIPT")


def _parse(url: str) -> tuple[str, list[tuple[str, int]]]:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("redis", CLUSTER_SCHEME) or "@" in rest:
        raise ValueError(
            f"REDIS_URL is redis://host:port, or {CLUSTER_SCHEME}://host:port,host:port for a cluster"
        )
    addresses = []
    for address in rest.partition("/")[0].split(","):
        host, _, port = address.strip().partition(":")
        addresses.append((host or "127.0.0.1", int(port or DEFAULT_PORT)))
    return scheme, addresses
