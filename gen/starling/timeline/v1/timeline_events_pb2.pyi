from starling.tweet.v1 import tweet_pb2 as _tweet_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FanoutChunk(_message.Message):
    __slots__ = ("activity", "follower_ids", "withdrawn")
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    FOLLOWER_IDS_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    activity: _tweet_pb2.Activity
    follower_ids: _containers.RepeatedScalarFieldContainer[int]
    withdrawn: bool
    def __init__(self, activity: _Optional[_Union[_tweet_pb2.Activity, _Mapping]] = ..., follower_ids: _Optional[_Iterable[int]] = ..., withdrawn: _Optional[bool] = ...) -> None: ...

class CelebrityActivity(_message.Message):
    __slots__ = ("activity", "withdrawn")
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    activity: _tweet_pb2.Activity
    withdrawn: bool
    def __init__(self, activity: _Optional[_Union[_tweet_pb2.Activity, _Mapping]] = ..., withdrawn: _Optional[bool] = ...) -> None: ...
