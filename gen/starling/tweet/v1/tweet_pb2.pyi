from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Tweet(_message.Message):
    __slots__ = ("tweet_id", "user_id", "username", "content", "media_ids", "created_at", "likes_count", "retweets_count", "liked", "retweeted", "retweeted_by")
    TWEET_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    MEDIA_IDS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    LIKES_COUNT_FIELD_NUMBER: _ClassVar[int]
    RETWEETS_COUNT_FIELD_NUMBER: _ClassVar[int]
    LIKED_FIELD_NUMBER: _ClassVar[int]
    RETWEETED_FIELD_NUMBER: _ClassVar[int]
    RETWEETED_BY_FIELD_NUMBER: _ClassVar[int]
    tweet_id: int
    user_id: int
    username: str
    content: str
    media_ids: _containers.RepeatedScalarFieldContainer[str]
    created_at: str
    likes_count: int
    retweets_count: int
    liked: bool
    retweeted: bool
    retweeted_by: str
    def __init__(self, tweet_id: _Optional[int] = ..., user_id: _Optional[int] = ..., username: _Optional[str] = ..., content: _Optional[str] = ..., media_ids: _Optional[_Iterable[str]] = ..., created_at: _Optional[str] = ..., likes_count: _Optional[int] = ..., retweets_count: _Optional[int] = ..., liked: _Optional[bool] = ..., retweeted: _Optional[bool] = ..., retweeted_by: _Optional[str] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("at_ms", "tweet_id")
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    TWEET_ID_FIELD_NUMBER: _ClassVar[int]
    at_ms: int
    tweet_id: int
    def __init__(self, at_ms: _Optional[int] = ..., tweet_id: _Optional[int] = ...) -> None: ...

class Activity(_message.Message):
    __slots__ = ("at_ms", "tweet_id", "actor_id", "actor_username", "author_id")
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    TWEET_ID_FIELD_NUMBER: _ClassVar[int]
    ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
    ACTOR_USERNAME_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_ID_FIELD_NUMBER: _ClassVar[int]
    at_ms: int
    tweet_id: int
    actor_id: int
    actor_username: str
    author_id: int
    def __init__(self, at_ms: _Optional[int] = ..., tweet_id: _Optional[int] = ..., actor_id: _Optional[int] = ..., actor_username: _Optional[str] = ..., author_id: _Optional[int] = ...) -> None: ...
