"""Random operations against the model: what people see, once it is quiet, is what the contract says.

Several worlds of people who know nothing of each other walk at the same time. In each, operations come
one after another; Redis is flushed for all of them at random moments.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .mesh import FRESH_S, Mesh, eventually
from .model import Counts, Model, Shown
from .rest import Answer, Person, Rest, refused

pytestmark = pytest.mark.soak

WORLDS, PEOPLE, CHECK_EVERY = 4, 12, 100
FLUSH_SHARE = 0.004
PAGE_SIZES = (1, 3, 7, 20, 100)


class Walk:
    """One world: does an operation both over REST and in the model, and compares."""

    def __init__(self, seed: int, steps: int, mesh: Mesh, rest: Rest) -> None:
        self._random = random.Random(seed)
        self._steps = steps
        self._mesh = mesh
        self._people = [rest.register() for _ in range(PEOPLE)]
        self._by_name = {person.username: person for person in self._people}
        self._model = Model(list(self._by_name))
        self._gone: list[str] = []
        self._written = 0
        self.history: list[str] = []

    def run(self) -> None:
        """Walk, and compare now and then, and at last once more with an empty Redis."""
        operations = [
            (24, self._post),
            (13, self._retweet),
            (5, self._unretweet),
            (13, self._like),
            (4, self._unlike),
            (12, self._follow),
            (6, self._unfollow),
            (5, self._delete),
            (3, self._touch_deleted),
            (15, self._read),
        ]
        weights = [weight for weight, _ in operations]
        for step in range(1, self._steps + 1):
            self._random.choices(operations, weights)[0][1]()
            if self._random.random() < FLUSH_SHARE:
                self._note("flush")
                self._mesh.flush_redis()
            if step % CHECK_EVERY == 0:
                self._compare()
        self._note("flush")
        self._mesh.flush_redis()
        self._compare()

    def _note(self, *what: str) -> None:
        self.history.append(" ".join(what))

    def _anyone(self) -> Person:
        # Some are busier than others.
        return self._people[min(self._random.randrange(PEOPLE), self._random.randrange(PEOPLE))]

    def _any_tweet(self) -> str | None:
        """Mostly a new one."""
        standing = list(self._model.tweets)
        if not standing:
            return None
        if self._random.random() < 0.7:
            standing = standing[-15:]
        return self._random.choice(standing)

    def _post(self) -> None:
        author = self._anyone()
        self._written += 1
        content = f"number {self._written}"
        answer = author.call("POST", "/v1/tweets", json={"content": content})
        self._model.post(author.username, answer["tweet_id"], content, answer["created_at"])
        self._note("post", author.username, answer["tweet_id"])
        if self._random.random() < 0.3:
            page = author.call("GET", "/v1/timeline/home", params={"limit": 1})
            assert page["tweets"][0]["tweet_id"] == answer["tweet_id"], "their own write is missing"

    def _retweet(self) -> None:
        who = self._anyone()
        if tweet_id := self._any_tweet():
            self._note("retweet", who.username, tweet_id)
            who.retweet(tweet_id)
            self._model.retweet(who.username, tweet_id)

    def _unretweet(self) -> None:
        done = [(w, t.tweet_id) for t in self._model.tweets.values() for w in t.retweets]
        tweet_id = self._any_tweet()
        if done and self._random.random() < 0.8:
            name, tweet_id = self._random.choice(done)
        else:
            name = self._anyone().username
        if tweet_id:
            self._note("unretweet", name, tweet_id)
            self._by_name[name].unretweet(tweet_id)
            self._model.unretweet(name, tweet_id)

    def _like(self) -> None:
        who = self._anyone()
        if tweet_id := self._any_tweet():
            self._note("like", who.username, tweet_id)
            who.like(tweet_id)
            self._model.like(who.username, tweet_id)

    def _unlike(self) -> None:
        done = [(w, t.tweet_id) for t in self._model.tweets.values() for w in sorted(t.likes)]
        tweet_id = self._any_tweet()
        if done and self._random.random() < 0.8:
            name, tweet_id = self._random.choice(done)
        else:
            name = self._anyone().username
        if tweet_id:
            self._note("unlike", name, tweet_id)
            self._by_name[name].unlike(tweet_id)
            self._model.unlike(name, tweet_id)

    def _follow(self) -> None:
        who, whom = self._random.sample(self._people, 2)
        if self._random.random() < 0.4:
            whom = self._people[0] if who is not self._people[0] else self._people[1]
        self._note("follow", who.username, whom.username)
        who.follow(whom)
        self._model.follow(who.username, whom.username)

    def _unfollow(self) -> None:
        pairs = list(self._model.follows)
        if pairs and self._random.random() < 0.8:
            who, whom = (self._by_name[name] for name in self._random.choice(pairs))
        else:
            who, whom = self._random.sample(self._people, 2)
        self._note("unfollow", who.username, whom.username)
        who.unfollow(whom)
        self._model.unfollow(who.username, whom.username)

    def _delete(self) -> None:
        if tweet_id := self._any_tweet():
            author = self._model.tweets[tweet_id].author
            self._note("delete", author, tweet_id)
            self._by_name[author].delete(tweet_id)
            self._model.delete(tweet_id)
            self._gone.append(tweet_id)

    def _touch_deleted(self) -> None:
        if self._gone:
            tweet_id, who = self._random.choice(self._gone), self._anyone()
            method, what = self._random.choice(
                [("POST", "/like"), ("DELETE", "/like"), ("POST", "/retweet"), ("GET", "")]
            )
            refused(who.raw(method, f"/v1/tweets/{tweet_id}{what}"), 404, "TWEET_NOT_FOUND")

    def _read(self) -> None:
        """What comes back may be a little old; that each tweet stands once holds at any time."""
        reader, other = self._anyone(), self._anyone()
        lists = (reader.home(self._random.choice(PAGE_SIZES)), reader.timeline_of(other))
        for tweets in lists:
            ids = [tweet["tweet_id"] for tweet in tweets]
            assert len(set(ids)) == len(ids), "a tweet stands twice"

    def _compare(self) -> None:
        self._note("compare")
        for person in self._people:
            viewer = self._random.choice(self._people)
            eventually(
                lambda p=person, v=viewer: self._same(p, v),  # type: ignore[misc]
                FRESH_S,
                f"what {person.username} is to see (viewer {viewer.username})",
            )

    def _same(self, person: Person, viewer: Person) -> bool:
        model, name = self._model, person.username
        limit = self._random.choice(PAGE_SIZES[1:])
        assert _shown(person.home(limit)) == model.home(name), "home timeline"
        assert _shown(viewer.timeline_of(person, limit)) == model.timeline(name, viewer.username)
        followers = [user["username"] for user in viewer.followers_of(person, limit)]
        assert followers == model.followers(name), "followers"
        following = [user["username"] for user in viewer.following_of(person, limit)]
        assert following == model.following(name), "following"
        assert _counts(viewer.user(person)) == model.counts(name), "counts of the profile"
        k = self._random.choice((1, 10, 50))
        popular = [tweet["tweet_id"] for tweet in person.popular(k)]
        assert popular == model.popular(name, k), "popular"
        top = person.call("GET", "/v1/timeline/home", params={"limit": 1, "top_k": 5})
        assert [t["tweet_id"] for t in top["top_tweets"]] == model.popular(name, 5), "top_k"
        return True


def _shown(tweets: list[Answer]) -> list[Shown]:
    return [
        Shown(
            tweet["tweet_id"],
            tweet["username"],
            tweet["content"],
            tweet["likes_count"],
            tweet["retweets_count"],
            tweet["liked"],
            tweet["retweeted"],
            tweet["retweeted_by"],
        )
        for tweet in tweets
    ]


def _counts(user: dict[str, Any]) -> Counts:
    return Counts(user["followers_count"], user["following_count"], user["tweets_count"])


def _walk(mesh: Mesh, rest: Rest, first_seed: int, steps: int) -> None:
    def one(seed: int) -> str:
        walk = Walk(seed, steps, mesh, rest)
        try:
            walk.run()
        except AssertionError as error:
            history = "\n".join(walk.history[-60:])
            return f"seed {seed}, after {len(walk.history)} operations: {error}\n{history}"
        return ""

    with ThreadPoolExecutor(WORLDS) as pool:
        failures = [f for f in pool.map(one, range(first_seed, first_seed + WORLDS)) if f]
    assert not failures, "\n\n".join(failures)


@pytest.mark.timeout(300)
def test_everybody_sees_what_the_model_says(mesh: Mesh, rest: Rest, lap: int) -> None:
    _walk(mesh, rest, first_seed=1 + 1000 * lap, steps=250)


@pytest.mark.timeout(300)
def test_the_same_with_celebrities_read_from_the_log(mesh: Mesh, rest: Rest, lap: int) -> None:
    with mesh.settings(CELEBRITY_FOLLOWERS="3"):
        _walk(mesh, rest, first_seed=101 + 1000 * lap, steps=150)
