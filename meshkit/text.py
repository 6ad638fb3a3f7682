"""Text that people write: trimmed, NFC, bounded in code points, without control characters."""

from __future__ import annotations

import unicodedata

from meshkit.errors import InvalidArgument

# What Unicode calls white space; str.strip() would take U+001C to U+001F along, which are controls.
_SPACE = "".join(
    char for char in map(chr, range(0x3001)) if char.isspace() and not "\x1c" <= char <= "\x1f"
)


def clean_text(
    field: str, value: str, *, min_chars: int, max_chars: int, newlines: bool = False
) -> str:
    """`value` trimmed and NFC-normalised.

    Raises InvalidArgument naming `field` when a control character is left (a newline is allowed with
    `newlines`), or when the result has fewer than `min_chars` or more than `max_chars` code points.
    """
    # Trimmed again: NFC turns some spaces into others, and may uncover nothing else.
    text = unicodedata.normalize("NFC", value.strip(_SPACE)).strip(_SPACE)
    for char in text:
        if unicodedata.category(char) == "Cc" and not (newlines and char == "\n"):
            allowed = " other than a newline" if newlines else ""
            raise InvalidArgument.field(
                field,
                f"must not contain control characters{allowed} (found U+{ord(char):04X})",
                "CONTROL_CHARACTER",
            )
    length = len(text)
    if not min_chars <= length <= max_chars:
        raise InvalidArgument.field(
            field,
            f"must be {min_chars} to {max_chars} characters after trimming, has {length}",
            "TOO_SHORT" if length < min_chars else "TOO_LONG",
        )
    return text
