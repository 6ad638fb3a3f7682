"""A migration is applied while a service of older code serves, and nobody notices: docs/migrations.md."""

from __future__ import annotations

import asyncio

from meshkit import schema
from meshkit.config import MeshConfig
from meshkit.cql import CqlSession, Statement
from meshkit.schema import Migration
from tests.conftest import until
from tests.integration.tweet_rig import running, users

_EXPAND = """
ALTER TABLE tweet ADD IF NOT EXISTS language text;
ALTER TABLE tweet_outbox ADD IF NOT EXISTS attempts int;
CREATE TABLE IF NOT EXISTS tweet_by_language (
    language text,
    tweet_id bigint,
    PRIMARY KEY ((language), tweet_id)
);
"""
# What the next release would run.
_NEW_WRITE = Statement(
    "test.new_write", "UPDATE tweet SET language = ? WHERE tweet_id = ?", idempotent=True
)
_NEW_READ = Statement(
    "test.new_read", "SELECT content, language FROM tweet WHERE tweet_id = ?", idempotent=True
)


async def test_old_code_serves_while_the_schema_grows(
    mesh_config: MeshConfig, session: CqlSession
) -> None:
    ada, bob = users(2)
    posted: list[int] = []
    over = False

    async with running(mesh_config, relaying=True) as old:

        async def traffic() -> None:
            while not over:
                tweet_id = await old.post(ada, f"number {len(posted)}")
                await old.like(bob, tweet_id)
                assert (await old.get(ada, tweet_id)).content == f"number {len(posted)}"
                posted.append(tweet_id)

        task = asyncio.create_task(traffic())
        await until(lambda: len(posted) >= 3, 30)
        before = len(posted)
        found = [*schema.migrations(), Migration("zz_next", 1, "expand", _EXPAND, "checksum")]
        assert await asyncio.to_thread(schema.apply, mesh_config, found=found) == 1
        applied = len(posted)
        await until(lambda: len(posted) >= applied + 5, 30)
        # New code beside it, on the same rows: old rows have nothing in the new column.
        assert await session.one(_NEW_READ, (posted[0],)) == ("number 0", None)
        await session.execute(_NEW_WRITE, ("en", posted[-1]))
        over = True
        await task  # no call of the old code failed
        assert applied >= before
        await old.quiet(30)
        tweets = await old.batch(posted)
        assert list(tweets) == posted, (
            "every answered tweet is there, also to code that knows no more"
        )
        assert all(tweet.likes_count == 1 for tweet in tweets.values())
        assert await old.outbox_rows() == 0
        # Applying again changes nothing.
        assert await asyncio.to_thread(schema.apply, mesh_config, found=found) == 0
