"""Which tweet an idempotency key stands for, for 24 hours.

    idempotency_key   (user_id, key) → tweet_id, fingerprint of the request     TTL 24 h

Written by LWT only. The id is claimed before the tweet is written: whoever comes with the same key,
at the same time or after a crash in between, goes on with the same id, so that there is one tweet
whatever happens.
"""

from __future__ import annotations

from typing import NamedTuple

from meshkit.cql import CqlSession, Statement
from meshkit.errors import OutcomeUnknown, StarlingError
from meshkit.log import get_logger

_CLAIM = Statement(
    "idempotency.claim",
    "INSERT INTO idempotency_key (user_id, key, tweet_id, fingerprint) VALUES (?, ?, ?, ?)"
    " IF NOT EXISTS",
    idempotent=False,
)
_GET = Statement(
    "idempotency.get",
    "SELECT tweet_id, fingerprint FROM idempotency_key WHERE user_id = ? AND key = ?",
    idempotent=True,
    serial=True,
)
_RELEASE = Statement(
    "idempotency.release",
    "DELETE FROM idempotency_key WHERE user_id = ? AND key = ? IF tweet_id = ?",
    idempotent=False,
)
_TRIES = 3

_log = get_logger(__name__)


class Claim(NamedTuple):
    """What a key stands for."""

    tweet_id: int
    fingerprint: bytes


class IdempotencyStore:
    """Claims keys."""

    def __init__(self, session: CqlSession) -> None:
        self._session = session

    async def claim(self, user_id: int, key: str, wanted: Claim) -> Claim:
        """What the key stands for from now on: `wanted`, or what was claimed before.

        Raises OutcomeUnknown when the store cannot even say whether the claim was made.
        """
        for attempt in range(_TRIES):
            try:
                done = await self._session.execute_lwt(
                    _CLAIM, (user_id, key, wanted.tweet_id, wanted.fingerprint)
                )
            except OutcomeUnknown:
                # A serial read finishes what is under way, so what it says is final.
                row = await self._session.one(_GET, (user_id, key))
                if row is not None:
                    return Claim(*row)
                if attempt == _TRIES - 1:
                    raise
                continue
            if done.applied:
                return wanted
            return Claim(done.row["tweet_id"], done.row["fingerprint"])
        raise AssertionError("unreachable")

    async def release(self, user_id: int, key: str, tweet_id: int) -> None:
        """Give the key free again if it stands for this tweet, which was refused.

        Best effort: a key that stays claimed still serves the same request.
        """
        try:
            await self._session.execute_lwt(_RELEASE, (user_id, key, tweet_id))
        except StarlingError as error:
            _log.warning("idempotency key not released", error=error.message)
