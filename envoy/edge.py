"""The edge: TLS, limits, tokens and JSON for the public API; see `edge_filters` for the order."""

import json
from pathlib import Path

from envoy import policy
from envoy.api import Api
from envoy.bootstrap import bootstrap, connection_limit
from envoy.connection_manager import access_log, connection_manager, router, tracing
from envoy.edge_errors import JSON_HEADERS, WRONG_CONTENT_TYPE, direct_response, local_reply
from envoy.edge_filters import clean_request, filters, transcoder
from envoy.edge_routes import PRIVATE, call_route, routes
from envoy.extension import Json, extension, seconds, tcp, unix
from envoy.spec import MeshSpec
from envoy.upstreams import certificate, mesh_cluster, socket_cluster

MAX_CONNECTIONS = 8000
KEYS_SERVICE = "starling.gateway.v1.DiscoveryService"

_HTTP2 = {
    "max_concurrent_streams": 100,
    # A client that waits for room to send more than is taken may not read the 413.
    "initial_stream_window_size": 1024 * 1024,
    "initial_connection_window_size": 1024 * 1024,
}


def edge(spec: MeshSpec, api: Api, descriptor: Path) -> Json:
    """The configuration of the process "edge"."""
    owners = dict.fromkeys(policy.OWNERS[service] for service in api.public_services)
    clusters = [mesh_cluster(spec, owner, spec.edge.client_certificate) for owner in owners]
    return bootstrap(
        spec,
        "edge",
        spec.edge.admin_port,
        [_public(spec, api, descriptor), _private(spec, api, descriptor)],
        [*clusters, socket_cluster(PRIVATE, spec.edge.private_socket)],
        **connection_limit(MAX_CONNECTIONS),
    )


# What services have no use for costs them time to read.
_NOT_FOR_SERVICES = [
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "origin",
    "referer",
    "x-envoy-original-method",
    "x-envoy-original-path",
    "x-forwarded-for",
    "x-forwarded-proto",
]


def _public(spec: MeshSpec, api: Api, descriptor: Path) -> Json:
    manager = connection_manager(
        stat_prefix="edge",
        codec_type="AUTO",
        route_config=_routes("public", routes(api)),
        http_filters=[*filters(spec, api, descriptor), router()],
        local_reply_config=local_reply(),
        early_header_mutation_extensions=[clean_request()],
        # A client's address is its own, not what it says.
        use_remote_address=True,
        xff_num_trusted_hops=0,
        internal_address_config={"unix_sockets": False, "cidr_ranges": []},
        forward_client_cert_details="SANITIZE",
        server_header_transformation="PASS_THROUGH",
        always_set_request_id_in_response=True,
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action="REJECT_REQUEST",
        # That a method is unknown is said in the same form as that it is wrong.
        http_protocol_options={"allow_custom_methods": True},
        http2_protocol_options=_HTTP2,
        common_http_protocol_options={
            "headers_with_underscores_action": "DROP_HEADER",
            "max_headers_count": 64,
            "idle_timeout": seconds(300),
        },
        max_request_headers_kb=16,
        # Slow clients.
        request_headers_timeout=seconds(5),
        request_timeout=seconds(10),
        stream_idle_timeout=seconds(20),
        **tracing(spec.tracing, spec.tracing.sampling_percent if spec.tracing else 0.0),
        **access_log(spec.access_log, grpc=False),
    )
    return {
        "name": "public",
        "traffic_direction": "INBOUND",
        "address": tcp(spec.edge.host, spec.edge.port),
        "per_connection_buffer_limit_bytes": 32 * 1024,
        "listener_filters": [],
        "filter_chains": [
            {
                "filters": [manager],
                "transport_socket": _tls(spec),
                "transport_socket_connect_timeout": seconds(5),
            }
        ],
    }


def _private(spec: MeshSpec, api: Api, descriptor: Path) -> Json:
    """For the edge itself, on a unix socket: the public keys, and the answer to other protocols."""
    keys = [
        call_route(binding, method)
        for method in api.methods_of(KEYS_SERVICE)
        for binding in method.bindings
        if method.name == "GetJwks"
    ]
    for route in keys:
        del route["typed_per_filter_config"]
    refused = {
        "match": {"prefix": "/"},
        "direct_response": direct_response(WRONG_CONTENT_TYPE),
        "response_headers_to_add": JSON_HEADERS,
    }
    manager = connection_manager(
        stat_prefix="private",
        codec_type="HTTP1",
        route_config=_routes("private", [*keys, refused]),
        http_filters=[transcoder(descriptor, [KEYS_SERVICE], reject_unknown=False), router()],
        server_header_transformation="PASS_THROUGH",
        # Not worth a trace, and so said to the gateway.
        **tracing(spec.tracing, sampling_percent=0.0),
    )
    return {
        "name": "private",
        "address": unix(spec.edge.private_socket, mode=0o600),
        "filter_chains": [{"filters": [manager]}],
    }


def _routes(name: str, found: list[Json]) -> Json:
    return {
        "name": name,
        "virtual_hosts": [
            {
                "name": name,
                "domains": ["*"],
                "routes": found,
                "request_headers_to_remove": _NOT_FOR_SERVICES,
            }
        ],
        "validate_clusters": True,
        "max_direct_response_body_size_bytes": max(
            len(json.dumps(route.get("direct_response"))) for route in found
        ),
    }


def _tls(spec: MeshSpec) -> Json:
    return extension(
        "envoy.transport_sockets.tls",
        "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context={
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "tls_certificates": [certificate(spec.edge.server_certificate)],
        },
    )
