"""Counting the rows of a partition, however many they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshkit import deadline
from meshkit.cql import CqlSession, Statement
from meshkit.errors import DeadlineExceeded, Unavailable

_COUNT_S = 2.0


async def count_rows(
    session: CqlSession, count: Statement, rows: Statement, params: Sequence[Any]
) -> int:
    """How many rows `count`, a SELECT COUNT(*), finds; where that takes too long, `rows`, which selects
    the same, is read page by page. For work outside a call.

    COUNT(*) is one answer for one request, and must be made within one request's time: at some hundred
    thousand rows it is not.
    """
    try:
        with deadline.within(_COUNT_S):
            found = await session.one(count, params)
    except (DeadlineExceeded, Unavailable):
        return sum([len(page) async for page in session.pages(rows, params)])
    return int(found[0]) if found else 0
