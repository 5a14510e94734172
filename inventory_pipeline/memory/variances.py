"""Variances: opened once, seen again, closed once, kept (SEMANTICS §9)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from inventory_pipeline.core.vocabulary import Cause
from inventory_pipeline.memory.postgres import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Variance:
    """One difference as found; quantities in thousandths of the compared unit."""

    comparison: str  # channel | ledger | systems
    cause: Cause
    sku: str | None
    expected_milli: int | None
    found_milli: int | None
    channel: str | None = None
    bucket: str | None = None
    external_id: str | None = None
    system: str | None = None
    location: str | None = None
    state: str | None = None
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str | None, ...]:
        return (
            self.comparison, self.channel, self.bucket, self.external_id, self.system,
            self.location, self.state, self.sku,
        )  # fmt: skip


_KEY = "comparison, channel, bucket, external_id, system, location, state, sku"


def channel_key(
    channel: str, bucket: str, external_id: str, sku: str | None
) -> tuple[str | None, ...]:
    """The key of a variance of a channel's listing."""
    return ("channel", channel, bucket, external_id, None, None, None, sku)


def start(
    connection: Connection, comparison: str, channel: str | None, *, at: datetime, offset: int
) -> int:
    """Registers a reconciliation; returns its id."""
    row = connection.execute(
        "INSERT INTO hub.reconciliations (comparison, channel, started_at, ledger_offset)"
        " VALUES (%s, %s, %s, %s) RETURNING reconciliation_id",
        (comparison, channel, at, offset),
    ).fetchone()
    assert row is not None
    return int(row[0])


def finish(
    connection: Connection, number: int, *, at: datetime, compared: int, variances: int, reread: int
) -> None:
    connection.execute(
        "UPDATE hub.reconciliations SET finished_at = %s, compared = %s, variances = %s, reread"
        " = %s"
        " WHERE reconciliation_id = %s",
        (at, compared, variances, reread, number),
    )


def record(
    connection: Connection,
    comparison: str,
    channel: str | None,
    found: Sequence[Variance],
    *,
    compared: frozenset[tuple[str | None, ...]] | None,
    at: datetime,
) -> None:
    """Opens what is new, keeps what is still there, closes what is gone.

    `compared` are the keys that were looked at (None: all of this comparison and channel): only an
    open variance among them can be closed by not being found.
    """
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO hub.variances ({_KEY}, expected_milli, found_milli, cause, evidence,"
            " first_seen, last_seen) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,"
            " %s, %s)"
            f" ON CONFLICT ({_KEY}) WHERE closed_at IS NULL DO UPDATE SET"
            " expected_milli = excluded.expected_milli, found_milli = excluded.found_milli,"
            " cause = excluded.cause, evidence = excluded.evidence, last_seen = excluded.last_seen",
            [
                (*v.key, v.expected_milli, v.found_milli, v.cause, Jsonb(v.evidence), at, at)
                for v in found
            ],
        )
    still = {v.key for v in found}
    open_rows = connection.execute(
        f"SELECT variance_id, {_KEY} FROM hub.variances WHERE closed_at IS NULL"
        " AND comparison = %s AND channel IS NOT DISTINCT FROM %s",
        (comparison, channel),
    ).fetchall()
    gone = [
        number
        for number, *key in open_rows
        if tuple(key) not in still and (compared is None or tuple(key) in compared)
    ]
    connection.execute(
        "UPDATE hub.variances SET closed_at = %s WHERE variance_id = ANY(%s)", (at, gone)
    )
