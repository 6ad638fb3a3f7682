"""One line of a timeline, and its bytes on the wire.

A page is assembled from serialized tweets without parsing one: a repeated field is its tag, a length and
bytes, and a field appended later wins. Fields 1 to 6 of a Tweet are its body, 7 and 8 its counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from starling.tweet.v1.tweet_pb2 import Position, Tweet

_LIKED = b"\x48\x01"  # field 9, true
_RETWEETED = b"\x50\x01"  # field 10, true
_RETWEETED_BY = b"\x5a"  # field 11, length follows


@dataclass(slots=True)
class Line:
    """A tweet's place in a timeline, and as much of the tweet as is known yet."""

    at_ms: int
    tweet_id: int
    retweeted_by: bytes = b""
    liked: bool = False
    retweeted: bool = False
    flags_known: bool = True
    body: bytes | None = None
    counts: bytes | None = None

    @property
    def position(self) -> Position:
        """Where a next page goes on."""
        return Position(at_ms=self.at_ms, tweet_id=self.tweet_id)

    def to_bytes(self) -> bytes:
        """A serialized Tweet. The line is hydrated."""
        if self.body is None or self.counts is None:
            raise ValueError(f"tweet {self.tweet_id} is not hydrated")
        parts = self.body + self.counts
        if self.liked:
            parts += _LIKED
        if self.retweeted:
            parts += _RETWEETED
        if self.retweeted_by:
            parts += _RETWEETED_BY + bytes((len(self.retweeted_by),)) + self.retweeted_by
        return parts


def body_bytes(tweet: Tweet) -> bytes:
    """What of a tweet never changes."""
    return Tweet(
        tweet_id=tweet.tweet_id,
        user_id=tweet.user_id,
        username=tweet.username,
        content=tweet.content,
        media_ids=tweet.media_ids,
        created_at=tweet.created_at,
    ).SerializeToString()


def counts_bytes(likes_count: int, retweets_count: int) -> bytes:
    """A tweet's counts alone."""
    return Tweet(likes_count=likes_count, retweets_count=retweets_count).SerializeToString()


def page_bytes(lines: Iterable[Line], next_cursor: str, top_lines: Iterable[Line] = ()) -> bytes:
    """A serialized page: tweets in field 1, next_cursor in field 2, top tweets in field 3."""
    parts: list[bytes] = []
    for line in lines:
        tweet = line.to_bytes()
        parts += (b"\x0a", _varint(len(tweet)), tweet)
    if next_cursor:
        cursor = next_cursor.encode()
        parts += [b"\x12", _varint(len(cursor)), cursor]
    for line in top_lines:
        tweet = line.to_bytes()
        parts += (b"\x1a", _varint(len(tweet)), tweet)
    return b"".join(parts)


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
