"""The social graph: friendships between numbered people, each of which is two follows."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from stack.errors import StackError
from stack.run_dir import CHECKOUT

REED98 = CHECKOUT / "bench" / "data" / "socfb-Reed98.edges"

Friendship = tuple[int, int]


def read(path: Path) -> list[Friendship]:
    """The pairs in a file of `a b` lines, in its order. Raises StackError if it cannot be read."""
    try:
        pairs = [line.split() for line in path.read_text().splitlines()]
        return [(int(a), int(b)) for a, b in pairs]
    except (OSError, ValueError) as error:
        raise StackError(f"{path} cannot be read as pairs of numbers: {error}") from error


def best_connected(friendships: Iterable[Friendship], people: int) -> list[Friendship]:
    """The friendships among those `people` who have the most friends."""
    pairs = list(friendships)
    degrees = Counter(person for pair in pairs for person in pair)
    chosen = set(sorted(degrees, key=lambda person: (-degrees[person], person))[:people])
    return [(a, b) for a, b in pairs if a in chosen and b in chosen]


def followees(friendships: Iterable[Friendship]) -> dict[int, list[int]]:
    """Person -> whom they follow, both in ascending order: friends follow each other."""
    found: dict[int, set[int]] = {}
    for a, b in friendships:
        found.setdefault(a, set()).add(b)
        found.setdefault(b, set()).add(a)
    return {person: sorted(found[person]) for person in sorted(found)}
