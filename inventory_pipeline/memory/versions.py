"""Versions of hub.yaml (policy) and of catalog/ (mapping), each with the offset from which it
counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from inventory_pipeline.core.errors import HubError
from inventory_pipeline.memory import ledger
from inventory_pipeline.memory.postgres import Connection

# As columns of any query: what `Settings` holds.
NEWEST = (
    "(SELECT coalesce(max(version), 0) FROM hub.policy_versions) AS policy_version,"
    " (SELECT coalesce(max(version), 0) FROM hub.mapping_versions) AS mapping_version,"
    " (SELECT coalesce(string_agg(channel || '=' || mode, ',' ORDER BY channel), '')"
    " FROM hub.mode_overrides) AS overrides"
)


class StaleMapping(HubError):
    """Another catalogue counts by now: nothing was stored, and it is read again with that one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What counts: versions of hub.yaml and catalog/ (0: none yet), and modes that people set
    (`channel=mode`, by channel, with commas).
    """

    policy_version: int
    mapping_version: int
    overrides: str

    def supersedes(self, held: "Settings") -> bool:
        """Whether a process that works by `held` works by something old."""
        return (
            self.policy_version > held.policy_version
            or self.mapping_version > held.mapping_version
            or self.overrides != held.overrides
        )


def newest(connection: Connection) -> Settings:
    """What counts now."""
    row = connection.execute(f"SELECT {NEWEST}").fetchone()
    assert row is not None
    return Settings(policy_version=row[0], mapping_version=row[1], overrides=row[2])


def newest_and_epoch(connection: Connection) -> tuple[Settings, int]:
    """What counts now, and the epoch of the drain that counts (memory/sync.py)."""
    row = connection.execute(f"SELECT {NEWEST}, s.epoch FROM hub.sync_cursor s").fetchone()
    assert row is not None
    settings = Settings(policy_version=row[0], mapping_version=row[1], overrides=row[2])
    return settings, int(row[3])


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """The newest hub.yaml and catalog/, as they were activated together or one after the other."""

    policy_version: int
    policy_hash: str
    policy: str
    mapping_version: int
    mapping_hash: str
    files: Mapping[str, str]


def active(connection: Connection) -> Active | None:
    """What was activated last, of one moment; None before the first activation."""
    row = connection.execute(
        "SELECT p.version, p.hash, p.content, m.version, m.hash, m.files"
        " FROM hub.policy_versions p CROSS JOIN hub.mapping_versions m"
        " ORDER BY p.version DESC, m.version DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    return Active(
        policy_version=row[0], policy_hash=row[1], policy=row[2], mapping_version=row[3],
        mapping_hash=row[4], files=dict(row[5]),
    )  # fmt: skip


def require_mapping(connection: Connection, version: int) -> None:
    """For whoever appends to the ledger, after it appended and before it commits.

    An activation that came before is seen here, and one that comes later waits for our commit.
    Raises StaleMapping.
    """
    row = connection.execute("SELECT max(version) FROM hub.mapping_versions").fetchone()
    if row is not None and row[0] is not None and row[0] > version:
        raise StaleMapping(
            f"catalogue version {row[0]} counts by now, and this process maps by version {version}",
            hint="nothing: what was read is read again with the new catalogue. A process that "
            "goes on saying so is to be started again.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingChange:
    """A catalogue that was activated. `ledger_offset` is None where it was active already."""

    version: int
    ledger_offset: int | None


def activate_mapping(
    connection: Connection, *, content_hash: str, files: Mapping[str, str], at: datetime
) -> MappingChange:
    """The version of this catalogue: the current one if nothing changed, else a new one with an
    offset. Nobody appends to the ledger then until this transaction ends.
    """
    version, current = _latest(connection, "mapping_versions")
    if current == content_hash:
        return MappingChange(version=version, ledger_offset=None)
    offset = ledger.append_entry(connection, kind="mapping", at=at, mapping_version=version + 1)
    connection.execute(
        "INSERT INTO hub.mapping_versions VALUES (%s, %s, %s, %s, %s)",
        (version + 1, content_hash, offset, at, Jsonb(dict(files))),
    )
    return MappingChange(version=version + 1, ledger_offset=offset)


def catalog_files(connection: Connection, version: int) -> dict[str, str] | None:
    """The files of catalog/ at this version, by name; None if there is no such version."""
    row = connection.execute(
        "SELECT files FROM hub.mapping_versions WHERE version = %s", (version,)
    ).fetchone()
    return None if row is None else dict(row[0])


def activate_policy(
    connection: Connection,
    *,
    content_hash: str,
    content: str,
    activated_by: str,
    mapping_version: int,
    at: datetime,
) -> int:
    """The version of this hub.yaml: the current one if nothing changed, else a new one with an
    offset.
    """
    version, current = _latest(connection, "policy_versions")
    if current == content_hash:
        return version
    offset = ledger.append_entry(connection, kind="policy", at=at, mapping_version=mapping_version)
    connection.execute(
        "INSERT INTO hub.policy_versions VALUES (%s, %s, %s, %s, %s, %s)",
        (version + 1, content_hash, offset, at, activated_by, content),
    )
    return version + 1


def _latest(connection: Connection, table: str) -> tuple[int, str]:
    connection.execute("SELECT pg_advisory_xact_lock(7301003)")
    row = connection.execute(
        f"SELECT version, hash FROM hub.{table} ORDER BY version DESC LIMIT 1"
    ).fetchone()
    return (0, "") if row is None else (row[0], row[1])
