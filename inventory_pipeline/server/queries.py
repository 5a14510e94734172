"""The questions behind Health, and those that several pages share. Each is bounded by LIMIT, by an
index over what is wrong, or by the number of channels and systems.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from psycopg.rows import class_row

from inventory_pipeline.memory import breakers, guard, periods
from inventory_pipeline.memory.postgres import Connection
from inventory_pipeline.server import rows

PAGE_ROWS = 50
# The newest event of each system is looked for among this many ledger entries.
RECENT_ENTRIES = 20_000
LATENCY_WINDOW = timedelta(hours=1)
# Below this, what is not well is counted exactly at every view.
EXACTLY = 2_000
# A count that takes longer than this is not made while somebody waits.
CHEAP_MS = 40

Row = TypeVar("Row")


def sync_state(connection: Connection) -> rows.SyncState:
    """Head of the ledger, the sync cursor, and deliveries that wait in the inbox."""
    return _single(
        connection,
        rows.SyncState,
        """
        SELECT c.ledger_offset AS ledger_head, s.ledger_offset AS sync_offset, s.computed_at,
               s.next_wakeup_at, s.holder,
               (SELECT l.received_at FROM hub.ledger l
                WHERE l.ledger_offset = s.ledger_offset + 1) AS waiting_since,
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
    counts = _listing_counts(connection, channels, at=at)
    variances = _open_by_channel(connection, channels)
    held = guard.held_counts(connection)
    open_breakers = {one.channel: one for one in breakers.breakers(connection)}
    pushed = periods.periods(
        connection, channels, since=at - LATENCY_WINDOW, until=at + periods.PERIOD
    )
    last = _last_push(connection, channels)
    states = []
    for channel in channels:
        hour = periods.together(pushed[channel])
        one = counts[channel]
        waiting, since = held.get(channel, (0, None))
        number, oldest = variances.get(channel, (0, None))
        states.append(
            rows.ChannelState(
                channel=channel,
                listings=one.listings,
                in_sync=one.listings - one.unwell,
                waiting=one.waiting,
                failed=max(0, one.failed - waiting),
                dead=one.dead,
                counted_at=one.counted_at,
                failure=_one_failure(connection, channel) if one.failed or one.dead else "",
                open_variances=number,
                oldest_variance=oldest,
                held=waiting,
                held_since=since,
                breaker=open_breakers.get(channel),
                last_push=last.get(channel),
                acked_last_hour=hour.acked if hour else 0,
                failed_last_hour=hour.failed if hour else 0,
                p50_s=periods.percentile_s(hour.event_steps, 0.5) if hour else None,
                p95_s=periods.percentile_s(hour.event_steps, 0.95) if hour else None,
            )
        )
    return states


def _listing_counts(
    connection: Connection, channels: Sequence[str], *, at: datetime
) -> dict[str, periods.Counts]:
    """As counted last, where counting is expensive; what is not well is exact while little."""
    known = periods.counted(connection, channels)
    if len(known) < len(channels) or max((c.cost_ms for c in known.values()), default=0) < CHEAP_MS:
        return periods.count_listings(connection, channels, at=at)
    for channel in channels:
        found = connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE look AND dead_at IS NULL),"
            " count(*) FILTER (WHERE failure IS NOT NULL AND dead_at IS NULL), count(dead_at)"
            " FROM (SELECT look, failure, dead_at FROM hub.outbox WHERE channel = %s AND listed"
            "  AND (look OR failure IS NOT NULL OR dead_at IS NOT NULL) LIMIT %s) unwell",
            (channel, EXACTLY),
        ).fetchone()
        assert found is not None
        if found[0] < EXACTLY:
            known[channel] = replace(
                known[channel],
                unwell=found[0], waiting=found[1], failed=found[2], dead=found[3], counted_at=at,
            )  # fmt: skip
    return known


def _one_failure(connection: Connection, channel: str) -> str:
    row = connection.execute(
        "SELECT failure FROM hub.outbox WHERE channel = %s AND listed AND failure IS NOT NULL"
        " AND (look OR failure IS NOT NULL OR dead_at IS NOT NULL) LIMIT 1",
        (channel,),
    ).fetchone()
    return str(row[0]) if row else ""


def _open_by_channel(
    connection: Connection, channels: Sequence[str]
) -> dict[str, tuple[int, datetime]]:
    found = connection.execute(
        "SELECT channel, count(*), min(first_seen) FROM hub.variances"
        " WHERE closed_at IS NULL AND comparison = 'channel' AND channel = ANY(%s)"
        " GROUP BY channel",
        (list(channels),),
    )
    return {channel: (number, oldest) for channel, number, oldest in found}


