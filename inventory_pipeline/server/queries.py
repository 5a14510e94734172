"""The pages' questions to Postgres. Each is bounded by LIMIT or by the number of channels and
systems.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from psycopg.rows import class_row

from inventory_pipeline.memory.postgres import Connection
from inventory_pipeline.server import rows

PAGE_ROWS = 50
# The newest event of each system is looked for among this many ledger entries.
RECENT_ENTRIES = 20_000
LATENCY_WINDOW = timedelta(hours=1)

Row = TypeVar("Row")

_CHANNELS = """
WITH wanted AS (
    SELECT channel, place
    FROM unnest(%(channels)s::text[]) WITH ORDINALITY AS w(channel, place)
),
listing AS (
    SELECT channel, count(*) AS listings,
           count(*) FILTER (WHERE NOT look AND dead_at IS NULL AND failure IS NULL)
               AS in_sync,
           count(*) FILTER (WHERE look AND dead_at IS NULL) AS waiting,
           count(*) FILTER (WHERE failure IS NOT NULL AND dead_at IS NULL) AS failed,
           count(*) FILTER (WHERE dead_at IS NOT NULL) AS dead,
           min(failure) AS failure
    FROM hub.outbox WHERE listed GROUP BY channel
),
pushed AS (
    SELECT channel,
           count(*) FILTER (WHERE outcome = 'acked') AS acked,
           count(*) FILTER (WHERE outcome IN ('refused', 'unknown', 'busy')) AS failed,
           percentile_cont(0.5) WITHIN GROUP (
               ORDER BY extract(epoch FROM answered_at - occurred_at)
           ) FILTER (WHERE outcome = 'acked' AND occurred_at IS NOT NULL) AS p50_s,
           percentile_cont(0.95) WITHIN GROUP (
               ORDER BY extract(epoch FROM answered_at - occurred_at)
           ) FILTER (WHERE outcome = 'acked' AND occurred_at IS NOT NULL) AS p95_s
    FROM hub.attempts
    WHERE channel = ANY(%(channels)s) AND sent_at > %(since)s
    GROUP BY channel
),
differing AS (
    SELECT channel, count(*) AS variances, min(first_seen) AS oldest
    FROM hub.variances WHERE closed_at IS NULL AND comparison = 'channel'
    GROUP BY channel
)
SELECT w.channel, coalesce(l.listings, 0) AS listings, coalesce(l.in_sync, 0) AS in_sync,
       coalesce(l.waiting, 0) AS waiting, coalesce(l.failed, 0) AS failed,
       coalesce(l.dead, 0) AS dead, coalesce(l.failure, '') AS failure,
       coalesce(d.variances, 0) AS open_variances,
       d.oldest AS oldest_variance,
       (SELECT max(sent_at) FROM hub.attempts AS a WHERE a.channel = w.channel)
           AS last_push,
       coalesce(p.acked, 0) AS acked_last_hour, coalesce(p.failed, 0) AS failed_last_hour,
       p.p50_s, p.p95_s
