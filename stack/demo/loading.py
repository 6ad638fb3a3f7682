"""A plan becomes a world: by the services' own RPCs, so many at once.

Every call here may be repeated (a post carries an idempotency key), so what is refused for being too much,
or fails while something is away, is tried again after the delay given. Any other error ends the demo.
"""

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from google.protobuf.message import Message
from starling.gateway.v1.account_service_pb2 import (
    LoginRequest,
    LoginResponse,
    RegisterRequest,
    RegisterResponse,
)
from starling.graph.v1.graph_lookup_service_pb2 import BatchFollowRequest
from starling.tweet.v1.tweet_service_pb2 import (
    DeleteTweetRequest,
    LikeTweetRequest,
    PostTweetRequest,
    RetweetRequest,
    UnlikeTweetRequest,
    UnretweetRequest,
)

from meshkit.background import gather_bounded
from meshkit.errors import AlreadyExists, DeadlineExceeded, ResourceExhausted, Unavailable
from meshkit.snowflake import wall_clock_ms
from stack.demo.plan import Plan, PlannedReaction
from stack.demo.show import Done
from stack.demo.world import Like, Person, Retweet, Tweet, World
from stack.operator import Metadata, Operator, acting_for

REGISTERED_AT_ONCE = 4  # hashing a password takes a core
FOLLOWS_AT_ONCE = 4
FOLLOWS_A_CALL = 50
WRITES_AT_ONCE = 16
IDEMPOTENCY_KEY = "idempotency-key"
PATIENCE_S = 60.0
"""How long a call is repeated before its error is taken for the answer."""

R = TypeVar("R")


class Loader:
    """Does what a plan says; `world` grows with it."""

    def __init__(self, operator: Operator, plan: Plan, world: World) -> None:
        self._operator = operator
        self._plan = plan
        self._world = world

    async def register(self, done: Done) -> None:
        """An account and a token for everybody."""

        async def one(number: int) -> Person:
            request = RegisterRequest(
                username=f"{self._world.name}_{number:03}",
                display_name=self._plan.display_names[number],
                password=self._world.password,
                bio=f"Number {number} of Reed98",
            )
            answer: RegisterResponse | LoginResponse
            try:
                answer = await patiently(self._operator.accounts.Register, request)
            except AlreadyExists:  # by an attempt whose answer was lost
                login = LoginRequest(username=request.username, password=request.password)
                answer = await patiently(self._operator.accounts.Login, login)
            done(1)
            expires_s = time.time() + answer.expires_in
            user = answer.user
            return Person(number, user.user_id, user.username, answer.access_token, expires_s)

        self._world.people = await gather_bounded(REGISTERED_AT_ONCE, one, self._plan.followees)

    async def follow(self, done: Done) -> None:
        """Both follows of each friendship."""

        async def everybody_of(number: int) -> None:
            person, friends = self._world.person[number], self._plan.followees[number]
            for start in range(0, len(friends), FOLLOWS_A_CALL):
                request = BatchFollowRequest(
                    follower_id=person.user_id,
                    user_ids=[
                        self._world.person[friend].user_id
                        for friend in friends[start : start + FOLLOWS_A_CALL]
                    ],
                )
                await patiently(self._operator.graph.BatchFollow, request)
                done(len(request.user_ids))

        await gather_bounded(FOLLOWS_AT_ONCE, everybody_of, self._plan.followees)

    async def post(self, done: Done) -> None:
        """All tweets, in the plan's order as far as many at once have one."""

        async def one(index: int) -> Tweet:
            planned = self._plan.tweets[index]
            request = PostTweetRequest(content=planned.content)
            metadata = [*self._as(planned.author), (IDEMPOTENCY_KEY, f"{self._world.name}-{index}")]
            answer = await patiently(self._operator.tweets.PostTweet, request, metadata)
            done(1)
            return Tweet(answer.tweet_id, planned.author, planned.content, answer.created_at)

        self._world.tweets = await gather_bounded(
            WRITES_AT_ONCE, one, range(len(self._plan.tweets))
        )

    async def react(self, done: Done) -> None:
        """All retweets and likes, and then the deletions."""
        await gather_bounded(
            WRITES_AT_ONCE,
            lambda work: work(),
            [
                *(self._liking(group, done) for group in _by_tweet(self._plan.likes)),
                *(self._retweeting(group, done) for group in _by_tweet(self._plan.retweets)),
            ],
        )
        await gather_bounded(
            WRITES_AT_ONCE,
            lambda index: self._delete(index, done),
            [index for index, tweet in enumerate(self._plan.tweets) if tweet.deleted],
        )

    def _liking(
        self, group: Sequence[PlannedReaction], done: Done
    ) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            for planned in group:
                tweet_id = self._world.tweets[planned.tweet].tweet_id
                metadata = self._as(planned.actor)
                for like in planned.steps:
                    await self._set_like(tweet_id, like, metadata)
                    done(1)
                if planned.stands:
                    self._world.likes.append(Like(planned.actor, tweet_id))

        return work

    def _retweeting(
        self, group: Sequence[PlannedReaction], done: Done
    ) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            # One after the other, so that it is known who was first.
            for planned in group:
                tweet_id = self._world.tweets[planned.tweet].tweet_id
                metadata = self._as(planned.actor)
                standing: Retweet | None = None
                for retweet in planned.steps:
                    sent_ms = wall_clock_ms()
                    await self._set_retweet(tweet_id, retweet, metadata)
                    done(1)
                    if not retweet:
                        standing = None
                    elif standing is None:  # done again, it keeps its time
                        standing = Retweet(planned.actor, tweet_id, sent_ms, wall_clock_ms())
                if standing:
                    self._world.retweets.append(standing)

        return work

    async def _set_like(self, tweet_id: int, like: bool, metadata: Metadata) -> None:
        tweets = self._operator.tweets
        if like:
            await patiently(tweets.LikeTweet, LikeTweetRequest(tweet_id=tweet_id), metadata)
        else:
            await patiently(tweets.UnlikeTweet, UnlikeTweetRequest(tweet_id=tweet_id), metadata)

    async def _set_retweet(self, tweet_id: int, retweet: bool, metadata: Metadata) -> None:
        tweets = self._operator.tweets
        if retweet:
            await patiently(tweets.Retweet, RetweetRequest(tweet_id=tweet_id), metadata)
        else:
            await patiently(tweets.Unretweet, UnretweetRequest(tweet_id=tweet_id), metadata)

    async def _delete(self, index: int, done: Done) -> None:
        tweet = self._world.tweets[index]
        request = DeleteTweetRequest(tweet_id=tweet.tweet_id)
        await patiently(self._operator.tweets.DeleteTweet, request, self._as(tweet.author))
        tweet.deleted = True
        done(1)

    def _as(self, number: int) -> Metadata:
        person = self._world.person[number]
        return acting_for(person.user_id, person.username)


