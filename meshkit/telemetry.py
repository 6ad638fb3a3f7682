"""Traces: W3C context carried over gRPC metadata and NATS headers, spans exported to Zipkin or OTLP.

With `OTEL_TRACES_EXPORTER=none`, and below a parent that is not sampled, a span costs next to nothing:
no SDK object is made, but the trace context still travels on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, MutableMapping, Sequence
from types import TracebackType

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import INVALID_SPAN, NonRecordingSpan, Span, TraceState
from opentelemetry.util.types import AttributeValue

from meshkit.config import MeshConfig
from meshkit.log import get_logger

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

_log = get_logger(__name__)
_provider: TracerProvider | None = None
_tracer: trace.Tracer | None = None


def configure(config: MeshConfig) -> None:
    """Set up this process's exporter by the configuration; call once, before the first span."""
    global _provider, _tracer  # noqa: PLW0603 - one exporter a process, as in OpenTelemetry itself
    exporter = _exporter(config)
    if exporter is None:
        return
    _provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(config.otel_traces_sampler_arg)),
        resource=Resource.create(
            {
                "service.name": config.service,
                "service.instance.id": config.service_instance,
                "service.namespace": "starling",
            }
        ),
        shutdown_on_exit=False,
    )
    _provider.add_span_processor(
        BatchSpanProcessor(
            _PatientExporter(exporter), schedule_delay_millis=1000, max_queue_size=8192
        )
    )
    trace.set_tracer_provider(_provider)
    _tracer = _provider.get_tracer("meshkit")


def use_provider(provider: TracerProvider | None) -> None:
    """Trace with this provider (tests: an in-memory exporter), or not at all."""
    global _provider, _tracer  # noqa: PLW0603 - one exporter a process, as in OpenTelemetry itself
    _provider = provider
    _tracer = provider.get_tracer("meshkit") if provider else None


def shutdown() -> None:
    """Export what is left; blocks for a few seconds at most."""
    if _provider is not None:
        _provider.shutdown()


def recording() -> bool:
    """Whether what is done now belongs to a trace that is recorded: whether a CLIENT span would be."""
    return _tracer is not None and trace.get_current_span().is_recording()


class span:
    """`with span(name, kind, attributes) as s:` makes `s` the current span for the block.

    An exception that leaves the block sets the status to ERROR. `parent` replaces the current context;
    `links` tie to other traces, as for a batch. Unsampled blocks get a span that records nothing.
    """

    __slots__ = ("_attributes", "_kind", "_links", "_name", "_parent", "_span", "_token")

    def __init__(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, AttributeValue] | None = None,
        *,
        parent: Context | None = None,
        links: Sequence[Link] | None = None,
    ) -> None:
        self._name = name
        self._kind = kind
        self._attributes = attributes
        self._parent = parent
        self._links = links
        self._span: Span = INVALID_SPAN
        self._token: object | None = None

    def __enter__(self) -> Span:
        parent = self._parent
        above = trace.get_current_span(parent)
        above_context = above.get_span_context()
        # Calls to the stores from background work, such as the relay's sweeps, are nobody's trace.
        nobodys = self._kind is SpanKind.CLIENT and not above_context.is_valid
        unsampled = above_context.is_valid and not above_context.trace_flags.sampled
        if _tracer is None or unsampled or nobodys:
            if parent is not None:
                self._token = otel_context.attach(parent)
            return above
        self._span = _tracer.start_span(
            self._name, parent, self._kind, self._attributes, self._links
        )
        self._token = otel_context.attach(trace.set_span_in_context(self._span, parent))
        return self._span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._token is not None:
            otel_context.detach(self._token)  # type: ignore[arg-type]
        if self._span is not INVALID_SPAN:
            if error is not None and self._span.is_recording():
                self._span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
            self._span.end()


def traceparent() -> str | None:
    """The present W3C traceparent value, or None outside a trace."""
    current = trace.get_current_span().get_span_context()
    if not current.is_valid:
        return None
    return f"00-{current.trace_id:032x}-{current.span_id:016x}-{int(current.trace_flags):02x}"


def inject(headers: MutableMapping[str, str]) -> None:
    """Put the present trace context into NATS headers or the like."""
    value = traceparent()
    if value is not None:
        headers[TRACEPARENT] = value


def parse_traceparent(value: str | None, tracestate: str | None = None) -> SpanContext | None:
    """The remote span named by a W3C traceparent, or None when it is absent or malformed."""
    if value is None or len(value) < 55 or value[2] != "-" or value[35] != "-" or value[52] != "-":
        return None
    try:
        trace_id = int(value[3:35], 16)
        span_id = int(value[36:52], 16)
        flags = int(value[53:55], 16)
    except ValueError:
        return None
    if not trace_id or not span_id or value[:2] == "ff":
        return None
    state = TraceState.from_header([tracestate]) if tracestate else None
    return SpanContext(trace_id, span_id, True, TraceFlags(flags & 1), state)


def extract(headers: Mapping[str, str] | None) -> Context | None:
    """The trace context in NATS headers or the like, as a parent for `span`; None without one."""
    if not headers:
        return None
    remote = parse_traceparent(headers.get(TRACEPARENT), headers.get(TRACESTATE))
    return context_of(remote) if remote else None


def context_of(remote: SpanContext) -> Context:
    """An otherwise empty context whose current span is `remote`."""
    return trace.set_span_in_context(NonRecordingSpan(remote), Context())


def _exporter(config: MeshConfig) -> SpanExporter | None:
    # Imported here: each costs tens of milliseconds and megabytes that the other setting never needs.
    if config.otel_traces_exporter == "zipkin":
        from opentelemetry.exporter.zipkin.json import ZipkinExporter

        return ZipkinExporter(endpoint=config.otel_exporter_zipkin_endpoint)
    if config.otel_traces_exporter == "otlp":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter(endpoint=config.otel_exporter_otlp_endpoint, insecure=True)
    return None


class _PatientExporter(SpanExporter):
    """Drops spans quietly while the trace store is away, and says so once a minute."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._told_at = -60.0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._inner.export(spans)
        except Exception as error:
            if time.monotonic() - self._told_at >= 60:
                self._told_at = time.monotonic()
                _log.warning("trace store unreachable, spans dropped", error=type(error).__name__)
            return SpanExportResult.FAILURE
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._inner.force_flush(timeout_millis)
