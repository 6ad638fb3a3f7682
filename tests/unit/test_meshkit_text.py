"""Text is trimmed, NFC, bounded in code points, and without control characters."""

from __future__ import annotations

import unicodedata

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshkit.errors import InvalidArgument
from meshkit.text import clean_text


@given(st.text(max_size=60), st.booleans())
def test_what_is_accepted_is_clean(value: str, newlines: bool) -> None:
    try:
        text = clean_text("bio", value, min_chars=0, max_chars=20, newlines=newlines)
    except InvalidArgument as refused:
        hypothesis.event(refused.violations[0].reason)
        return
    assert text == text.strip()
    assert unicodedata.is_normalized("NFC", text)
    assert len(text) <= 20
    controls = {char for char in text if unicodedata.category(char) == "Cc"}
    assert controls <= ({"\n"} if newlines else set())
    again = clean_text("bio", text, min_chars=0, max_chars=20, newlines=newlines)
    assert again == text


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        ("  hello  ", "hello"),
        ("cafe\u0301", "caf\u00e9"),
        ("\u00a0x\u2003", "x"),
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
        ("a" * 140, "a" * 140),
        ("e\u0301" * 140, "\u00e9" * 140),
    ],
)
def test_accepted(value: str, clean: str) -> None:
    assert clean_text("content", value, min_chars=1, max_chars=140) == clean


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "TOO_SHORT"),
        (" \n\t ", "TOO_SHORT"),
        ("a" * 141, "TOO_LONG"),
        ("a\x00b", "CONTROL_CHARACTER"),
        ("a\tb", "CONTROL_CHARACTER"),
        ("a\rb", "CONTROL_CHARACTER"),
        ("a\x7fb", "CONTROL_CHARACTER"),
        ("a\x85b", "CONTROL_CHARACTER"),
        ("a\nb", "CONTROL_CHARACTER"),
    ],
)
def test_refused(value: str, reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        clean_text("content", value, min_chars=1, max_chars=140)
    assert refused.value.violations[0].reason == reason


def test_a_newline_is_fine_where_allowed() -> None:
    assert clean_text("bio", "a\nb", min_chars=0, max_chars=9, newlines=True) == "a\nb"


@pytest.mark.parametrize("control", ["\x00", "\x1c", "\x1f", "\x7f"])
def test_a_control_character_at_an_edge_is_refused_as_elsewhere(control: str) -> None:
    for text in (control + "abc", "abc" + control):
        with pytest.raises(InvalidArgument):
            clean_text("content", text, min_chars=1, max_chars=140, newlines=True)


@pytest.mark.parametrize("space", [" ", "\t", "\r\n", "\u00a0", "\u2003", "\u3000"])
def test_white_space_at_the_edges_is_trimmed(space: str) -> None:
    assert clean_text("content", f"{space}abc{space}", min_chars=1, max_chars=140) == "abc"
