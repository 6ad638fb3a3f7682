"""A service's sidecar: others' calls in by mTLS, the service's own calls out by mTLS."""

import base64
from collections import defaultdict
from collections.abc import Iterable

from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from envoy import policy
from envoy.api import Api, Method
from envoy.bootstrap import bootstrap, connection_limit
from envoy.connection_manager import (
    NOT_SENT_HEADER,
    UNTRACED,
    access_log,
    connection_manager,
    retry_policy,
    router,
    tracing,
)
from envoy.extension import Json, extension, http_status, seconds, set_header, tcp, unix
from envoy.spec import MeshSpec, ServiceSpec, spiffe_id
from envoy.upstreams import (
    LOCAL_SERVICE,
    MESH_TLS,
    certificate,
    local_service_cluster,
    mesh_cluster,
)

MAX_CALL_S = 15.0
"""The longest that a call may take, whatever its grpc-timeout says."""

MAX_CONNECTIONS = 1000
"""Callers' workers and health checks: a few each."""

_HTTP2 = {
    "max_concurrent_streams": 1000,
    "initial_stream_window_size": 256 * 1024,
    "initial_connection_window_size": 1024 * 1024,
}


def sidecar(spec: MeshSpec, api: Api, service: ServiceSpec) -> Json:
    """The configuration of `<instance>.envoy`."""
    outgoing = policy.callable_by(api, service.name)
    callees = sorted({policy.OWNERS[method.service] for method in outgoing})
    listeners = [_inbound(spec, api, service), _outbound(spec, service, outgoing)]
    clusters = [mesh_cluster(spec, callee, service.certificate) for callee in callees]
    return bootstrap(
        spec,
        f"{service.instance}.envoy",
        service.admin_port,
        listeners,
        [local_service_cluster(service), *clusters],
        **connection_limit(MAX_CONNECTIONS),
    )


def _inbound(spec: MeshSpec, api: Api, service: ServiceSpec) -> Json:
    methods = policy.owned_by(api, service.name)
    health = {
        "match": {"path": policy.HEALTH},
        "route": {"cluster": LOCAL_SERVICE, "timeout": seconds(2)},
        "tracing": UNTRACED,
    }
    calls = [
        {
            "match": {"path": method.path},
            "route": {"cluster": LOCAL_SERVICE, **_call_timeouts()},
            "decorator": {"operation": f"{method.short_name} in", "propagate": False},
        }
        for method in methods
    ]
    reflection = [
        {"match": {"path": path}, "route": {"cluster": LOCAL_SERVICE, **_call_timeouts()}}
        for path in policy.REFLECTION
    ]
    manager = _grpc_manager(
        spec,
        "inbound",
        routes=[*calls, health, *reflection],
        filters=[_rbac(methods)],
        reply=_local_reply("the service cannot be reached"),
        # Nobody outside of the mesh can set it here, and services have no use for it.
        forward_client_cert_details="SANITIZE",
    )
    return {
        "name": "inbound",
        "traffic_direction": "INBOUND",
        "address": tcp(service.inbound_host, service.inbound_port),
        "per_connection_buffer_limit_bytes": 256 * 1024,
        "filter_chains": [
            {
                "filters": [manager],
                "transport_socket": _server_tls(spec, service),
                "transport_socket_connect_timeout": seconds(5),
            }
        ],
    }


def _outbound(spec: MeshSpec, service: ServiceSpec, methods: Iterable[Method]) -> Json:
    routes = [
        {
            "match": {"path": method.path},
            "route": {
                "cluster": policy.OWNERS[method.service],
                **_call_timeouts(),
                "retry_policy": retry_policy(method),
            },
            "decorator": {"operation": f"{method.short_name} out", "propagate": False},
        }
        for method in methods
    ]
    manager = _grpc_manager(
        spec,
        "outbound",
        routes=routes,
        filters=[],
        reply=_local_reply("no instance of the service can be reached"),
    )
    return {
        "name": "outbound",
        "traffic_direction": "OUTBOUND",
        "address": unix(service.outbound_socket, mode=0o600),
        "per_connection_buffer_limit_bytes": 256 * 1024,
        "filter_chains": [{"filters": [manager]}],
    }


