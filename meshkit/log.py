"""Logging: one JSON object a line on standard output (or coloured text), with trace id and instance.

Libraries that log through `logging` (grpc, cassandra, nats) come out in the same form.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import orjson
import structlog
from opentelemetry import trace
from structlog.typing import FilteringBoundLogger

from meshkit.config import MeshConfig


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger that adds `logger=name`; call it as `log.info("what happened", key=value)`."""
    logger: FilteringBoundLogger = structlog.get_logger(origin=name)
    return logger


def configure(config: MeshConfig) -> None:
    """Set up structlog and logging for this process; call it once, first of all."""
    level = logging.getLevelNamesMapping()[config.log_level]

    def add_origin(
        _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        # structlog keeps the name "logger" for itself until here.
        if (origin := event.pop("origin", None)) is not None:
            event["logger"] = origin
        event["instance"] = config.service_instance
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            event["trace_id"] = f"{context.trace_id:032x}"
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_origin,
    ]
    renderers: list[structlog.typing.Processor]
    if config.log_format == "console":
        renderers = [structlog.dev.ConsoleRenderer()]
        factory: Any = structlog.PrintLoggerFactory(sys.stdout)
        foreign_renderers = renderers
    else:
        renderers = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_dumps_bytes),
        ]
        factory = structlog.BytesLoggerFactory(sys.stdout.buffer)
        foreign_renderers = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_dumps_text),
        ]
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *foreign_renderers,
            ],
        )
    )
    logging.root.handlers = [handler]
    logging.root.setLevel(max(level, logging.INFO))
    # The drivers tell every reconnect attempt at WARNING with a traceback; the session tells it once.
    for name in ("cassandra", "nats", "opentelemetry", "urllib3", "grpc"):
        logging.getLogger(name).setLevel(
            logging.DEBUG if level <= logging.DEBUG else logging.CRITICAL
        )


def _dumps_bytes(value: Any, **_: Any) -> bytes:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)


def _dumps_text(value: Any, **_: Any) -> str:
    return _dumps_bytes(value).decode()
