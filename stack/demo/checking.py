"""A home timeline as read against what it must be: every difference, in words."""

from collections import Counter
from collections.abc import Sequence

from stack.demo.oracle import Json

SNIPPET_CHARS = 40


def differences(expected: Sequence[Json], got: Sequence[Json]) -> list[str]:
    """What is missing, too much, doubled, out of order, or says something else; empty if nothing is."""
    found = []
    wanted = {tweet["tweet_id"]: tweet for tweet in expected}
    shown = {tweet["tweet_id"]: tweet for tweet in got}
    for tweet_id, times in Counter(tweet["tweet_id"] for tweet in got).items():
        if times > 1:
            found.append(f"shows tweet {_named(shown[tweet_id])} {times} times")
    for place, tweet in enumerate(expected, 1):
        if tweet["tweet_id"] not in shown:
            found.append(
                f"misses tweet {_named(tweet)}, which belongs at place {place} of {len(expected)}"
            )
    found += [
        f"shows tweet {_named(tweet)}, which does not belong there"
        for tweet_id, tweet in shown.items()
        if tweet_id not in wanted
    ]
    found += _out_of_order([i for i in wanted if i in shown], [i for i in shown if i in wanted])
    for tweet_id, tweet in shown.items():
        if tweet_id in wanted and tweet != wanted[tweet_id]:
            found.append(f"tweet {tweet_id}: {_fields(wanted[tweet_id], tweet)}")
    return found


def _out_of_order(expected: list[str], got: list[str]) -> list[str]:
    for place, (wanted, shown) in enumerate(zip(expected, got, strict=True), 1):
        if wanted != shown:
            return [f"is out of order from place {place} on: tweet {shown} stands before {wanted}"]
    return []


def _fields(expected: Json, got: Json) -> str:
    names = [name for name in {**expected, **got} if expected.get(name) != got.get(name)]
    return ", ".join(f"{n} is {got.get(n)!r} and not {expected.get(n)!r}" for n in names)


def _named(tweet: Json) -> str:
    content = " ".join(str(tweet.get("content")).split())
    if len(content) > SNIPPET_CHARS:
        content = content[: SNIPPET_CHARS - 1] + "…"
    by = f", retweeted by {tweet['retweeted_by']}" if tweet.get("retweeted_by") else ""
    return f"{tweet['tweet_id']} by {tweet.get('username')} “{content}”{by}"