def _grpc_manager(
    spec: MeshSpec,
    name: str,
    routes: list[Json],
    filters: list[Json],
    reply: Json,
    **fields: str,
) -> Json:
    return connection_manager(
        stat_prefix=name,
        codec_type="HTTP2",
        http2_protocol_options=_HTTP2,
        stream_idle_timeout=seconds(60),
        server_header_transformation="PASS_THROUGH",
        route_config={
            "name": name,
            "virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}],
            "validate_clusters": True,
        },
        http_filters=[*filters, router()],
        local_reply_config=reply,
        # Whether a request is traced was decided where its trace began.
        **tracing(spec.tracing, sampling_percent=100.0),
        **access_log(spec.access_log, grpc=True),
        **fields,
    )


def _call_timeouts() -> Json:
    """The caller's deadline holds; the grpc-timeout header goes on as it is."""
    return {
        "timeout": seconds(0),
        "max_stream_duration": {
            "max_stream_duration": seconds(MAX_CALL_S),
            "grpc_timeout_header_max": seconds(MAX_CALL_S),
        },
    }


def _rbac(methods: Iterable[Method]) -> Json:
    """Refuses whatever is not granted: a policy for each set of callers."""
    paths: dict[frozenset[str], list[str]] = defaultdict(list)
    everyone: set[str] = {policy.OPERATOR}
    for method in methods:
        callers = policy.callers_of(method)
        everyone |= callers
        paths[callers].append(method.path)
    paths[frozenset(everyone)].append(policy.HEALTH)
    paths[frozenset({policy.OPERATOR})].extend(policy.REFLECTION)
    return extension(
        "envoy.filters.http.rbac",
        "extensions.filters.http.rbac.v3.RBAC",
        rules={
            "action": "ALLOW",
            "policies": {
                " ".join(sorted(callers)): {
                    "permissions": [{"url_path": {"path": {"exact": path}}} for path in paths],
                    "principals": [
                        {"authenticated": {"principal_name": {"exact": spiffe_id(caller)}}}
                        for caller in sorted(callers)
                    ],
                }
                for callers, paths in paths.items()
            },
        },
    )


def _server_tls(spec: MeshSpec, service: ServiceSpec) -> Json:
    return extension(
        "envoy.transport_sockets.tls",
        "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        require_client_certificate=True,
        common_tls_context={
            "alpn_protocols": ["h2"],
            "tls_params": MESH_TLS,
            "tls_certificates": [certificate(service.certificate)],
            "validation_context": {
                "trusted_ca": {"filename": str(spec.ca)},
                "match_typed_subject_alt_names": [
                    {"san_type": "URI", "matcher": {"prefix": spiffe_id("")}}
                ],
            },
        },
    )


def _local_reply(unreachable: str) -> Json:
    """What the sidecar itself answers when a call fails on its way, in the form that services use:
    a message without Envoy's words, an ErrorInfo and a RetryInfo.
    """
    details = [set_header("grpc-status-details-bin", _unavailable(unreachable))]
    never_connected = {
        "response_flag_filter": {"flags": ["UF", "UH", "UO"]},
    }
    return {
        "mappers": [
            {
                "filter": never_connected,
                "headers_to_add": [*details, set_header(NOT_SENT_HEADER, "1")],
                "body": {"inline_string": unreachable},
            },
            {
                "filter": http_status(503),
                "headers_to_add": details,
                "body": {"inline_string": unreachable},
            },
        ]
    }


def _unavailable(message: str) -> str:
    """A google.rpc.Status as gRPC carries it in a header."""
    status = status_pb2.Status(code=code_pb2.UNAVAILABLE, message=message)
    for detail in (
        error_details_pb2.ErrorInfo(reason="SERVICE_UNREACHABLE", domain="mesh.starling"),
        error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=1)),
    ):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return base64.b64encode(status.SerializeToString()).decode()
