"""The table of processes: what runs, by which command, on what it needs."""

from dataclasses import dataclass

from stack.cassandra import cassandra
from stack.nats import nats
from stack.ports import free_ports
from stack.process import Process, in_order
from stack.run_dir import RunDir
from stack.valkey import valkey


@dataclass(frozen=True)
class Topology:
    """Processes, each behind what it needs, and the addresses that a user wants to know."""

    processes: tuple[Process, ...]
    addresses: dict[str, str]


def engines(run: RunDir) -> Topology:
    """The engines alone, on free ports, for the test suite and for developers: beside a mesh, not in its way."""
    cql, storage, nats_client, nats_monitor, redis = free_ports(5)
    processes = in_order(
        [cassandra(run, cql, storage), nats(run, nats_client, nats_monitor), valkey(run, redis)]
    )
    addresses = {name: url for process in processes for name, url in process.addresses.items()}
    return Topology(tuple(processes), addresses)
