"""What can go wrong on the user's machine, said in the user's words."""


class StackError(Exception):
    """An expected failure: what failed, why, and what to do. Shown without a traceback."""