FROM wanted AS w
LEFT JOIN listing AS l USING (channel)
LEFT JOIN pushed AS p USING (channel)
LEFT JOIN differing AS d USING (channel)
ORDER BY w.place
"""


def sync_state(connection: Connection) -> rows.SyncState:
    """Head of the ledger, the sync cursor, and deliveries that wait in the inbox."""
    return _one(
        connection,
        rows.SyncState,
        """
        SELECT c.ledger_offset AS ledger_head, s.ledger_offset AS sync_offset, s.computed_at,
               s.next_wakeup_at, s.holder,
               (SELECT count(*) FROM hub.inbox WHERE done_at IS NULL) AS inbox_waiting,
               (SELECT count(*) FROM hub.inbox WHERE failure IS NOT NULL AND inbox_id >
                   (SELECT coalesce(max(inbox_id), 0) FROM hub.inbox) - %(recent)s) AS inbox_failed
        FROM hub.counter AS c CROSS JOIN hub.sync_cursor AS s
        """,
        {"recent": RECENT_ENTRIES},
    )


def channel_states(
    connection: Connection, channels: Sequence[str], *, at: datetime
) -> list[rows.ChannelState]:
    """One row for each of `channels`, in their order; percentiles over the hour before `at`."""
    return _all(
        connection,
        rows.ChannelState,
        _CHANNELS,
        {"channels": list(channels), "since": at - LATENCY_WINDOW},
    )


def system_states(connection: Connection, systems: Sequence[str]) -> list[rows.SystemState]:
    """One row for each of `systems`, in their order."""
    return _all(
        connection,
        rows.SystemState,
        """
        WITH recent AS (
            SELECT system, received_at FROM hub.ledger WHERE kind = 'event'
            ORDER BY ledger_offset DESC LIMIT %(recent)s
        ),
        heard AS (SELECT system, max(received_at) AS at FROM recent GROUP BY system),
        landed AS (
            SELECT system, max(as_of) FILTER (WHERE status = 'accepted') AS as_of,
                   count(*) FILTER (WHERE status = 'accepted') AS accepted,
                   count(*) FILTER (WHERE status = 'rejected') AS rejected
            FROM hub.snapshots GROUP BY system
        ),
        held AS (
            SELECT system, count(*) AS rows FROM hub.quarantine
            WHERE released_at IS NULL GROUP BY system
        )
        SELECT w.system, landed.as_of AS snapshot_as_of,
               coalesce(landed.accepted, 0) AS snapshots_accepted,
               coalesce(landed.rejected, 0) AS snapshots_rejected,
               heard.at AS last_event_at, coalesce(held.rows, 0) AS quarantined
        FROM unnest(%(systems)s::text[]) WITH ORDINALITY AS w(system, place)
        LEFT JOIN landed USING (system)
        LEFT JOIN heard USING (system)
        LEFT JOIN held USING (system)
        ORDER BY w.place
        """,
        {"systems": list(systems), "recent": RECENT_ENTRIES},
    )


def feed_states(connection: Connection) -> list[rows.FeedState]:
    """Every feed that was ever read, by system and name."""
    return _all(
        connection,
        rows.FeedState,
        "SELECT system, feed, read_at, as_of, failed_at, failure FROM hub.feeds"
        " ORDER BY system, feed LIMIT 500",
        {},
    )


def newest_pushes(
    connection: Connection, channels: Sequence[str], *, limit: int = 15
) -> list[rows.Push]:
    """The newest attempts over all channels, newest first."""
    return _all(
        connection,
        rows.Push,
        """
        SELECT p.* FROM unnest(%(channels)s::text[]) AS w(channel)
        CROSS JOIN LATERAL (
            SELECT a.channel, a.bucket, a.external_id, a.sku, a.quantity_milli, a.mode, a.sent_at,
                   a.answered_at, a.outcome, a.error, a.occurred_at
            FROM hub.attempts AS a WHERE a.channel = w.channel
            ORDER BY a.sent_at DESC LIMIT %(limit)s
        ) AS p
        ORDER BY p.sent_at DESC, p.channel, p.external_id LIMIT %(limit)s
        """,
        {"channels": list(channels), "limit": limit},
    )


def pushes_of(connection: Connection, sku: str, *, limit: int = PAGE_ROWS) -> list[rows.Push]:
    """The newest attempts for one sku, newest first."""
    return _all(
        connection,
        rows.Push,
        """
        SELECT channel, bucket, external_id, sku, quantity_milli, mode, sent_at, answered_at,
               outcome, error, occurred_at
        FROM hub.attempts WHERE sku = %(sku)s ORDER BY sent_at DESC LIMIT %(limit)s
        """,
        {"sku": sku, "limit": limit},
    )


def listings_of(
    connection: Connection, *, sku: str | None = None, channel: str | None = None, limit: int = 500
) -> list[rows.ListingState]:
    """Outbox rows of a sku, of a channel, or of both; by sku, channel, bucket."""
    return _all(
        connection,
        rows.ListingState,
        """
        SELECT channel, bucket, external_id, sku, units_milli, desired_milli, desired_offset,
               computed_at, base_milli, base_kind, base_answered_at, listed, look, failure, dead_at
        FROM hub.outbox
        WHERE (%(sku)s::text IS NULL OR sku = %(sku)s)
          AND (%(channel)s::text IS NULL OR channel = %(channel)s)
        ORDER BY sku, channel, bucket, external_id LIMIT %(limit)s
        """,
        {"sku": sku, "channel": channel, "limit": limit},
    )


def entries_of(
    connection: Connection, sku: str, *, limit: int = PAGE_ROWS
) -> list[rows.LedgerEntry]:
    """The newest ledger entries of one sku, newest first."""
    return _all(
        connection,
        rows.LedgerEntry,
        """
        SELECT ledger_offset, kind, system, event_id, type, occurred_at, received_at, sku,
               quantity_milli, location, to_location, order_id, line_id, channel, source
        FROM hub.ledger WHERE sku = %(sku)s ORDER BY ledger_offset DESC LIMIT %(limit)s
        """,
        {"sku": sku, "limit": limit},
    )


def last_entry_by_location(connection: Connection, sku: str) -> list[rows.LedgerEntry]:
    """The entry with the newest occurred_at at each location, among the sku's last entries."""
    return _all(
        connection,
        rows.LedgerEntry,
        """
        WITH recent AS (
            SELECT * FROM hub.ledger WHERE sku = %(sku)s ORDER BY ledger_offset DESC LIMIT 2000
        )
        SELECT DISTINCT ON (location)
               ledger_offset, kind, system, event_id, type, occurred_at, received_at, sku,
               quantity_milli, location, to_location, order_id, line_id, channel, source
        FROM recent WHERE location IS NOT NULL
        ORDER BY location, occurred_at DESC, ledger_offset DESC LIMIT 500
        """,
        {"sku": sku},
    )


