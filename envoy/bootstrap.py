"""A process's configuration around its listeners and clusters: admin, statistics, identity."""

from collections.abc import Sequence
from typing import Any

from envoy.extension import Json, extension, tcp
from envoy.spec import MeshSpec
from envoy.upstreams import zipkin_cluster

# Everything else costs memory and a look at every scrape.
_STATS = (
    r"server\.(live|uptime|memory_.*|total_connections|concurrency)",
    r"http\..*\.(downstream_rq_(total|active|time|[1-5]xx|timeout|overload_close)|downstream_cx_(total|active|overload_disable_keepalive)|no_route)",
    r"http\..*\.rbac\.(allowed|denied)",
    r"http\..*\.jwt_authn\.(allowed|denied|jwks_fetch_.*)",
    r".*\.http_local_rate_limit\.(rate_limited|ok)",
    r"cluster\.[^.]*\.(upstream_rq_(total|active|time|retry|retry_success|retry_overflow|pending_overflow|timeout|[1-5]xx|rx_reset|tx_reset)|upstream_cx_(active|total|connect_fail))",
    r"cluster\.[^.]*\.(membership_(healthy|total)|health_check\.(success|failure)|outlier_detection\.ejections_active)",
    r"listener\..*\.(downstream_cx_(total|active|overflow|transport_socket_connect_timeout)|ssl\.(handshake|connection_error|fail_.*))",
    r"overload\..*",
)


def bootstrap(
    spec: MeshSpec,
    process: str,
    admin_port: int,
    listeners: Sequence[Json],
    clusters: Sequence[Json],
    **fields: Any,
) -> Json:
    """The whole configuration of `process`; its name is the service's name in traces."""
    tracing = (zipkin_cluster(spec.tracing),) if spec.tracing else ()
    return {
        "node": {"id": process, "cluster": process},
        "admin": {"address": tcp(spec.admin_host, admin_port), "access_log": []},
        "static_resources": {
            "listeners": list(listeners),
            "clusters": [*clusters, *tracing],
        },
        # There is no sink to flush to; a scrape brings the figures up to date.
        "stats_flush_on_admin": True,
        "stats_config": {
            "stats_matcher": {
                "inclusion_list": {"patterns": [{"safe_regex": {"regex": r}} for r in _STATS]}
            }
        },
        **fields,
    }


def connection_limit(connections: int) -> Json:
    """An `overload_manager` that refuses connections above a number, and requests when the heap is
    nearly full.
    """
    return {
        "overload_manager": {
            "refresh_interval": "1s",
            "resource_monitors": [
                extension(
                    "envoy.resource_monitors.global_downstream_max_connections",
                    "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    max_active_downstream_connections=connections,
                ),
                extension(
                    "envoy.resource_monitors.fixed_heap",
                    "extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                    max_heap_size_bytes=512 * 1024 * 1024,
                ),
            ],
            "actions": [
                _at_heap("envoy.overload_actions.shrink_heap", 0.85),
                _at_heap("envoy.overload_actions.disable_http_keepalive", 0.92),
                _at_heap("envoy.overload_actions.stop_accepting_requests", 0.95),
            ],
        }
    }


def _at_heap(action: str, share: float) -> Json:
    return {
        "name": action,
        "triggers": [{"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": share}}],
    }
