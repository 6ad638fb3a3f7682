"""What a mutant is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One deliberate bug: `before` stands once in the file at `path`, and is replaced by `after`.

    `caught_by` names tests as pytest does, files below tests/; every one of them must fail. `matters` says
    what users would see.
    """

    name: str
    path: str
    before: str
    after: str
    caught_by: tuple[str, ...]
    matters: str

    def applied_to(self, text: str) -> str:
        """The file's text with the bug. Raises ValueError if `before` does not stand there once."""
        found = text.count(self.before)
        if found != 1:
            raise ValueError(
                f"{self.name}: the text to replace stands {found} times in {self.path}, not once:"
                f" mend tests/mutants, so that it breaks the same behaviour again\n{self.before}"
            )
        return text.replace(self.before, self.after)
