"""Display name and bio: trimmed, NFC, bounded, without control characters."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph_svc.profile import clean_profile
from meshkit.errors import InvalidArgument


def trimmed(text: str) -> str:
    """Without white space at the ends, as Unicode has it: U+001C to U+001F are controls."""
    controls = "\x1c\x1d\x1e\x1f"
    while text and text[0].isspace() and text[0] not in controls:
        text = text[1:]
    while text and text[-1].isspace() and text[-1] not in controls:
        text = text[:-1]
    return text


@given(st.none() | st.text(max_size=60), st.none() | st.text(max_size=170))
def test_what_passes_is_clean_and_what_does_not_is_named(
    display_name: str | None, bio: str | None
) -> None:
    def clean(text: str) -> str:
        return trimmed(unicodedata.normalize("NFC", trimmed(text)))

    def controls(text: str, allowed: str) -> bool:
        return any(unicodedata.category(c) == "Cc" and c not in allowed for c in clean(text))

    wrong = set()
    if display_name is not None and (
        not 1 <= len(clean(display_name)) <= 50 or controls(display_name, "")
    ):
        wrong.add("display_name")
    if bio is not None and (len(clean(bio)) > 160 or controls(bio, "\n")):
        wrong.add("bio")

    if wrong:
        with pytest.raises(InvalidArgument) as refused:
            clean_profile(display_name, bio)
        assert {violation.field for violation in refused.value.violations} == wrong
    else:
        assert clean_profile(display_name, bio) == (
            None if display_name is None else clean(display_name),
            None if bio is None else clean(bio),
        )
        again = clean_profile(display_name, bio)
        assert clean_profile(*again) == again
