"""What people ask about variances: what is open, since when, why, how much is at stake, what was
done, and whether failures are isolated or systemic (SEMANTICS §9). Quantities in thousandths.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.rows import class_row

from inventory_pipeline.core.causes import Shared, systemic
from inventory_pipeline.memory.postgres import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceRow:
    """One variance, open or closed. `percent` is of what was expected, None where that is 0 or
    unknown; `value` the price of the difference; `heal` what was done about it last.
    """

    variance_id: int
    comparison: str
    channel: str | None
    bucket: str | None
    external_id: str | None
    system: str | None
    location: str | None
    state: str | None
    sku: str | None
    expected_milli: int | None
    found_milli: int | None
    difference_milli: int
    percent: Decimal | None
    units_milli: int
    value: Decimal | None
    cause: str
    evidence: dict[str, Any]
    first_seen: datetime
    last_seen: datetime
    closed_at: datetime | None
    heal: str | None
    healed_at: datetime | None
    repushes: int
    alert_at: datetime | None


_COLUMNS = (
    "variance_id, comparison, channel, bucket, external_id, system, location, state, sku,"
    " expected_milli, found_milli, difference_milli,"
    " round(abs(difference_milli) * 100.0 / nullif(abs(expected_milli), 0), 1) AS percent,"
    " units_milli, value, cause, evidence, first_seen, last_seen, closed_at, heal, healed_at,"
    " repushes, alert_at"
)
_WHICH = """
    (%(comparison)s::text IS NULL OR comparison = %(comparison)s)
    AND (%(channel)s::text IS NULL OR channel = %(channel)s)
    AND (%(cause)s::text IS NULL OR cause = %(cause)s)
    AND (%(system)s::text IS NULL OR system = %(system)s)
    AND (%(sku)s::text IS NULL OR sku = %(sku)s)
    AND (%(older_than)s::timestamptz IS NULL OR first_seen <= %(older_than)s)
"""


def open_variances(
    connection: Connection,
    *,
    comparison: str | None = None,
    channel: str | None = None,
    cause: str | None = None,
    system: str | None = None,
    sku: str | None = None,
    older_than: datetime | None = None,
    limit: int = 200,
    offset: int = 0,
) -> list[VarianceRow]:
    """Open ones, the oldest first; `older_than`: first seen at or before that time."""
    return _rows(
        connection,
        f"SELECT {_COLUMNS} FROM hub.variances WHERE closed_at IS NULL AND {_WHICH}"
        " ORDER BY first_seen, variance_id LIMIT %(limit)s OFFSET %(offset)s",
        {
            "comparison": comparison, "channel": channel, "cause": cause, "system": system,
            "sku": sku, "older_than": older_than, "limit": limit, "offset": offset,
        },
    )  # fmt: skip


def history(
    connection: Connection,
    *,
    channel: str | None = None,
    sku: str | None = None,
    limit: int = 200,
) -> list[VarianceRow]:
    """Open and closed ones, the newest first."""
    return _rows(
        connection,
        f"SELECT {_COLUMNS} FROM hub.variances"
        " WHERE (%(channel)s::text IS NULL OR channel = %(channel)s)"
        " AND (%(sku)s::text IS NULL OR sku = %(sku)s)"
        " ORDER BY first_seen DESC, variance_id DESC LIMIT %(limit)s",
        {"channel": channel, "sku": sku, "limit": limit},
    )


def variance(connection: Connection, variance_id: int) -> VarianceRow | None:
    """The one with this id."""
    found = _rows(
        connection,
        f"SELECT {_COLUMNS} FROM hub.variances WHERE variance_id = %(number)s",
        {"number": variance_id},
    )
    return found[0] if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseTotal:
    """Open variances of one cause in one channel or system, and what is at stake."""

    comparison: str
    cause: str
    channel: str | None
    system: str | None
    rows: int
    units_milli: int
    value: Decimal | None
    oldest: datetime


def by_cause(connection: Connection) -> list[CauseTotal]:
    """The most rows first. `units_milli` are base units, up and down added up."""
    with connection.cursor(row_factory=class_row(CauseTotal)) as cursor:
        return cursor.execute(
            "SELECT comparison, cause, channel, system, count(*) AS rows,"
            " coalesce(sum(abs(difference_milli) * units_milli / 1000), 0)::bigint AS units_milli,"
            " sum(value) AS value, min(first_seen) AS oldest"
            " FROM hub.variances WHERE closed_at IS NULL"
            " GROUP BY comparison, cause, channel, system"
            " ORDER BY count(*) DESC, comparison, cause, channel, system LIMIT 200"
        ).fetchall()


def alerts_due(connection: Connection, *, limit: int = 1_000) -> list[VarianceRow]:
    """Open variances that a person is to be told of, the oldest first."""
    return _rows(
        connection,
        f"SELECT {_COLUMNS} FROM hub.variances WHERE closed_at IS NULL AND alert_at IS NOT NULL"
        " ORDER BY alert_at, variance_id LIMIT %(limit)s",
        {"limit": limit},
    )


_SHARED = """
WITH open_ones AS (
    SELECT cause, channel, system, location, evidence->>'error' AS error
    FROM hub.variances WHERE closed_at IS NULL
), named AS (
    SELECT n.dimension, n.value, coalesce(o.channel, '') AS channel
    FROM open_ones o CROSS JOIN LATERAL (VALUES ('cause', o.cause), ('channel', o.channel),
        ('system', o.system), ('location', o.location), ('error', o.error)
    ) AS n (dimension, value)
    WHERE n.value IS NOT NULL AND n.value <> ''
)
SELECT dimension, value, channel, count(*) FROM named GROUP BY dimension, value, channel
"""


def systemic_groups(connection: Connection) -> list[Shared]:
    """Values of (cause, channel, system, location, connector error) that make the open variances
    systemic, the greatest first; none: they are isolated.
    """
    of_channels: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for dimension, value, channel, rows in connection.execute(_SHARED):
        of_channels[dimension, value][channel] = rows
    groups = [
        Shared(
            dimension=dimension,
            value=value,
            rows=sum(rows.values()),
            of_channels={channel: count for channel, count in rows.items() if channel},
        )
        for (dimension, value), rows in of_channels.items()
    ]
    if not groups:
        return []
    total = connection.execute("SELECT count(*) FROM hub.variances WHERE closed_at IS NULL")
    listings = connection.execute(
        "SELECT channel, count(*) FROM hub.outbox WHERE listed GROUP BY channel"
    )
    return systemic(groups, open_rows=_count(total.fetchone()), listings=dict(listings.fetchall()))


def _count(row: tuple[Any, ...] | None) -> int:
    assert row is not None
    return int(row[0])


def _rows(connection: Connection, query: str, values: dict[str, Any]) -> list[VarianceRow]:
    with connection.cursor(row_factory=class_row(VarianceRow)) as cursor:
        return cursor.execute(query, values).fetchall()
