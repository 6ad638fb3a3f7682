"""Posting, content, spam rules, idempotency keys, reading and deleting a tweet, likes and retweets."""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from .mesh import FRESH_S, eventually
from .rest import Person, answer_of, refused
from .shapes import check_created_by, check_id, check_time, check_tweet

Register = Callable[[int], list[Person]]
UNKNOWN_ID = "4611686018427387904"


@pytest.fixture(scope="module")
def ada(rest: Any) -> Person:
    """One author for all that does not look at whole lists."""
    person: Person = rest.register()
    return person


@pytest.fixture(scope="module")
def bob(rest: Any) -> Person:
    """Somebody else."""
    person: Person = rest.register()
    return person


def unique(text: str = "tweet") -> str:
    """The spam rule refuses the same text within a minute."""
    return f"{text} {secrets.token_hex(5)}"


def post(author: Person, content: str, key: str | None = None, **fields: Any) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    body = {"content": content, **fields}
    return author.raw("POST", "/v1/tweets", json=body, headers=headers)


def test_a_post_and_the_tweet(ada: Person, bob: Person) -> None:
    content = unique()
    answer = answer_of(post(ada, content, media_ids=["a", "B-2", "c_3", "x" * 64]))
    assert list(answer) == ["tweet_id", "created_at"]
    check_id(answer["tweet_id"])
    check_time(answer["created_at"])
    check_created_by(answer["tweet_id"], answer["created_at"])
    read = bob.call("GET", f"/v1/tweets/{answer['tweet_id']}")
    assert list(read) == ["tweet"]
    check_tweet(read["tweet"])
    assert read["tweet"] == {
        "tweet_id": answer["tweet_id"],
        "user_id": ada.user_id,
        "username": ada.username,
        "content": content,
        "media_ids": ["a", "B-2", "c_3", "x" * 64],
        "created_at": answer["created_at"],
        "likes_count": 0,
        "retweets_count": 0,
        "liked": False,
        "retweeted": False,
        "retweeted_by": "",
    }


