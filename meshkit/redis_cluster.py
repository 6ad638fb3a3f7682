"""A Redis or Valkey Cluster: which server has which slot, and what to do when that changes.

The map of slots comes from any node that sees the cluster whole (`CLUSTER SLOTS`): each second, at once
when a server says MOVED or cannot be reached, and then in quick succession until every slot's owner can be.
So a promoted replica is found within a fraction of a second of its promotion. A request is repeated only
where a server refused it (MOVED, ASK, TRYAGAIN) and so did nothing. One server's failure is that of the
requests to it alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from binascii import crc_hqx
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from meshkit.log import get_logger
from meshkit.redis_server import (
    CONNECT_TIMEOUT_S,
    RedisReplyError,
    RedisServer,
    RedisUnavailable,
    Request,
    connect,
)

log = get_logger(__name__)

SLOTS = 16384
REFRESH_INTERVAL_S = 1.0
SEARCH_INTERVAL_S = 0.1  # while a slot's owner is away
ASK_TIMEOUT_S = 0.3  # one node, for its map
REPEATS = 3
TRY_AGAIN_S = 0.02
REDIRECT_WAIT_S = 0.3  # for a connection to a server that was not known

Address = tuple[str, int]

_REFUSALS = ("MOVED ", "ASK ", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY")
_ASKING = Request(None, ("ASKING",))
_MAP = (Request(None, ("CLUSTER", "INFO")), Request(None, ("CLUSTER", "SLOTS")))


@lru_cache(maxsize=8192)  # a key is asked for twice or more in one call
def key_slot(key: str) -> int:
    """The slot of a key: of what stands in its first pair of braces, if anything does."""
    start = key.find("{")
    if start >= 0:
        end = key.find("}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key.encode(), 0) % SLOTS  # CRC-16/XMODEM, as the cluster's specification has it


class RedisCluster:
    """A client of a cluster, given some of its nodes. Follows its changes; safe for concurrent calls."""

    clustered = True

    def __init__(self, seeds: Sequence[Address], *, timeout_s: float) -> None:
        self._seeds = list(seeds)
        self._timeout_s = timeout_s
        self._servers: dict[Address, RedisServer] = {}
        self._owners: list[RedisServer | None] = [None] * SLOTS
        self._replicas: list[Address] = []
        self._stale = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._mapped = asyncio.Event()
        self._covered = False
        self._closing: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start following the cluster."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name="redis-cluster")

    async def ready(self, within_s: float = CONNECT_TIMEOUT_S) -> None:
        """Wait shortly for the map and the connections; returns without them if need be."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._mapped.wait()
                await asyncio.gather(*[server.ready() for server in self._servers.values()])

    async def close(self) -> None:
        """Drop all connections; calls under way fail."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        await asyncio.gather(*[server.close() for server in self._servers.values()], *self._closing)

    @property
    def available(self) -> bool:
        """Whether some server would be asked now."""
        return any(server.available for server in self._servers.values())

    def together(self, keys: Sequence[str]) -> list[list[int]]:
        """Indices of the keys by slot."""
        groups: dict[int, list[int]] = {}
        for i, key in enumerate(keys):
            groups.setdefault(key_slot(key), []).append(i)
        return list(groups.values())

    async def exchange(self, requests: Sequence[Request]) -> list[Any]:
        """The replies in order; what was refused or failed is a RedisReplyError or RedisUnavailable
        among them. Servers are asked in parallel."""
        places: dict[RedisServer | None, list[int]] = {}
        for i, request in enumerate(requests):
            places.setdefault(self._owner(request), []).append(i)
        replies: list[Any] = [None] * len(requests)
        await _in_parallel(
            [self._ask(server, requests, indices, replies) for server, indices in places.items()]
        )
        for attempt in range(REPEATS):
            refused = [i for i, reply in enumerate(replies) if _is_refusal(reply)]
            if not refused:
                return replies
            await self._repeat(requests, refused, replies, attempt)
        for i, reply in enumerate(replies):
            if _is_refusal(reply):
                replies[i] = RedisUnavailable(str(reply))
        return replies

    def _owner(self, request: Request) -> RedisServer | None:
        if request.key is not None:
            return self._owners[key_slot(request.key)]
        available = [server for server in self._servers.values() if server.available]
        return random.choice(available) if available else None  # noqa: S311

    async def _ask(
        self,
        server: RedisServer | None,
        requests: Sequence[Request],
        indices: Sequence[int],
        replies: list[Any],
        *,
        asking: bool = False,
    ) -> None:
        """Put a server's replies to some of the requests, or its failure, into their places."""
        batch = [requests[i] for i in indices]
        if asking:
            batch = [part for request in batch for part in (_ASKING, request)]
        try:
            if server is None:
                raise RedisUnavailable("no server has the slot")
            answers = await server.exchange(batch)
        except RedisUnavailable as error:
            self._stale.set()
            for i in indices:
                replies[i] = error
            return
        for i, answer in zip(indices, answers[1::2] if asking else answers, strict=True):
            replies[i] = answer

    async def _repeat(
        self, requests: Sequence[Request], refused: Sequence[int], replies: list[Any], attempt: int
    ) -> None:
        """Ask again, where the refusal says."""
        places: dict[tuple[RedisServer | None, bool], list[int]] = {}
        pause = False
        for i in refused:
            kind, _, rest = str(replies[i]).partition(" ")
            if kind in ("MOVED", "ASK"):
                host, _, port = rest.partition(" ")[2].rpartition(":")
                owner = self._owner(requests[i])
                address = (host or (owner.host if owner else ""), int(port))
                server: RedisServer | None = self._server(address)
                if kind == "MOVED":
                    self._stale.set()
            elif kind == "TRYAGAIN":
                pause = True
                server = self._owner(requests[i])
            else:
                self._stale.set()
                replies[i] = RedisUnavailable(str(replies[i]))
                continue
            places.setdefault((server, kind == "ASK"), []).append(i)
        if pause:
            await asyncio.sleep(TRY_AGAIN_S * (attempt + 1))
        for server, _ in places:
            if server is not None and not server.available:
                await server.ready(REDIRECT_WAIT_S)
        await _in_parallel(
            [
                self._ask(server, requests, indices, replies, asking=asking)
                for (server, asking), indices in places.items()
            ]
        )

    def _server(self, address: Address) -> RedisServer:
        server = self._servers.get(address)
        if server is None:
            server = self._servers[address] = RedisServer(*address, timeout_s=self._timeout_s)
            server.start()
        return server

    async def _keep(self) -> None:
        while True:
            self._stale.clear()
            await self._refresh()
            if self._covered and all(server.available for server in self._servers.values()):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stale.wait(), REFRESH_INTERVAL_S)
            await asyncio.sleep(SEARCH_INTERVAL_S)

    async def _refresh(self) -> None:
        known = [address for address, server in self._servers.items() if server.available]
        others = [*self._servers, *self._replicas, *self._seeds]
        random.shuffle(known)
        random.shuffle(others)
        for address in dict.fromkeys([*known, *others]):
            ranges = await _ask_for_map(address)
            if ranges is not None:
                self._take(ranges, address[0])
                return

    def _take(self, ranges: list[Any], asked: str) -> None:
        """Make what a node said of the slots' owners the map."""
        owners: list[RedisServer | None] = [None] * SLOTS
        self._replicas = []
        for first, last, primary, *replicas in ranges:
            server = self._server(_address(primary, asked))
            owners[first : last + 1] = [server] * (last + 1 - first)
            self._replicas += [_address(replica, asked) for replica in replicas]
        self._owners = owners
        kept = set(owners)
        self._covered = None not in kept
        for address, server in list(self._servers.items()):
            if server not in kept:
                del self._servers[address]
                log.info("redis_server_left", port=server.port)
                closing = asyncio.create_task(server.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
        self._mapped.set()


async def _in_parallel(calls: Sequence[Any]) -> None:
    if len(calls) == 1:
        await calls[0]
    elif calls:
        await asyncio.gather(*calls)


def _is_refusal(reply: object) -> bool:
    return isinstance(reply, RedisReplyError) and str(reply).startswith(_REFUSALS)


def _address(node: Iterable[Any], asked: str) -> Address:
    host, port, *_ = node
    name = host.decode() if host else ""
    return (asked if name in ("", "?") else name, int(port))


async def _ask_for_map(address: Address) -> list[Any] | None:
    """A node's map of the slots; None when it does not answer, or does not see the cluster whole."""
    connection = None
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            connection = await connect(*address, ASK_TIMEOUT_S)
            info, ranges = await connection.send(_MAP)
    except (OSError, TimeoutError, RedisUnavailable):
        return None
    finally:
        if connection is not None:
            connection.close()
    if isinstance(info, RedisReplyError) or isinstance(ranges, RedisReplyError):
        log.warning("redis_no_cluster", port=address[1], error=str(info))
        return None
    return ranges if b"cluster_state:ok" in info else None
