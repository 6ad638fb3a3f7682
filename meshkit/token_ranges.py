"""Reading a whole table of Cassandra piece by piece: for commands, never for calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Any

from meshkit.cql import CqlSession, Row, Statement

PIECES = 64
_FIRST, _LAST = -(1 << 63), (1 << 63) - 1


async def rows_of(
    session: CqlSession, statement: Statement, params: Sequence[Any] = ()
) -> AsyncIterator[Row]:
    """All rows that `statement` selects, in no order, each once.

    Its first two markers bound the partitions' tokens: `... WHERE token(k) > ? AND token(k) <= ?`, and
    `params` are those that follow. One piece of the ring at a time, so that no statement filters more than
    it can within its time.
    """
    bounds = [_FIRST + piece * ((1 << 64) // PIECES) for piece in range(PIECES)] + [_LAST]
    for after, upto in pairwise(bounds):
        async for page in session.pages(statement, (after, upto, *params)):
            for row in page:
                yield row


async def partitions_of(
    session: CqlSession, statement: Statement, params: Sequence[Any] = ()
) -> AsyncIterator[list[Row]]:
    """The same, the rows with one first column together: that column must be the partition's key."""
    together: list[Row] = []
    async for row in rows_of(session, statement, params):
        if together and together[0][0] != row[0]:
            yield together
            together = []
        together.append(row)
    if together:
        yield together
