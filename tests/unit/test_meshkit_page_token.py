"""Page tokens: what encode() made for this list and this reader, and nothing else, is accepted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshkit.errors import InvalidArgument
from meshkit.page_token import PageTokens

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
TOKENS = PageTokens(b"0123456789abcdef0123456789abcdef")


@given(st.text(max_size=20), INT64, INT64, INT64)
def test_round_trip(kind: str, owner: int, first: int, second: int) -> None:
    token = TOKENS.encode(kind, owner, (first, second))
    assert TOKENS.decode(token, kind, owner) == (first, second)
    assert set(token) <= set(ALPHABET)


def test_every_changed_character_is_refused() -> None:
    token = TOKENS.encode("home", 42, (1_790_000_000_000, 1 << 60))
    for index, char in enumerate(token):
        for other in [*ALPHABET, "+", "/", "=", " ", "\n", "é", "\x00"]:
            if other != char:
                changed = token[:index] + other + token[index + 1 :]
                with pytest.raises(InvalidArgument) as refused:
                    TOKENS.decode(changed, "home", 42)
                assert refused.value.violations[0].field == "cursor"


@pytest.mark.parametrize(
    "change",
    [
        lambda token: "",
        lambda token: token[:-1],
        lambda token: token + "A",
        lambda token: token + "=",
        lambda token: token + "====",
        lambda token: " " + token,
        lambda token: token + "\n",
        lambda token: token.swapcase(),
        lambda token: "😀" * 44,
    ],
)
def test_other_spellings_are_refused(change: object) -> None:
    token = TOKENS.encode("home", 42, (5, 6))
    assert callable(change)
    with pytest.raises(InvalidArgument):
        TOKENS.decode(change(token), "home", 42)


def test_other_lists_readers_and_keys_are_refused() -> None:
    token = TOKENS.encode("home", 42, (5, 6))
    with pytest.raises(InvalidArgument):
        TOKENS.decode(token, "user", 42)
    with pytest.raises(InvalidArgument):
        TOKENS.decode(token, "home", 43)
    with pytest.raises(InvalidArgument):
        PageTokens(b"another key, 16+ bytes").decode(token, "home", 42)
    with pytest.raises(ValueError, match="16 bytes"):
        PageTokens(b"short")
