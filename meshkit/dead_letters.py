"""What consumers gave up on, and how it is given to them again.

A consumer copies a message it cannot handle to the stream `DLQ`, under `dlq.<stream>.<consumer>`, with
headers that say why. Replaying publishes it under `again.<stream>.<consumer>.<its subject>`, into the stream
it came from: every stream takes these subjects, and each consumer listens to its own alone, so nobody else
hears the message twice. It leaves the dead letters only when JetStream has acknowledged it; cut off in
between it is replayed again, under the same message id, and handlers are idempotent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import nats.js.errors
from nats.js import JetStreamContext, api

MSG_ID = "Nats-Msg-Id"
REPLY_HEADER = "Starling-Reply"
"""Header that carries an inbox subject: whoever handles the event may `notify` it."""
TRACEPARENT = "traceparent"

STREAM = "DLQ"
SUBJECTS = "dlq.>"

REASON = "Starling-Dead-Reason"
SUBJECT = "Starling-Dead-Subject"
SEQUENCE = "Starling-Dead-Sequence"
DELIVERED = "Starling-Dead-Delivered"
_OURS = frozenset({REASON, SUBJECT, SEQUENCE, DELIVERED, MSG_ID, REPLY_HEADER})
_LONGEST_REASON = 500


class CannotReplay(Exception):
    """Why a dead letter stays where it is."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that `consumer` of `stream` gave up on.

    `sequence` is its place among the dead letters, `subject` (without prefix) and `stream_sequence` are
    where it was; `deliveries` how often it was tried; `trace_id` is "" without one.
    """

    sequence: int
    stream: str
    consumer: str
    subject: str
    stream_sequence: int
    deliveries: int
    reason: str
    buried_at: datetime
    trace_id: str
    msg_id: str
    headers: Mapping[str, str]
    payload: bytes


def burial(
    stream: str,
    consumer: str,
    subject: str,
    sequence: int,
    published_ms: int,
    delivered: int,
    reason: str,
) -> tuple[str, str, dict[str, str]]:
    """The subject, message id and headers under which a message is buried.

    The id names the time too: in a stream that was made anew, numbers begin again, and what was buried
    a minute ago under the same number is another message.
    """
    headers = {
        REASON: " ".join(reason.split())[:_LONGEST_REASON],
        SUBJECT: subject,
        SEQUENCE: str(sequence),
        DELIVERED: str(delivered),
    }
    return f"dlq.{stream}.{consumer}", f"{stream}.{consumer}.{sequence}.{published_ms}", headers


def replay_subjects(stream: str, consumer: str = "") -> str:
    """The pattern of what is given again to a consumer, or to any consumer of a stream."""
    return f"again.{stream}.{consumer}.>" if consumer else f"again.{stream}.>"


def original_subject(subject: str) -> str:
    """The subject that a message had at first, given it again or not; both without prefix."""
    return subject.split(".", 3)[3] if subject.startswith("again.") else subject


class DeadLetters:
    """Reads and replays them. All methods raise nats.errors.Error when JetStream does not answer."""

    def __init__(self, js: JetStreamContext, prefix: str = "") -> None:
        self._js = js
        self._prefix = prefix
        self._stream = prefix + STREAM

    async def all(self) -> AsyncIterator[DeadLetter]:
        """All of them, the oldest first."""
        sequence = 1
        while True:
            try:
                found = await self._js.get_msg(
                    self._stream, seq=sequence, subject=self._prefix + SUBJECTS, next=True
                )
            except nats.js.errors.NotFoundError:
                return
            letter = self._letter(found)
            yield letter
            sequence = letter.sequence + 1

    async def get(self, sequence: int) -> DeadLetter | None:
        """One of them, or None."""
        try:
            return self._letter(await self._js.get_msg(self._stream, sequence))
        except nats.js.errors.NotFoundError:
            return None

    async def replay(self, letter: DeadLetter) -> None:
        """Give it to its consumer again, and take it from the dead letters once that is stored.

        Raises CannotReplay where there is no such consumer or its stream does not take it.
        """
        stream = self._prefix + letter.stream
        try:
            await self._js.consumer_info(stream, letter.consumer)
        except nats.js.errors.NotFoundError:
            raise CannotReplay(
                f"{letter.stream} has no consumer {letter.consumer} (any more)"
            ) from None
        subject = f"{self._prefix}again.{letter.stream}.{letter.consumer}.{letter.subject}"
        kept = {name: value for name, value in letter.headers.items() if name not in _OURS}
        try:
            await self._js.publish(
                subject, letter.payload, headers={**kept, MSG_ID: f"again.{letter.msg_id}"}
            )
        except (nats.js.errors.APIError, nats.js.errors.NoStreamResponseError) as error:
            raise CannotReplay(f"{letter.stream} does not take it: {error}") from error
        await self._js.delete_msg(self._stream, letter.sequence)

    def _letter(self, found: api.RawStreamMsg) -> DeadLetter:
        headers = found.headers or {}
        # The consumer's name has no dot, the stream's neither.
        _, stream, consumer = (found.subject or "").removeprefix(self._prefix).split(".", 2)
        trace = headers.get(TRACEPARENT, "").split("-")
        return DeadLetter(
            sequence=found.seq or 0,
            stream=stream,
            consumer=consumer,
            subject=headers.get(SUBJECT, ""),
            stream_sequence=int(headers.get(SEQUENCE, 0)),
            deliveries=int(headers.get(DELIVERED, 0)),
            reason=headers.get(REASON, ""),
            buried_at=found.time or datetime.min,
            trace_id=trace[1] if len(trace) > 1 else "",
            msg_id=headers.get(MSG_ID, ""),
            headers=headers,
            payload=found.data or b"",
        )
