"""Ports on loopback: fixed ones, or free ones with `STARLING_PORTS=free`; and who holds a taken one."""

import os
import random
import socket
from collections.abc import Iterable, Mapping

import psutil

from stack.errors import StackError

LOOPBACK = "127.0.0.1"


# Below the range that systems take the ports of outgoing connections from (32768 on): a process
# that died finds its port free when it is started again. Above the fixed ports of a mesh beside it.
FREE_RANGE = range(16_000, 32_000)


def free_ports(count: int) -> list[int]:
    """`count` different ports that nobody listens on now.

    Someone may take one before its process does; that process then fails with a message, and the
    next `up` chooses others.
    """
    ports: list[int] = []
    for port in random.sample(FREE_RANGE, len(FREE_RANGE)):
        if len(ports) == count:
            break
        if is_free(port):
            ports.append(port)
    return ports


def is_free(port: int, host: str = LOOPBACK, shared: bool = False) -> bool:
    """Whether a program could listen on `port` of an address of loopback now; or, if `shared`, beside
    others of this user who share it.
    """
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            candidate.bind((host, port))
        except OSError:
            return False
    return True


def choose(defaults: Mapping[str, int]) -> dict[str, int]:
    """A port for each name: the default one, or any free one if the environment asks for that."""
    if os.environ.get("STARLING_PORTS", "").lower() == "free":
        return dict(zip(defaults, free_ports(len(defaults)), strict=True))
    return dict(defaults)


def holder(port: int) -> str:
    """Who listens on `port`, as far as this user may know: `pid 42 (nats-server -p 4222)`."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return "another program"
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,):
            if connection.pid is None:
                return "a program of another user"
            try:
                command = " ".join(psutil.Process(connection.pid).cmdline())
            except psutil.Error:
                command = "?"
            return f"pid {connection.pid} ({command[:120]})"
    return "another program"


def check_free(name: str, ports: Iterable[int], host: str = LOOPBACK, shared: bool = False) -> None:
    """Raises StackError if process `name` cannot listen on one of `ports`; it says who holds it."""
    for port in ports:
        if not is_free(port, host, shared):
            advice = ", or set STARLING_API_PORT" if name == "edge" else ""
            raise StackError(
                f"{name} needs port {port}, which {holder(port)} holds.\n"
                f"End that program{advice}, or start with STARLING_PORTS=free (takes free ones)."
            )
