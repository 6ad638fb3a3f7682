"""What a registration's texts must look like, and that every wrong field is named at once."""

from __future__ import annotations

import pytest
from starling.gateway.v1.account_service_pb2 import RegisterRequest

from gateway.refresh_tokens import _read, _spell
from gateway.registration import clean_profile
from meshkit.errors import InvalidArgument


def test_texts_are_cleaned() -> None:
    request = RegisterRequest(username="ANN_1", display_name=" A\u0301nn ", bio=" a\nb ")
    profile = clean_profile(request)
    assert (profile.username, profile.display_name, profile.bio) == ("ann_1", "Ánn", "a\nb")


@pytest.mark.parametrize(
    ("display_name", "bio", "fields"),
    [
        ("", "", {"display_name"}),
        ("x" * 51, "", {"display_name"}),
        ("one\ntwo", "b" * 161, {"display_name", "bio"}),
        ("ok", "bell\x07", {"bio"}),
    ],
)
def test_all_wrong_fields_are_named(display_name: str, bio: str, fields: set[str]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        clean_profile(RegisterRequest(username="ann", display_name=display_name, bio=bio))
    assert {violation.field for violation in refused.value.violations} == fields


def test_a_refresh_token_has_one_spelling() -> None:
    token = _spell(b"f" * 16, b"\xff" * 32)
    assert _read(token) == (b"f" * 16, b"\xff" * 32)
    for bent in (
        "",
        token[:-1],
        token + "A",
        token + "=",
        token.replace("_", "/", 1),
        "ü" * 64,
        " " + token[1:],
    ):
        assert _read(bent) is None
