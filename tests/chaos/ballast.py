"""Makes a Cassandra node write more than it has room for.

It writes into files of 8 MiB (`commitlog_segment_size`) that it made beforehand, so with the load alone a
full disk would pass unnoticed for minutes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from cassandra import ConsistencyLevel, DriverException, RequestExecutionException
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.policies import FallthroughRetryPolicy, WhiteListRoundRobinPolicy

ROW_BYTES = 64 * 1024
MOST_ROWS = 1024
"""64 MiB: eight segments."""
_NOT_TAKEN = (NoHostAvailable, RequestExecutionException, DriverException, ConnectionException)


@contextmanager
def ballast(address: str, nodes: int) -> Iterator[Callable[[], None]]:
    """What writes `MOST_ROWS` to one node, or until it does not take one.

    The table, with a copy on each of `nodes`, is made on entering, while there is room.
    """
    host, _, port = address.rpartition(":")
    alone = ExecutionProfile(
        load_balancing_policy=WhiteListRoundRobinPolicy([host]),
        retry_policy=FallthroughRetryPolicy(),
        consistency_level=ConsistencyLevel.ONE,
        request_timeout=20,
    )
    with Cluster(
        [host], port=int(port), execution_profiles={EXEC_PROFILE_DEFAULT: alone}
    ) as cluster:
        session = cluster.connect()
        session.execute(
            "CREATE KEYSPACE IF NOT EXISTS ballast"
            f" WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': {nodes}}}"
        )
        session.execute("CREATE TABLE IF NOT EXISTS ballast.rows (id int PRIMARY KEY, data blob)")
        insert = session.prepare("INSERT INTO ballast.rows (id, data) VALUES (?, ?)")

        def write() -> None:
            with suppress(*_NOT_TAKEN):
                for number in range(MOST_ROWS):
                    session.execute(insert, (number % 16, os.urandom(ROW_BYTES)))

        yield write
