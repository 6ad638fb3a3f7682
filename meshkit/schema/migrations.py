"""Finding, checking and applying CQL migrations. Synchronous: it runs as a command, not in a service."""

from __future__ import annotations

import hashlib
import itertools
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cassandra import DriverException, OperationTimedOut
from cassandra.cluster import NoHostAvailable, Session
from cassandra.policies import WhiteListRoundRobinPolicy

import meshkit
from meshkit import cql_policy
from meshkit.config import MeshConfig

_FILE = re.compile(r"(\d{3})_([a-z0-9_]+)\.cql")
_DDL_TIMEOUT_S = 30.0


class SchemaError(Exception):
    """What stands in the way, in words for the person who runs the command."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: which package owns it, its number, name, text, and the checksum of the text."""

    package: str
    version: int
    name: str
    text: str
    checksum: str

    def statements(self) -> list[str]:
        """The CQL statements in order, without comments."""
        lines = (re.sub(r"(^|\s)--.*$", "", line).rstrip() for line in self.text.splitlines())
        kept = "\n".join(line for line in lines if line.strip())
        return [part.strip() for part in re.split(r";\s*(?:\n|$)", kept) if part.strip()]


def migrations(root: Path | None = None) -> list[Migration]:
    """All migrations of the packages below `root` (default: those installed beside meshkit), meshkit's
    first, then by package and number. Raises SchemaError for a number used twice or a gap."""
    base = root or Path(meshkit.__file__).parent.parent
    found: list[Migration] = []
    for path in base.glob("*/schema/[0-9][0-9][0-9]_*.cql"):
        match = _FILE.fullmatch(path.name)
        if match is None:
            raise SchemaError(f"{path}: a migration is named NNN_lower_case.cql")
        text = path.read_text(encoding="utf-8")
        checksum = hashlib.sha256(text.encode()).hexdigest()
        package = path.parent.parent.name
        found.append(Migration(package, int(match[1]), match[2], text, checksum))
    found.sort(key=lambda each: (each.package != "meshkit", each.package, each.version))
    expected: dict[str, int] = {}
    for each in found:
        expected[each.package] = expected.get(each.package, 0) + 1
        if each.version != expected[each.package]:
            raise SchemaError(
                f"{each.package}: {each.version:03d}_{each.name} should have number"
                f" {expected[each.package]:03d}"
            )
    return found


def apply(
    config: MeshConfig,
    *,
    found: Sequence[Migration] | None = None,
    tell: Callable[[str], None] = lambda line: None,
    wait_s: float = 30.0,
) -> int:
    """Create the keyspace if needed and apply what is missing; returns how many files were applied.

    Raises SchemaError when a file failed, an applied file has changed, or Cassandra is not reached within
    `wait_s`.
    """
    wanted = migrations() if found is None else list(found)
    with _session(config, wait_s) as session:
        _create_keyspace(session, config)
        if not _missing(session, wanted):
            return 0
        with _lock(session):
            missing = _missing(session, wanted)
            for each in missing:
                _apply_one(session, each, tell)
        return len(missing)


def status(config: MeshConfig, wait_s: float = 10.0) -> list[tuple[Migration, bool]]:
    """Every known migration, and whether it was applied. Raises SchemaError as `apply` does."""
    wanted = migrations()
    with _session(config, wait_s) as session:
        exists = session.execute(
            "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = %s",
            (config.cassandra_keyspace,),
        ).one()
        if exists is None:
            return [(each, False) for each in wanted]
        session.set_keyspace(config.cassandra_keyspace)
        missing = _missing(session, wanted)
    return [(each, each not in missing) for each in wanted]


def drop(config: MeshConfig, wait_s: float = 10.0) -> None:
    """Drop the keyspace with everything in it: for tests."""
    with _session(config, wait_s) as session:
        _execute(session, f"DROP KEYSPACE IF EXISTS {config.cassandra_keyspace}")


def _create_keyspace(session: Session, config: MeshConfig) -> None:
    keyspace = config.cassandra_keyspace
    # A name the configuration's pattern admits needs no quoting.
    replication = (
        f"{{'class': 'NetworkTopologyStrategy',"
        f" '{config.cassandra_local_dc}': {config.cassandra_replication}}}"
    )
    known = session.execute(
        "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = %s", (keyspace,)
    ).one()
    if known is None:
        _execute(
            session, f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {replication}"
        )
    session.set_keyspace(keyspace)
    tables = {
        row[0]
        for row in session.execute(
            "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", (keyspace,)
        )
    }
    if "schema_lock" not in tables:
        _execute(
            session,
            "CREATE TABLE IF NOT EXISTS schema_lock (name text PRIMARY KEY, holder text)",
        )
    if "schema_migration" not in tables:
        _execute(
            session,
            "CREATE TABLE IF NOT EXISTS schema_migration (package text, version int, name text,"
            " checksum text, applied_at timestamp, PRIMARY KEY (package, version))",
        )


