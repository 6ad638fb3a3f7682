from starling.tweet.v1 import tweet_pb2 as _tweet_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TweetEvent(_message.Message):
    __slots__ = ("posted", "deleted", "like_changed", "retweet_changed", "counts_changed", "author_counts_changed", "authors_counts_changed")
    POSTED_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    LIKE_CHANGED_FIELD_NUMBER: _ClassVar[int]
    RETWEET_CHANGED_FIELD_NUMBER: _ClassVar[int]
    COUNTS_CHANGED_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_COUNTS_CHANGED_FIELD_NUMBER: _ClassVar[int]
    AUTHORS_COUNTS_CHANGED_FIELD_NUMBER: _ClassVar[int]
    posted: TweetPosted
    deleted: TweetDeleted
    like_changed: LikeChanged
    retweet_changed: RetweetChanged
    counts_changed: TweetCountsChanged
    author_counts_changed: AuthorCountsChanged
    authors_counts_changed: AuthorsCountsChanged
    def __init__(self, posted: _Optional[_Union[TweetPosted, _Mapping]] = ..., deleted: _Optional[_Union[TweetDeleted, _Mapping]] = ..., like_changed: _Optional[_Union[LikeChanged, _Mapping]] = ..., retweet_changed: _Optional[_Union[RetweetChanged, _Mapping]] = ..., counts_changed: _Optional[_Union[TweetCountsChanged, _Mapping]] = ..., author_counts_changed: _Optional[_Union[AuthorCountsChanged, _Mapping]] = ..., authors_counts_changed: _Optional[_Union[AuthorsCountsChanged, _Mapping]] = ...) -> None: ...

class TweetPosted(_message.Message):
    __slots__ = ("tweet", "at_ms")
    TWEET_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    tweet: _tweet_pb2.Tweet
    at_ms: int
    def __init__(self, tweet: _Optional[_Union[_tweet_pb2.Tweet, _Mapping]] = ..., at_ms: _Optional[int] = ...) -> None: ...

class TweetDeleted(_message.Message):
    __slots__ = ("tweet_id", "author_id", "changed_us", "text_hash")
    TWEET_ID_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_ID_FIELD_NUMBER: _ClassVar[int]
    CHANGED_US_FIELD_NUMBER: _ClassVar[int]
    TEXT_HASH_FIELD_NUMBER: _ClassVar[int]
    tweet_id: int
    author_id: int
    changed_us: int
    text_hash: bytes
    def __init__(self, tweet_id: _Optional[int] = ..., author_id: _Optional[int] = ..., changed_us: _Optional[int] = ..., text_hash: _Optional[bytes] = ...) -> None: ...

class LikeChanged(_message.Message):
    __slots__ = ("tweet_id", "user_id", "liked", "changed_us")
    TWEET_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    LIKED_FIELD_NUMBER: _ClassVar[int]
    CHANGED_US_FIELD_NUMBER: _ClassVar[int]
    tweet_id: int
    user_id: int
    liked: bool
    changed_us: int
    def __init__(self, tweet_id: _Optional[int] = ..., user_id: _Optional[int] = ..., liked: _Optional[bool] = ..., changed_us: _Optional[int] = ...) -> None: ...

class RetweetChanged(_message.Message):
    __slots__ = ("activity", "retweeted", "changed_us")
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    RETWEETED_FIELD_NUMBER: _ClassVar[int]
    CHANGED_US_FIELD_NUMBER: _ClassVar[int]
    activity: _tweet_pb2.Activity
    retweeted: bool
    changed_us: int
    def __init__(self, activity: _Optional[_Union[_tweet_pb2.Activity, _Mapping]] = ..., retweeted: _Optional[bool] = ..., changed_us: _Optional[int] = ...) -> None: ...

class TweetCountsChanged(_message.Message):
    __slots__ = ("tweet_id", "likes_count", "retweets_count", "as_of_us")
    TWEET_ID_FIELD_NUMBER: _ClassVar[int]
    LIKES_COUNT_FIELD_NUMBER: _ClassVar[int]
    RETWEETS_COUNT_FIELD_NUMBER: _ClassVar[int]
    AS_OF_US_FIELD_NUMBER: _ClassVar[int]
    tweet_id: int
    likes_count: int
    retweets_count: int
    as_of_us: int
    def __init__(self, tweet_id: _Optional[int] = ..., likes_count: _Optional[int] = ..., retweets_count: _Optional[int] = ..., as_of_us: _Optional[int] = ...) -> None: ...

class AuthorCountsChanged(_message.Message):
    __slots__ = ("author_id", "tweets_count", "as_of_us")
    AUTHOR_ID_FIELD_NUMBER: _ClassVar[int]
    TWEETS_COUNT_FIELD_NUMBER: _ClassVar[int]
    AS_OF_US_FIELD_NUMBER: _ClassVar[int]
    author_id: int
    tweets_count: int
    as_of_us: int
    def __init__(self, author_id: _Optional[int] = ..., tweets_count: _Optional[int] = ..., as_of_us: _Optional[int] = ...) -> None: ...

class AuthorsCountsChanged(_message.Message):
    __slots__ = ("counts", "as_of_us")
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_US_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.RepeatedCompositeFieldContainer[AuthorCount]
    as_of_us: int
    def __init__(self, counts: _Optional[_Iterable[_Union[AuthorCount, _Mapping]]] = ..., as_of_us: _Optional[int] = ...) -> None: ...

class AuthorCount(_message.Message):
    __slots__ = ("author_id", "tweets_count")
    AUTHOR_ID_FIELD_NUMBER: _ClassVar[int]
    TWEETS_COUNT_FIELD_NUMBER: _ClassVar[int]
    author_id: int
    tweets_count: int
    def __init__(self, author_id: _Optional[int] = ..., tweets_count: _Optional[int] = ...) -> None: ...
