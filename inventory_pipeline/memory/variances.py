"""Variances: opened once, seen again, closed once, kept (SEMANTICS §9).

What is asked about them stands in memory/variance_views.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb

from inventory_pipeline.core.vocabulary import Cause
from inventory_pipeline.memory.postgres import Connection

Place = tuple[str, str]  # bucket, external id


@dataclass(frozen=True, slots=True, kw_only=True)
class Variance:
    """One difference as found; quantities in thousandths of the compared unit.

    `units_milli`: base units in one compared unit; `value`: the price of what is missing or too
    much, None without a price.
    """

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
    units_milli: int = 1000
    value: Decimal | None = None
    alert: bool = False  # its policy is to tell a person
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str | None, ...]:
        return (
            self.comparison, self.channel, self.bucket, self.external_id, self.system,
            self.location, self.state, self.sku,
        )  # fmt: skip


_KEY = "comparison, channel, bucket, external_id, system, location, state, sku"
_FOUND = f"{_KEY}, units_milli, value, expected_milli, found_milli, cause, evidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a comparison changed: counts of variances."""

    opened: int
    still: int
    closed: int


def start(
    connection: Connection,
    comparison: str,
    channel: str | None,
    *,
    at: datetime,
    offset: int,
    whole: bool = True,
    feed: tuple[str, str] | None = None,
) -> int:
    """Registers a comparison, with where the (system, feed) stands now; returns its id."""
    system, name = feed or (None, None)
    row = connection.execute(
        "INSERT INTO hub.reconciliations (comparison, channel, started_at, ledger_offset, whole,"
        " feed_cursor) VALUES (%s, %s, %s, %s, %s,"
        " (SELECT cursor FROM hub.feeds WHERE system = %s AND feed = %s))"
        " RETURNING reconciliation_id",
        (comparison, channel, at, offset, whole, system, name),
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


def fail(connection: Connection, number: int, why: str) -> None:
    """The comparison could not be made: what was known before stays."""
    connection.execute(
        "UPDATE hub.reconciliations SET failure = %s WHERE reconciliation_id = %s", (why, number)
    )


def record(
    connection: Connection,
    comparison: str,
    channel: str | None,
    found: Sequence[Variance],
    *,
    places: Sequence[Place] | None,
    at: datetime,
) -> Recorded:
    """Opens what is new, keeps what is still there, closes what is gone.

    `places` are the listings that were looked at (None: all of this comparison and channel): only
    an open variance of one of them can be closed by not being found.
    """
    connection.execute("SET LOCAL client_min_messages TO warning")
    connection.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS found (comparison text, channel text, bucket text,"
        " external_id text, system text, location text, state text, sku text, units_milli bigint,"
        " value numeric, expected_milli bigint, found_milli bigint, cause text, evidence jsonb,"
        " alert boolean) ON COMMIT DELETE ROWS"
    )
    with connection.cursor().copy(f"COPY pg_temp.found ({_FOUND}, alert) FROM STDIN") as copy:
        for v in found:
            copy.write_row(
                (
                    *v.key, v.units_milli, v.value, v.expected_milli, v.found_milli,
                    str(v.cause), Jsonb(v.evidence), v.alert,
                )
            )  # fmt: skip
    opened, still = _open(connection, at)
    closed = _close(connection, comparison, channel, places, at)
    connection.execute("TRUNCATE pg_temp.found")
    return Recorded(opened=opened, still=still, closed=closed)


# Another cause, or the same one after something was tried: there is something to decide again.
# What is only to be told, or left alone, is decided once.
_OPEN = f"""
INSERT INTO hub.variances AS v ({_FOUND}, first_seen, last_seen, alert_at)
SELECT {_FOUND}, %(at)s, %(at)s, CASE WHEN alert THEN %(at)s::timestamptz END FROM pg_temp.found
ON CONFLICT ({_KEY}) WHERE closed_at IS NULL DO UPDATE SET
    expected_milli = excluded.expected_milli, found_milli = excluded.found_milli,
    units_milli = excluded.units_milli, value = excluded.value,
    cause = excluded.cause, evidence = excluded.evidence, last_seen = excluded.last_seen,
    alert_at = coalesce(v.alert_at, excluded.alert_at),
    healed_at = CASE WHEN v.cause = excluded.cause AND v.heal IN ('none', 'alert')
                     THEN v.healed_at END
RETURNING first_seen = last_seen AS fresh
"""


def _open(connection: Connection, at: datetime) -> tuple[int, int]:
    row = connection.execute(
        f"WITH kept AS ({_OPEN})"
        " SELECT count(*) FILTER (WHERE fresh), count(*) FILTER (WHERE NOT fresh) FROM kept",
        {"at": at},
    ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def _close(
    connection: Connection,
    comparison: str,
    channel: str | None,
    places: Sequence[Place] | None,
    at: datetime,
) -> int:
    looked_at = ""
    values: dict[str, Any] = {"at": at, "comparison": comparison, "channel": channel}
    if places is not None:
        looked_at = (
            "AND (bucket, external_id) IN"
            " (SELECT * FROM unnest(%(buckets)s::text[], %(external_ids)s::text[]))"
        )
        values["buckets"] = [bucket for bucket, _ in places]
        values["external_ids"] = [external_id for _, external_id in places]
    # Everything that was found was just seen.
    return connection.execute(
        "UPDATE hub.variances SET closed_at = %(at)s WHERE closed_at IS NULL"
        " AND comparison = %(comparison)s AND channel IS NOT DISTINCT FROM %(channel)s"
        f" AND last_seen < %(at)s {looked_at}",
        values,
    ).rowcount