def _missing(session: Session, wanted: Sequence[Migration]) -> list[Migration]:
    try:
        rows = session.execute("SELECT package, version, checksum FROM schema_migration")
    except DriverException as error:
        if "schema_migration" in str(error):
            return list(wanted)
        raise
    applied = {(package, version): checksum for package, version, checksum in rows}
    missing: list[Migration] = []
    for each in wanted:
        checksum = applied.get((each.package, each.version))
        if checksum is None:
            missing.append(each)
        elif checksum != each.checksum:
            raise SchemaError(
                f"{each.package}/schema/{each.version:03d}_{each.name}.cql was changed after it was"
                " applied: restore it, and put the change into a new file"
            )
    return missing


def _apply_one(session: Session, migration: Migration, tell: Callable[[str], None]) -> None:
    name = f"{migration.package}/{migration.version:03d}_{migration.name}"
    for statement in migration.statements():
        try:
            _execute(session, statement)
        except SchemaError as error:
            raise SchemaError(
                f"{name}: {error}\n  in: {' '.join(statement.split())[:120]}"
            ) from None
    session.execute(
        "INSERT INTO schema_migration (package, version, name, checksum, applied_at)"
        " VALUES (%s, %s, %s, %s, %s)",
        (
            migration.package,
            migration.version,
            migration.name,
            migration.checksum,
            datetime.now(UTC),
        ),
    )
    tell(f"applied {name}")


def _execute(session: Session, statement: str) -> None:
    """Run one DDL statement and wait until all nodes agree on the schema."""
    try:
        session.execute(statement, timeout=_DDL_TIMEOUT_S)
        agreed = session.cluster.control_connection.wait_for_schema_agreement(
            wait_time=_DDL_TIMEOUT_S
        )
    except DriverException as error:
        raise SchemaError(str(error)) from error
    if not agreed:
        raise SchemaError("the nodes do not agree on the schema: is one of them down?")


@contextmanager
def _session(config: MeshConfig, wait_s: float) -> Iterator[Session]:
    end = time.monotonic() + wait_s
    for host, port in itertools.cycle(config.contact_points()):
        # One node for all: the others may learn a moment later of a table that was just made.
        alone = config.model_copy(update={"cassandra_contact_points": f"{host}:{port}"})
        cluster = cql_policy.cluster(alone, lambda: time.time_ns() // 1000)
        cluster.profile_manager.default.load_balancing_policy = WhiteListRoundRobinPolicy([host])
        # Refreshing the driver's picture of the schema after each statement would take longer than
        # the statement; without it the driver does not wait for agreement either: _execute does.
        cluster.schema_metadata_enabled = False
        cluster.token_metadata_enabled = False
        cluster.max_schema_agreement_wait = 0
        try:
            session = cluster.connect()
            break
        except (NoHostAvailable, DriverException, OSError) as error:
            cluster.shutdown()
            if time.monotonic() >= end:
                raise SchemaError(
                    f"no Cassandra at {config.cassandra_contact_points}: {error}"
                ) from error
            time.sleep(0.3)
    try:
        yield session
    finally:
        cluster.shutdown()


@contextmanager
def _lock(session: Session) -> Iterator[None]:
    holder = secrets.token_hex(8)
    end = time.monotonic() + 120
    while not _lwt(
        session,
        "INSERT INTO schema_lock (name, holder) VALUES ('schema', %s) IF NOT EXISTS USING TTL 60",
        holder,
    ):
        if time.monotonic() >= end:
            raise SchemaError("another process holds the schema lock")
        time.sleep(0.2)
    try:
        yield
    finally:
        _lwt(session, "DELETE FROM schema_lock WHERE name = 'schema' IF holder = %s", holder)


def _lwt(session: Session, statement: str, holder: str) -> bool:
    """Whether the row is (or, for DELETE, was) ours. The first LWT of a new keyspace may time out."""
    last: Exception | None = None
    for _ in range(5):
        try:
            row: Any = session.execute(statement, (holder,), timeout=5).one()
        except (DriverException, OperationTimedOut) as error:
            last = error
            time.sleep(0.2)
            continue
        return bool(row[0]) or (len(row) > 1 and row[-1] == holder)
    raise SchemaError(f"cannot take the schema lock: {last}")