def open_variances(
    connection: Connection,
    *,
    channel: str | None = None,
    cause: str | None = None,
    sku: str | None = None,
    limit: int = 200,
) -> list[rows.Variance]:
    """Open variances, the oldest first."""
    return _all(
        connection,
        rows.Variance,
        """
        SELECT comparison, channel, bucket, external_id, system, location, state, sku,
               expected_milli, found_milli, cause, first_seen, last_seen, heal, healed_at
        FROM hub.variances
        WHERE closed_at IS NULL
          AND (%(channel)s::text IS NULL OR channel = %(channel)s)
          AND (%(cause)s::text IS NULL OR cause = %(cause)s)
          AND (%(sku)s::text IS NULL OR sku = %(sku)s)
        ORDER BY first_seen, variance_id LIMIT %(limit)s
        """,
        {"channel": channel, "cause": cause, "sku": sku, "limit": limit},
    )


def variance_causes(connection: Connection) -> list[rows.CauseCount]:
    """Open variances by cause and channel, the most first."""
    return _all(
        connection,
        rows.CauseCount,
        """
        SELECT cause, channel, count(*) AS count, min(first_seen) AS oldest
        FROM hub.variances WHERE closed_at IS NULL GROUP BY cause, channel
        ORDER BY count(*) DESC, cause, channel LIMIT 100
        """,
        {},
    )


def newest_snapshots(
    connection: Connection, *, status: str | None = None, limit: int = PAGE_ROWS
) -> list[rows.SnapshotRow]:
    """The snapshots that landed last, accepted and rejected ones."""
    return _all(
        connection,
        rows.SnapshotRow,
        """
        SELECT system, feed, source, as_of, status, reason, message, data_rows, quarantined_rows,
               landed_at
        FROM hub.snapshots WHERE (%(status)s::text IS NULL OR status = %(status)s)
        ORDER BY landed_at DESC, snapshot_id DESC LIMIT %(limit)s
        """,
        {"status": status, "limit": limit},
    )


def quarantined(connection: Connection, *, limit: int = PAGE_ROWS) -> list[rows.QuarantinedRow]:
    """Rows held back and not released, newest first."""
    return _all(
        connection,
        rows.QuarantinedRow,
        """
        SELECT quarantine_id, system, kind, source, position, reason, message, raw, received_at
        FROM hub.quarantine WHERE released_at IS NULL
        ORDER BY quarantine_id DESC LIMIT %(limit)s
        """,
        {"limit": limit},
    )


def known_sku(connection: Connection, sku: str) -> bool:
    """The ledger or the outbox has heard of it."""
    found = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM hub.outbox WHERE sku = %(sku)s)"
        " OR EXISTS (SELECT 1 FROM hub.ledger WHERE sku = %(sku)s)",
        {"sku": sku},
    ).fetchone()
    return bool(found and found[0])


def _all(connection: Connection, row: type[Row], sql: str, parameters: dict[str, Any]) -> list[Row]:
    with connection.cursor(row_factory=class_row(row)) as cursor:
        return cursor.execute(sql, parameters).fetchall()


def _one(connection: Connection, row: type[Row], sql: str, parameters: dict[str, Any]) -> Row:
    return _all(connection, row, sql, parameters)[0]
