"""Durable consumers: each message handled at least once, acked after the handler, never lost on the way.

A handler that raises has its message again after a back-off; after `max_deliver` deliveries, or at once
for what can never be handled, the message is copied to the dead letters (`meshkit.dead_letters`) and then
terminated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import nats.errors
import nats.js.errors
from google.protobuf.message import DecodeError, Message
from nats.aio.msg import Msg
from nats.js import api
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Histogram

from meshkit import dead_letters, deadline, faults, telemetry
from meshkit.background import Background, check_cancelled
from meshkit.errors import DeadlineExceeded, ResourceExhausted, StarlingError, Unavailable
from meshkit.events import MSG_ID, ConsumerSpec, EventBus
from meshkit.log import get_logger
from meshkit.pull import ConsumerGone, Puller

_DEADLY = 100
"""Deliveries past this many times `max_deliver` are not tried again, whatever made them fail."""

_log = get_logger(__name__)
_HANDLED = Counter("starling_events_handled", "Events by outcome", ["consumer", "outcome"])
_SECONDS = Histogram(
    "starling_event_seconds",
    "Time to handle an event",
    ["consumer"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
)


class _Unrouted(Exception):
    """There is no handler for the subject here: a process of newer code may have one."""


class Discard(Exception):
    """Raised by a handler for a message that can never be handled: it goes to the dead letters now."""


@dataclass(frozen=True, slots=True)
class EventMeta:
    """What JetStream says about a message: its subject (without prefix; of one that is given again, its
    first), stream sequence, which delivery this is (1 is the first), when it was stored (ms since 1970),
    its id, and all its headers."""

    subject: str
    sequence: int
    delivered: int
    published_ms: int
    msg_id: str
    headers: Mapping[str, str]


Handler = Callable[[Any, EventMeta], Awaitable[None]]


class Consumer:
    """Runs a durable pull consumer: decodes each message by its subject and calls the handler."""

    def __init__(
        self,
        bus: EventBus,
        spec: ConsumerSpec,
        routes: Mapping[str, tuple[type[Message], Handler]],
        stop_grace_s: float = 5.0,
    ) -> None:
        """`routes` maps a subject, or a pattern with `*`, to the message type and its handler; the first
        that fits is taken. A subject without a route is a failure: it is for a process of newer code, and
        ends among the dead letters if there is none."""
        self._bus = bus
        self._spec = spec
        self._routes = dict(routes)
        self._stop_grace_s = stop_grace_s
        self._stream = bus.prefix + spec.stream
        self._running: set[asyncio.Task[None]] = set()
        self._puller = Puller(bus, self._stream, spec.name, self._room, self._receive)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._settling: set[asyncio.Task[None]] = set()
        self._seconds = _SECONDS.labels(spec.name)
        bus.on_reconnect(self._puller.reconnected)

    def background(self) -> Background:
        """The task that consumes until the process stops."""
        return Background(f"consumer.{self._spec.name}", self.run)

    async def run(self) -> None:
        """Consume until cancelled; then let the handlers under way finish, for `stop_grace_s`."""
        try:
            while True:
                check_cancelled()
                try:
                    await self._bus.wait_connected()
                    await self._ensure()
                    await self._puller.run()
                except ConsumerGone as gone:
                    _log.warning("consumer is gone", consumer=self._spec.name, reason=str(gone))
                    await asyncio.sleep(0.5)
                except (StarlingError, nats.errors.Error) as error:
                    _log.warning("consumer waits", consumer=self._spec.name, error=str(error))
                    await asyncio.sleep(0.5)
        finally:
            if self._running:
                await asyncio.wait(self._running, timeout=self._stop_grace_s)
            for task in self._running:
                task.cancel()

    async def _ensure(self) -> None:
        spec = self._spec
        config = api.ConsumerConfig(
            durable_name=spec.name,
            deliver_policy=api.DeliverPolicy.ALL,
            ack_policy=api.AckPolicy.EXPLICIT,
            ack_wait=spec.ack_wait_s,
            # Unlimited on the server's side: it would stop delivering silently. We count ourselves.
            max_deliver=-1,
            max_ack_pending=max(1000, 4 * spec.max_in_flight),
            filter_subjects=[
                self._bus.prefix + subject
                for subject in (
                    *(spec.subjects or self._routes),
                    dead_letters.replay_subjects(spec.stream, spec.name),
                )
            ],
        )
        await self._bus.js.add_consumer(self._stream, config)

    def _room(self) -> int:
        return self._spec.max_in_flight - len(self._running)

    def _receive(self, message: Msg) -> None:
        task = asyncio.get_running_loop().create_task(self._handle(message))
        self._running.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._puller.more()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The ack or nak itself failed: the message comes again after ack_wait.
            _log.warning("event not settled", consumer=self._spec.name, error=repr(error))

    async def _handle(self, message: Msg) -> None:
        spec = self._spec
        meta = meta_of(message, self._bus.prefix)
        if meta.delivered > _DEADLY * spec.max_deliver:
            # Seen far more often than it failed here: it may be what kills the process.
            await self._bury(message, meta, f"delivered {meta.delivered} times")
            return
        route = self._route(meta.subject)
        if route is None:
            await self._failed(message, meta, _Unrouted(f"no handler for {meta.subject}"))
            return
        kind, handler = route
        parent = telemetry.extract(meta.headers)
        loop = asyncio.get_running_loop()
        started = loop.time()
        timers = self._timers
        timers[message.reply] = loop.call_later(spec.ack_wait_s / 3, self._progress, message)
        try:
            with (
                telemetry.span(
                    f"consume {meta.subject}",
                    SpanKind.CONSUMER,
                    {"messaging.system": "nats", "messaging.consumer.group.name": spec.name},
                    parent=parent,
                ),
                deadline.within(None),
            ):
                await handler(kind.FromString(message.data), meta)
        except (Discard, DecodeError) as error:
            await self._bury(message, meta, str(error) or type(error).__name__)
        except Exception as error:
            await self._failed(message, meta, error)
        else:
            _HANDLED.labels(spec.name, "ok").inc()
            self._seconds.observe(loop.time() - started)
            await message.ack()
        finally:
            timers.pop(message.reply).cancel()

    async def _failed(self, message: Msg, meta: EventMeta, error: Exception) -> None:
        spec = self._spec
        # A store that is away makes no message undeliverable: it comes again for as long as that takes.
        passing = isinstance(
            faults.translate(error), Unavailable | DeadlineExceeded | ResourceExhausted
        )
        if meta.delivered >= spec.max_deliver and not passing:
            await self._bury(message, meta, f"{type(error).__name__}: {error}")
            return
        _HANDLED.labels(spec.name, "failed").inc()
        delay_s = spec.backoff_s[min(meta.delivered, len(spec.backoff_s)) - 1]
        _log.warning(
            "event failed, comes again",
            consumer=spec.name,
            subject=meta.subject,
            delivered=meta.delivered,
            delay_s=delay_s,
            error=repr(error)[:300],
            exc_info=None if isinstance(error, StarlingError) else error,
        )
        await message.nak(delay=delay_s)

    async def _bury(self, message: Msg, meta: EventMeta, reason: str) -> None:
        """Copy to the dead letters, wait until they are stored, and only then terminate."""
        spec = self._spec
        subject, msg_id, headers = dead_letters.burial(
            spec.stream,
            spec.name,
            meta.subject,
            meta.sequence,
            meta.published_ms,
            meta.delivered,
            reason,
        )
        try:
            with telemetry.span(
                f"bury {meta.subject}", SpanKind.INTERNAL, parent=telemetry.extract(meta.headers)
            ):
                await self._bus.publish(
                    subject, message.data, msg_id=msg_id, headers={**meta.headers, **headers}
                )
        except StarlingError:
            await message.nak(delay=spec.backoff_s[-1])
            return
        _HANDLED.labels(spec.name, "dead").inc()
        _log.error(
            "event given up", consumer=spec.name, sequence=meta.sequence, reason=reason[:300]
        )
        await message.term()

    def _progress(self, message: Msg) -> None:
        """Tell the server that the handler is still at it, so that it does not deliver again."""
        loop = asyncio.get_running_loop()
        if message.reply in self._timers:
            task = loop.create_task(_in_progress(message))
            self._settling.add(task)
            task.add_done_callback(self._settling.discard)
            self._timers[message.reply] = loop.call_later(
                self._spec.ack_wait_s / 3, self._progress, message
            )

    def _route(self, subject: str) -> tuple[type[Message], Handler] | None:
        exact = self._routes.get(subject)
        if exact is not None:
            return exact
        for pattern, route in self._routes.items():
            if fnmatchcase(subject, pattern):
                return route
        return None


def meta_of(message: Msg, prefix: str) -> EventMeta:
    """What JetStream says about `message`, its subject without `prefix`."""
    facts = message.metadata
    headers = message.headers or {}
    return EventMeta(
        subject=dead_letters.original_subject(message.subject.removeprefix(prefix)),
        sequence=facts.sequence.stream,
        delivered=facts.num_delivered,
        published_ms=int(facts.timestamp.timestamp() * 1000),
        msg_id=headers.get(MSG_ID, ""),
        headers=headers,
    )


async def _in_progress(message: Msg) -> None:
    with suppress(nats.errors.Error):
        await message.in_progress()
