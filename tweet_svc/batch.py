"""Rows on their way into one batch, and how reads of many partitions are cut into statements."""

from __future__ import annotations

from meshkit.cql import Item

__all__ = ["AT_ONCE", "PARTITIONS", "ROWS", "Item"]

PARTITIONS = 25
"""Partitions that one IN reads. One statement a partition costs the service five times the CPU and takes two
to three times as long (500 authors: 100 ms against 40); longer lists gain nothing more and lose
more at once when a replica is slow."""

ROWS = 200
"""Rows of one partition that one IN reads."""

AT_ONCE = 16
"""Statements that one call has under way."""
