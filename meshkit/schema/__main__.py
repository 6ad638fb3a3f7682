"""The command `python -m meshkit.schema apply | status`, configured by the services' environment."""

from __future__ import annotations

import logging
import sys
import time

from meshkit.config import MeshConfig
from meshkit.schema.migrations import SchemaError, apply, status


def main(arguments: list[str]) -> int:
    """0 when done; 1 with the reason on standard error; 2 for a wrong use."""
    logging.getLogger("cassandra").setLevel(logging.CRITICAL)
    if arguments not in (["apply"], ["status"]):
        print("usage: python -m meshkit.schema apply | status", file=sys.stderr)
        return 2
    config = MeshConfig.from_env()
    try:
        if arguments == ["apply"]:
            started = time.monotonic()
            count = apply(config, tell=print)
            print(
                f"keyspace {config.cassandra_keyspace}: {count} migrations applied"
                f" in {time.monotonic() - started:.1f} s"
            )
        else:
            for migration, applied in status(config):
                mark = "applied" if applied else "missing"
                print(f"{mark}  {migration.package}/{migration.version:03d}_{migration.name}")
    except SchemaError as error:
        print(f"schema: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
