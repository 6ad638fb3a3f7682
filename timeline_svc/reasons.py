"""Why timeline calls fail, beyond what meshkit declares."""

from meshkit.errors import NotFound, Reason

DOMAIN = "timeline.starling"

USER_NOT_FOUND = Reason("USER_NOT_FOUND", DOMAIN, NotFound, "No user has this id.")
