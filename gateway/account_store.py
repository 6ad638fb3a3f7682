"""Credentials and refresh tokens in Cassandra.

Tables (schema/001_accounts.cql):

    credential      user_id -> password_hash
    refresh_family  family_id -> user_id, username, token_hash, generation, revoked    LWT only, with TTL

A credential is written before its user exists, under an id that nobody else has: what a failed
registration leaves is reached by no username. A family is every refresh token that came from one sign-in;
`token_hash` is that of the one token which is good now. All its writes are conditional, so of two uses of
one token at the same moment one is first, and the other is seen to be second.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshkit.cql import CqlSession, Statement
from meshkit.errors import OutcomeUnknown

_PUT_CREDENTIAL = Statement(
    "credential.put",
    "INSERT INTO credential (user_id, password_hash) VALUES (?, ?)",
    idempotent=True,
)
_CREDENTIAL = Statement(
    "credential.get", "SELECT password_hash FROM credential WHERE user_id = ?", idempotent=True
)
_DROP_CREDENTIAL = Statement(
    "credential.drop", "DELETE FROM credential WHERE user_id = ?", idempotent=True
)
_START = Statement(
    "refresh_family.start",
    "INSERT INTO refresh_family (family_id, user_id, username, token_hash, generation, revoked)"
    " VALUES (?, ?, ?, ?, 0, false) IF NOT EXISTS USING TTL ?",
    idempotent=False,
)
_FAMILY = Statement(
    "refresh_family.get",
    "SELECT user_id, username, token_hash, generation, revoked FROM refresh_family"
    " WHERE family_id = ?",
    idempotent=True,
    serial=True,
)
# All columns, so that all live on for as long as the new token.
_ROTATE = Statement(
    "refresh_family.rotate",
    "UPDATE refresh_family USING TTL ?"
    " SET user_id = ?, username = ?, token_hash = ?, generation = ?, revoked = false"
    " WHERE family_id = ? IF token_hash = ? AND revoked = false",
    idempotent=False,
)
_REVOKE = Statement(
    "refresh_family.revoke",
    "UPDATE refresh_family USING TTL ? SET revoked = true WHERE family_id = ? IF revoked = false",
    idempotent=False,
)
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Family:
    """The refresh tokens of one sign-in; `generation` counts the rotations so far."""

    family_id: bytes
    user_id: int
    username: str
    token_hash: bytes
    generation: int
    revoked: bool


class AccountStore:
    """Reads and writes credentials and refresh families; these expire `family_ttl_s` after a write."""

    def __init__(self, session: CqlSession, family_ttl_s: int) -> None:
        self._session = session
        self._family_ttl_s = family_ttl_s

    async def put_password_hash(self, user_id: int, password_hash: str) -> None:
        """Keep the hash of a user's password."""
        await self._session.execute(_PUT_CREDENTIAL, (user_id, password_hash))

    async def password_hash(self, user_id: int) -> str | None:
        """The hash kept for a user, or None."""
        row = await self._session.one(_CREDENTIAL, (user_id,))
        return row[0] if row else None

    async def drop_password_hash(self, user_id: int) -> None:
        """Forget the password of a user who was not created."""
        await self._session.execute(_DROP_CREDENTIAL, (user_id,))

    async def start_family(
        self, family_id: bytes, user_id: int, username: str, token_hash: bytes
    ) -> None:
        """Start a family under a fresh random id. Raises OutcomeUnknown when nobody knows."""
        params = (family_id, user_id, username, token_hash, self._family_ttl_s)
        for _ in range(_TRIES):
            try:
                await self._session.execute_lwt(_START, params)
                return
            except OutcomeUnknown:
                if await self.family(family_id) is not None:
                    return
        raise OutcomeUnknown("the refresh token could not be kept")

    async def family(self, family_id: bytes) -> Family | None:
        """The family as the last conditional write left it, or None."""
        row = await self._session.one(_FAMILY, (family_id,))
        # A row that was revoked and then expired may be left with its flag alone.
        if row is None or row[0] is None or row[2] is None:
            return None
        user_id, username, token_hash, generation, revoked = row
        return Family(family_id, user_id, username, token_hash, generation, bool(revoked))

    async def rotate(self, family: Family, token_hash: bytes) -> bool:
        """Make `token_hash` the good one in place of `family.token_hash`; False if that no longer is."""
        params = (
            self._family_ttl_s,
            family.user_id,
            family.username,
            token_hash,
            family.generation + 1,
            family.family_id,
            family.token_hash,
        )
        for _ in range(_TRIES):
            try:
                return (await self._session.execute_lwt(_ROTATE, params)).applied
            except OutcomeUnknown:
                # A serial read finishes or outrules what was under way, so what it says stays true.
                now = await self.family(family.family_id)
                if now is not None and now.token_hash == token_hash:
                    return True
                if now is None or now.revoked or now.token_hash != family.token_hash:
                    return False
        raise OutcomeUnknown("the refresh token could not be rotated")

    async def revoke(self, family_id: bytes) -> None:
        """No token of the family is good any more; nothing where there is no such family."""
        for _ in range(_TRIES):
            try:
                await self._session.execute_lwt(_REVOKE, (self._family_ttl_s, family_id))
                return
            except OutcomeUnknown:
                family = await self.family(family_id)
                if family is None or family.revoked:
                    return
        raise OutcomeUnknown("the refresh tokens could not be revoked")
