"""The spam rules, by their edges."""

from __future__ import annotations

import pytest

from meshkit.errors import FailedPrecondition
from tweet_svc.spam import Draft, check
from tweet_svc.text_hash import text_hash


def broken(content: str, *recent: str) -> str | None:
    """The rule that a draft breaks."""
    try:
        check(Draft(content, {text_hash(each) for each in recent}))
    except FailedPrecondition as error:
        return error.metadata["rule"] if error.reason == "SPAM_DETECTED" else error.reason
    return None


@pytest.mark.parametrize(
    ("content", "links"),
    [
        ("https://a.b", 1),
        ("HTTP://A.B", 1),
        ("http://www.a.b", 1),
        ("www.a.b", 1),
        ("(www.a.b)", 1),
        ("http://a.bhttp://c.d", 2),
        ("see http:// and nothing", 0),
        ("wwww.a.b me@www.a.b", 0),
        ("no links here", 0),
    ],
)
def test_links(content: str, links: int) -> None:
    filler = " https://x.y"
    assert broken(content + filler * (4 - links)) is None
    assert broken(content + filler * (5 - links)) == "TOO_MANY_LINKS"


@pytest.mark.parametrize(
    ("content", "mentions"),
    [
        ("@ada", 1),
        ("@ada@bob", 1),
        ("@ada,@bob!", 2),
        (".@ada", 1),
        ("\uff20ada", 1),
        ("ada@example.com", 0),
        ("@", 0),
        ("@ ada", 0),
    ],
)
def test_mentions(content: str, mentions: int) -> None:
    filler = " @x1"
    assert broken(content + filler * (10 - mentions)) is None
    assert broken(content + filler * (11 - mentions)) == "TOO_MANY_MENTIONS"


def test_same_text() -> None:
    assert broken("hello", "hello") == "DUPLICATE_TEXT"
    assert broken("hello", "Hello", "hello!", "hell o") is None
    assert broken("hello") is None
