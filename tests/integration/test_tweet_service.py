"""tweet_svc's calls one by one: what they answer, and what they refuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from starling.tweet.v1 import tweet_service_pb2 as pb

from meshkit import identity
from meshkit.config import MeshConfig
from meshkit.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    StarlingError,
    Unauthenticated,
)
from meshkit.events import EventBus
from meshkit.identity import Caller
from meshkit.snowflake import created_at, timestamp_ms, wall_clock_ms
from meshkit.write_clock import WriteClock, wall_clock_us
from tests.integration.tweet_rig import Instance, running, users


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tweet_svc(mesh_config: MeshConfig, bus: EventBus) -> AsyncIterator[Instance]:
    async with running(mesh_config) as instance:
        yield instance


ADA, BOB, EVE = users(3)


async def refused(call: object) -> StarlingError:
    with pytest.raises(StarlingError) as caught:
        await call  # type: ignore[misc]
    return caught.value


async def test_a_posted_tweet_is_read_back_normalised(tweet_svc: Instance) -> None:
    before_ms = wall_clock_ms()
    tweet_id = await tweet_svc.post(ADA, "  Cafe\u0301\nau lait \n", media=["m-1", "m_2"])
    tweet = await tweet_svc.get(BOB, tweet_id)
    assert (tweet.tweet_id, tweet.user_id, tweet.username) == (tweet_id, ADA.user_id, "user_1")
    assert tweet.content == "Caf\u00e9\nau lait"
    assert list(tweet.media_ids) == ["m-1", "m_2"]
    assert tweet.created_at == created_at(tweet_id)
    assert before_ms <= timestamp_ms(tweet_id) <= wall_clock_ms()
    assert (tweet.likes_count, tweet.retweets_count, tweet.liked, tweet.retweeted) == (0, 0, 0, 0)
    assert tweet.retweeted_by == ""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "TOO_SHORT"),
        (" \n\t ", "TOO_SHORT"),
        ("x" * 141, "TOO_LONG"),
        ("a\x00b", "CONTROL_CHARACTER"),
        ("a\tb", "CONTROL_CHARACTER"),
        ("a\x7fb", "CONTROL_CHARACTER"),
        ("a\x85b", "CONTROL_CHARACTER"),
        ("y" * 5000, "STRING_MAX_LEN"),
    ],
)
async def test_bad_content_names_its_field(tweet_svc: Instance, content: str, reason: str) -> None:
    error = await refused(tweet_svc.post(ADA, content))
    assert isinstance(error, InvalidArgument)
    assert [(v.field, v.reason) for v in error.violations] == [("content", reason)]


async def test_length_is_code_points_after_normalising(tweet_svc: Instance) -> None:
    await tweet_svc.post(ADA, "\U0001f426" * 140)
    # 140 characters of two code points each before they are composed.
    await tweet_svc.post(ADA, "e\u0301" * 140)


@pytest.mark.parametrize("media", [["a"] * 5, ["a b"], [""], ["x" * 65]])
async def test_bad_media_ids_name_their_field(tweet_svc: Instance, media: list[str]) -> None:
    error = await refused(tweet_svc.post(ADA, "with media", media=media))
    assert isinstance(error, InvalidArgument)
    assert error.violations[0].field.startswith("media_ids")


async def test_who_calls_is_who_posts(tweet_svc: Instance) -> None:
    identity.set_caller(ADA)
    call = tweet_svc.tweets
    mine = await call.PostTweet(pb.PostTweetRequest(user_id=ADA.user_id, content="by myself"))
    requests = [
        call.PostTweet(pb.PostTweetRequest(user_id=BOB.user_id, content="as Bob")),
        call.LikeTweet(pb.LikeTweetRequest(tweet_id=mine.tweet_id, user_id=BOB.user_id)),
        call.UnlikeTweet(pb.UnlikeTweetRequest(tweet_id=mine.tweet_id, user_id=BOB.user_id)),
        call.Retweet(pb.RetweetRequest(tweet_id=mine.tweet_id, user_id=0)),
        call.Unretweet(pb.UnretweetRequest(tweet_id=mine.tweet_id, user_id=BOB.user_id)),
        call.DeleteTweet(pb.DeleteTweetRequest(tweet_id=mine.tweet_id, user_id=BOB.user_id)),
    ]
    for request in requests:
        error = await refused(request)
        assert isinstance(error, PermissionDenied)
        assert error.reason == "IDENTITY_MISMATCH"
    identity.set_caller(None)
    error = await refused(call.PostTweet(pb.PostTweetRequest(content="by nobody")))
    assert isinstance(error, Unauthenticated)
    error = await refused(call.GetTweet(pb.GetTweetRequest(tweet_id=mine.tweet_id)))
    assert isinstance(error, Unauthenticated)


async def test_only_the_author_deletes_and_only_once(tweet_svc: Instance) -> None:
    tweet_id = await tweet_svc.post(EVE, "to be deleted")
    error = await refused(tweet_svc.delete(BOB, tweet_id))
    assert (type(error), error.reason) == (PermissionDenied, "NOT_THE_AUTHOR")
    await tweet_svc.delete(EVE, tweet_id)
    for call in (
        tweet_svc.delete(EVE, tweet_id),
        tweet_svc.delete(BOB, tweet_id),
        tweet_svc.get(EVE, tweet_id),
        tweet_svc.like(BOB, tweet_id),
        tweet_svc.unlike(BOB, tweet_id),
        tweet_svc.retweet(BOB, tweet_id),
        tweet_svc.unretweet(BOB, tweet_id),
    ):
        error = await refused(call)
        assert (type(error), error.reason) == (NotFound, "TWEET_NOT_FOUND")
    assert tweet_id not in await tweet_svc.batch([tweet_id])
    page = (await tweet_svc.activity(EVE))[0]
    assert all(entry.tweet_id != tweet_id for entry in page.activity)


@pytest.mark.parametrize("tweet_id", [0, -5])
async def test_an_impossible_id_is_a_bad_request(tweet_svc: Instance, tweet_id: int) -> None:
    error = await refused(tweet_svc.get(ADA, tweet_id))
    assert isinstance(error, InvalidArgument)
    assert error.violations[0].field == "tweet_id"


async def test_liking_and_retweeting_twice_count_once(tweet_svc: Instance) -> None:
    tweet_id = await tweet_svc.post(ADA, "likeable")
    for _ in range(2):
        await tweet_svc.like(BOB, tweet_id)
        await tweet_svc.retweet(BOB, tweet_id)
    await tweet_svc.like(ADA, tweet_id)
    await tweet_svc.quiet()
    tweet = await tweet_svc.get(BOB, tweet_id)
    assert (tweet.likes_count, tweet.retweets_count) == (2, 1)
    assert tweet.liked
    assert tweet.retweeted
    assert not (await tweet_svc.get(EVE, tweet_id)).liked
    for _ in range(2):
        await tweet_svc.unlike(BOB, tweet_id)
        await tweet_svc.unretweet(BOB, tweet_id)
    await tweet_svc.quiet()
    tweet = await tweet_svc.get(BOB, tweet_id)
    assert (tweet.likes_count, tweet.retweets_count) == (1, 0)
    assert not tweet.liked
    assert not tweet.retweeted


async def test_a_retweet_keeps_its_first_time_until_it_is_undone(tweet_svc: Instance) -> None:
    bob = Caller(700, "bob_700")
    tweet_id = await tweet_svc.post(ADA, "retweet me")
    await tweet_svc.retweet(bob, tweet_id)
    (first,) = (await tweet_svc.activity(bob))[0].activity
    assert (first.actor_username, first.author_id) == ("bob_700", ADA.user_id)
    await asyncio.sleep(0.005)
    await tweet_svc.retweet(bob, tweet_id)
    (again,) = (await tweet_svc.activity(bob))[0].activity
    assert again.at_ms == first.at_ms
    await tweet_svc.unretweet(bob, tweet_id)
    assert not (await tweet_svc.activity(bob))[0].activity
    await asyncio.sleep(0.005)
    await tweet_svc.retweet(bob, tweet_id)
    (later,) = (await tweet_svc.activity(bob))[0].activity
    assert later.at_ms > first.at_ms
    (flags,) = await tweet_svc.flags(bob, [tweet_id])
    assert flags.retweeted_at_us // 1000 == later.at_ms


async def test_a_retweet_of_ones_own_counts_but_is_no_activity(tweet_svc: Instance) -> None:
    eve = Caller(800, "eve_800")
    tweet_id = await tweet_svc.post(eve, "my own words")
    await tweet_svc.retweet(eve, tweet_id)
    await tweet_svc.quiet()
    (entry,) = (await tweet_svc.activity(eve))[0].activity
    assert entry.at_ms == timestamp_ms(tweet_id)
    tweet = await tweet_svc.get(eve, tweet_id)
    assert (tweet.retweets_count, tweet.retweeted) == (1, True)
    await tweet_svc.unretweet(eve, tweet_id)
    await tweet_svc.quiet()
    assert len((await tweet_svc.activity(eve))[0].activity) == 1
    assert (await tweet_svc.get(eve, tweet_id)).retweets_count == 0


async def test_the_limit_can_be_raised_to_its_ceiling_and_no_further(
    mesh_config: MeshConfig,
) -> None:
    async with running(mesh_config, counting=False, tweet_max_chars=280) as instance:
        await instance.post(ADA, "z" * 280)
        error = await refused(instance.post(ADA, "z" * 281))
        assert isinstance(error, InvalidArgument)
    with pytest.raises(ValueError, match="tweet_max_chars"):
        async with running(mesh_config, counting=False, tweet_max_chars=281):
            pass


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (" ".join(["https://a.example"] * 5), "TOO_MANY_LINKS"),
        (" ".join(f"@abc{n}" for n in range(11)), "TOO_MANY_MENTIONS"),
    ],
)
async def test_spam_is_refused_by_its_rule(tweet_svc: Instance, content: str, rule: str) -> None:
    error = await refused(tweet_svc.post(BOB, content))
    assert (type(error), error.reason) == (FailedPrecondition, "SPAM_DETECTED")
    assert error.domain == "tweet.starling"
    assert error.metadata["rule"] == rule


async def test_the_same_text_is_spam_for_its_author_alone(tweet_svc: Instance) -> None:
    first = await tweet_svc.post(BOB, "say it again")
    await tweet_svc.post(ADA, "say it again")
    await tweet_svc.post(BOB, "Say it again")
    error = await refused(tweet_svc.post(BOB, " say it again\n"))
    assert error.metadata["rule"] == "DUPLICATE_TEXT"
    # Also when it was deleted meanwhile: posting and deleting in turns tells followers just as often.
    await tweet_svc.delete(BOB, first)
    error = await refused(tweet_svc.post(BOB, "say it again"))
    assert error.metadata["rule"] == "DUPLICATE_TEXT"


async def test_the_same_text_is_no_spam_after_a_minute(
    tweet_svc: Instance, mesh_config: MeshConfig
) -> None:
    await tweet_svc.post(BOB, "every minute")
    await tweet_svc.delete(BOB, await tweet_svc.post(BOB, "deleted at once"))
    for later_s, passes in ((50, False), (61, True)):
        clock = WriteClock(lambda later_s=later_s: wall_clock_us() + later_s * 1_000_000)  # type: ignore[misc]
        async with running(mesh_config, counting=False, clock=clock) as later:
            if passes:
                await later.post(BOB, "every minute")
                await later.post(BOB, "deleted at once")
            else:
                for text in ("every minute", "deleted at once"):
                    error = await refused(later.post(BOB, text))
                    assert error.metadata["rule"] == "DUPLICATE_TEXT"


async def test_the_same_text_at_once_passes_once(tweet_svc: Instance) -> None:
    outcomes = await asyncio.gather(
        *(tweet_svc.post(EVE, "all at once") for _ in range(10)), return_exceptions=True
    )
    posted = [each for each in outcomes if isinstance(each, int)]
    assert len(posted) == 1
    assert all(
        isinstance(each, FailedPrecondition) for each in outcomes if not isinstance(each, int)
    )
