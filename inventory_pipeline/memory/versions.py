"""Versions of hub.yaml (policy) and of catalog/ (mapping), each with the offset from which it
counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from inventory_pipeline.memory import ledger
from inventory_pipeline.memory.postgres import Connection


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
