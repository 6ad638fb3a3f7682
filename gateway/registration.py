"""What a registration must look like, beyond what its proto says."""

from __future__ import annotations

from starling.gateway.v1.account_service_pb2 import RegisterRequest

from gateway.users import Profile
from meshkit.errors import FieldViolation, InvalidArgument
from meshkit.text import clean_text

# As graph_svc has them, which holds profiles: checked here too, before a password is hashed.
_DISPLAY_NAME_MAX_CHARS = 50
_BIO_MAX_CHARS = 160


def clean_profile(request: RegisterRequest) -> Profile:
    """The profile, trimmed and NFC-normalised. Raises InvalidArgument that names every wrong field."""
    violations: list[FieldViolation] = []

    def clean(field: str, value: str, min_chars: int, max_chars: int, newlines: bool) -> str:
        try:
            return clean_text(
                field, value, min_chars=min_chars, max_chars=max_chars, newlines=newlines
            )
        except InvalidArgument as error:
            violations.extend(error.violations)
            return ""

    display_name = clean("display_name", request.display_name, 1, _DISPLAY_NAME_MAX_CHARS, False)
    bio = clean("bio", request.bio, 0, _BIO_MAX_CHARS, True)
    if violations:
        raise InvalidArgument.fields(violations)
    return Profile(request.username.lower(), display_name, bio)
