"""Users in Cassandra: profiles, unique usernames, counts.

Tables (schema/001_users_and_edges.cql):

    username  username -> user_id, display_name, bio      written by LWT only
    user      user_id -> static: username, display_name, bio, follower_shard;
                         rows: (kind, shard) -> total     kind is followers, following or tweets

Creating a user is one LWT: the insert of the `username` row, which carries all that was given. Only then
the `user` row is written, at the write time of the user's own id. A crash between the two leaves nothing
half: nobody was told the id, and whoever comes by the username (another try at creating, a login, a
lookup) finds the claim and writes the missing row from it. Since that write's time is the id's, it
never overwrites a later edit of the profile, however late it comes. An id without a `user` row is unknown.

Counts are absolute and carry the time at which their count began as write time, so the latest count wins
whatever order they are stored in. One partition holds a user with all counts: one read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from starling.graph.v1.user_pb2 import User

from graph_svc.reasons import USER_ID_IN_USE, USERNAME_TAKEN
from meshkit.background import gather_bounded
from meshkit.chunks import chunks
from meshkit.cql import CqlSession, Row, Statement
from meshkit.errors import OutcomeUnknown
from meshkit.snowflake import created_at, timestamp_ms
from meshkit.write_clock import WriteClock

Kind = Literal["followers", "following", "tweets"]

_USERS_A_READ = 50

_CLAIM = Statement(
    "username.claim",
    "INSERT INTO username (username, user_id, display_name, bio) VALUES (?, ?, ?, ?) IF NOT EXISTS",
    idempotent=False,
)
_CLAIM_AFTER_ALL = Statement(
    "username.claim_after_all",
    "SELECT user_id, display_name, bio FROM username WHERE username = ?",
    idempotent=True,
    serial=True,
)
_CLAIMED = Statement(
    "username.get",
    "SELECT user_id, display_name, bio FROM username WHERE username = ?",
    idempotent=True,
)
_PUT = Statement(
    "user.put",
    "INSERT INTO user (user_id, username, display_name, bio) VALUES (?, ?, ?, ?)",
    idempotent=True,
)
_GET = Statement(
    "user.get",
    "SELECT user_id, username, display_name, bio, follower_shard, kind, shard, total"
    " FROM user WHERE user_id = ?",
    idempotent=True,
)
_GET_MANY = Statement(
    "user.get_many",
    "SELECT user_id, username, display_name, bio, follower_shard, kind, shard, total"
    " FROM user WHERE user_id IN ?",
    idempotent=True,
)
_SHARDS = Statement(
    "user.follower_shards",
    "SELECT user_id, username, follower_shard FROM user WHERE user_id IN ? PER PARTITION LIMIT 1",
    idempotent=True,
)
_WRITTEN = Statement(
    "user.written",
    "SELECT WRITETIME(display_name), WRITETIME(bio) FROM user WHERE user_id = ? LIMIT 1",
    idempotent=True,
)
_SET_DISPLAY_NAME = Statement(
    "user.set_display_name", "UPDATE user SET display_name = ? WHERE user_id = ?", idempotent=True
)
_SET_BIO = Statement("user.set_bio", "UPDATE user SET bio = ? WHERE user_id = ?", idempotent=True)
_SET_SHARD = Statement(
    "user.set_follower_shard",
    "UPDATE user SET follower_shard = ? WHERE user_id = ?",
    idempotent=True,
)
_SET_TOTAL = Statement(
    "user.set_total",
    "UPDATE user SET total = ? WHERE user_id = ? AND kind = ? AND shard = ?",
    idempotent=True,
)

_TOTAL_WRITTEN = Statement(
    "user.total_written",
    "SELECT WRITETIME(total) FROM user WHERE user_id = ? AND kind = ? AND shard = ?",
    idempotent=True,
)


@dataclass(slots=True)
class UserRecord:
    """A user as stored. `follower_shard` is the last of the user's follower partitions, from 0."""

    user_id: int
    username: str
    display_name: str
    bio: str
    follower_shard: int = 0
    totals: dict[str, int] = field(default_factory=dict)

    def to_proto(self) -> User:
        """The user as the API shows it."""
        total = self.totals.get
        return User(
            user_id=self.user_id,
            username=self.username,
            display_name=self.display_name,
            bio=self.bio,
            created_at=created_at(self.user_id),
            followers_count=total("followers", 0),
            following_count=total("following", 0),
            tweets_count=total("tweets", 0),
        )


