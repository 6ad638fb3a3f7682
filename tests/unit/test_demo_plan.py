"""The demo's graph and plan: who does what, drawn from a seed."""

from __future__ import annotations

import unicodedata
from collections import Counter

import pytest

from stack.demo import graph, plan
from stack.errors import StackError


@pytest.fixture(scope="module")
def friendships() -> list[graph.Friendship]:
    return graph.read(graph.REED98)


@pytest.fixture(scope="module")
def drawn(friendships: list[graph.Friendship]) -> plan.Plan:
    return plan.draw(graph.followees(friendships), seed=98)


def test_the_whole_graph_is_there(friendships: list[graph.Friendship]) -> None:
    followees = graph.followees(friendships)
    assert len(friendships) == 18_812
    assert len(followees) == 962
    assert sum(len(friends) for friends in followees.values()) == 37_624
    assert all(person not in friends for person, friends in followees.items())


def test_a_part_of_the_graph_is_its_best_connected_part(
    friendships: list[graph.Friendship],
) -> None:
    part = graph.followees(graph.best_connected(friendships, 60))
    assert len(part) == 60
    assert 678 in part  # who has the most friends, 313


def test_what_is_no_graph_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("graph") / "x.edges"
    file.write_text("1 two\n")
    with pytest.raises(StackError, match=r"x\.edges"):
        graph.read(file)


def test_everybody_keeps_a_tweet(drawn: plan.Plan) -> None:
    kept = {tweet.author for tweet in drawn.tweets if not tweet.deleted}
    assert kept == set(drawn.followees)
    assert any(tweet.deleted for tweet in drawn.tweets)


def test_tweets_are_what_the_mesh_accepts_and_gives_back(drawn: plan.Plan) -> None:
    for tweet in drawn.tweets:
        assert tweet.content == unicodedata.normalize("NFC", tweet.content).strip()
        assert 1 <= len(tweet.content) <= 140
    texts = Counter((tweet.author, tweet.content) for tweet in drawn.tweets)
    assert max(texts.values()) == 1  # or they are spam


@pytest.mark.parametrize("people", [2, 60, 962])
def test_reactions_meet_the_rules(friendships: list[graph.Friendship], people: int) -> None:
    drawn = plan.draw(graph.followees(graph.best_connected(friendships, people)), seed=1)
    for reactions in (drawn.likes, drawn.retweets):
        pairs = [(reaction.actor, reaction.tweet) for reaction in reactions]
        assert len(set(pairs)) == len(pairs)
        if people > 2:
            assert {reaction.steps for reaction in reactions} == {(True,), *plan.ODD}


def test_retweets_bring_strangers_in(drawn: plan.Plan) -> None:
    """By more than one friend of the same reader, too: then the earliest counts."""
    seen: Counter[tuple[int, int]] = Counter()
    for retweet in drawn.retweets:
        author = drawn.tweets[retweet.tweet].author
        for reader in drawn.followees[retweet.actor]:
            if author != reader and author not in drawn.followees[reader]:
                seen[reader, retweet.tweet] += 1
    assert len(seen) > 1000
    assert max(seen.values()) > 1


def test_a_seed_says_all(friendships: list[graph.Friendship], drawn: plan.Plan) -> None:
    followees = graph.followees(friendships)
    assert plan.draw(followees, seed=98) == drawn
    assert plan.draw(followees, seed=99) != drawn
