"""Events over NATS JetStream: one connection a process, streams by definition, publishing with an ack.

Subjects and stream names are written in code without `NATS_PREFIX`; the bus puts it in front. Delivery is
at least once: a missing ack means unknown, so one publishes again under the same `msg_id`, and consumers
are idempotent (the server's window only lowers the noise).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import nats
import nats.errors
import nats.js.errors
from google.protobuf.message import Message
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api
from opentelemetry.trace import SpanKind
from prometheus_client import Counter

from meshkit import dead_letters, deadline, faults, telemetry
from meshkit.background import cancel_all
from meshkit.config import MeshConfig
from meshkit.dead_letters import MSG_ID, REPLY_HEADER
from meshkit.errors import EVENTS_UNAVAILABLE
from meshkit.log import get_logger

__all__ = [
    "DEAD_LETTERS",
    "MSG_ID",
    "REPLY_HEADER",
    "ConsumerSpec",
    "EventBus",
    "PubAck",
    "Reply",
    "StreamSpec",
]

_log = get_logger(__name__)
_PUBLISHED = Counter("starling_events_published", "Events by outcome", ["subject", "outcome"])


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """A stream as it has to be: file storage, limits retention, new messages refused when full."""

    name: str
    subjects: tuple[str, ...]
    max_age_s: float
    max_bytes: int
    duplicate_window_s: float = 120.0
    max_message_bytes: int = 1 << 20


@dataclass(frozen=True, slots=True)
class ConsumerSpec:
    """A durable pull consumer: which subjects of a stream (none: those that it has handlers for), how many
    at once, how failures are retried.

    `backoff_s[n]` is the pause after the (n+1)th failed delivery, its last entry for all later ones.
    `ack_wait_s` is how long a killed consumer's messages wait for another; handlers may take longer, since
    they report progress by themselves.
    """

    name: str
    stream: str
    subjects: tuple[str, ...] = ()
    max_in_flight: int = 64
    ack_wait_s: float = 8.0
    max_deliver: int = 30
    backoff_s: tuple[float, ...] = (0.2, 1.0, 5.0)


DEAD_LETTERS = StreamSpec(
    dead_letters.STREAM, (dead_letters.SUBJECTS,), max_age_s=30 * 86400.0, max_bytes=64 << 20
)
"""What consumers gave up on: see `meshkit.dead_letters`."""


@dataclass(frozen=True, slots=True)
class PubAck:
    """JetStream has the message on disk."""

    stream: str
    sequence: int
    duplicate: bool


class EventBus:
    """The process's connection to NATS; connects, and comes back, on its own."""

    def __init__(self, config: MeshConfig, streams: Sequence[StreamSpec]) -> None:
        self._config = config
        self._streams = (*streams, DEAD_LETTERS)
        self.prefix = config.nats_prefix
        self._client: Client | None = None
        self._js: JetStreamContext | None = None
        self._ready = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._reconnected: list[Callable[[], None]] = []
        self._ensure_wanted = asyncio.Event()
        self._inbox_prefix = f"_INBOX.starling.{secrets.token_hex(8)}"
        self._inboxes = 0
        self._replies: dict[str, asyncio.Future[bytes]] = {}
        self._told_at = -_TELL_EVERY_S
        self._closing = False

    @classmethod
    async def open(
        cls, config: MeshConfig, streams: Sequence[StreamSpec], wait_s: float = 10.0
    ) -> EventBus:
        """A bus with its streams ensured, or after `wait_s` one that goes on trying in the background."""
        bus = cls(config, streams)
        bus._tasks.append(asyncio.create_task(bus._keep(), name="nats.keep"))
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await bus._ready.wait()
        return bus

    @property
    def connected(self) -> bool:
        """Whether NATS can be talked to now."""
        return self._client is not None and self._client.is_connected

    async def wait_connected(self) -> None:
        """Return once connected with all streams in place."""
        await self._ready.wait()

    async def close(self) -> None:
        """Flush what was sent and close."""
        self._closing = True
        await cancel_all(self._tasks)
        if self._client is not None:
            with suppress(Exception):
                await self._client.flush(2)
            with suppress(Exception):
                await self._client.close()

    @property
    def client(self) -> Client:
        """The connected client. Raises Unavailable at once while there is none."""
        if self._client is None or not self._client.is_connected:
            raise EVENTS_UNAVAILABLE.error()
        return self._client

    @property
    def js(self) -> JetStreamContext:
        """JetStream's management calls. Raises Unavailable at once while there is no connection."""
        if self._js is None or not self.connected:
            raise EVENTS_UNAVAILABLE.error()
        return self._js

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each (re)connection, on the loop."""
        self._reconnected.append(callback)

    async def publish(
        self,
        subject: str,
        payload: bytes | Message,
        *,
        msg_id: str,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 2.0,
    ) -> PubAck:
        """Publish to JetStream and wait until it is stored.

        Raises Unavailable (EVENTS_UNAVAILABLE) at once without a connection, when the stream is full or
        missing, or after two tries within `timeout_s`; the message may be stored nevertheless, so publish
        it again under the same `msg_id`.
        """
        out = dict(headers) if headers else {}
        out[MSG_ID] = msg_id
        data = payload if isinstance(payload, bytes) else payload.SerializeToString()
        limit_s = deadline.budget(timeout_s)
        with telemetry.span(f"publish {subject}", SpanKind.PRODUCER, _MESSAGING):
            telemetry.inject(out)
            try:
                ack = await self._publish(self.prefix + subject, data, out, limit_s)
            except Exception as error:
                _PUBLISHED.labels(subject, "failed").inc()
                known = faults.translate(error)
                if known is None or known is error:
                    raise
                raise EVENTS_UNAVAILABLE.error() from error
        _PUBLISHED.labels(subject, "duplicate" if ack.duplicate else "stored").inc()
        return PubAck(ack.stream, ack.seq, bool(ack.duplicate))

    async def _publish(
        self, subject: str, data: bytes, headers: dict[str, str], limit_s: float
    ) -> api.PubAck:
        # The first publish after a reconnect can get lost (nats.py #529), and a leader may just be
        # changing: half the time for the first try, the rest for a second under the same id.
        try:
            return await self.js.publish(subject, data, timeout=limit_s / 2, headers=headers)
        except (nats.errors.TimeoutError, nats.js.errors.NoStreamResponseError) as error:
            if isinstance(error, nats.js.errors.NoStreamResponseError):
                self._ensure_wanted.set()
                await asyncio.sleep(min(0.1, limit_s / 4))
            return await self.js.publish(subject, data, timeout=limit_s / 2, headers=headers)

    async def notify(self, subject: str, payload: bytes = b"") -> None:
        """Tell an inbox subject, as given by an event; best effort, never raises for a lost connection."""
        with suppress(Exception):
            await self.client.publish(subject, payload)

    def inbox(self) -> Reply:
        """A subject of this process's own to which someone may `notify` once."""
        self._inboxes += 1
        token = str(self._inboxes)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._replies[token] = future
        return Reply(
            f"{self._inbox_prefix}.{token}", future, lambda: self._replies.pop(token, None)
        )

    async def _on_reply(self, message: Msg) -> None:
        future = self._replies.get(message.subject.rpartition(".")[2])
        if future is not None and not future.done():
            future.set_result(message.data)

    async def _keep(self) -> None:
        """Connect, ensure the streams, and ensure them again whenever asked to."""
        while self._client is None:
            client = Client()
            try:
                await client.connect(
                    self._config.nats_servers(),
                    name=self._config.service_instance,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.25,  # type: ignore[arg-type]  # seconds
                    connect_timeout=2,
                    ping_interval=10,
                    max_outstanding_pings=2,
                    allow_reconnect=True,
                    error_cb=self._on_error,
                    disconnected_cb=self._on_disconnected,
                    reconnected_cb=self._on_reconnected,
                    pending_size=8 << 20,
                )
                await client.subscribe(f"{self._inbox_prefix}.*", cb=self._on_reply)
                self._js = client.jetstream(timeout=5)
                self._client = client
            except (nats.errors.Error, OSError, TimeoutError) as error:
                with suppress(Exception):
                    await client.close()
                _log.warning("nats not reached yet", error=str(error)[:200])
                await asyncio.sleep(0.25)
        while True:
            self._ensure_wanted.clear()
            try:
                for spec in self._streams:
                    await self._ensure_stream(spec)
            except Exception as error:
                _log.warning("streams not ensured yet", error=str(error)[:200])
                await asyncio.sleep(0.5)
                continue
            if not self._ready.is_set():
                self._ready.set()
                self._tell_reconnected()
            await self._ensure_wanted.wait()

    async def _ensure_stream(self, spec: StreamSpec) -> None:
        config = api.StreamConfig(
            name=self.prefix + spec.name,
            subjects=[
                self.prefix + subject
                for subject in (*spec.subjects, dead_letters.replay_subjects(spec.name))
            ],
            retention=api.RetentionPolicy.LIMITS,
            storage=api.StorageType.FILE,
            discard=api.DiscardPolicy.NEW,
            max_age=spec.max_age_s,
            max_bytes=spec.max_bytes,
            max_msg_size=spec.max_message_bytes,
            duplicate_window=min(spec.duplicate_window_s, spec.max_age_s),
            num_replicas=self._config.nats_replicas,
            allow_direct=True,
        )
        try:
            # Creating what exists with the same configuration is a success.
            await self.js.add_stream(config)
        except nats.js.errors.BadRequestError as error:
            if error.err_code != _NAME_IN_USE:
                raise
            await self.js.update_stream(config)

    async def _on_error(self, error: Exception) -> None:
        # Several a second while the server is away: tell the first, and then one now and then.
        now = asyncio.get_running_loop().time()
        if now - self._told_at >= _TELL_EVERY_S:
            self._told_at = now
            _log.warning("nats", error=repr(error)[:200])

    async def _on_disconnected(self) -> None:
        if not self._closing:
            _log.warning("nats disconnected, reconnecting")

    async def _on_reconnected(self) -> None:
        _log.info("nats reconnected")
        self._ensure_wanted.set()
        self._tell_reconnected()

    def _tell_reconnected(self) -> None:
        for callback in self._reconnected:
            callback()


class Reply:
    """An awaited word on a subject of one's own; use as `with bus.inbox() as reply:`."""

    def __init__(
        self, subject: str, future: asyncio.Future[bytes], close: Callable[[], object]
    ) -> None:
        self.subject = subject
        self._future = future
        self._close = close

    async def wait(self, timeout_s: float) -> bytes | None:
        """The payload someone sent, or None after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(self._future)
        except TimeoutError:
            return None

    def close(self) -> None:
        """Stop listening."""
        self._close()
        self._future.cancel()

    def __enter__(self) -> Reply:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


_MESSAGING = {"messaging.system": "nats"}
_TELL_EVERY_S = 10.0
_NAME_IN_USE = 10058  # JSStreamNameExistErr

Callback = Callable[[], Coroutine[Any, Any, None]]
