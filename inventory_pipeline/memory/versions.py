"""Versions of hub.yaml (policy) and of catalog/ (mapping), each with the offset from which it
counts.
"""

from collections.abc import Mapping
from datetime import datetime

from psycopg.types.json import Jsonb

from inventory_pipeline.memory import ledger
from inventory_pipeline.memory.postgres import Connection


def activate_mapping(
    connection: Connection, *, content_hash: str, files: Mapping[str, str], at: datetime
) -> int:
    """The version of this catalogue: the current one if nothing changed, else a new one with an
    offset.
    """
    version, current = _latest(connection, "mapping_versions")
    if current == content_hash:
        return version
    offset = ledger.append_entry(connection, kind="mapping", at=at, mapping_version=version + 1)
    connection.execute(
        "INSERT INTO hub.mapping_versions VALUES (%s, %s, %s, %s, %s)",
        (version + 1, content_hash, offset, at, Jsonb(dict(files))),
    )
    return version + 1


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
