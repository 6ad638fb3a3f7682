from buf.validate import validate_pb2 as _validate_pb2
from starling.tweet.v1 import tweet_pb2 as _tweet_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BatchGetTweetsRequest(_message.Message):
    __slots__ = ("tweet_ids",)
    TWEET_IDS_FIELD_NUMBER: _ClassVar[int]
    tweet_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, tweet_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class BatchGetTweetsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[TweetResult]
    def __init__(self, results: _Optional[_Iterable[_Union[TweetResult, _Mapping]]] = ...) -> None: ...

class TweetResult(_message.Message):
    __slots__ = ("tweet_id", "tweet")
    TWEET_ID_FIELD_NUMBER: _ClassVar[int]
    TWEET_FIELD_NUMBER: _ClassVar[int]
    tweet_id: int
    tweet: _tweet_pb2.Tweet
    def __init__(self, tweet_id: _Optional[int] = ..., tweet: _Optional[_Union[_tweet_pb2.Tweet, _Mapping]] = ...) -> None: ...

class ListActivityRequest(_message.Message):
    __slots__ = ("author_ids", "before", "limit", "since_ms")
    AUTHOR_IDS_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    author_ids: _containers.RepeatedScalarFieldContainer[int]
    before: _tweet_pb2.Position
    limit: int
    since_ms: int
    def __init__(self, author_ids: _Optional[_Iterable[int]] = ..., before: _Optional[_Union[_tweet_pb2.Position, _Mapping]] = ..., limit: _Optional[int] = ..., since_ms: _Optional[int] = ...) -> None: ...

class ListActivityResponse(_message.Message):
    __slots__ = ("authors",)
    AUTHORS_FIELD_NUMBER: _ClassVar[int]
    authors: _containers.RepeatedCompositeFieldContainer[AuthorActivity]
    def __init__(self, authors: _Optional[_Iterable[_Union[AuthorActivity, _Mapping]]] = ...) -> None: ...

class AuthorActivity(_message.Message):
    __slots__ = ("author_id", "activity", "has_more")
    AUTHOR_ID_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    author_id: int
    activity: _containers.RepeatedCompositeFieldContainer[_tweet_pb2.Activity]
    has_more: bool
    def __init__(self, author_id: _Optional[int] = ..., activity: _Optional[_Iterable[_Union[_tweet_pb2.Activity, _Mapping]]] = ..., has_more: _Optional[bool] = ...) -> None: ...

class BatchGetViewerFlagsRequest(_message.Message):
    __slots__ = ("viewer_id", "tweet_ids")
    VIEWER_ID_FIELD_NUMBER: _ClassVar[int]
    TWEET_IDS_FIELD_NUMBER: _ClassVar[int]
    viewer_id: int
    tweet_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, viewer_id: _Optional[int] = ..., tweet_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class BatchGetViewerFlagsResponse(_message.Message):
    __slots__ = ("flags",)
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    flags: _containers.RepeatedCompositeFieldContainer[ViewerFlags]
    def __init__(self, flags: _Optional[_Iterable[_Union[ViewerFlags, _Mapping]]] = ...) -> None: ...

class ViewerFlags(_message.Message):
    __slots__ = ("tweet_id", "liked", "retweeted", "liked_at_us", "retweeted_at_us")
    TWEET_ID_FIELD_NUMBER: _ClassVar[int]
    LIKED_FIELD_NUMBER: _ClassVar[int]
    RETWEETED_FIELD_NUMBER: _ClassVar[int]
    LIKED_AT_US_FIELD_NUMBER: _ClassVar[int]
    RETWEETED_AT_US_FIELD_NUMBER: _ClassVar[int]
    tweet_id: int
    liked: bool
    retweeted: bool
    liked_at_us: int
    retweeted_at_us: int
    def __init__(self, tweet_id: _Optional[int] = ..., liked: _Optional[bool] = ..., retweeted: _Optional[bool] = ..., liked_at_us: _Optional[int] = ..., retweeted_at_us: _Optional[int] = ...) -> None: ...

class ListViewerFlagsRequest(_message.Message):
    __slots__ = ("viewer_id", "limit")
    VIEWER_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    viewer_id: int
    limit: int
    def __init__(self, viewer_id: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class ListViewerFlagsResponse(_message.Message):
    __slots__ = ("flags", "floor")
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    FLOOR_FIELD_NUMBER: _ClassVar[int]
    flags: _containers.RepeatedCompositeFieldContainer[ViewerFlags]
    floor: int
    def __init__(self, flags: _Optional[_Iterable[_Union[ViewerFlags, _Mapping]]] = ..., floor: _Optional[int] = ...) -> None: ...

class FindEarliestRetweetsRequest(_message.Message):
    __slots__ = ("tweet_ids", "user_ids")
    TWEET_IDS_FIELD_NUMBER: _ClassVar[int]
    USER_IDS_FIELD_NUMBER: _ClassVar[int]
    tweet_ids: _containers.RepeatedScalarFieldContainer[int]
    user_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, tweet_ids: _Optional[_Iterable[int]] = ..., user_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class FindEarliestRetweetsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[RetweetResult]
    def __init__(self, results: _Optional[_Iterable[_Union[RetweetResult, _Mapping]]] = ...) -> None: ...

class RetweetResult(_message.Message):
    __slots__ = ("tweet_id", "retweet")
    TWEET_ID_FIELD_NUMBER: _ClassVar[int]
    RETWEET_FIELD_NUMBER: _ClassVar[int]
    tweet_id: int
    retweet: _tweet_pb2.Activity
    def __init__(self, tweet_id: _Optional[int] = ..., retweet: _Optional[_Union[_tweet_pb2.Activity, _Mapping]] = ...) -> None: ...
