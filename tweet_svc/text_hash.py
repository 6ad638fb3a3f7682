"""A short fingerprint of a tweet's text, by which the same text is found again."""

from __future__ import annotations

from hashlib import blake2b


def text_hash(content: str) -> bytes:
    """16 bytes for a text that is trimmed and normalised already. Texts that differ in anything, case
    included, have different hashes."""
    return blake2b(content.encode(), digest_size=16).digest()
