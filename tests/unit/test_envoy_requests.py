"""What the edge's reader of requests knows from the protos."""

from dataclasses import replace

import pytest
from google.protobuf import json_format

from envoy.api import Api, Field, Method, read_api
from envoy.edge_errors import IDENTITY_MISMATCH
from envoy.requests import script
from envoy.spec import DESCRIPTOR
from meshkit import errors


@pytest.fixture(scope="module")
def api() -> Api:
    return read_api(DESCRIPTOR)


def named(api: Api, name: str) -> Method:
    (method,) = (method for method in api.methods if method.name == name)
    return method


def test_fields_have_the_bounds_of_their_rules_and_types(api: Api) -> None:
    assert named(api, "GetHomeTimeline").fields == (
        Field("user_id", "userId", "whole", -(2**63), 2**63 - 1),
        Field("cursor", "cursor", "text"),
        Field("limit", "limit", "whole", 1, 100),
        Field("top_k", "topK", "whole", 0, 50),
    )
    assert named(api, "GetTweet").fields == (Field("tweet_id", "tweetId", "whole", 1, 2**63 - 1),)
    assert named(api, "PostTweet").fields[1:] == (
        Field("content", "content", "text"),
        Field("media_ids", "mediaIds", "texts"),
    )


def test_internal_requests_are_none_of_the_edges(api: Api) -> None:
    for method in api.methods:
        assert method.bindings or not method.fields


def test_a_number_in_a_body_is_not_let_pass_unread(api: Api) -> None:
    post = named(api, "PostTweet")
    counted = replace(post, fields=(*post.fields, Field("parts", "parts", "whole", 1, 9)))
    with pytest.raises(ValueError, match="PostTweet"):
        script(Api((counted,)))


def test_anothers_id_is_refused_in_the_services_words(api: Api) -> None:
    said = errors.IDENTITY_MISMATCH.error("user_id must be the caller's own id", field="user_id")
    told = IDENTITY_MISMATCH.body(said.message, metadata=said.metadata)
    assert told == json_format.MessageToDict(said.to_status(), preserving_proto_field_name=True)
