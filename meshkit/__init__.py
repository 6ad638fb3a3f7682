"""Shared runtime of every Starling service; it knows none of them."""
