from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GraphEvent(_message.Message):
    __slots__ = ("follow_changed", "user_counts_changed", "follows_changed")
    FOLLOW_CHANGED_FIELD_NUMBER: _ClassVar[int]
    USER_COUNTS_CHANGED_FIELD_NUMBER: _ClassVar[int]
    FOLLOWS_CHANGED_FIELD_NUMBER: _ClassVar[int]
    follow_changed: FollowChanged
    user_counts_changed: UserCountsChanged
    follows_changed: FollowsChanged
    def __init__(self, follow_changed: _Optional[_Union[FollowChanged, _Mapping]] = ..., user_counts_changed: _Optional[_Union[UserCountsChanged, _Mapping]] = ..., follows_changed: _Optional[_Union[FollowsChanged, _Mapping]] = ...) -> None: ...

class FollowChanged(_message.Message):
    __slots__ = ("follower_id", "followee_id", "following", "changed_us", "followed_us", "shard")
    FOLLOWER_ID_FIELD_NUMBER: _ClassVar[int]
    FOLLOWEE_ID_FIELD_NUMBER: _ClassVar[int]
    FOLLOWING_FIELD_NUMBER: _ClassVar[int]
    CHANGED_US_FIELD_NUMBER: _ClassVar[int]
    FOLLOWED_US_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    follower_id: int
    followee_id: int
    following: bool
    changed_us: int
    followed_us: int
    shard: int
    def __init__(self, follower_id: _Optional[int] = ..., followee_id: _Optional[int] = ..., following: _Optional[bool] = ..., changed_us: _Optional[int] = ..., followed_us: _Optional[int] = ..., shard: _Optional[int] = ...) -> None: ...

class FollowsChanged(_message.Message):
    __slots__ = ("changes",)
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[FollowChanged]
    def __init__(self, changes: _Optional[_Iterable[_Union[FollowChanged, _Mapping]]] = ...) -> None: ...

class UserCountsChanged(_message.Message):
    __slots__ = ("user_id", "followers_count", "following_count", "as_of_us")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    FOLLOWERS_COUNT_FIELD_NUMBER: _ClassVar[int]
    FOLLOWING_COUNT_FIELD_NUMBER: _ClassVar[int]
    AS_OF_US_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    followers_count: int
    following_count: int
    as_of_us: int
    def __init__(self, user_id: _Optional[int] = ..., followers_count: _Optional[int] = ..., following_count: _Optional[int] = ..., as_of_us: _Optional[int] = ...) -> None: ...