def test_ids_grow(ada: Person) -> None:
    ids = [int(ada.post(unique())) for _ in range(4)]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize(
    "sent",
    [
        "spaces \n",
        "cafe\u0301",
        "x" * 131,
        "e\u0301" * 131,
        "\U0001f426" * 131,
        "two\nlines",
        "zero\u200dwidth",
        '"quotes" \\ <b>&amp;</b>',
        "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    ],
)
def test_content_is_trimmed_and_composed(ada: Person, sent: str) -> None:
    whole = f"{secrets.token_hex(4)} {sent}"
    tweet_id = answer_of(post(ada, f" \n{whole}"))["tweet_id"]
    assert ada.tweet(tweet_id)["content"] == unicodedata.normalize("NFC", whole.strip())


def test_content_of_exactly_140(ada: Person) -> None:
    mark = secrets.token_hex(4)
    for letter in ("z", "e\u0301", "\U0001f426"):
        post_ok = answer_of(post(ada, mark + letter * 132))
        assert len(ada.tweet(post_ok["tweet_id"])["content"]) == 140
        refused(post(ada, mark + letter * 133), 400, "INVALID_FIELD", "content")


@pytest.mark.parametrize(
    "content",
    [
        *("", " ", " \n\t ", "\u3000\u2003", "x" * 141, "x" * 60_000),
        *(f"a{control}b" for control in "\t\r\0\x1b\x7f\x85\x9f"),
    ],
)
def test_bad_content(ada: Person, content: str) -> None:
    refused(post(ada, content), 400, "INVALID_FIELD", "content")


def test_content_that_is_not_there(ada: Person) -> None:
    for body in (None, {}, {"content": None}, {"text": "x"}):
        answer = ada.raw("POST", "/v1/tweets", json=body)
        refused(answer, 400, "INVALID_FIELD", "content")


@pytest.mark.parametrize(
    "media_ids", [["a"] * 5, ["has space"], [""], ["x" * 65], ["ü"], ["a", "b/c"], ["a\n"]]
)
def test_bad_media_ids(ada: Person, media_ids: list[str]) -> None:
    error = refused(post(ada, unique(), media_ids=media_ids), 400, "INVALID_FIELD")
    assert "media_ids" in error["message"]


def test_unknown_body_fields_are_ignored(ada: Person) -> None:
    sent: dict[str, Any] = {
        "tweet_id": "1",
        "likes_count": 9,
        "created_at": "2015-01-01",
        "nested": {"a": [1]},
    }
    answer = answer_of(post(ada, unique(), **sent))
    assert answer["tweet_id"] != "1"
    assert ada.tweet(answer["tweet_id"])["likes_count"] == 0


def spam(answer: httpx.Response, rule: str) -> None:
    """FAILED_PRECONDITION, SPAM_DETECTED, and the rule by its name."""
    error = refused(answer, 400, "SPAM_DETECTED")
    assert error["code"] == 9
    assert rule in error["message"]
    (info,) = [d for d in error["details"] if d["@type"].endswith("ErrorInfo")]
    assert info["metadata"]["rule"] == rule


def test_the_same_text_within_a_minute(ada: Person, bob: Person) -> None:
    content = unique("caf\u00e9")
    answer_of(post(ada, content))
    for again in (content, f"  {content} ", content.replace("\u00e9", "e\u0301")):
        spam(post(ada, again), "DUPLICATE_TEXT")
    answer_of(post(bob, content))
    answer_of(post(ada, content + "!"))


def test_links_and_mentions_are_counted(ada: Person) -> None:
    links = [f"http{'s' * (n % 2)}://a{n}.example" for n in range(5)]
    answer_of(post(ada, unique(" ".join(links[:4]))))
    spam(post(ada, unique(" ".join(links))), "TOO_MANY_LINKS")
    names = [f"@u{n}_x" for n in range(11)]
    answer_of(post(ada, unique(" ".join(names[:10]))))
    spam(post(ada, unique(" ".join(names))), "TOO_MANY_MENTIONS")


def test_a_key_gives_the_same_tweet(ada: Person, bob: Person) -> None:
    key, content = secrets.token_hex(8), unique()
    first = answer_of(post(ada, content, key, media_ids=["m"]))
    for again in (content, f" {content} "):
        assert answer_of(post(ada, again, key, media_ids=["m"])) == first
    assert answer_of(post(ada, content, key, media_ids=["m"], user_id=ada.user_id)) == first
    for content_, media in ((unique(), ["m"]), (content, ["n"]), (content, [])):
        answer = post(ada, content_, key, media_ids=media)
        refused(answer, 400, "IDEMPOTENCY_KEY_REUSED")
    assert answer_of(post(bob, content, key, media_ids=["m"]))["tweet_id"] != first["tweet_id"]
    assert ada.home_ids().count(first["tweet_id"]) == 1


def test_a_key_outlives_its_tweet_and_redis(ada: Person, mesh: Any) -> None:
    key, content = secrets.token_hex(8), unique()
    first = answer_of(post(ada, content, key))
    mesh.flush_redis()
    assert answer_of(post(ada, content, key)) == first
    ada.delete(first["tweet_id"])
    assert answer_of(post(ada, content, key)) == first
    refused(ada.raw("GET", f"/v1/tweets/{first['tweet_id']}"), 404, "TWEET_NOT_FOUND")


def test_a_refused_post_does_not_use_its_key_up(ada: Person) -> None:
    key = secrets.token_hex(8)
    refused(post(ada, "", key), 400, "INVALID_FIELD")
    answer_of(post(ada, unique(), key))


def test_a_post_that_was_spam_may_come_again_with_its_key(ada: Person) -> None:
    key, content = secrets.token_hex(8), unique()
    answer_of(post(ada, content))
    spam(post(ada, content, key), "DUPLICATE_TEXT")
    spam(post(ada, content, key), "DUPLICATE_TEXT")


@pytest.mark.parametrize("key", ["k" * 247, "inner space! ~", '"quoted"', "0", ""])
def test_keys_of_printable_ascii(ada: Person, key: str) -> None:
    answer_of(post(ada, unique(), key + secrets.token_hex(4)))


@pytest.mark.parametrize("key", ["", "k" * 256, "caf\u00e9", "tab\there"])
def test_bad_keys(ada: Person, key: str) -> None:
    body = {"content": unique()}
    headers = {**ada.headers, "Idempotency-Key": key.encode()}
    answer = ada.rest.raw("POST", "/v1/tweets", json=body, headers=headers)
    error = refused(answer, 400)
    assert "Idempotency-Key" in error["message"]


def test_a_tweet_that_is_not_there(ada: Person) -> None:
    for method, suffix in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/like"),
        ("DELETE", "/like"),
        ("POST", "/retweet"),
        ("DELETE", "/retweet"),
    ):
        answer = ada.raw(method, f"/v1/tweets/{UNKNOWN_ID}{suffix}")
        refused(answer, 404, "TWEET_NOT_FOUND")
        for bad in ("0", "-1", "abc", "9223372036854775808"):
            refused(ada.raw(method, f"/v1/tweets/{bad}{suffix}"), 400, field="tweet_id")


