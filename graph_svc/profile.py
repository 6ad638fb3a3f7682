"""What a profile's texts must look like."""

from __future__ import annotations

from meshkit.errors import FieldViolation, InvalidArgument
from meshkit.text import clean_text

DISPLAY_NAME_MAX_CHARS = 50
BIO_MAX_CHARS = 160


def clean_profile(display_name: str | None, bio: str | None) -> tuple[str | None, str | None]:
    """Both texts trimmed and NFC-normalised; None stays None.

    Raises InvalidArgument that names every field which is wrong.
    """
    violations: list[FieldViolation] = []
    if display_name is not None:
        try:
            display_name = clean_text(
                "display_name", display_name, min_chars=1, max_chars=DISPLAY_NAME_MAX_CHARS
            )
        except InvalidArgument as error:
            violations.extend(error.violations)
    if bio is not None:
        try:
            bio = clean_text("bio", bio, min_chars=0, max_chars=BIO_MAX_CHARS, newlines=True)
        except InvalidArgument as error:
            violations.extend(error.violations)
    if violations:
        raise InvalidArgument.fields(violations)
    return display_name, bio