class Tokens:
    """Access tokens of a world's people, renewed where they are about to end."""

    SPARE_S = 5.0

    def __init__(self, operator: Operator, world: World) -> None:
        self._operator = operator
        self._password = world.password

    async def of(self, person: Person) -> str:
        """A token that is good for the next seconds."""
        if person.token_expires_s - self.SPARE_S < time.time():
            request = LoginRequest(username=person.username, password=self._password)
            answer = await patiently(self._operator.accounts.Login, request)
            person.token = answer.access_token
            person.token_expires_s = time.time() + answer.expires_in
        return person.token


async def patiently(
    call: Callable[..., Awaitable[R]], request: Message, metadata: Metadata | None = None
) -> R:
    """The answer of an RPC that may be repeated, called again while the mesh asks for patience."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await call(request, metadata=metadata)
        except (ResourceExhausted, Unavailable, DeadlineExceeded) as refusal:
            if time.monotonic() > deadline:
                raise
            pause_s = refusal.retry_delay_s or 0.2
        # Not all at the same moment again.
        await asyncio.sleep(pause_s * (1 + secrets.randbelow(100) / 100))


def reactions(plan: Plan) -> int:
    """How many calls `Loader.react` makes."""
    steps = sum(len(reaction.steps) for reaction in (*plan.likes, *plan.retweets))
    return steps + sum(tweet.deleted for tweet in plan.tweets)


def _by_tweet(planned: Iterable[PlannedReaction]) -> list[list[PlannedReaction]]:
    groups: dict[int, list[PlannedReaction]] = defaultdict(list)
    for reaction in planned:
        groups[reaction.tweet].append(reaction)
    return list(groups.values())