def test_only_its_author_deletes_a_tweet(ada: Person, bob: Person) -> None:
    tweet_id = ada.post(unique())
    refused(bob.raw("DELETE", f"/v1/tweets/{tweet_id}"), 403, "NOT_THE_AUTHOR")
    assert ada.tweet(tweet_id)["tweet_id"] == tweet_id
    ada.delete(tweet_id)
    refused(ada.raw("GET", f"/v1/tweets/{tweet_id}"), 404, "TWEET_NOT_FOUND")


def test_a_deletion_is_everywhere(register: Register) -> None:
    author, fan, friend = register(3)
    fan.follow(author)
    friend.follow(fan)
    gone, stays = author.post(unique()), author.post(unique())
    fan.retweet(gone)
    fan.retweet(stays)
    fan.like(gone)
    eventually(lambda: gone in friend.home_ids(), FRESH_S, "the retweet in a feed")
    author.delete(gone)

    def vanished() -> bool:
        for reader in (author, fan, friend):
            assert reader.home_ids() == [stays]
            assert [t["tweet_id"] for t in reader.timeline_of(fan)] == [stays]
            assert [t["tweet_id"] for t in reader.timeline_of(author)] == [stays]
        assert [t["tweet_id"] for t in friend.popular()] == [stays]
        assert author.user()["tweets_count"] == 1
        return True

    eventually(vanished, FRESH_S, "the deletion")


@pytest.mark.parametrize("what", ["like", "retweet"])
def test_doing_twice_counts_once(register: Register, what: str) -> None:
    author, fan, third = register(3)
    tweet_id = author.post(unique())
    path, flag = f"/v1/tweets/{tweet_id}/{what}", {"like": "liked", "retweet": "retweeted"}[what]
    count = f"{what}s_count"
    for body in (None, {}, {"user_id": fan.user_id}, {"user_id": int(fan.user_id)}):
        assert fan.call("POST", path, json=body) == {"success": True}
    assert fan.tweet(tweet_id)[flag] is True
    assert third.tweet(tweet_id)[flag] is False
    assert author.call("POST", path) == {"success": True}

    def counted(wanted: int) -> Callable[[], bool]:
        return lambda: all(p.tweet(tweet_id)[count] == wanted for p in (author, fan, third))

    eventually(counted(2), FRESH_S, f"the count of {what}s")
    for _ in range(2):
        assert fan.call("DELETE", path) == {"success": True}
    assert third.call("DELETE", path) == {"success": True}
    assert fan.tweet(tweet_id)[flag] is False
    eventually(counted(1), FRESH_S, f"the count after an undoing of a {what}")
    assert author.tweet(tweet_id)[flag] is True


def test_flags_and_counts_in_every_list(register: Register) -> None:
    author, fan = register(2)
    fan.follow(author)
    tweet_id = author.post(unique())
    fan.home()
    fan.like(tweet_id)
    fan.retweet(tweet_id)

    def shown() -> bool:
        seen = [
            *fan.home(),
            *fan.timeline_of(author),
            *fan.timeline_of(fan),
            *fan.popular(),
            fan.tweet(tweet_id),
        ]
        assert len(seen) == 5
        for tweet in seen:
            check_tweet(tweet)
            assert (tweet["liked"], tweet["retweeted"]) == (True, True)
            assert (tweet["likes_count"], tweet["retweets_count"]) == (1, 1)
        for tweet in (*author.home(), *author.timeline_of(fan), author.tweet(tweet_id)):
            assert (tweet["liked"], tweet["retweeted"]) == (False, False)
            assert (tweet["likes_count"], tweet["retweets_count"]) == (1, 1)
        return True

    eventually(shown, FRESH_S, "flags and counts")


def test_tweets_count_counts_tweets(register: Register) -> None:
    author, other = register(2)
    posted = [author.post(unique()) for _ in range(3)]
    author.retweet(other.post(unique()))
    author.delete(posted[0])
    eventually(lambda: author.user()["tweets_count"] == 2, FRESH_S, "tweets_count")
