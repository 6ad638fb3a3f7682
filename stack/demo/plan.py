"""What everybody will do, drawn from a seed: the same seed and graph give the same plan.

It is made to meet the rules of the home timeline: tweets of strangers that one or several friends
retweeted, retweets undone, done twice, and undone and done again, retweets of one's own, tweets deleted
after they were retweeted.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TWEETS_EACH = (1, 1, 1, 2, 2, 3)
RETWEETS_EACH = (0, 1, 1, 2)
LIKES_EACH = (0, 1, 2, 3, 4, 5)
DELETED_SHARE = 0.04
"""Of the tweets that are not their author's first: everybody keeps one."""
AMONG_FRIENDS = 0.85
"""The share of likes and retweets that go to tweets of somebody one follows."""
ASLEEP_SHARE = 0.125
"""Who does not look at their home timeline before the end: it is then rebuilt, not pushed to."""

Steps = tuple[bool, ...]
"""Done (True) or undone, one after the other."""
ODD: Sequence[Steps] = ((True, True), (True, False), (True, False, True))
"""What some do instead of once."""
ODD_EACH = 300
"""One of so many, at least one, does each of these. Few: a retweet undone drops the timelines that it had
brought its tweet into, and dropped timelines are rebuilt, not pushed to.
"""

OPENINGS = (
    "Thesis parade", "The Doyle Owl", "Hum 110", "Paideia", "Renn Fayre", "Commons at midnight",
    "The canyon in the rain", "A cold reactor", "The library lift", "Soup in the union",
    "Kein Kaffee mehr", "Der Regen von Portland", "Le café du campus", "北門の桜",
)  # fmt: skip
ENDINGS = (
    "was worth the walk.", "again? Again!", "— who is coming?", "and a stack of unread Herodotus.",
    "has been seen.\nOr so they say.", "at dawn ☀️", "is postponed until it stops raining.",
    "makes me believe in office hours.", "keeps its secrets 🦉", "& a <script> that never ran",
    '"as the poets had it"', "has 3 % battery left.",
)  # fmt: skip
FIRST_NAMES = (
    "Ada", "Barbara", "Chinua", "Dorothy", "Emil", "Frida", "Gary", "Hypatia", "Ibn", "Joan",
    "Katherine", "Lew", "Mary", "Noor", "Ótti", "Philip", "Qiu", "Rosalind", "Søren", "Toni",
)  # fmt: skip
LAST_NAMES = (
    "Eliot", "Winch", "Snyder", "Whalen", "Welch", "Foster", "Griffin", "Prentiss", "Botsford",
    "Kroeber", "Ladd", "Vollum", "Chittick", "Arragon", "Reynolds", "Coleman",
)  # fmt: skip


@dataclass(frozen=True)
class PlannedTweet:
    """To be posted by `author`, and perhaps deleted when all reactions are in."""

    author: int
    content: str
    deleted: bool


@dataclass(frozen=True)
class PlannedReaction:
    """What `actor` does to the tweet at index `tweet`."""

    actor: int
    tweet: int
    steps: Steps

    @property
    def stands(self) -> bool:
        return self.steps[-1]


@dataclass(frozen=True)
class Plan:
    """Everything, in the order it is begun."""

    followees: Mapping[int, Sequence[int]]
    display_names: Mapping[int, str]
    asleep: frozenset[int]
    tweets: Sequence[PlannedTweet]
    likes: Sequence[PlannedReaction]
    retweets: Sequence[PlannedReaction]


def draw(followees: Mapping[int, Sequence[int]], seed: int) -> Plan:
    """A plan for the people of a graph."""
    dice = random.Random(seed)  # noqa: S311 - no secret, and the same again from the same seed
    people = list(followees)
    tweets = _tweets(people, dice)
    return Plan(
        followees=followees,
        display_names={p: f"{dice.choice(FIRST_NAMES)} {dice.choice(LAST_NAMES)}" for p in people},
        asleep=frozenset(person for person in people if dice.random() < ASLEEP_SHARE),
        tweets=tweets,
        likes=_reactions(followees, tweets, LIKES_EACH, dice),
        retweets=_reactions(followees, tweets, RETWEETS_EACH, dice),
    )


def _tweets(people: Sequence[int], dice: random.Random) -> list[PlannedTweet]:
    tweets = []
    for person in people:
        for number in range(dice.choice(TWEETS_EACH)):
            words = f"{dice.choice(OPENINGS)} {dice.choice(ENDINGS)}"
            deleted = number > 0 and dice.random() < DELETED_SHARE
            # Numbered, for a text that its author repeats within a minute is spam.
            tweets.append(PlannedTweet(person, f"{words} ({number + 1})", deleted))
    dice.shuffle(tweets)
    return tweets


def _reactions(
    followees: Mapping[int, Sequence[int]],
    tweets: Sequence[PlannedTweet],
    each: Sequence[int],
    dice: random.Random,
) -> list[PlannedReaction]:
    by_author: dict[int, list[int]] = {}
    for index, tweet in enumerate(tweets):
        by_author.setdefault(tweet.author, []).append(index)
    chosen: list[tuple[int, int]] = []
    for actor, friends in followees.items():
        theirs: set[int] = set()
        for _ in range(dice.choice(each)):
            if dice.random() < AMONG_FRIENDS:
                theirs.add(dice.choice(by_author[dice.choice(friends)]))
            else:
                theirs.add(dice.randrange(len(tweets)))
        chosen += [(actor, tweet) for tweet in sorted(theirs)]
    dice.shuffle(chosen)
    odd = [steps for steps in ODD for _ in range(1 + len(chosen) // ODD_EACH)]
    reactions = [
        PlannedReaction(actor, tweet, odd[n] if n < len(odd) else (True,))
        for n, (actor, tweet) in enumerate(chosen)
    ]
    dice.shuffle(reactions)
    return reactions