def _last_push(connection: Connection, channels: Sequence[str]) -> dict[str, datetime]:
    found = connection.execute(
        "SELECT w.channel, (SELECT max(a.sent_at) FROM hub.attempts a WHERE a.channel = w.channel)"
        " FROM unnest(%s::text[]) AS w(channel)",
        (list(channels),),
    )
    return {channel: at for channel, at in found if at is not None}


def system_states(
    connection: Connection, systems: Sequence[str], *, at: datetime
) -> list[rows.SystemState]:
    """One row for each of `systems`, in their order; of quarantined rows at most 10,000 count."""
    return ask(
        connection,
        rows.SystemState,
        """
        WITH recent AS (
            SELECT system, received_at FROM hub.ledger WHERE kind = 'event'
            ORDER BY ledger_offset DESC LIMIT %(recent)s
        ),
        heard AS (SELECT system, max(received_at) AS at FROM recent GROUP BY system)
        SELECT w.system,
               (SELECT s.as_of FROM hub.snapshots s
                WHERE s.system = w.system AND s.status = 'accepted'
                ORDER BY s.as_of DESC LIMIT 1) AS snapshot_as_of,
               (SELECT count(*) FROM (
                    SELECT 1 FROM hub.snapshots s
                    WHERE s.system = w.system AND s.status = 'rejected'
                      AND s.landed_at > %(since)s LIMIT 1000) r) AS rejected_last_day,
               heard.at AS last_event_at,
               (SELECT count(*) FROM (
                    SELECT 1 FROM hub.quarantine q
                    WHERE q.system = w.system AND q.released_at IS NULL LIMIT 10000) h
               ) AS quarantined
        FROM unnest(%(systems)s::text[]) WITH ORDINALITY AS w(system, place)
        LEFT JOIN heard USING (system)
        ORDER BY w.place
        """,
        {"systems": list(systems), "recent": RECENT_ENTRIES, "since": at - timedelta(days=1)},
    )


def feed_states(connection: Connection) -> list[rows.FeedState]:
    """Every feed that was ever read, by system and name."""
    return ask(
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
    return ask(
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
    return ask(
        connection,
        rows.Push,
        """
        SELECT channel, bucket, external_id, sku, quantity_milli, mode, sent_at, answered_at,
               outcome, error, occurred_at
        FROM hub.attempts WHERE sku = %(sku)s ORDER BY sent_at DESC LIMIT %(limit)s
        """,
        {"sku": sku, "limit": limit},
    )


def failing(connection: Connection, channels: Sequence[str], *, limit: int) -> list[rows.Failing]:
    """Listings whose last attempt failed and that will be tried again; held ones left out."""
    return ask(
        connection,
        rows.Failing,
        """
        SELECT f.* FROM unnest(%(channels)s::text[]) AS w(channel)
        CROSS JOIN LATERAL (
            SELECT o.channel, o.bucket, o.external_id, o.sku, o.desired_milli, o.base_milli,
                   o.attempts, o.failure, o.failing_since, o.look_after
            FROM hub.outbox o
            WHERE o.channel = w.channel AND o.listed AND o.failure IS NOT NULL
              AND o.dead_at IS NULL
              AND (o.look OR o.failure IS NOT NULL OR o.dead_at IS NOT NULL)
              AND NOT EXISTS (SELECT 1 FROM hub.holds h WHERE h.state = 'held'
                  AND (h.channel, h.bucket, h.external_id) = (o.channel, o.bucket, o.external_id))
            LIMIT %(limit)s
        ) AS f
        ORDER BY f.failing_since NULLS LAST, f.channel, f.external_id LIMIT %(limit)s
        """,
        {"channels": list(channels), "limit": limit},
    )


def known_sku(connection: Connection, sku: str) -> bool:
    """The ledger or the outbox has heard of it."""
    found = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM hub.outbox WHERE sku = %(sku)s)"
        " OR EXISTS (SELECT 1 FROM hub.ledger WHERE sku = %(sku)s)",
        {"sku": sku},
    ).fetchone()
    return bool(found and found[0])


def ask(connection: Connection, row: type[Row], sql: str, parameters: dict[str, Any]) -> list[Row]:
    """The rows of a SELECT, as values of `row`; its columns have the fields' names."""
    with connection.cursor(row_factory=class_row(row)) as cursor:
        return cursor.execute(sql, parameters).fetchall()


def _single(connection: Connection, row: type[Row], sql: str, parameters: dict[str, Any]) -> Row:
    return ask(connection, row, sql, parameters)[0]
