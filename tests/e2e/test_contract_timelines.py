"""Home timeline, user timeline, cursors, popular and top_k."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest

from .mesh import FRESH_S, Mesh, eventually
from .rest import Person, refused
from .shapes import check_tweet

Register = Callable[[int], list[Person]]


def unique(text: str = "tweet") -> str:
    """The spam rule refuses the same text within a minute."""
    return f"{text} {secrets.token_hex(5)}"


def ids(tweets: list[dict[str, Any]]) -> list[str]:
    return [tweet["tweet_id"] for tweet in tweets]


def brought(tweets: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(tweet["tweet_id"], tweet["retweeted_by"]) for tweet in tweets]


def test_the_shape_of_a_home_timeline(register: Register) -> None:
    ada, bob = register(2)
    assert ada.call("GET", "/v1/timeline/home") == {
        "tweets": [],
        "next_cursor": "",
        "top_tweets": [],
    }
    assert ada.call("GET", "/v1/timeline/popular") == {"tweets": []}
    assert ada.call("GET", f"/v1/users/{ada.user_id}/tweets") == {"tweets": [], "next_cursor": ""}
    ada.follow(bob)
    bob.post(unique())
    eventually(lambda: len(ada.home()) == 1, FRESH_S, "a followee's tweet")
    page = ada.call("GET", "/v1/timeline/home", params={"top_k": 3})
    assert list(page) == ["tweets", "next_cursor", "top_tweets"]
    for tweet in (*page["tweets"], *page["top_tweets"]):
        check_tweet(tweet)
    assert page["tweets"] == page["top_tweets"]


def test_own_tweets_are_there_in_the_very_next_read(register: Register) -> None:
    (ada,) = register(1)
    posted: list[str] = []
    for number in range(6):
        posted.insert(0, ada.post(unique()))
        assert ada.home_ids() == posted, f"after {number + 1} posts"


def test_followers_see_it_and_strangers_do_not(register: Register) -> None:
    author, fan, stranger = register(3)
    before = author.post(unique())
    fan.follow(author)
    eventually(lambda: fan.home_ids() == [before], FRESH_S, "what stood before the follow")
    after = author.post(unique())
    eventually(lambda: fan.home_ids() == [after, before], FRESH_S, "a tweet in a follower's feed")
    assert stranger.home_ids() == []
    fan.unfollow(author)
    eventually(lambda: fan.home_ids() == [], FRESH_S, "the unfollow")
    author.post(unique())
    assert fan.home_ids() == []


def test_own_retweets_bring_nothing_in(register: Register) -> None:
    author, ada = register(2)
    tweet_id = author.post(unique())
    ada.home()
    ada.retweet(tweet_id)
    eventually(lambda: brought(ada.timeline_of(ada)) == [(tweet_id, ada.username)], FRESH_S)
    assert ada.home_ids() == []
    ada.call("GET", "/v1/timeline/home")
    assert brought(author.timeline_of(author)) == [(tweet_id, "")]


def test_a_tweet_stands_once_where_its_best_reason_puts_it(register: Register) -> None:
    author, first, second, reader = register(4)
    for followee in (first, second):
        reader.follow(followee)
    tweet_id, later = author.post(unique()), first.post(unique())
    reader.home()
    second.retweet(tweet_id)
    between = first.post(unique())
    first.retweet(tweet_id)
    last = first.post(unique())
    wanted = [(last, ""), (between, ""), (tweet_id, second.username), (later, "")]
    eventually(lambda: brought(reader.home()) == wanted, FRESH_S, "the earliest retweet's place")
    second.retweet(tweet_id)  # twice: it keeps the first time
    assert brought(reader.home()) == wanted
    second.unretweet(tweet_id)
    wanted = [(last, ""), (tweet_id, first.username), (between, ""), (later, "")]
    eventually(lambda: brought(reader.home()) == wanted, FRESH_S, "the next retweet's place")
    second.retweet(tweet_id)  # anew: it takes the new time, and the other one is earlier
    assert brought(reader.home()) == wanted
    first.unretweet(tweet_id)
    wanted = [(tweet_id, second.username), (last, ""), (between, ""), (later, "")]
    eventually(lambda: brought(reader.home()) == wanted, FRESH_S, "the new time")
    reader.follow(author)
    wanted = [(last, ""), (between, ""), (later, ""), (tweet_id, "")]
    eventually(lambda: brought(reader.home()) == wanted, FRESH_S, "its own time")
    reader.unfollow(author)
    reader.unfollow(second)
    wanted = [(last, ""), (between, ""), (later, "")]
    eventually(lambda: brought(reader.home()) == wanted, FRESH_S, "nobody who brings it in")


def test_a_user_timeline_has_tweets_and_retweets(register: Register) -> None:
    author, ada, viewer = register(3)
    stranger_1, own, stranger_2 = author.post(unique()), ada.post(unique()), author.post(unique())
    ada.retweet(stranger_2)
    ada.retweet(stranger_1)
    ada.retweet(own)
    wanted = [(stranger_1, ada.username), (stranger_2, ada.username), (own, "")]
    for limit in (1, 2, 100):
        eventually(
            lambda limit=limit: brought(viewer.timeline_of(ada, limit)) == wanted,  # type: ignore[misc]
            FRESH_S,
            "tweets and retweets",
        )
    ada.unretweet(stranger_2)
    wanted.pop(1)
    eventually(lambda: brought(ada.timeline_of(ada)) == wanted, FRESH_S, "the retweet undone")


LISTS = ["/v1/timeline/home", "/v1/users/{}/tweets", "/v1/users/{}/followers"]
LISTS.append("/v1/users/{}/following")


@pytest.fixture(scope="module")
def busy(rest: Any) -> tuple[Person, Person]:
    """Two people, each with lists of several pages."""
    ada, bob, *others = (rest.register() for _ in range(6))
    for person in (ada, bob):
        for other in others:
            person.follow(other)
            other.follow(person)
        for _ in range(5):
            person.post(unique())
    return ada, bob


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("limit=4294967297", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=%00", "cursor"),
        ("bogus=1", "bogus"),
    ],
)
def test_bad_queries_of_lists(
    busy: tuple[Person, Person], path: str, query: str, named: str
) -> None:
    ada, _ = busy
    refused(ada.raw("GET", f"{path.format(ada.user_id)}?{query}"), 400, field=named)


@pytest.mark.parametrize("path", LISTS)
def test_limits_of_lists(busy: tuple[Person, Person], path: str) -> None:
    ada, _ = busy
    path = path.format(ada.user_id)
    for query in ("", "?limit=100", "?cursor=", "?limit=1"):
        answer = ada.call("GET", path + query)
        items = answer.get("tweets") or answer.get("users")
        assert items
        assert len(items) == 1 if query == "?limit=1" else len(items) >= 4


@pytest.mark.parametrize("path", LISTS)
def test_a_cursor_is_one_readers_and_one_lists(busy: tuple[Person, Person], path: str) -> None:
    ada, bob = busy
    own = path.format(ada.user_id)
    cursor = ada.call("GET", own, params={"limit": 2})["next_cursor"]
    assert cursor
    ada.call("GET", own, params={"limit": 3, "cursor": cursor})
    refused(bob.raw("GET", own, params={"cursor": cursor}), 400, field="cursor")
    for other in LISTS:
        for person in (ada, bob):
            elsewhere = other.format(person.user_id)
            if elsewhere != own:
                answer = ada.raw("GET", elsewhere, params={"cursor": cursor})
                refused(answer, 400, field="cursor")


@pytest.mark.parametrize("path", LISTS)
def test_a_cursor_with_any_byte_changed(busy: tuple[Person, Person], path: str) -> None:
    ada, _ = busy
    path = path.format(ada.user_id)
    cursor = ada.call("GET", path, params={"limit": 2})["next_cursor"]
    for at in range(len(cursor)):
        for put in ("A", "b", cursor[at].swapcase()):
            changed = cursor[:at] + put + cursor[at + 1 :]
            if changed != cursor:
                refused(ada.raw("GET", path, params={"cursor": changed}), 400, field="cursor")
    for changed in (
        cursor[:-1],
        cursor + "A",
        cursor + "=",
        "A" + cursor,
        cursor * 2,
        " " + cursor,
    ):
        refused(ada.raw("GET", path, params={"cursor": changed}), 400, field="cursor")


def test_defaults(register: Register) -> None:
    ada, bob = register(2)
    bob.follow(ada)
    posted = [ada.post(unique()) for _ in range(23)][::-1]
    page = ada.call("GET", "/v1/timeline/home")
    assert ids(page["tweets"]) == posted[:20]
    assert page["top_tweets"] == []
    rest_ = ada.call("GET", "/v1/timeline/home", params={"cursor": page["next_cursor"]})
    assert ids(rest_["tweets"]) == posted[20:]
    assert rest_["next_cursor"] == ""
    assert len(ada.call("GET", f"/v1/users/{ada.user_id}/tweets")["tweets"]) == 20
    eventually(lambda: bob.home_ids() == posted, FRESH_S, "the followee's tweets")
    assert len(bob.call("GET", "/v1/timeline/popular")["tweets"]) == 10
    assert len(bob.popular(50)) == 23
    # A page that ends exactly where the list does is the last.
    assert ada.call("GET", "/v1/timeline/home", params={"limit": 23})["next_cursor"] == ""


def test_paging_while_new_tweets_arrive_and_old_ones_go(register: Register, mesh: Mesh) -> None:
    author, reader = register(2)
    reader.follow(author)
    posted = [author.post(unique()) for _ in range(12)][::-1]
    eventually(lambda: reader.home_ids() == posted, FRESH_S, "the followee's tweets")
    for path in ("/v1/timeline/home", f"/v1/users/{author.user_id}/tweets"):
        seen: list[str] = []
        cursor = ""
        standing = list(posted)
        while True:
            page = reader.call("GET", path, params={"limit": 3, "cursor": cursor})
            seen += ids(page["tweets"])
            cursor = page["next_cursor"]
            if not cursor:
                break
            author.post(unique())
            if len(seen) == 3:  # the one that the cursor stands at, and one of the next page
                for gone in (posted[2], posted[4]):
                    author.delete(gone)
                    standing.remove(gone)
            if len(seen) == 6:
                mesh.flush_redis()
        assert [i for i in seen if i in standing] == standing
        assert len(set(seen)) == len(seen)
        posted = author_ids = ids(reader.timeline_of(author))
        assert author_ids


@pytest.mark.parametrize(
    ("path", "query", "named"),
    [
        ("/v1/timeline/home", "top_k=51", "top_k"),
        ("/v1/timeline/home", "top_k=-1", "top_k"),
        ("/v1/timeline/home", "top_k=x", "top_k"),
        ("/v1/timeline/home", "k=1", "k"),
        ("/v1/timeline/popular", "k=0", "k"),
        ("/v1/timeline/popular", "k=51", "k"),
        ("/v1/timeline/popular", "limit=5", "limit"),
        ("/v1/timeline/popular", "cursor=x", "cursor"),
    ],
)
def test_bad_k(busy: tuple[Person, Person], path: str, query: str, named: str) -> None:
    ada, _ = busy
    refused(ada.raw("GET", f"{path}?{query}"), 400, field=named)


def test_k_at_its_limits(busy: tuple[Person, Person]) -> None:
    ada, _ = busy
    ada.call("GET", "/v1/timeline/popular?k=1")
    ada.call("GET", "/v1/timeline/popular?k=50")
    ada.call("GET", "/v1/timeline/home?top_k=0")
    ada.call("GET", "/v1/timeline/home?top_k=50")


def test_the_most_popular_come_first(register: Register) -> None:
    author, reader, *fans = register(6)
    reader.follow(author)
    posted = [author.post(unique()) for _ in range(4)]
    own = reader.post(unique())
    for fan in fans:
        fan.like(posted[1])
        fan.retweet(posted[0])
    fans[0].like(posted[2])
    fans[0].like(own)
    # 1 + 8 before 1 + 4 before 1 + 1 before none; among none, and in a minute, the newer first.
    wanted = [posted[0], posted[1], posted[2], posted[3]]

    def first() -> bool:
        assert ids(reader.popular(4)) == wanted
        assert ids(reader.popular(2)) == wanted[:2]
        page = reader.call("GET", "/v1/timeline/home", params={"top_k": 3, "limit": 1})
        assert ids(page["top_tweets"]) == wanted[:3]
        assert ids(page["tweets"]) == [own]
        return True

    eventually(first, FRESH_S, "the order by score")


def test_feeds_survive_a_flush(register: Register, mesh: Mesh) -> None:
    author, fan, reader = register(3)
    reader.follow(author)
    reader.follow(fan)
    stranger = register(1)[0].post(unique())
    for _ in range(3):
        author.post(unique())
    fan.retweet(stranger)
    reader.like(stranger)

    def counted() -> bool:
        first, *others = reader.home()
        return len(others) == 3 and first["likes_count"] == first["retweets_count"] == 1

    eventually(counted, FRESH_S, "a retweet, counted, with its like")
    before, popular = reader.home(), reader.popular()
    assert before[0]["liked"]
    for limit in (100, 3, 1):
        mesh.flush_redis()
        assert reader.home(limit) == before
    mesh.flush_redis()
    assert reader.popular() == popular


def test_the_cache_is_a_sorted_set_of_milliseconds(register: Register, mesh: Mesh) -> None:
    (ada,) = register(1)
    tweet = ada.tweet(ada.post(unique()))
    ada.home()
    key = f"timeline:{{{ada.user_id}}}"
    assert mesh.redis("TYPE", key) == "+zset"
    at_ms = (int(tweet["tweet_id"]) >> 22) + 1_420_070_400_000
    assert mesh.redis("ZCOUNT", key, str(at_ms), str(at_ms)) == ":1"
    ttl_s = int(mesh.redis("TTL", key).removeprefix(":"))
    assert 3000 < ttl_s <= 3600
