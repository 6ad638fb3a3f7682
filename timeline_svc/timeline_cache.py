"""Home timelines in Redis: the only module that knows their keys.

For a reader 123 (the braces are Redis Cluster's hash tag, so that a script may touch all of them):

    timeline:{123}            ZSET  tweet id -> time in ms of its place; the newest 1000
    timeline:{123}:state      HASH  _          the lineage of the server that took it (`redis_server`); a
                                               timeline is cached while this is there and the server's own
                                    sync       position in the celebrity log up to which it is merged
                                    complete   1 while the sorted set is the whole feed, else 0
                                    nonempty   1 once the sorted set has had a member
                                    retweets   1 once a retweet has brought something in
                                    floor      the reader's flags of tweets with this id or a larger one are
                                               all in their marks
                                    <id>       marks: "<like> <retweet> <unknown> <bringer>", in words below
    timeline:{123}:followees  SET   ids of those the reader follows, and 0
    timeline:{123}:epoch      STRING  a value never used before, set by each invalidation
    timeline:{123}:building   STRING  lineage and token of the rebuild under way
    timeline:{123}:pending    LIST  operations (JSON) that came during the rebuild

The marks of a tweet are microseconds of the reader's like and of their retweet (0: none is known of;
negative: of its undoing), 1 while the store is to be asked for these two (else 0), and "<user id>:<username>"
of whose retweet brought it into the timeline ("" if its author's own place does). They are of any tweets, not
only of those in the sorted set.

The first three expire together, one TTL after the rebuild. What may be evicted alone is recognised by
what is always in it (`_`, `0`, `nonempty`), and the timeline is then rebuilt. Pushed entries are checked
against the followees here, so a late push after an unfollow does nothing. A timeline of another lineage
may lack pushes that were lost in a failover: it is not read, and rebuilt at the next read.

Every method raises RedisUnavailable or RedisReplyError; callers go on without the cache.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from starling.tweet.v1.tweet_pb2 import Activity, Position

from meshkit.redis import Argument, Redis, Script

from .line import Line
from .lookups import Flags
from .tweet_cache import counts_kept, kept

_ZERO = ord("0")  # the sign of what was undone is smaller
PUSH_CHUNK = 200  # readers a script call: about 2 ms during which Redis does nothing else


CACHED_ENTRIES = 1000


class _Scripts:
    """The Lua scripts, for timelines of at most `entries`."""

    def __init__(self, entries: int) -> None:
        folder = resources.files(__package__) / "lua"
        ids = (folder / "ids.lua").read_text()
        rules = ids + (folder / "timeline.lua").read_text().replace("%d", str(entries), 1)

        def load(name: str, *, lineage: bool = False, before: str = rules) -> Script:
            source = before + "\n" + (folder / f"{name}.lua").read_text()
            return Script(name, source, lineage)

        # Each call makes the functions anew, an eighth of what a page costs: these need no rules.
        self.read = load("read", lineage=True, before=ids)
        self.marks = load("marks", lineage=True, before="")
        self.forget = load("forget")
        self.push = load("push")
        self.merge = load("merge")
        self.begin = load("begin", lineage=True)
        self.abandon = load("abandon", lineage=True)
        self.install = load("install", lineage=True)
        self.invalidate = load("invalidate")
        self.flags = load("flags")


Operation = tuple[str, ...]


def place(activity: Activity, created_ms: int) -> Operation:
    """An activity takes its place in the reader's timeline. created_ms: of the tweet."""
    return (
        "activity",
        str(activity.tweet_id),
        str(activity.at_ms),
        str(created_ms),
        str(activity.actor_id),
        activity.actor_username,
        str(activity.author_id),
    )


def withdraw(activity: Activity) -> Operation:
    """A retweet is taken back."""
    return ("withdraw", str(activity.tweet_id), str(activity.at_ms), str(activity.actor_id))


def flag(
    tweet_id: int, which: Literal["liked", "retweeted"], value: bool, changed_us: int
) -> Operation:
    """The reader's own like or retweet of a tweet changed; the later change stands."""
    return ("flag", str(tweet_id), which[0], str(changed_us if value else -changed_us))


