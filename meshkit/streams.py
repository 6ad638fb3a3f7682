"""The streams of the mesh and their subjects: the names on which producers and consumers agree.

Who writes a stream owns it; every process that reads it ensures the same definition. Payloads are the
messages named here (`starling/*/v1/*_events.proto`). A full stream refuses new messages (the outbox keeps
them); nothing that is still unread is dropped before `max_age_s`. JetStream reserves `max_bytes` of its
`max_file_store` for each, so their sum has to fit.
"""

from __future__ import annotations

from meshkit.events import StreamSpec

_DAY_S = 86_400.0
_MIB = 1 << 20

# Written by tweet_svc; TweetEvent.
TWEET_POSTED = "tweet.posted"
TWEET_DELETED = "tweet.deleted"
LIKE_CHANGED = "tweet.like_changed"
RETWEET_CHANGED = "tweet.retweet_changed"
TWEETS = StreamSpec(
    "TWEETS",
    (TWEET_POSTED, TWEET_DELETED, LIKE_CHANGED, RETWEET_CHANGED),
    max_age_s=7 * _DAY_S,
    max_bytes=512 * _MIB,
)

# Written by tweet_svc's counter; TweetEvent. Absolute counts: the newest says all, so a day is plenty.
TWEET_COUNTS_CHANGED = "tweet.counts_changed"
AUTHORS_COUNTS_CHANGED = "tweet.authors_counts_changed"
AUTHOR_COUNTS_CHANGED = "tweet.author_counts_changed"  # by older code
COUNTS = StreamSpec(
    "COUNTS",
    (TWEET_COUNTS_CHANGED, AUTHORS_COUNTS_CHANGED, AUTHOR_COUNTS_CHANGED),
    max_age_s=_DAY_S,
    max_bytes=128 * _MIB,
)

# Written by graph_svc; GraphEvent.
FOLLOW_CHANGED = "graph.follow_changed"
FOLLOWS_CHANGED = "graph.follows_changed"
GRAPH = StreamSpec(
    "GRAPH",
    (FOLLOW_CHANGED, FOLLOWS_CHANGED),
    max_age_s=7 * _DAY_S,
    max_bytes=256 * _MIB,
)

# Written by the fan-out worker for itself; FanoutChunk.
FANOUT_CHUNK = "fanout.chunk"
FANOUT = StreamSpec("FANOUT", (FANOUT_CHUNK,), max_age_s=_DAY_S, max_bytes=512 * _MIB)

# Written by the fan-out worker, read by every timeline_svc process; CelebrityActivity. Kept for longer
# than a cached timeline lives.
CELEBRITY_ACTIVITY = "celebrity.activity"
CELEBRITY = StreamSpec("CELEBRITY", (CELEBRITY_ACTIVITY,), max_age_s=7200.0, max_bytes=64 * _MIB)
