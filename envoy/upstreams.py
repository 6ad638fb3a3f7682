"""Clusters: where calls go, with mTLS, health checks and bounds."""

from collections.abc import Sequence
from ipaddress import ip_address

from envoy.extension import Json, extension, seconds, tcp, unix
from envoy.spec import Certificate, MeshSpec, ServiceSpec, TracingSpec, spiffe_id

HEALTH_INTERVAL_S = 1.0
"""How long a caller may take to see that an instance stops serving, or serves again."""

ZIPKIN = "zipkin"
LOCAL_SERVICE = "local_service"

MESH_TLS = {
    "tls_minimum_protocol_version": "TLSv1_3",
    # A client's default maximum is 1.2.
    "tls_maximum_protocol_version": "TLSv1_3",
}

_HTTP2 = {
    "max_concurrent_streams": 1000,
    # By default a stream may buffer 16 MiB.
    "initial_stream_window_size": 256 * 1024,
    "initial_connection_window_size": 1024 * 1024,
}


def mesh_cluster(spec: MeshSpec, name: str, caller: Certificate) -> Json:
    """All instances of service `name`, called with the certificate of `caller`."""
    instances = spec.instances(name)
    return {
        "name": name,
        **_addresses(name, [tcp(i.inbound_host, i.inbound_port) for i in instances]),
        "connect_timeout": seconds(1),
        # Not LEAST_REQUEST: what fails at once has the fewest, and draws the retries too.
        "lb_policy": "ROUND_ROBIN",
        # Without a healthy instance: an answer at once, not a try of one that hangs.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "health_checks": [_grpc_health_check()],
        "outlier_detection": _outlier_detection(),
        "circuit_breakers": _circuit_breakers(),
        "per_connection_buffer_limit_bytes": 256 * 1024,
        "typed_extension_protocol_options": _http2_only(),
        "transport_socket": _client_tls(spec, name, caller),
    }


def local_service_cluster(service: ServiceSpec) -> Json:
    """The service itself, behind its sidecar. Callers check its health through the sidecar, so
    there is no second check here: when it is gone, connecting fails at once.
    """
    return {
        "name": LOCAL_SERVICE,
        **_addresses(LOCAL_SERVICE, [unix(service.socket)]),
        "connect_timeout": seconds(1),
        "circuit_breakers": _circuit_breakers(),
        "per_connection_buffer_limit_bytes": 256 * 1024,
        "typed_extension_protocol_options": _http2_only(),
    }


def socket_cluster(name: str, path: object) -> Json:
    """A plaintext HTTP/1 server on a unix socket."""
    return {
        "name": name,
        **_addresses(name, [unix(path)]),
        "connect_timeout": seconds(1),
    }


def zipkin_cluster(tracing: TracingSpec) -> Json:
    """The trace store. It may be away: spans are dropped then."""
    return {
        "name": ZIPKIN,
        **_addresses(ZIPKIN, [tcp(tracing.host, tracing.port)]),
        "connect_timeout": seconds(1),
    }


def _addresses(name: str, addresses: Sequence[Json]) -> Json:
    hosts = [a["socket_address"]["address"] for a in addresses if "socket_address" in a]
    endpoints = [{"endpoint": {"address": address}} for address in addresses]
    return {
        "type": "STATIC" if all(_is_ip(host) for host in hosts) else "STRICT_DNS",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _grpc_health_check() -> Json:
    return {
        "timeout": seconds(1),
        "interval": seconds(HEALTH_INTERVAL_S),
        "unhealthy_interval": seconds(HEALTH_INTERVAL_S / 2),
        # Until the first call the intervals would be a minute.
        "no_traffic_interval": seconds(HEALTH_INTERVAL_S / 2),
        "no_traffic_healthy_interval": seconds(HEALTH_INTERVAL_S),
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "grpc_health_check": {},
    }


def _outlier_detection() -> Json:
    """Takes out an instance that cannot be reached before its health check does. What the service
    itself answers does not count: UNAVAILABLE because a store is away is true of all instances.
    """
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 3,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_local_origin_success_rate": 0,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "interval": seconds(2),
        "base_ejection_time": seconds(2),
        "max_ejection_time": seconds(10),
        # Never the only one.
        "max_ejection_percent": 50,
    }


def _circuit_breakers() -> Json:
    bounds = {"max_connections": 1024, "max_pending_requests": 1024, "max_requests": 4096}
    # When one instance of two dies, half of what is under way needs another try at the same time.
    budget = {"budget_percent": {"value": 50.0}, "min_retry_concurrency": 50}
    return {"thresholds": [{**bounds, "retry_budget": budget}]}


def _http2_only() -> Json:
    options = extension(
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "extensions.upstreams.http.v3.HttpProtocolOptions",
        explicit_http_config={"http2_protocol_options": _HTTP2},
    )
    return {options["name"]: options["typed_config"]}


def _client_tls(spec: MeshSpec, name: str, caller: Certificate) -> Json:
    return extension(
        "envoy.transport_sockets.tls",
        "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        sni=name,
        common_tls_context={
            "alpn_protocols": ["h2"],
            "tls_params": MESH_TLS,
            "tls_certificates": [certificate(caller)],
            "validation_context": {
                "trusted_ca": {"filename": str(spec.ca)},
                "match_typed_subject_alt_names": [
                    {"san_type": "URI", "matcher": {"exact": spiffe_id(name)}}
                ],
            },
        },
    )


def certificate(pair: Certificate) -> Json:
    """A TlsCertificate."""
    return {
        "certificate_chain": {"filename": str(pair.chain)},
        "private_key": {"filename": str(pair.key)},
    }
