"""Hints that listings have changed: kept until judged, one a listing (SEMANTICS §8).

Quantities in thousandths of the channel's unit. What was told is never a base: a listing is marked,
and the sender reads it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from inventory_pipeline.core.ports import LevelHint
from inventory_pipeline.memory.arrays import join_by_index
from inventory_pipeline.memory.postgres import LEDGER_NOTIFICATION, Connection

# The sync cursor that does not move (nobody drains) keeps a hint waiting no longer than this.
LONGEST_WAIT = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a channel told of one listing, and when it says that it was so."""

    place: tuple[str, str]  # bucket, external id
    told_milli: int | None
    told_at: datetime | None


# Of several hints about a listing the newest by the channel's own time counts; where that cannot be
# told apart and the numbers differ, none does, and it is read.
_RECORD = """
WITH heard AS (
    SELECT * FROM unnest(%(ids)s::text[], %(places)s::text[], %(milli)s::bigint[],
        %(told)s::timestamptz[], %(number)s::bigint[])
        AS h (external_id, place, milli, told_at, number)
), found AS (
    SELECT h.number, o.channel, o.bucket, o.external_id, h.milli, h.told_at
    FROM heard h JOIN hub.outbox o
        ON o.channel = ANY(%(channels)s) AND o.bucket = ANY(%(buckets)s)
        AND o.external_id = h.external_id
    WHERE h.place = '' OR o.bucket_external IN ('', h.place)
), newest AS (
    SELECT channel, bucket, external_id,
           CASE WHEN count(DISTINCT coalesce(milli, -1)) = 1 THEN min(milli) END AS milli,
           min(told_at) AS told_at
    FROM (SELECT f.*, rank() OVER (PARTITION BY channel, bucket, external_id
                                   ORDER BY told_at DESC NULLS FIRST) AS place FROM found f) f
    WHERE place = 1 GROUP BY channel, bucket, external_id
), stored AS (
    INSERT INTO hub.hints AS h
    SELECT channel, bucket, external_id, milli, told_at, %(now)s, %(due)s, k.ledger_offset
    FROM newest, hub.counter k
    ORDER BY channel, bucket, external_id
    ON CONFLICT (channel, bucket, external_id) DO UPDATE SET
        told_milli = CASE
            WHEN h.told_at > excluded.told_at THEN h.told_milli
            WHEN h.told_at < excluded.told_at THEN excluded.told_milli
            WHEN h.told_milli = excluded.told_milli THEN h.told_milli END,
        told_at = CASE WHEN h.told_at IS NULL OR excluded.told_at IS NULL THEN NULL
            ELSE greatest(h.told_at, excluded.told_at) END,
        received_at = excluded.received_at, ledger_offset = excluded.ledger_offset
)
SELECT count(DISTINCT number) FROM found
"""


def record(
    connection: Connection,
    channels: Sequence[str],
    buckets: Sequence[str],
    hints: Sequence[LevelHint],
    *,
    now: datetime,
    due: datetime,
) -> int:
    """Keeps hints about listings of these channels, all in one statement; returns how many of them
    are about no listing. A listing that waits already is judged no later for it.
    """
    if not hints:
        return 0
    join_by_index(connection)
    row = connection.execute(
        _RECORD,
        {
            "ids": [hint.external_id for hint in hints],
            "places": [hint.bucket_external for hint in hints],
            "milli": [hint.quantity_milli for hint in hints],
            "told": [hint.told_at for hint in hints],
            "number": list(range(len(hints))),
            "channels": list(channels), "buckets": list(buckets), "now": now, "due": due,
        },
    ).fetchone()  # fmt: skip
    return len(hints) - (int(row[0]) if row else 0)


def channels_told(connection: Connection, *, now: datetime) -> list[str]:
    """Channels with hints that are due."""
    rows = connection.execute(
        "SELECT DISTINCT channel FROM hub.hints WHERE due_at <= %s ORDER BY channel", (now,)
    )
    return [channel for (channel,) in rows]


def take(connection: Connection, channel: str, *, now: datetime, limit: int) -> list[Told]:
    """Hints of a channel that can be judged now, gone with the caller's transaction.

    One about a listing that is being written waits for the answer: it may be the write's own echo.
    """
    rows = connection.execute(
        "DELETE FROM hub.hints h USING ("
        " SELECT h.channel, h.bucket, h.external_id FROM hub.hints h, hub.sync_cursor c"
        " WHERE h.channel = %(channel)s AND h.due_at <= %(now)s"
        "  AND (h.ledger_offset <= c.ledger_offset OR h.due_at <= %(now)s - %(longest)s)"
        "  AND NOT EXISTS (SELECT 1 FROM hub.outbox o WHERE o.channel = h.channel"
        "   AND o.bucket = h.bucket AND o.external_id = h.external_id AND o.open_key IS NOT NULL)"
        " ORDER BY h.due_at LIMIT %(limit)s FOR UPDATE OF h SKIP LOCKED) t"
        " WHERE h.channel = t.channel AND h.bucket = t.bucket AND h.external_id = t.external_id"
        " RETURNING h.bucket, h.external_id, h.told_milli, h.told_at",
        {"channel": channel, "now": now, "longest": LONGEST_WAIT, "limit": limit},
    )
    return [
        Told(place=(bucket, external), told_milli=milli, told_at=told_at)
        for bucket, external, milli, told_at in rows
    ]


def forget(connection: Connection, channel: str) -> int:
    """Drops the hints of a channel that nothing is sent to."""
    return connection.execute("DELETE FROM hub.hints WHERE channel = %s", (channel,)).rowcount


def mark_unread(
    connection: Connection, channel: str, places: Sequence[tuple[str, str]], *, now: datetime
) -> int:
    """The sender reads these before anything else is done about them; returns how many it was not
    going to read anyway.

    What is postponed stays so: it waits for the orders behind a number that fell, and raising it
    before they are counted would give the sold units back.
    """
    if not places:
        return 0
    join_by_index(connection)
    buckets, external_ids = zip(*places, strict=True)
    marked = connection.execute(
        "UPDATE hub.outbox o SET unread = true, look = true, looks = o.looks + 1,"
        " look_after = CASE WHEN o.look AND o.look_after > %(now)s THEN o.look_after END,"
        " waiting_since = coalesce(CASE WHEN o.look THEN o.waiting_since END, %(now)s)"
        " FROM unnest(%(buckets)s::text[], %(ids)s::text[]) AS p (bucket, external_id)"
        " WHERE o.channel = %(channel)s AND o.bucket = p.bucket"
        " AND o.external_id = p.external_id AND o.listed AND o.dead_at IS NULL"
        " AND o.base_kind IS DISTINCT FROM 'shadow' AND NOT (o.look AND o.unread)",
        {"channel": channel, "now": now, "buckets": list(buckets), "ids": list(external_ids)},
    ).rowcount
    if marked:
        connection.execute("SELECT pg_notify(%s, '')", (LEDGER_NOTIFICATION,))
    return marked