class UserStore:
    """Reads and writes users."""

    def __init__(self, session: CqlSession, clock: WriteClock) -> None:
        self._session = session
        self._clock = clock

    async def create(self, user_id: int, username: str, display_name: str, bio: str) -> UserRecord:
        """The user, created or, for a repeated call, as they are by now.

        `username` is in lower case, all texts are clean. Raises AlreadyExists (USERNAME_TAKEN, or
        USER_ID_IN_USE for an id that another username has).
        """
        there = await self.get(user_id)
        if there is not None:
            if there.username != username:
                raise USER_ID_IN_USE.error(user_id=user_id)
            return there
        owner, display_name, bio = await self._claim(user_id, username, display_name, bio)
        if owner != user_id:
            raise USERNAME_TAKEN.error(f"username {username} is taken", username=username)
        return await self._put(user_id, username, display_name, bio)

    async def get(self, user_id: int) -> UserRecord | None:
        """The user, or None."""
        return _records(await self._session.execute(_GET, (user_id,))).get(user_id)

    async def get_many(self, user_ids: Iterable[int]) -> dict[int, UserRecord]:
        """Users by id; unknown ones are left out."""
        ids = list(dict.fromkeys(user_ids))
        found: dict[int, UserRecord] = {}
        groups = chunks(ids, _USERS_A_READ)
        for records in await gather_bounded(4, self._get_group, groups):
            found.update(records)
        return found

    async def find(self, username: str) -> UserRecord | None:
        """The user with this username (in lower case), or None."""
        claim = await self._session.one(_CLAIMED, (username,))
        if claim is None:
            return None
        user_id, display_name, bio = claim
        return await self.get(user_id) or await self._put(user_id, username, display_name, bio)

    async def update(self, user_id: int, display_name: str | None, bio: str | None) -> None:
        """Write the fields given (clean texts) of a user who exists; None leaves a field as it is.

        Each field is written alone, so that edits of different fields at once are both kept.
        """
        written = await self._session.one(_WRITTEN, (user_id,))
        at_us = self._clock.next_us(after_us=max((at or 0 for at in written or ()), default=0))
        items: list[tuple[Statement, Sequence[object]]] = []
        if display_name is not None:
            items.append((_SET_DISPLAY_NAME, (display_name, user_id)))
        if bio is not None:
            items.append((_SET_BIO, (bio, user_id)))
        if items:
            await self._session.batch(items, timestamp_us=at_us)

    async def follower_shards(self, user_ids: Sequence[int]) -> dict[int, int]:
        """Where a new follower of each user belongs; unknown users are left out."""

        async def read(group: list[int]) -> list[Row]:
            return await self._session.execute(_SHARDS, (group,))

        return {
            user_id: shard or 0
            for rows in await gather_bounded(4, read, chunks(user_ids, _USERS_A_READ))
            for user_id, username, shard in rows
            if username is not None
        }

    async def open_follower_shard(self, user_id: int, shard: int) -> None:
        """From now on new followers of the user go to `shard`, or to a later one if that is open."""
        # The number as write time: the largest wins whatever the order, so it only grows.
        await self._session.execute(_SET_SHARD, (shard, user_id), timestamp_us=shard)

    async def set_total(
        self, user_id: int, kind: Kind, shard: int, total: int, as_of_us: int
    ) -> None:
        """Store an absolute count of one partition; one that began later than `as_of_us` stays."""
        await self._session.execute(
            _SET_TOTAL, (total, user_id, kind, shard), timestamp_us=as_of_us
        )

    async def set_tweets_totals(self, totals: Mapping[int, int], as_of_us: int) -> None:
        """`set_total` of a few authors' tweets, by author's id, all as of one time."""
        await self._session.batch(
            [(_SET_TOTAL, (total, user_id, "tweets", 0)) for user_id, total in totals.items()],
            timestamp_us=as_of_us,
        )

    async def total_as_of_us(self, user_id: int, kind: Kind, shard: int) -> int:
        """When the counting of a partition's total began (µs); 0 for one that was never counted."""
        row = await self._session.one(_TOTAL_WRITTEN, (user_id, kind, shard))
        return (row[0] or 0) if row else 0

    async def _claim(
        self, user_id: int, username: str, display_name: str, bio: str
    ) -> tuple[int, str, str]:
        """Who has the username now, with the profile they claimed it with."""
        try:
            claim = await self._session.execute_lwt(_CLAIM, (username, user_id, display_name, bio))
        except OutcomeUnknown:
            # A serial read finishes or outrules what is under way, so what it says stays true.
            row = await self._session.one(_CLAIM_AFTER_ALL, (username,))
            if row is None:
                raise
            return row[0], row[1], row[2] or ""
        if claim.applied:
            return user_id, display_name, bio
        return claim.row["user_id"], claim.row["display_name"], claim.row["bio"] or ""

    async def _put(
        self, user_id: int, username: str, display_name: str, bio: str | None
    ) -> UserRecord:
        await self._session.execute(
            _PUT,
            (user_id, username, display_name, bio or ""),
            timestamp_us=timestamp_ms(user_id) * 1000,
        )
        return await self.get(user_id) or UserRecord(user_id, username, display_name, bio or "")

    async def _get_group(self, user_ids: list[int]) -> dict[int, UserRecord]:
        records: dict[int, UserRecord] = {}
        async for rows in self._session.pages(_GET_MANY, (user_ids,)):
            _records(rows, records)
        return records


def _records(
    rows: list[Row], records: dict[int, UserRecord] | None = None
) -> dict[int, UserRecord]:
    records = {} if records is None else records
    for user_id, username, display_name, bio, follower_shard, kind, _, total in rows:
        if username is None:
            continue  # a count came for an id that no user has
        record = records.get(user_id)
        if record is None:
            record = UserRecord(user_id, username, display_name, bio or "", follower_shard or 0)
            records[user_id] = record
        if kind is not None:
            record.totals[kind] = record.totals.get(kind, 0) + (total or 0)
    return records
