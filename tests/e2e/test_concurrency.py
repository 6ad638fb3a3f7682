"""What happens at once: keys, tokens, likes, follows, rebuilds."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest

from .at_once import at_once, flushing, meanwhile, unique
from .mesh import FRESH_S, Mesh, eventually
from .rest import Answer, Person, Rest, answer_of, refused

pytestmark = pytest.mark.soak

Register = Callable[[int], list[Person]]


def test_posts_with_one_key_are_one_tweet(register: Register) -> None:
    for _ in range(3):
        (ada,) = register(1)
        body, key = {"content": unique()}, secrets.token_hex(8)

        def post(ada: Person = ada, body: Answer = body, key: str = key) -> Answer:
            headers = {"Idempotency-Key": key}
            return answer_of(ada.raw("POST", "/v1/tweets", json=body, headers=headers))

        answers = at_once([post] * 20)
        assert all(answer == answers[0] for answer in answers)
        assert ada.home_ids() == [answers[0]["tweet_id"]]
        assert [t["tweet_id"] for t in ada.timeline_of(ada)] == [answers[0]["tweet_id"]]
        eventually(lambda ada=ada: ada.user()["tweets_count"] == 1, FRESH_S)  # type: ignore[misc]


def test_one_key_for_different_tweets(register: Register) -> None:
    (ada,) = register(1)
    key = secrets.token_hex(8)
    answers = at_once(
        [
            lambda n=n: ada.raw(  # type: ignore[misc]
                "POST",
                "/v1/tweets",
                json={"content": f"{key} {n}"},
                headers={"Idempotency-Key": key},
            )
            for n in range(8)
        ]
    )
    posted = [answer for answer in answers if answer.status_code == 200]
    assert len(posted) == 1
    for answer in answers:
        if answer is not posted[0]:
            refused(answer, 400, "IDEMPOTENCY_KEY_REUSED")
    assert len(ada.home_ids()) == 1


def test_one_text_at_once_is_one_tweet(register: Register) -> None:
    (ada,) = register(1)
    body = {"content": unique()}
    answers = at_once([lambda: ada.raw("POST", "/v1/tweets", json=body)] * 10)
    assert [answer.status_code for answer in answers].count(200) == 1
    for answer in answers:
        if answer.status_code != 200:
            refused(answer, 400, "SPAM_DETECTED")
    assert len(ada.home_ids()) == 1


def test_a_refresh_token_is_traded_once(rest: Rest, register: Register) -> None:
    for _ in range(3):
        (ada,) = register(1)
        body = {"refresh_token": ada.refresh_token}
        answers = at_once(
            [lambda body=body: rest.raw("POST", "/v1/auth/refresh", json=body)] * 10  # type: ignore[misc]
        )
        assert [answer.status_code for answer in answers].count(200) <= 1
        for answer in answers:
            if answer.status_code != 200:
                refused(answer, 401, "REFRESH_TOKEN_INVALID")
        renewed = [answer for answer in answers if answer.status_code == 200]
        assert renewed
        # The others were reuse: the family is revoked.
        body = {"refresh_token": renewed[0].json()["refresh_token"]}
        refused(rest.raw("POST", "/v1/auth/refresh", json=body), 401, "REFRESH_TOKEN_INVALID")


def test_one_username_for_one(rest: Rest) -> None:
    username = f"one_{secrets.token_hex(5)}"
    body = {"username": username, "display_name": "One", "password": secrets.token_hex(8)}
    answers = at_once([lambda: rest.raw("POST", "/v1/users", json=body)] * 10)
    assert [answer.status_code for answer in answers].count(200) == 1
    for answer in answers:
        if answer.status_code != 200:
            refused(answer, 409, "USERNAME_TAKEN")


def test_likes_by_many_are_counted_exactly(register: Register) -> None:
    author, *fans = register(16)
    tweet_id = author.post(unique())

    def toggle(number: int, fan: Person) -> None:
        for _ in range(3):
            fan.like(tweet_id)
            fan.like(tweet_id)
            fan.unlike(tweet_id)
        if number % 3:
            fan.like(tweet_id)
            fan.retweet(tweet_id)

    at_once([lambda n=n, f=f: toggle(n, f) for n, f in enumerate(fans)], 15)  # type: ignore[misc]
    likers = [fan for n, fan in enumerate(fans) if n % 3]

    def counted() -> bool:
        tweet = author.tweet(tweet_id)
        assert (tweet["likes_count"], tweet["retweets_count"]) == (len(likers), len(likers))
        (shown,) = author.home()
        assert (shown["likes_count"], shown["retweets_count"]) == (len(likers), len(likers))
        return True

    eventually(counted, FRESH_S, "the exact counts")
    for number, fan in enumerate(fans):
        assert fan.tweet(tweet_id)["liked"] is bool(number % 3)


def test_one_persons_likes_and_unlikes_at_once_end_in_one_state(register: Register) -> None:
    author, fan = register(2)
    tweet_id = author.post(unique())
    fan.home()
    for last, wanted in ((fan.like, 1), (fan.unlike, 0)):
        at_once([lambda: fan.like(tweet_id), lambda: fan.unlike(tweet_id)] * 6)
        last(tweet_id)

        def settled(wanted: int = wanted) -> bool:
            tweet = fan.tweet(tweet_id)
            return tweet["likes_count"] == wanted and tweet["liked"] is bool(wanted)

        eventually(settled, FRESH_S, "the last of the likes")


def test_follows_and_unfollows_at_once_end_in_one_state(register: Register) -> None:
    star, *fans = register(9)

    def fickle(fan: Person) -> None:
        for _ in range(3):
            fan.follow(star)
            fan.unfollow(star)
        fan.follow(star)

    at_once([lambda f=f: fickle(f) for f in fans] * 2)
    at_once([lambda f=f: f.follow(star) for f in fans])  # type: ignore[misc]
    wanted = {fan.user_id for fan in fans}

    def counted() -> bool:
        followers = [user["user_id"] for user in star.followers_of(star)]
        assert sorted(followers) == sorted(wanted)
        assert star.user()["followers_count"] == len(fans)
        for fan in fans:
            assert [user["user_id"] for user in star.following_of(fan)] == [star.user_id]
            assert star.user(fan)["following_count"] == 1
        return True

    eventually(counted, FRESH_S, "the exact edges")


def test_follows_while_the_feed_is_read(register: Register) -> None:
    reader, *authors = register(9)
    posted = {author.user_id: author.post(unique()) for author in authors}
    with meanwhile(reader.home, reader.home):
        for author in authors:
            reader.follow(author)
        for author in authors[:4]:
            reader.unfollow(author)
    wanted = [posted[author.user_id] for author in authors[4:]][::-1]
    eventually(
        lambda: sorted(reader.home_ids()) == sorted(wanted), FRESH_S, "the followees' tweets"
    )


def test_posts_during_rebuilds_are_never_missed(register: Register, mesh: Mesh) -> None:
    author, *fans = register(5)
    for fan in fans:
        fan.follow(author)
    posted: list[str] = []
    with meanwhile(*(fan.home for fan in fans), flushing(mesh, 0.02)):
        for _ in range(25):
            posted.insert(0, author.post(unique()))
    for fan in fans:
        eventually(
            lambda fan=fan: fan.home_ids() == posted,  # type: ignore[misc]
            FRESH_S,
            "every post in every feed",
        )
    assert author.home_ids() == posted


def test_deletions_during_the_fan_out(register: Register, mesh: Mesh) -> None:
    author, *fans = register(4)
    for fan in fans:
        fan.follow(author)
        fan.home()
    stays: list[str] = []

    def post_and_delete(number: int) -> None:
        tweet_id = author.post(unique())
        if number % 2:
            author.delete(tweet_id)
        else:
            stays.append(tweet_id)

    with meanwhile(*(fan.home for fan in fans)):
        at_once([lambda n=n: post_and_delete(n) for n in range(24)], 6)  # type: ignore[misc]
    wanted = sorted(stays, key=int, reverse=True)
    for reader in (author, *fans):
        eventually(
            lambda reader=reader: reader.home_ids() == wanted,  # type: ignore[misc]
            FRESH_S,
            "what was not deleted, and no more",
        )
    mesh.flush_redis()
    assert fans[0].home_ids() == wanted


def test_a_stampede_on_a_cold_timeline(register: Register, mesh: Mesh) -> None:
    reader, *authors = register(6)
    for author in authors:
        reader.follow(author)
        for _ in range(3):
            author.post(unique())
    eventually(lambda: len(reader.home_ids()) == 15, FRESH_S)
    wanted = reader.home()
    mesh.flush_redis()
    for home in at_once([reader.home] * 60, 30):
        assert home == wanted
