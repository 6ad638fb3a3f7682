"""Versioned CQL migrations: `python -m meshkit.schema apply | status`.

Each package that has a directory `schema/` beside meshkit owns the files `NNN_name.cql` in it. A file is
applied once, in the order of its number, statement by statement (`;` at the end of a line; `--` starts a
comment), so each statement must be repeatable (IF NOT EXISTS) in case the run is cut off within a file.
An applied file never changes: its checksum is kept, and a difference is an error.

Tables: `schema_migration` (package, version) → name, checksum, applied_at. `schema_lock` holds one row by
LWT while someone applies, so that two appliers wait for each other.
"""

from meshkit.schema.migrations import Migration, SchemaError, apply, drop, migrations, status

__all__ = ["Migration", "SchemaError", "apply", "drop", "migrations", "status"]