@dataclass(frozen=True, slots=True)
class CachedPage:
    """Lines newest first, fewer than asked for only where the sorted set ends."""

    lines: list[Line]
    ended: bool
    complete: bool  # whether the feed ends where the sorted set does
    sync: int


@dataclass(frozen=True, slots=True)
class Begun:
    """How a rebuild may go on: `warm` read again, `wait` somebody else builds, `build` go ahead."""

    state: Literal["warm", "wait", "build"]
    epoch: str = ""


class TimelineCache:
    """Reads, pushes and rebuilds cached home timelines."""

    def __init__(
        self,
        redis: Redis,
        prefix: str,
        *,
        ttl_s: int,
        rebuild_lease_s: float,
        entries: int = CACHED_ENTRIES,
    ) -> None:
        self.entries = entries
        self._scripts = _Scripts(entries)
        self._redis = redis
        self._prefix = prefix
        self._ttl_ms = ttl_s * 1000
        self._lease_ms = int(rebuild_lease_s * 1000)

    @property
    def reads_tweets(self) -> bool:
        """Whether `read` brings the tweets along."""
        return not self._redis.clustered

    def key(self, reader_id: int) -> str:
        """The sorted set's key."""
        return f"{self._prefix}timeline:{{{reader_id}}}"

    async def read(self, reader_id: int, before: Position | None, count: int) -> CachedPage | None:
        """Up to `count` lines strictly older than `before`; None when nothing is cached.

        The lines have what is cached of their tweets (a deleted one's body is b""); but in a cluster
        their tweets are in other slots (`reads_tweets`).
        """
        highest = str(before.at_ms) if before else "+inf"
        after_id = str(before.tweet_id) if before else ""
        reply = await self._redis.eval(
            self._scripts.read,
            [self.key(reader_id)],
            [highest, after_id, count, f"{self._prefix}tweet:" if self.reads_tweets else ""],
        )
        if reply is None:
            return None
        lineage, sync, complete, places, marks, tweets = reply
        lines = [
            Line(int(at_ms), int(tweet_id))
            for tweet_id, at_ms in zip(places[::2], places[1::2], strict=True)
        ]
        for line, mark in zip(lines, marks, strict=True):
            if mark is not None:
                line.retweeted_by = _take_marks(line, mark).partition(b":")[2]
        if tweets:
            for line, body, counts in zip(lines, tweets[::2], tweets[1::2], strict=True):
                line.body = kept(body, lineage)
                line.counts = counts_kept(counts, lineage)
        return CachedPage(lines, len(lines) < count, complete == b"1", int(sync))

    async def flag(self, viewer_id: int, lines: Sequence[Line]) -> None:
        """Fill in the viewer's flags where their cached timeline knows them; of lines of any list."""
        unknown = [line for line in lines if not line.flags_known]
        if not unknown:
            return
        reply = await self._redis.eval(
            self._scripts.marks, [self.key(viewer_id)], [line.tweet_id for line in unknown]
        )
        if reply is None:
            return
        floor, marks = reply
        for line, mark in zip(unknown, marks, strict=True):
            if line.tweet_id >= int(floor):
                line.flags_known = True
                if mark is not None:
                    _take_marks(line, mark)

    async def forget(self, reader_id: int, tweet_ids: Sequence[int]) -> None:
        """Take out tweets that were found to be deleted."""
        await self._redis.eval(self._scripts.forget, [self.key(reader_id)], tweet_ids)

    async def push(self, operation: Operation, reader_ids: Sequence[int]) -> int:
        """Apply an operation to those readers whose timelines are cached; returns how many were.

        Where a server of a cluster fails, the readers on the others have been served when this raises.
        """
        warm = 0
        failure = None
        payload = json.dumps(operation)
        for start in range(0, len(reader_ids), PUSH_CHUNK):
            chunk = reader_ids[start : start + PUSH_CHUNK]
            keys = [self.key(reader) for reader in chunk]
            calls: list[tuple[list[str], list[Argument]]] = []
            for group in self._redis.together(keys):
                readers = [chunk[i] for i in group]
                calls.append(([keys[i] for i in group], [_nonce(), payload, *readers]))
            for reply in await self._redis.eval_each(self._scripts.push, calls):
                if isinstance(reply, Exception):
                    failure = reply
                else:
                    warm += reply
        if failure is not None:
            raise failure
        return warm

    async def merge(self, reader_id: int, operations: Iterable[Operation], position: int) -> None:
        """Apply operations to one reader, and remember up to where the celebrity log is merged."""
        payloads = [json.dumps(operation) for operation in operations]
        await self._redis.eval(
            self._scripts.merge, [self.key(reader_id)], [_nonce(), reader_id, position, *payloads]
        )

    async def begin_rebuild(self, reader_id: int, token: str) -> Begun:
        """Claim the rebuild of a timeline for the time of the lease."""
        reply = await self._redis.eval(
            self._scripts.begin, [self.key(reader_id)], [token, self._lease_ms]
        )
        if reply[0] == b"build":
            return Begun("build", reply[1].decode())
        return Begun("warm" if reply[0] == b"warm" else "wait")

    async def abandon_rebuild(self, reader_id: int, token: str) -> None:
        """Let somebody else rebuild."""
        await self._redis.eval(self._scripts.abandon, [self.key(reader_id)], [token])

    async def install(
        self,
        reader_id: int,
        *,
        token: str,
        epoch: str,
        sync: int,
        complete: bool,
        followees: Iterable[int],
        entries: Sequence[Activity],
        flags: Flags,
    ) -> bool:
        """Install a rebuilt timeline and what was pushed meanwhile.

        flags: the reader's, of all entries at least. Returns False when the timeline was invalidated
        meanwhile, or the lease ran out: rebuild again.
        """
        followee_ids = list(followees)
        arguments: list[str | int] = [token, _nonce(), epoch, reader_id, self._ttl_ms, sync]
        arguments += ["1" if complete else "0", flags.floor]
        arguments += [len(followee_ids), *followee_ids, len(entries)]
        bringers: dict[int, str] = {}
        for entry in entries:
            arguments += [entry.at_ms, entry.tweet_id]
            if entry.actor_id != entry.author_id:
                bringers[entry.tweet_id] = f"{entry.actor_id}:{entry.actor_username}"
        state: list[str | int] = ["retweets", 1] if bringers else []
        for tweet_id in flags.of_tweets.keys() | bringers.keys():
            liked_us, retweeted_us = flags.of_tweets.get(tweet_id, (0, 0))
            bringer = bringers.get(tweet_id, "")
            if liked_us or retweeted_us or bringer:
                state += [tweet_id, f"{liked_us} {retweeted_us} 0 {bringer}"]
        reply = await self._redis.eval(
            self._scripts.install, [self.key(reader_id)], arguments + state
        )
        return bool(reply)

    async def invalidate(self, reader_id: int) -> None:
        """Forget a timeline; a rebuild under way does not install what it read."""
        await self._redis.eval(self._scripts.invalidate, [self.key(reader_id)], [_nonce()])

    async def learn_flags(self, reader_id: int, flags: Mapping[int, tuple[int, int]]) -> None:
        """Fill in flags that were not known: microseconds of like and retweet, 0 where there is none."""
        arguments: list[int] = []
        for tweet_id, (liked_us, retweeted_us) in flags.items():
            arguments += [tweet_id, liked_us, retweeted_us]
        if arguments:
            await self._redis.eval(self._scripts.flags, [self.key(reader_id)], arguments)


def _take_marks(line: Line, marks: bytes) -> bytes:
    """Set a line's flags; returns who brought the tweet in."""
    liked, retweeted, unknown, bringer = marks.split(b" ", 3)
    line.liked = liked[0] > _ZERO
    line.retweeted = retweeted[0] > _ZERO
    line.flags_known = unknown == b"0"
    return bringer


def _nonce() -> str:
    return secrets.token_hex(8)
