"""Where in a cluster tweets and authors' activity lie: a thousand buckets, each in one hash slot.

What stands in the braces of a key is its bucket, so one command or script may name many keys of a bucket,
and the generation that guards fills (`generation.py`) is one key a bucket. The bucket is three digits from
the middle of the Snowflake: its end is mostly the same sequence numbers, its start the same day.
"""

from __future__ import annotations


def bucket(snowflake: int) -> str:
    """The name of an id's bucket. `lua/read.lua` computes the same."""
    return f"b{str(snowflake)[-7:-4]}"


def tweet_key(prefix: str, tweet_id: int) -> str:
    """The key of a tweet's body."""
    return f"{prefix}tweet:{{{bucket(tweet_id)}}}:{tweet_id}"
