"""Every stream of the mesh and what its subjects carry, in one place.

| subject                      | message             | published by | under the id                       |
|------------------------------|---------------------|--------------|------------------------------------|
| tweet.posted                 | TweetPosted         | tweet_svc    | the tweet                          |
| tweet.deleted                | TweetDeleted        | tweet_svc    | the tweet                          |
| tweet.like_changed           | LikeChanged         | tweet_svc    | tweet, user and time of the write  |
| tweet.retweet_changed        | RetweetChanged      | tweet_svc    | tweet, user and time of the write  |
| count.tweet                  | TweetCountsChanged  | tweet_svc    | the tweet and the time of reading  |
| count.author                 | AuthorCountsChanged | tweet_svc    | the author and the time of reading |
| graph.follow_changed         | FollowChanged       | graph_svc    | the pair and the time of the write |
| graph.user_counts_changed    | UserCountsChanged   | graph_svc    | the user and the time of reading   |
| fanout.chunk                 | FanoutChunk         | fanout       | the event and the chunk's number   |
| celebrity.activity           | CelebrityActivity   | fanout       | the event                          |

Streams of facts keep three days: long enough for a consumer that was away, while what was lost for longer
is rebuilt from Cassandra. Sizes are bounds that a healthy mesh never meets; a full stream refuses, and the
outbox keeps what was refused.
"""

from __future__ import annotations

from meshkit.events import StreamSpec

_DAY_S = 86400.0
_MIB = 1 << 20

TWEET_POSTED = "tweet.posted"
TWEET_DELETED = "tweet.deleted"
LIKE_CHANGED = "tweet.like_changed"
RETWEET_CHANGED = "tweet.retweet_changed"
TWEET_COUNTS_CHANGED = "count.tweet"
AUTHOR_COUNTS_CHANGED = "count.author"
FOLLOW_CHANGED = "graph.follow_changed"
USER_COUNTS_CHANGED = "graph.user_counts_changed"
FANOUT_CHUNK = "fanout.chunk"
CELEBRITY_ACTIVITY = "celebrity.activity"

TWEETS = StreamSpec("TWEETS", ("tweet.>",), max_age_s=3 * _DAY_S, max_bytes=2048 * _MIB)
COUNTS = StreamSpec("COUNTS", ("count.>",), max_age_s=_DAY_S, max_bytes=512 * _MIB)
GRAPH = StreamSpec("GRAPH", ("graph.>",), max_age_s=3 * _DAY_S, max_bytes=1024 * _MIB)
FANOUT = StreamSpec("FANOUT", ("fanout.>",), max_age_s=_DAY_S, max_bytes=1024 * _MIB)
CELEBRITY = StreamSpec("CELEBRITY", ("celebrity.>",), max_age_s=7200.0, max_bytes=512 * _MIB)
