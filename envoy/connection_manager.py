"""What the HTTP connection managers of all listeners share: tracing, access log, retries."""

from typing import Any

from envoy import policy
from envoy.api import Method
from envoy.extension import Json, extension, seconds
from envoy.spec import AccessLog, TracingSpec
from envoy.upstreams import ZIPKIN

NOT_SENT_HEADER = "x-starling-not-sent"
"""A sidecar's word that its service was never reached: also a call that must not be done twice may
go to another instance.
"""

UNTRACED: Json = {"client_sampling": {}, "random_sampling": {}, "overall_sampling": {}}
"""A route's tracing, for health checks."""


def connection_manager(**fields: Any) -> Json:
    """The filter chain's one network filter."""
    return extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        **fields,
    )


def router(**fields: Any) -> Json:
    """The last HTTP filter. Envoy's own headers stay between Envoys."""
    return extension(
        "envoy.filters.http.router",
        "extensions.filters.http.router.v3.Router",
        suppress_envoy_headers=True,
        **fields,
    )


def tracing(spec: TracingSpec | None, sampling_percent: float) -> Json:
    """The `tracing` field: spans to Zipkin, context as W3C traceparent. Empty without tracing."""
    if spec is None:
        return {}
    return {
        "tracing": {
            "client_sampling": {"value": 0.0},
            "random_sampling": {"value": sampling_percent},
            "max_path_tag_length": 128,
            "provider": extension(
                "envoy.tracers.zipkin",
                "config.trace.v3.ZipkinConfig",
                collector_cluster=ZIPKIN,
                collector_hostname=f"{spec.host}:{spec.port}",
                collector_endpoint="/api/v2/spans",
                collector_endpoint_version="HTTP_JSON",
                trace_id_128bit=True,
                shared_span_context=False,
                trace_context_option="USE_B3_WITH_W3C_PROPAGATION",
            ),
        }
    }


def access_log(which: AccessLog, grpc: bool) -> Json:
    """The `access_log` field: a line of JSON to the process's output, for each request that the
    mesh failed or for all; `grpc` if the listener's responses carry a gRPC status.
    """
    if which == "off":
        return {}
    log = extension(
        "envoy.access_loggers.stdout",
        "extensions.access_loggers.stream.v3.StdoutAccessLog",
        log_format={"json_format": _LOG_LINE},
    )
    if which == "errors":
        log["filter"] = _GRPC_FAILED if grpc else _HTTP_FAILED
    return {"access_log": [log]}


_LOG_LINE = {
    "time": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ:ORIG)%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "upstream": "%UPSTREAM_HOST%",
    "duration_ms": "%DURATION%",
    "trace_id": "%TRACE_ID%",
}

_HTTP_FAILED = {
    "status_code_filter": {
        "comparison": {"op": "GE", "value": {"default_value": 500, "runtime_key": "unset"}}
    }
}

_GRPC_FAILED = {
    "grpc_status_filter": {
        "statuses": ["UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"]
    }
}


def retry_policy(method: Method) -> Json:
    """Calls that are safe to repeat are repeated when the instance failed; others only where they
    cannot have reached the service.
    """
    not_sent = "connect-failure,refused-stream,reset-before-request,retriable-headers"
    return {
        "retry_on": f"{not_sent},reset,unavailable,cancelled"
        if policy.is_repeated(method)
        else not_sent,
        "num_retries": 2,
        "retriable_headers": [{"name": NOT_SENT_HEADER, "present_match": True}],
        "retry_back_off": {"base_interval": seconds(0.025), "max_interval": seconds(0.25)},
        "retry_host_predicate": [
            extension(
                "envoy.retry_host_predicates.previous_hosts",
                "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
            )
        ],
        "host_selection_retry_max_attempts": 5,
    }
