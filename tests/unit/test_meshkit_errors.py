"""Errors: their google.rpc.Status, the catalogue of reasons, and the way back from a remote status."""

from __future__ import annotations

import pytest
from cassandra import OperationTimedOut, WriteTimeout
from cassandra import Unavailable as CassandraUnavailable
from cassandra.cluster import NoHostAvailable
from google.rpc import error_details_pb2

from meshkit import deadline, errors, faults, identity
from meshkit.errors import (
    DeadlineExceeded,
    FieldViolation,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Reason,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    catalogue,
)
from meshkit.identity import Caller

GONE = Reason("TEST_GONE", "test.starling", NotFound, "It is gone.")


def test_the_status_carries_reason_violations_and_retry_delay() -> None:
    error = errors.STORE_UNAVAILABLE.error(retry_delay_s=2.5, node="x")
    status = error.to_status()
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.code == 14
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain, info.metadata["node"]) == (
        "STORE_UNAVAILABLE",
        "mesh.starling",
        "x",
    )
    assert status.details[1].Unpack(retry)
    assert (retry.retry_delay.seconds, retry.retry_delay.nanos) == (2, 500_000_000)

    wrong = InvalidArgument.fields(
        [FieldViolation("a.b", "is wrong", "WRONG"), FieldViolation("c", "too")]
    )
    bad = error_details_pb2.BadRequest()
    assert wrong.to_status().details[1].Unpack(bad)
    assert [(each.field, each.reason) for each in bad.field_violations] == [
        ("a.b", "WRONG"),
        ("c", ""),
    ]
    assert wrong.message == "a.b: is wrong; c: too"


def test_reasons_are_declared_once_and_undeclared_ones_are_refused() -> None:
    assert GONE in catalogue()
    assert isinstance(GONE.error("tweet 5 is gone", tweet_id=5), NotFound)
    assert GONE.error().message == "It is gone."
    Reason("TEST_GONE", "test.starling", NotFound, "It is gone.")
    with pytest.raises(ValueError, match="declared twice"):
        Reason("TEST_GONE", "test.starling", NotFound, "Something else.")
    with pytest.raises(ValueError, match="not declared"):
        NotFound("x", reason="NEVER_DECLARED")


def test_driver_failures_in_our_terms() -> None:
    timeout = WriteTimeout(
        "late", consistency=6, required_responses=2, received_responses=1, write_type=0
    )
    for error in (
        timeout,
        OperationTimedOut(),
        NoHostAvailable("none", {}),
        ConnectionResetError(),
    ):
        assert isinstance(faults.translate(error), Unavailable)
    assert isinstance(faults.translate(TimeoutError()), DeadlineExceeded)
    assert faults.translate(KeyError("ours")) is None
    with deadline.within(0.005):
        assert isinstance(faults.translate(timeout), DeadlineExceeded)


def test_which_lightweight_transactions_may_have_been_applied() -> None:
    refused = CassandraUnavailable(
        "no quorum", consistency=6, required_replicas=2, alive_replicas=1
    )
    assert faults.lwt_outcome_unknown(OperationTimedOut())
    assert not faults.lwt_outcome_unknown(refused)
    assert not faults.lwt_outcome_unknown(NoHostAvailable("none", {}))
    assert not faults.lwt_outcome_unknown(
        NoHostAvailable("none", {"a": refused, "b": ConnectionRefusedError()})
    )
    assert faults.lwt_outcome_unknown(NoHostAvailable("none", {"a": OperationTimedOut()}))


def test_the_identity_rule() -> None:
    identity.set_caller(None)
    with pytest.raises(Unauthenticated):
        identity.require_self("user_id", None)
    assert identity.outgoing_metadata() == []
    identity.set_caller(Caller(5, "ann"))
    assert identity.require_self("user_id", None) == identity.require_self("user_id", 5)
    with pytest.raises(PermissionDenied) as refused:
        identity.require_self("follower_id", 6)
    assert refused.value.reason == "IDENTITY_MISMATCH"
    assert identity.outgoing_metadata() == [
        ("x-starling-user-id", "5"),
        ("x-starling-username", "ann"),
    ]
    identity.set_caller(None)


@pytest.mark.parametrize("text", ["", "-5", "5x", "\u0665", "1" * 20, " 5"])
def test_only_decimal_ids_name_a_caller(text: str) -> None:
    assert identity.parse_caller(text, "ann") is None


def test_budgets_shrink() -> None:
    assert deadline.budget(3) == 3
    with deadline.within(1):
        assert 0.9 < deadline.budget(3) <= 0.98
        assert deadline.budget(0.5) == 0.5
        with deadline.within(0.01), pytest.raises(DeadlineExceeded):
            deadline.budget(3)
    assert deadline.remaining() is None


def test_overload_says_when_to_come_back() -> None:
    assert ResourceExhausted("full").retry_delay_s == 1.0
