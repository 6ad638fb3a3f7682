"""Makes a Cassandra node write more than it has room for.

It writes into files of 8 MiB (`commitlog_segment_size`) that it made beforehand, so with the load alone a
full disk would pass unnoticed for minutes.
"""

from __future__ import annotations

import os
from contextlib import suppress
from types import TracebackType

from cassandra import ConsistencyLevel, DriverException, RequestExecutionException
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.policies import FallthroughRetryPolicy, WhiteListRoundRobinPolicy

ROW_BYTES = 64 * 1024
MOST_ROWS = 1024
"""64 MiB: eight segments."""
_NOT_TAKEN = (NoHostAvailable, RequestExecutionException, DriverException, ConnectionException)


class Ballast:
    """A connection to one node, and a keyspace with a copy on each of `nodes`; made while there is room."""

    def __init__(self, address: str, nodes: int) -> None:
        host, _, port = address.rpartition(":")
        alone = ExecutionProfile(
            load_balancing_policy=WhiteListRoundRobinPolicy([host]),
            retry_policy=FallthroughRetryPolicy(),
            consistency_level=ConsistencyLevel.ONE,
            request_timeout=20,
        )
        self._cluster = Cluster(
            [host], port=int(port), execution_profiles={EXEC_PROFILE_DEFAULT: alone}
        )
        try:
            self._session = self._cluster.connect()
            self._session.execute(
                "CREATE KEYSPACE IF NOT EXISTS ballast"
                f" WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': {nodes}}}"
            )
            self._session.execute(
                "CREATE TABLE IF NOT EXISTS ballast.rows (id int PRIMARY KEY, data blob)"
            )
            self._insert = self._session.prepare(
                "INSERT INTO ballast.rows (id, data) VALUES (?, ?)"
            )
        except BaseException:
            self._cluster.shutdown()
            raise

    def __enter__(self) -> Ballast:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cluster.shutdown()

    def write(self) -> None:
        """Write `MOST_ROWS`, or until the node does not take one."""
        with suppress(*_NOT_TAKEN):
            for number in range(MOST_ROWS):
                self._session.execute(self._insert, (number % 16, os.urandom(ROW_BYTES)))
