"""Pulls messages of a JetStream consumer and keeps pulling: through reconnects, restarts and silence.

nats-py's own pull subscriptions can be dead after a server restart (nats.py #504), so this speaks the
pull protocol itself: requests with an idle heartbeat to one inbox; silence for longer than two heartbeats,
or a reconnection, means asking anew. A message that an old request still brings is as welcome.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress

import nats.errors
import orjson
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from meshkit.background import check_cancelled
from meshkit.errors import StarlingError
from meshkit.events import EventBus
from meshkit.log import get_logger

HEARTBEAT_S = 5.0
_EXPIRES_S = 30.0

_log = get_logger(__name__)


class ConsumerGone(Exception):
    """The server does not know the consumer (any more): create it again."""


class Puller:
    """Asks for messages as the receiver has room for them."""

    def __init__(
        self,
        bus: EventBus,
        stream: str,
        consumer: str,
        room: Callable[[], int],
        receive: Callable[[Msg], None],
    ) -> None:
        """`room()` says how many messages may come beyond those received; `receive` takes each, on the
        loop, in order. `stream` and `consumer` are full names, with prefix."""
        self._bus = bus
        self._request_subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._room = room
        self._receive = receive
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._asked: dict[str, int] = {}
        self._numbers = 0
        self._wake = asyncio.Event()
        self._heard_at = 0.0
        self._gone: str | None = None
        self._reconnected = False

    @property
    def silent_s(self) -> float:
        """How long nothing was heard of the server."""
        return asyncio.get_running_loop().time() - self._heard_at

    def more(self) -> None:
        """There may be room again."""
        self._wake.set()

    def reconnected(self) -> None:
        """The connection is new: what was asked on the old one is forgotten."""
        self._reconnected = True
        self._wake.set()

    def abandon(self, reason: str) -> None:
        """End `run` with ConsumerGone(reason)."""
        self._gone = reason
        self._wake.set()

    async def run(self) -> None:
        """Pull until cancelled. Raises ConsumerGone, or StarlingError without a connection."""
        loop = asyncio.get_running_loop()
        self._gone = None
        self._asked.clear()
        subscription: Subscription = await self._bus.client.subscribe(
            f"{self._inbox}.*", cb=self._on_message, pending_msgs_limit=-1, pending_bytes_limit=-1
        )
        self._heard_at = loop.time()
        try:
            while True:
                if self._gone is not None:
                    raise ConsumerGone(self._gone)
                if self._reconnected or self.silent_s > 2 * HEARTBEAT_S:
                    if not self._reconnected:
                        _log.warning("no heartbeat, pulling anew", subject=self._request_subject)
                    self._reconnected = False
                    self._asked.clear()
                    self._heard_at = loop.time()
                self._wake.clear()
                await self._ask()
                check_cancelled()
                with suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT_S):
                        await self._wake.wait()
        finally:
            with suppress(nats.errors.Error):
                await subscription.unsubscribe()

    async def _ask(self) -> None:
        free = self._room() - sum(self._asked.values())
        # In larger pieces, not one request for each message handled.
        if free <= 0 or (self._asked and free < self._room() // 2):
            return
        try:
            client = self._bus.client
        except StarlingError:
            return  # reconnected() wakes us
        self._numbers += 1
        number = str(self._numbers)
        self._asked[number] = free
        request = {
            "batch": free,
            "expires": int(_EXPIRES_S * 1e9),
            "idle_heartbeat": int(HEARTBEAT_S * 1e9),
        }
        await client.publish(
            self._request_subject, orjson.dumps(request), reply=f"{self._inbox}.{number}"
        )

    async def _on_message(self, message: Msg) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        if message.reply:
            self._count()
            self._receive(message)
            return
        headers = message.headers or {}
        status = headers.get("Status")
        if status == "100":
            return
        # 404 no messages, 408 expired, 409 deleted or limits, 503 no such consumer (or no JetStream yet).
        # Only these come on the request's own subject; messages keep the subject they were stored under.
        self._asked.pop(message.subject.rpartition(".")[2], None)
        description = headers.get("Description", "")
        if status == "503" or (status in ("404", "409") and "Consumer" in description):
            self._gone = description or "no responders"
        self._wake.set()

    def _count(self) -> None:
        """One message less to come; the server serves the oldest request first."""
        for number, left in self._asked.items():
            if left > 1:
                self._asked[number] = left - 1
            else:
                del self._asked[number]
                self._wake.set()
            return
