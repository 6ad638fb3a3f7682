"""How errors are read from the comments of RPCs."""

import pytest

from gateway.openapi.descriptors import Method, Service
from gateway.openapi.failures import Failure, declared, without_errors


def service(**comments: str) -> Service:
    methods = tuple(Method(name, comment, "", "", ()) for name, comment in comments.items())
    return Service("TweetService", "starling.tweet.v1", "", methods)


def test_a_clause_names_code_reason_and_case() -> None:
    comment = (
        "Deletes. Errors: NOT_FOUND TWEET_NOT_FOUND; PERMISSION_DENIED NOT_THE_AUTHOR for anybody "
        "else's. More."
    )
    assert declared(comment, service()) == [
        Failure("NOT_FOUND", "TWEET_NOT_FOUND", "tweet.starling", ""),
        Failure("PERMISSION_DENIED", "NOT_THE_AUTHOR", "tweet.starling", "for anybody else's"),
    ]
    assert without_errors(comment) == "Deletes. More."


def test_a_clause_may_refer_to_another_method() -> None:
    known = service(LikeTweet="Likes. Errors: NOT_FOUND TWEET_NOT_FOUND.", Retweet="")
    assert declared("Errors: as LikeTweet.", known) == [
        Failure("NOT_FOUND", "TWEET_NOT_FOUND", "tweet.starling", "")
    ]


def test_a_shared_reason_keeps_its_domain() -> None:
    [failure] = declared("Errors: PERMISSION_DENIED IDENTITY_MISMATCH.", service())
    assert failure.domain == "mesh.starling"


def test_no_clause_means_no_errors_of_its_own() -> None:
    assert declared("A user by id.", service()) == []


@pytest.mark.parametrize("clause", ["Errors: NOT_FOUND.", "Errors: NO_SUCH_CODE TWEET_NOT_FOUND."])
def test_a_clause_of_another_form_is_refused(clause: str) -> None:
    with pytest.raises(ValueError, match="CODE REASON"):
        declared(clause, service())
