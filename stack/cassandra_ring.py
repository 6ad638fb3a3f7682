"""Waits until every node of a Cassandra cluster sees all the others alive: `HOST:PORT...`.

A node answers clients before it has heard of the others, and refuses what needs a quorum until then.
"""

import sys
import time

from cassandra import ConsistencyLevel, DriverException, RequestExecutionException
from cassandra.cluster import Cluster, ExecutionProfile, NoHostAvailable
from cassandra.policies import WhiteListRoundRobinPolicy
from cassandra.query import SimpleStatement

# Its keyspace has three copies from the start: with three nodes, each must answer.
_OF_ALL = SimpleStatement(
    "SELECT keyspace_name FROM system_distributed.view_build_status LIMIT 1",
    consistency_level=ConsistencyLevel.ALL,
)
POLL_INTERVAL_S = 0.5
WAIT_S = 170.0


def sees_all(host: str, port: int, nodes: int) -> bool:
    """Whether this node knows `nodes` nodes, and reads from all of them."""
    alone = ExecutionProfile(load_balancing_policy=WhiteListRoundRobinPolicy([host]))
    cluster = Cluster([host], port=port, execution_profiles={"alone": alone}, connect_timeout=5)
    try:
        session = cluster.connect()
        peers = session.execute("SELECT peer FROM system.peers_v2", execution_profile="alone").all()
        session.execute(_OF_ALL, execution_profile="alone")
        return len(peers) + 1 >= nodes
    except (NoHostAvailable, RequestExecutionException, DriverException, OSError):
        return False
    finally:
        cluster.shutdown()


def main() -> None:
    """Exits with 1, and says which nodes are at fault, when they do not find each other in time."""
    nodes = [(host, int(port)) for host, _, port in (text.rpartition(":") for text in sys.argv[1:])]
    deadline = time.monotonic() + WAIT_S
    alone = nodes
    while alone := [node for node in alone if not sees_all(*node, len(nodes))]:
        if time.monotonic() > deadline:
            sys.exit(f"does not see the other nodes: {', '.join(f'{h}:{p}' for h, p in alone)}")
        time.sleep(POLL_INTERVAL_S)


if __name__ == "__main__":
    main()
