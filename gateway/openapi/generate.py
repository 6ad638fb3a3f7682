"""Writes openapi.json from the protos: `python -m gateway.openapi.generate [--check]`.

With --check nothing is written; the exit status is 1 when the checked-in document is not what the protos
give.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gateway.openapi.descriptors import compile_protos
from gateway.openapi.document import build

ROOT = Path(__file__).parents[2]
OUTPUT = Path(__file__).with_name("openapi.json")


def generate() -> str:
    """The document's text: JSON of two-space indents, in the order of the protos, ending in a newline."""
    return json.dumps(build(compile_protos(ROOT)), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the document, or compare it. Gives the exit status."""
    text = generate()
    if "--check" not in arguments:
        OUTPUT.write_text(text, encoding="utf-8")
        return 0
    if OUTPUT.read_text(encoding="utf-8") == text:
        return 0
    print(f"{OUTPUT.relative_to(ROOT)} is not what the protos give: run make gen", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
