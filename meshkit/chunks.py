"""Cutting what is asked for into pieces that one statement or call takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def chunks(items: Sequence[T], size: int) -> list[list[T]]:
    """`items` in their order, `size` at a time; the last may be shorter."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]
