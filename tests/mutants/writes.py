"""Bugs in what is written and told: tweets, likes, retweets, counts, outbox, follows."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_COUNTS = "integration/test_tweet_counts.py::"
_SERVICE = "integration/test_tweet_service.py::"
_IDEMPOTENCY = "integration/test_tweet_idempotency.py::"
_LOOKUPS = "integration/test_tweet_lookups.py::"
_EDGES = "integration/test_graph_edges.py::"
_RACES = "integration/test_graph_races.py::"
_OUTBOX = "integration/test_meshkit_outbox.py::"

WRITES = [
    Mutant(
        "post-does-not-wait",
        "tweet_svc/posting.py",
        "await word.wait()",
        "pass",
        ("integration/test_tweet_fanout_word.py::test_a_post_answers_once_its_author_sees_it",),
        "a post is answered before its author would see it in the next read",
    ),
    Mutant(
        "like-does-not-wait",
        "tweet_svc/engagement.py",
        "await word.wait()",
        "pass",
        (
            "integration/test_tweet_fanout_word.py"
            "::test_who_changes_something_is_answered_once_they_see_it",
        ),
        "one's own like is missing from the next read of a timeline",
    ),
    Mutant(
        "key-compares-no-body",
        "tweet_svc/posting.py",
        "if claim.fingerprint != wanted.fingerprint:",
        "if False:",
        (_IDEMPOTENCY + "test_a_key_is_one_users_and_one_requests",),
        "another tweet under a used idempotency key is swallowed with a success",
    ),
    Mutant(
        "key-not-claimed-first",
        "tweet_svc/posting.py",
        "return await self._post(post, claim.tweet_id)",
        "return await self._post(post, wanted.tweet_id)",
        (_IDEMPOTENCY + "test_a_claim_without_its_tweet_is_gone_on_with",),
        "a post repeated after a crash may be there twice",
    ),
    Mutant(
        "spam-window-of-six-seconds",
        "tweet_svc/spam.py",
        "DUPLICATE_WINDOW_MS = 60_000",
        "DUPLICATE_WINDOW_MS = 6_000",
        (_SERVICE + "test_the_same_text_is_no_spam_after_a_minute",),
        "the same text may be posted ten times a minute",
    ),
    Mutant(
        "outbox-row-not-written",
        "meshkit/outbox.py",
        "lambda: self.session.execute(statement, params, timestamp_us=row.created_us)",
        "lambda: asyncio.sleep(0)",
        (_IDEMPOTENCY + "test_without_nats_posts_are_accepted_and_told_later",),
        "the fan-out of an acknowledged tweet is lost with the process or while NATS is away",
    ),
    Mutant(
        "outbox-row-deleted-before-the-ack",
        "meshkit/outbox.py",
        "        await self.bus.publish(\n            row.subject,",
        "        await self._delete([row])\n        await self.bus.publish(\n            row.subject,",
        (_OUTBOX + "test_nats_down_loses_nothing",),
        "an event that JetStream did not take is told to nobody, ever",
    ),
    Mutant(
        "relay-does-not-restore",
        "meshkit/relay.py",
        "if self._restore is not None:",
        "if False:",
        (
            _IDEMPOTENCY + "test_the_relay_restores_what_a_crash_still_owes",
            _RACES + "test_a_change_that_a_crash_left_half_applied_is_completed",
        ),
        "an event is told of what was never written",
    ),
    Mutant(
        "rows-before-the-outbox-row",
        "meshkit/outbox.py",
        "        statement, params = self.insert(row)\n",
        "        await self.session.batch(items, timestamp_us=timestamp_us)\n"
        "        statement, params = self.insert(row)\n",
        ("integration/test_writes_cut_off.py::test_every_change_of_tweets",),
        "a change that nobody is told of, when the process dies after its rows",
    ),
    Mutant(
        "outbox-row-deleted-by-a-slower-clock",
        "meshkit/outbox.py",
        "at_us = max(self.clock_us(), *(row.created_us + 1 for row in rows))",
        "at_us = self.clock_us()",
        (_OUTBOX + "test_a_row_of_a_clock_that_is_ahead_is_deleted",),
        "what a process with a fast clock wrote is told again at each sweep, and never goes",
    ),
    Mutant(
        "leads-without-knowing-where-to-begin",
        "meshkit/relay.py",
        "            self._renew_at = asked_at + 0.5\n            await self._begin()\n",
        "            self._leased_until = asked_at + LEASE_S\n            await self._begin()\n",
        (_OUTBOX + "test_who_cannot_read_where_to_begin_does_not_lead",),
        "a relay whose store failed as it took the lease sweeps every minute since 1970",
    ),
    Mutant(
        "stuck-row-is-passed",
        "meshkit/relay.py",
        "passed = final if self._stuck_minute is None else min(final, self._stuck_minute - 1)",
        "passed = final",
        (_OUTBOX + "test_a_row_of_newer_code_waits_for_it",),
        "an event that this code cannot handle is told by no later code either",
    ),
    Mutant(
        "unlike-deletes-another-shards-row",
        "tweet_svc/like_store.py",
        "(_DELETE_BY_TWEET, (tweet_id, shard_of(user_id), user_id))",
        "(_DELETE_BY_TWEET, (tweet_id, 0, user_id))",
        (_COUNTS + "test_a_random_walk_leaves_what_the_model_says",),
        "likes are taken back and still counted",
    ),
    Mutant(
        "recount-under-the-time-of-its-end",
        "tweet_svc/count_store.py",
        "await self._session.execute(_STORE, (n, tweet_id, kind, shard), timestamp_us=as_of_us)",
        "await self._session.execute(_STORE, (n, tweet_id, kind, shard))",
        (_COUNTS + "test_counts_are_exact_though_the_clocks_differ",),
        "a recount that saw less but ended later stays for ever",
    ),
    Mutant(
        "months-of-many-tweets-are-cut",
        "tweet_svc/activity_store.py",
        "n if n < MANY else await self.count_tweets(actor_id, month)",
        "n",
        (_COUNTS + "test_months_of_many_tweets_are_counted_to_the_last",),
        "an author of more tweets in a month than one statement reads has too few",
    ),
    Mutant(
        "marks-during-a-round-belong-to-it",
        "tweet_svc/author_counter.py",
        "dirty, self._dirty, self._next = sorted(self._dirty), set(), None",
        "dirty, self._dirty = sorted(self._dirty), set()",
        (_COUNTS + "test_authors_who_post_at_once_are_counted_together",),
        "tweets posted while their author is counted are never counted",
    ),
    Mutant(
        "retweet-again-takes-the-new-time",
        "tweet_svc/engagement.py",
        "if standing is not None:",
        "if False:",
        (_SERVICE + "test_a_retweet_keeps_its_first_time_until_it_is_undone",),
        "retweeting twice moves the tweet up, and leaves two activities",
    ),
    Mutant(
        "doubles-of-a-retweet-stay",
        "tweet_svc/counter.py",
        "if not await self._fix(made):",
        "if True:",
        (_COUNTS + "test_two_retweets_at_once_leave_one_activity_row",),
        "a tweet retweeted through two processes at once stands twice in the user's timeline",
    ),
    Mutant(
        "anybody-deletes",
        "tweet_svc/service.py",
        "if author_id != caller.user_id:",
        "if False:",
        (_SERVICE + "test_only_the_author_deletes_and_only_once",),
        "everybody deletes everybody's tweets",
    ),
    Mutant(
        "keyset-of-activity",
        "tweet_svc/activity_pages.py",
        "AND (at_ms, tweet_id) < (?, ?)",
        "AND (at_ms, tweet_id) <= (?, ?)",
        (_LOOKUPS + "test_pages_over_months_equal_a_sorted_list",),
        "past the cache each page begins with the last tweet of the one before",
    ),
    Mutant(
        "latest-retweet-is-the-earliest",
        "tweet_svc/retweet_store.py",
        "if user_id in members[shard] and (best is None or found < best):",
        "if user_id in members[shard] and (best is None or found > best):",
        (_LOOKUPS + "test_earliest_retweets_equal_a_search_through_all",),
        "a rebuilt feed puts a tweet where the wrong retweet was",
    ),
    Mutant(
        "follow-list-oldest-first",
        "graph_svc/edge_store.py",
        "AND (followed_us, followee_id) < (?, ?) LIMIT ?",
        "AND (followed_us, followee_id) < (?, ?) ORDER BY followed_us ASC, followee_id ASC LIMIT ?",
        (_EDGES + "test_twice_counts_once_and_keeps_the_first_place",),
        "lists of whom one follows begin with the oldest",
    ),
    Mutant(
        "keyset-of-followers",
        "graph_svc/edge_store.py",
        "AND (followed_us, follower_id) < (?, ?) LIMIT ?",
        "AND (followed_us, follower_id) <= (?, ?) LIMIT ?",
        (_EDGES + "test_pages_hold_each_once_in_order_while_new_follows_come",),
        "each page of followers begins with the last of the one before",
    ),
    Mutant(
        "follow-again-takes-the-new-time",
        "graph_svc/edge_store.py",
        "if followee_id not in there]",
        "]",
        (_EDGES + "test_twice_counts_once_and_keeps_the_first_place",),
        "following twice is counted twice for a while, and moves in the list",
    ),
    Mutant(
        "doubles-of-a-follow-stay",
        "graph_svc/edge_store.py",
        "if len(edges) > 1 or bool(edges) != change.following:",
        "if False:",
        (_RACES + "test_a_walk_of_follows_equals_the_model",),
        "a follow through two processes at once is counted twice",
    ),
    Mutant(
        "oneself-followed",
        "graph_svc/service.py",
        "if request.user_id == caller.user_id:",
        "if False:",
        (_EDGES + "test_what_may_not_be_followed",),
        "people follow themselves",
    ),
]
