"""What counts as spam: a table of rules, each a small function over one draft.

To add a rule, write a function `Draft -> str | None` that says what is wrong, and put it into
`RULES` under the name that clients see. A rule that needs more than the text takes what it needs
from the draft.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from meshkit.errors import FieldViolation
from tweet_svc.reasons import SPAM_DETECTED
from tweet_svc.text_hash import text_hash

DUPLICATE_WINDOW_MS = 60_000
"""The same text by the same author is refused until it is this old."""
MAX_LINKS = 4
MAX_MENTIONS = 10

_LINK = re.compile(r"https?://(?=\S)|(?<![\w./@-])www\.(?=\w)", re.IGNORECASE)
_MENTION = re.compile(r"(?<![A-Za-z0-9_])[@\uff20][A-Za-z0-9_]{1,30}")


@dataclass(frozen=True, slots=True)
class Draft:
    """A tweet about to be posted: its normalised text, and the hashes of the texts its author has posted
    within the last `DUPLICATE_WINDOW_MS`, whether or not they have deleted them since."""

    content: str
    recent_texts: Collection[bytes] = ()


def duplicate_text(draft: Draft) -> str | None:
    """Exactly the same text, compared as it is stored (trimmed, NFC), case included."""
    if text_hash(draft.content) in draft.recent_texts:
        return "the same text was posted less than 60 seconds ago"
    return None


def too_many_links(draft: Draft) -> str | None:
    """Counts `http://`, `https://` and `www.` addresses."""
    links = len(_LINK.findall(draft.content))
    return f"{links} links, at most {MAX_LINKS} are allowed" if links > MAX_LINKS else None


def too_many_mentions(draft: Draft) -> str | None:
    """Counts `@name`, not e-mail addresses."""
    mentions = len(_MENTION.findall(draft.content))
    if mentions > MAX_MENTIONS:
        return f"{mentions} mentions, at most {MAX_MENTIONS} are allowed"
    return None


RULES: dict[str, Callable[[Draft], str | None]] = {
    "DUPLICATE_TEXT": duplicate_text,
    "TOO_MANY_LINKS": too_many_links,
    "TOO_MANY_MENTIONS": too_many_mentions,
}


def check(draft: Draft) -> None:
    """Raises FailedPrecondition (SPAM_DETECTED, metadata `rule`) for the first rule the draft breaks."""
    for rule, breaks in RULES.items():
        wrong = breaks(draft)
        if wrong is not None:
            raise SPAM_DETECTED.error(
                f"{rule}: {wrong}",
                violations=[FieldViolation("content", wrong, SPAM_DETECTED.name)],
                rule=rule,
            )
