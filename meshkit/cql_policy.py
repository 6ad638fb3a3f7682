"""How this mesh uses the Cassandra driver: consistency, routing, retries, reconnection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cassandra import ConsistencyLevel, ProtocolVersion, WriteType
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.connection import Connection
from cassandra.io.libevreactor import LibevConnection
from cassandra.policies import (
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    RetryPolicy,
    TokenAwarePolicy,
)
from cassandra.query import tuple_factory

from meshkit.config import MeshConfig

Decision = tuple[int, Any]


class RepeatIdempotent(RetryPolicy):  # type: ignore[misc]
    """Repeats, once, only what was marked idempotent.

    The driver's own policy sends any statement to the next host after a lost connection, whether or not
    the first host has carried it out; this one does not.
    """

    def on_read_timeout(
        self,
        query: Any,
        consistency: int,
        required_responses: int,
        received_responses: int,
        data_retrieved: bool,
        retry_num: int,
    ) -> Decision:
        # Enough replicas answered, only the data was missing: the next try takes another for it.
        enough = received_responses >= required_responses and not data_retrieved
        if retry_num == 0 and enough and query.is_idempotent:
            return self.RETRY, consistency
        return self.RETHROW, None

    def on_write_timeout(
        self,
        query: Any,
        consistency: int,
        write_type: int,
        required_responses: int,
        received_responses: int,
        retry_num: int,
    ) -> Decision:
        if retry_num == 0 and query.is_idempotent and write_type != WriteType.CAS:
            return self.RETRY, consistency
        return self.RETHROW, None

    def on_unavailable(
        self,
        query: Any,
        consistency: int,
        required_replicas: int,
        alive_replicas: int,
        retry_num: int,
    ) -> Decision:
        if retry_num == 0 and query.is_idempotent:
            return self.RETRY_NEXT_HOST, None
        return self.RETHROW, None

    def on_request_error(
        self, query: Any, consistency: int, error: Exception, retry_num: int
    ) -> Decision:
        if retry_num == 0 and query.is_idempotent:
            return self.RETRY_NEXT_HOST, None
        return self.RETHROW, None


def cluster(
    config: MeshConfig,
    timestamps_us: Callable[[], int],
    connection_class: type[Connection] = LibevConnection,
) -> Cluster:
    """A driver cluster that is not connected yet; `timestamps_us` gives each write its time."""
    points = config.contact_points()
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(
            DCAwareRoundRobinPolicy(local_dc=config.cassandra_local_dc)
        ),
        retry_policy=RepeatIdempotent(),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
        request_timeout=config.cassandra_timeout_s,
        # Tuples: the driver's default makes a new class for every result.
        row_factory=tuple_factory,
    )
    return Cluster(
        contact_points=[host for host, _ in points],
        port=points[0][1],
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        connection_class=connection_class,
        protocol_version=ProtocolVersion.V5,
        compression=False,
        timestamp_generator=timestamps_us,
        reconnection_policy=ExponentialReconnectionPolicy(0.2, 1.0, max_attempts=None),
        connect_timeout=3,
        control_connection_timeout=3,
        # A node that was stopped, or whose machine is gone, keeps its connections; what was asked on them is
        # asked elsewhere when they are given up. Only those are asked that said nothing for an interval.
        idle_heartbeat_interval=1,
        idle_heartbeat_timeout=3,
        executor_threads=2,
        monitor_reporting_enabled=False,
        application_name=config.service_instance,
    )
