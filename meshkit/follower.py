"""Follows a stream in memory: every process sees all of it, in order, without acks.

An ordered consumer of our own (memory, one replica, gone 30 s after its process), made again from the last
sequence seen whenever anything is doubtful: a gap, silence, a reconnection, a server that forgot it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from secrets import token_hex

import nats.errors
from nats.aio.msg import Msg
from nats.js import api

from meshkit.background import Background, check_cancelled
from meshkit.consumer import EventMeta, meta_of
from meshkit.errors import StarlingError
from meshkit.events import EventBus
from meshkit.log import get_logger
from meshkit.pull import HEARTBEAT_S, ConsumerGone, Puller

_AHEAD = 1000

_log = get_logger(__name__)


class Follower:
    """Calls `handler` with each message of a stream, in order, each sequence once."""

    def __init__(
        self,
        bus: EventBus,
        stream: str,
        handler: Callable[[bytes, EventMeta], None],
        *,
        since_s: float | None = None,
        after_sequence: int = 0,
        subjects: tuple[str, ...] = (),
        on_reset: Callable[[], None] | None = None,
    ) -> None:
        """Starts with what is younger than `since_s`, else after `after_sequence`. `on_reset` is called when
        the stream was made anew on the server (sequences start again): forget what was built from it."""
        self._bus = bus
        self._stream = bus.prefix + stream
        self._subjects = subjects
        self._handler = handler
        self._since_s = since_s
        self._on_reset = on_reset
        self.sequence = after_sequence
        self.created_ms = 0
        """When the stream was made (ms since 1970): tells it from another of its name; 0 until known."""
        self._started = after_sequence > 0
        self._consumer_sequence = 0
        self._target = -1
        self._caught_up = asyncio.Event()
        self._moved: list[asyncio.Future[None]] = []
        self._puller: Puller | None = None
        self._restart = False
        bus.on_reconnect(self._reconnected)

    def background(self) -> Background:
        """The task that follows until the process stops."""
        return Background(f"follower.{self._stream}", self.run)

    @property
    def connected(self) -> bool:
        """Whether the server was heard of lately: what `sequence` says is then fresh."""
        return (
            self._bus.connected
            and self._puller is not None
            and self._puller.silent_s <= 2 * HEARTBEAT_S
        )

    async def caught_up(self, timeout_s: float | None = None) -> bool:
        """Wait until all that was in the stream at the start was seen; False after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._caught_up.wait()
        except TimeoutError:
            return False
        return True

    async def wait_sequence(self, sequence: int, timeout_s: float) -> bool:
        """Wait until `sequence` was seen; False after `timeout_s`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                while self.sequence < sequence:
                    future: asyncio.Future[None] = loop.create_future()
                    self._moved.append(future)
                    await future
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            check_cancelled()
            try:
                await self._bus.wait_connected()
                name = await self._create()
                self._puller = Puller(self._bus, self._stream, name, lambda: _AHEAD, self._receive)
                await self._puller.run()
            except ConsumerGone as gone:
                if not self._restart:
                    _log.info("follower starts again", stream=self._stream, reason=str(gone))
            except (StarlingError, nats.errors.Error) as error:
                _log.warning("follower waits", stream=self._stream, error=str(error)[:200])
                await asyncio.sleep(0.25)
            self._restart = False
            await asyncio.sleep(0.05)

    async def _create(self) -> str:
        info = await self._bus.js.stream_info(self._stream)
        known_ms, self.created_ms = self.created_ms, _created_ms(info)
        if info.state.last_seq < self.sequence or known_ms not in (0, self.created_ms):
            _log.warning("stream was made anew", stream=self._stream)
            self.sequence = 0
            if self._on_reset is not None:
                self._on_reset()
        self._target = info.state.last_seq if info.state.messages else 0
        config = api.ConsumerConfig(
            name=f"follow-{token_hex(8)}",
            ack_policy=api.AckPolicy.NONE,
            inactive_threshold=30.0,
            mem_storage=True,
            num_replicas=1,
            max_deliver=1,
            filter_subjects=[self._bus.prefix + subject for subject in self._subjects] or None,
        )
        if self._started or self._since_s is None:
            config.deliver_policy = api.DeliverPolicy.BY_START_SEQUENCE
            config.opt_start_seq = self.sequence + 1
        else:
            config.deliver_policy = api.DeliverPolicy.BY_START_TIME
            start = datetime.fromtimestamp(time.time() - self._since_s, UTC)
            config.opt_start_time = start.strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # type: ignore[assignment]
        created = await self._bus.js.add_consumer(self._stream, config)
        self._consumer_sequence = 0
        if not created.num_pending:
            # Nothing of it is for us: what is there counts as seen.
            self._advance(self._target)
        return created.name

    def _receive(self, message: Msg) -> None:
        facts = message.metadata
        expected = self._consumer_sequence + 1
        if facts.sequence.consumer != expected or facts.sequence.stream <= self.sequence:
            if facts.sequence.consumer > expected:
                self._again("gap")
            return
        self._consumer_sequence = expected
        self._started = True
        try:
            self._handler(message.data, meta_of(message, self._bus.prefix))
        except Exception:
            # One message that cannot be read must not stop the ones after it.
            _log.exception("follower's handler failed", sequence=facts.sequence.stream)
        self._advance(facts.sequence.stream)
        if not facts.num_pending:
            self._caught_up.set()
        if self._puller is not None:
            self._puller.more()

    def _advance(self, sequence: int) -> None:
        self.sequence = max(self.sequence, sequence)
        if self.sequence >= self._target:
            self._caught_up.set()
        moved, self._moved = self._moved, []
        for future in moved:
            if not future.done():
                future.set_result(None)

    def _reconnected(self) -> None:
        self._again("reconnected")

    def _again(self, reason: str) -> None:
        self._restart = True
        if self._puller is not None:
            self._puller.abandon(reason)


def _created_ms(info: api.StreamInfo) -> int:
    return int(info.created.timestamp() * 1000) if info.created is not None else 0
