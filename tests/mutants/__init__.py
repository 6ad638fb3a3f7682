"""Deliberate bugs, each with the tests that must fail for it: proof that the suite would notice.

    python -m tests.mutants                 # all of them, about ten minutes
    python -m tests.mutants keyset-at-home  # one
    python -m tests.mutants --list          # what there is

The list is in the modules beside this one, by where the bug is; `tests/mutants/README.md` is made from it.
"""
