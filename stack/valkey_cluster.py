"""Makes one cluster of empty Valkey servers on loopback: `PORT...`, the primaries first.

The slots are shared out evenly among the first REDIS_PRIMARIES; each of the others becomes the replica of
one of them in turn. Of a cluster that is there it waits until it is whole.
"""

import socket
import sys
import time
from contextlib import ExitStack, closing
from typing import Any

import hiredis

from stack.ports import LOOPBACK
from stack.scale import REDIS_PRIMARIES

SLOTS = 16384
WAIT_S = 30.0
POLL_INTERVAL_S = 0.1


class Node:
    """A connection to one server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._socket = socket.create_connection((LOOPBACK, port), timeout=5)
        self._reader = hiredis.Reader(encoding="utf-8")
        self.id = str(self.call("CLUSTER", "MYID"))

    def call(self, *command: str | int) -> Any:
        """The reply. Raises hiredis.ReplyError."""
        self._socket.sendall(hiredis.pack_command(command))  # type: ignore[arg-type]
        while (reply := self._reader.gets()) is False:
            if not (received := self._socket.recv(65536)):
                raise ConnectionError(f"the server on port {self.port} closed the connection")
            self._reader.feed(received)
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    def info(self) -> dict[str, str]:
        """CLUSTER INFO."""
        lines = str(self.call("CLUSTER", "INFO")).split()
        return dict(line.split(":", 1) for line in lines)

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()


def form(nodes: list[Node]) -> None:
    """Raises TimeoutError when the nodes do not find each other."""
    first, primaries = nodes[0], nodes[:REDIS_PRIMARIES]
    if not all(int(node.info()["cluster_slots_assigned"]) for node in nodes):
        for number, node in enumerate(primaries):
            if not int(node.info()["cluster_slots_assigned"]):
                start = number * SLOTS // len(primaries)
                end = (number + 1) * SLOTS // len(primaries) - 1
                node.call("CLUSTER", "ADDSLOTSRANGE", start, end)
        for node in nodes[1:]:
            node.call("CLUSTER", "MEET", LOOPBACK, first.port, _bus_port(first))
        _wait(lambda: all(int(n.info()["cluster_known_nodes"]) == len(nodes) for n in nodes))
        for number, node in enumerate(nodes[REDIS_PRIMARIES:]):
            node.call("CLUSTER", "REPLICATE", primaries[number % len(primaries)].id)
    _wait(lambda: _whole(nodes))


def _whole(nodes: list[Node]) -> bool:
    """Whether each knows all, every slot is served, and every replica has its primary's data."""
    return all(
        node.info()["cluster_state"] == "ok"
        and node.info()["cluster_slots_ok"] == str(SLOTS)
        and int(node.info()["cluster_known_nodes"]) == len(nodes)
        for node in nodes
    ) and len(nodes) - REDIS_PRIMARIES == sum(
        role[0] == "slave" and role[3] == "connected"
        for role in (node.call("ROLE") for node in nodes)
    )


def _bus_port(node: Node) -> int:
    return int(node.call("CONFIG", "GET", "cluster-port")[1])


def _wait(condition: Any) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no cluster after {WAIT_S:.0f} s")
        time.sleep(POLL_INTERVAL_S)


def main() -> None:
    """Exits with 1 and a reason when it cannot be done."""
    with ExitStack() as connections:
        try:
            nodes = [connections.enter_context(closing(Node(int(port)))) for port in sys.argv[1:]]
            form(nodes)
        except (OSError, hiredis.ReplyError) as error:  # TimeoutError is an OSError
            sys.exit(f"the cluster cannot be made: {error}")


if __name__ == "__main__":
    main()
