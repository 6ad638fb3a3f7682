"""How this machine's command line trusts the mesh: its own CA, and no other."""

import ssl
from pathlib import Path

from stack.errors import StackError


def client_context(ca: Path) -> ssl.SSLContext:
    """For HTTPS calls to the edge. Raises StackError if there is no CA yet."""
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError) as error:
        raise StackError(f"{ca} is not there: start the mesh with `starling up`") from error
