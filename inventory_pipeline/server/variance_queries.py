"""The Variances page's questions to Postgres, each bounded by LIMIT or by what is open."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from inventory_pipeline.memory.postgres import Connection
from inventory_pipeline.server import rows
from inventory_pipeline.server.queries import ask

SHOWN = 100
# SEMANTICS §9: one value holds this share of the open variances and at least so many rows ...
SYSTEMIC_PERCENT = 50
SYSTEMIC_ROWS = 20
# ... or this share of a channel's listings.
LISTINGS_PERCENT = 5

_COLUMNS = (
    "variance_id, comparison, channel, bucket, external_id, system, location, state, sku,"
    " expected_milli, found_milli, cause, first_seen, last_seen, heal, healed_at, closed_at,"
    " evidence"
)


def variances(
    connection: Connection,
    *,
    closed: bool = False,
    channel: str = "",
    cause: str = "",
    system: str = "",
    sku: str = "",
    seen_before: datetime | None = None,
    limit: int = SHOWN,
) -> list[rows.Variance]:
    """Open ones, the oldest first; or closed ones, the newest first. "" and None: any."""
    wanted = ["closed_at IS NOT NULL" if closed else "closed_at IS NULL"]
    named = {"channel": channel, "cause": cause, "system": system, "sku": sku}
    wanted += [f"{name} = %({name})s" for name, value in named.items() if value]
    if seen_before is not None:
        wanted.append("first_seen <= %(seen_before)s")
    order = "closed_at DESC, variance_id DESC" if closed else "first_seen, variance_id"
    return ask(
        connection,
        rows.Variance,
        f"SELECT {_COLUMNS} FROM hub.variances WHERE {' AND '.join(wanted)}"
        f" ORDER BY {order} LIMIT %(limit)s",
        {**named, "seen_before": seen_before, "limit": limit},
    )


def groups(connection: Connection) -> list[rows.Group]:
    """Open variances by each of cause, channel, system and location, the most first."""
    return ask(
        connection,
        rows.Group,
        """
        SELECT CASE WHEN grouping(cause) = 0 THEN 'cause'
                    WHEN grouping(channel) = 0 THEN 'channel'
                    WHEN grouping(system) = 0 THEN 'system' ELSE 'location' END AS name,
               coalesce(cause, channel, system, location, '') AS value,
               count(*) AS count, min(first_seen) AS oldest,
               CASE WHEN min(channel) = max(channel) AND count(channel) = count(*)
                    THEN min(channel) END AS channel
        FROM hub.variances WHERE closed_at IS NULL
        GROUP BY GROUPING SETS ((cause), (channel), (system), (location))
        HAVING coalesce(cause, channel, system, location) IS NOT NULL
        ORDER BY count(*) DESC, 1, 2 LIMIT 200
        """,
        {},
    )


def systemic(found: list[rows.Group], whole: int, listings: Mapping[str, int]) -> list[rows.Group]:
    """The groups that one cause must stand behind (SEMANTICS §9); `listings`: per channel."""
    told = []
    for group in found:
        large = group.count >= SYSTEMIC_ROWS and group.count * 100 >= SYSTEMIC_PERCENT * whole
        of_channel = listings.get(group.channel or "", 0)
        wide = of_channel > 0 and group.count * 100 >= LISTINGS_PERCENT * of_channel
        if large or (wide and group.count > 1):
            told.append(group)
    return told


def days(connection: Connection, *, since: datetime) -> list[tuple[Any, int, int]]:
    """(day, opened, closed) since then."""
    return connection.execute(
        """
        SELECT day, sum(opened)::bigint, sum(closed)::bigint FROM (
            SELECT date_bin('1 day', closed_at, timestamptz '2000-01-01 00:00:00+00') AS day,
                   0 AS opened, 1 AS closed
            FROM hub.variances WHERE closed_at > %(since)s
            UNION ALL
            SELECT date_bin('1 day', first_seen, timestamptz '2000-01-01 00:00:00+00'), 1, 0
            FROM hub.variances WHERE closed_at > %(since)s AND first_seen > %(since)s
            UNION ALL
            SELECT date_bin('1 day', first_seen, timestamptz '2000-01-01 00:00:00+00'), 1, 0
            FROM hub.variances WHERE closed_at IS NULL AND first_seen > %(since)s
        ) AS moved GROUP BY day ORDER BY day
        """,
        {"since": since},
    ).fetchall()
