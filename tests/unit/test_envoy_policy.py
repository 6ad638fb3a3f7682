"""The table of who may call what, against the API it is for."""

import re
from dataclasses import replace

import pytest

from envoy import policy
from envoy.api import Api, Binding, read_api
from envoy.spec import DESCRIPTOR


@pytest.fixture(scope="module")
def api() -> Api:
    return read_api(DESCRIPTOR)


def test_the_policy_fits_the_api(api: Api) -> None:
    policy.check(api)


def test_clients_reach_the_public_services_alone(api: Api) -> None:
    reached = {method.service for method in policy.callable_by(api, policy.EDGE)}
    assert reached == set(api.public_services)
    assert not {service for service in reached if "Lookup" in service}


def test_those_who_publish_events_call_nobody(api: Api) -> None:
    for name in ("tweet_svc", "graph_svc"):
        assert policy.callable_by(api, name) == ()


def test_only_the_operator_follows_in_bulk(api: Api) -> None:
    (batch_follow,) = (method for method in api.methods if method.name == "BatchFollow")
    assert policy.callers_of(batch_follow) == {policy.OPERATOR}


def test_what_is_open_is_what_a_client_without_a_token_needs(api: Api) -> None:
    assert {method.name for method in api.methods if policy.is_open(method)} == {
        "Register",
        "Login",
        "Refresh",
        "GetJwks",
        "GetOpenApi",
        "GetDocs",
    }


def test_an_unknown_name_in_the_table_is_found(api: Api) -> None:
    without_login = Api(tuple(m for m in api.methods if m.name != "Login"))
    with pytest.raises(ValueError, match="Login"):
        policy.check(without_login)


def test_a_service_without_an_owner_is_found(api: Api) -> None:
    stray = replace(api.methods[0], service="starling.new.v1.NewService")
    with pytest.raises(ValueError, match="NewService"):
        policy.check(Api((*api.methods, stray)))


def test_an_internal_method_that_becomes_public_is_found(api: Api) -> None:
    bound = tuple(
        replace(m, bindings=(Binding("GET", "/v1/x"),)) if m.name == "BatchGetUsers" else m
        for m in api.methods
    )
    with pytest.raises(ValueError, match="BatchGetUsers"):
        policy.check(Api(bound))


def test_only_calls_declared_so_are_repeatable(api: Api) -> None:
    once = {method.name for method in api.methods if not method.repeatable}
    assert once == {"Register", "Login", "Refresh", "PostTweet"}


def test_what_answers_otherwise_the_second_time_is_not_repeated(api: Api) -> None:
    once = {method.name for method in api.methods if not policy.is_repeated(method)}
    assert once == {"Register", "Login", "Refresh", "PostTweet", "DeleteTweet"}


def test_a_template_matches_whole_paths() -> None:
    binding = Binding("GET", "/v1/users/{user_id}/tweets")
    assert binding.variables == ("user_id",)
    assert re.fullmatch(binding.regex, "/v1/users/5/tweets")
    assert not re.fullmatch(binding.regex, "/v1/users/5/6/tweets")
    assert not re.fullmatch(Binding("GET", "/a.b/{x}").regex, "/a-b/1")
