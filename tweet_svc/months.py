"""Calendar months (UTC) as integers yyyymm: how an actor's activity is cut into partitions."""

from __future__ import annotations

import time


def month_of(ms: int) -> int:
    """The month of a time in ms since 1970, e.g. 202611."""
    moment = time.gmtime(max(ms, 0) // 1000)
    return moment.tm_year * 100 + moment.tm_mon


def previous(month: int) -> int:
    """The month before: 202612 before 202701."""
    return month - 1 if month % 100 > 1 else month - 89


def between(oldest: int, newest: int) -> list[int]:
    """All months from `newest` back to `oldest`, both included; empty when newest is older."""
    months = []
    while newest >= oldest:
        months.append(newest)
        newest = previous(newest)
    return months
