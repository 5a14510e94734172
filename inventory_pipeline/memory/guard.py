"""What the guard holds and what it asks of outbox, attempts and ledger (SEMANTICS §8).

Quantities in thousandths: of the channel's unit, unless a name says base units.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from inventory_pipeline.core.guard import Place
from inventory_pipeline.core.outbox import OutboxRow, PlannedWrite
from inventory_pipeline.memory import audit
from inventory_pipeline.memory.places import each
from inventory_pipeline.memory.postgres import LEDGER_NOTIFICATION, Connection
from inventory_pipeline.memory.versions import NEWEST, Settings

Listing = tuple[str, str, str]  # channel, bucket, external id

HELD = "held"
RELEASED = "released"
REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What is asked before every batch: cheap, whatever the channel's size.

    `marks` counts listings that are held or decided about; `fresh` counts listings computed since
    the given moment, up to the given limit.
    """

    settings: Settings
    cursor: int
    marks: int
    fresh: int


def glance(connection: Connection, channel: str, *, since: datetime | None, most: int) -> Glance:
    """`since` None: nothing was counted yet, so nothing is fresh."""
    row = connection.execute(
        f"SELECT {NEWEST}, (SELECT ledger_offset FROM hub.sync_cursor),"
        " (SELECT count(*) FROM hub.holds WHERE channel = %(channel)s),"
        " (SELECT count(*) FROM (SELECT 1 FROM hub.outbox WHERE channel = %(channel)s AND look"
        "   AND computed_at > %(since)s LIMIT %(most)s) fresh)",
        {"channel": channel, "since": since, "most": most},
    ).fetchone()
    assert row is not None
    settings = Settings(policy_version=row[0], mapping_version=row[1], overrides=row[2])
    return Glance(settings=settings, cursor=row[3], marks=row[4], fresh=row[5])


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A listing that is held, or that a person decided about (the table says what is what)."""

    bucket: str
    external_id: str
    state: str
    from_milli: int
    from_offset: int
    from_at: datetime
    desired_milli: int
    held_at: datetime
    decided_at: datetime | None
    used_at: datetime | None
    acked: bool  # a release: the channel has acknowledged its number


_PLACES = (
    "unnest(%(buckets)s::text[], %(external_ids)s::text[]) AS p (bucket, external_id)"
    " WHERE h.channel = %(channel)s AND h.bucket = p.bucket AND h.external_id = p.external_id"
)


def marks(connection: Connection, channel: str, places: Sequence[Place]) -> dict[Place, Mark]:
    """The marks of these listings, by place."""
    with connection.cursor(row_factory=class_row(Mark)) as cursor:
        rows = cursor.execute(
            "SELECT h.bucket, h.external_id, h.state, h.from_milli, h.from_offset, h.from_at,"
            " h.desired_milli, h.held_at, h.decided_at, h.used_at, EXISTS (SELECT 1"
            "  FROM hub.attempts a WHERE a.channel = h.channel AND a.bucket = h.bucket"
            "  AND a.external_id = h.external_id AND a.sent_at >= h.used_at"
            "  AND a.outcome = 'acked' AND a.quantity_milli = h.desired_milli) AS acked"
            f" FROM hub.holds h, {_PLACES}",
            _of(channel, places),
        ).fetchall()
    return {(mark.bucket, mark.external_id): mark for mark in rows}


def sent_since(
    connection: Connection, channel: str, since: datetime
) -> list[tuple[Place, datetime, int, int]]:
    """Writes that left since then and were, or may have been, applied: from what to what, in their
    order. What a person released counts from the released number on.
    """
    rows = connection.execute(
        "SELECT a.bucket, a.external_id, a.sent_at, a.compare_milli, a.quantity_milli,"
        " coalesce(h.decided_at <= a.sent_at AND a.quantity_milli = h.desired_milli, false)"
        " FROM hub.attempts a LEFT JOIN hub.holds h ON h.channel = a.channel"
        "  AND h.bucket = a.bucket AND h.external_id = a.external_id AND h.state = 'released'"
        " WHERE a.channel = %s AND a.sent_at >= %s AND a.mode IN ('live', 'canary')"
        " AND a.compare_milli IS NOT NULL"
        " AND (a.outcome IS NULL OR a.outcome IN ('acked', 'accepted', 'unknown'))"
        " AND (h.decided_at IS NULL OR a.sent_at >= h.decided_at)"
        " ORDER BY a.sent_at, a.bucket, a.external_id",
        (channel, since),
    )
    return [
        ((bucket, external_id), at, to if released else compare, to)
        for bucket, external_id, at, compare, to, released in rows
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The channel as a whole: how many of its listings are known, the newest computation among
    them, and the moves that wait or are held (place → from, to), the harmless left out.
    """

    listings: int
    newest: datetime | None
    moves: Mapping[Place, tuple[int, int]]


_WAITING = """
SELECT o.bucket, o.external_id,
       CASE WHEN h.state = 'held' THEN h.from_milli ELSE o.base_milli + own.milli END,
       o.desired_milli
FROM hub.outbox o
LEFT JOIN hub.holds h USING (channel, bucket, external_id)
CROSS JOIN LATERAL (
    SELECT coalesce(sum(-l.quantity_milli * 1000 / o.units_milli), 0)::bigint AS milli
    FROM hub.ledger l
    WHERE l.kind = 'event' AND l.sku = o.sku AND l.system = %(system)s
      AND (l.channel = o.channel OR l.channel IS NULL) AND l.type = ANY(%(takes)s)
      AND l.occurred_at > o.base_answered_at
      AND l.ledger_offset <= (SELECT ledger_offset FROM hub.sync_cursor)
) own
WHERE o.channel = %(channel)s AND o.listed AND o.base_milli > 0 AND o.base_kind <> 'shadow'
  AND (%(skus)s::text[] IS NULL OR o.sku = ANY(%(skus)s))
  AND (o.look AND o.dead_at IS NULL OR h.state = 'held' AND h.desired_milli = o.desired_milli)
  AND (h.state IS NULL OR h.state = 'held' OR h.desired_milli <> o.desired_milli)
  AND (o.desired_milli <= 0
       OR abs(o.desired_milli - o.base_milli) * 100 > %(percent)s * o.base_milli
       OR h.state = 'held')
"""


def waiting(
    connection: Connection,
    channel: str,
    *,
    system: str,
    takes: Sequence[str],
    percent: Any,
    skus: Sequence[str] | None,
) -> Waiting:
    """Counts a whole channel: a scan over its listings. `takes` are the types of event by which
    the channel lowers its own number; `skus` where only some of its listings are sent.
    """
    row = connection.execute(
        "SELECT count(*) FILTER (WHERE base_milli IS NOT NULL AND base_kind <> 'shadow'),"
        " max(computed_at) FROM hub.outbox WHERE channel = %(channel)s"
        " AND listed AND (%(skus)s::text[] IS NULL OR sku = ANY(%(skus)s))",
        {"channel": channel, "skus": skus},
    ).fetchone()
    assert row is not None
    found = connection.execute(
        _WAITING,
        {
            "channel": channel, "system": system, "takes": list(takes), "percent": percent,
            "skus": skus,
        },
    )  # fmt: skip
    moves = {(bucket, external_id): (start, end) for bucket, external_id, start, end in found}
    return Waiting(listings=row[0], newest=row[1], moves=moves)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Of a listing its `units_milli` (base units in one of the channel's), and the ledger offset
    up to which the number that its channel shows was the desired one; None: it never was.
    """

    units_milli: int
    right_upto: int | None


def known(connection: Connection, channel: str, places: Sequence[Place]) -> dict[Place, Known]:
    """What is known of these listings, by place."""
    rows = connection.execute(
        "SELECT h.bucket, h.external_id, h.units_milli, greatest(h.right_upto,"
        " (SELECT max(a.desired_offset) FROM hub.attempts a WHERE a.channel = h.channel"
        "  AND a.bucket = h.bucket AND a.external_id = h.external_id AND a.outcome = 'acked'))"
        f" FROM hub.outbox h, {_PLACES}",
        _of(channel, places),
    )
    return {
        (bucket, external_id): Known(units_milli=units, right_upto=upto)
        for bucket, external_id, units, upto in rows
    }


def hold(
    connection: Connection,
    channel: str,
    rows: Sequence[tuple[OutboxRow, int, datetime]],
    *,
    from_offset: int,
    why: str,
    at: datetime,
) -> None:
    """Holds these rows: each with what the channel showed less what orders took, and the time from
    which its own later orders count.
    """
    listings = [row.listing for row, _, _ in rows]
    connection.execute(
        "UPDATE hub.guard_cursor SET looked_upto = %s WHERE NOT EXISTS (SELECT 1 FROM hub.holds)",
        (from_offset,),
    )
    connection.execute(
        "INSERT INTO hub.holds (channel, bucket, external_id, sku, state, from_milli, from_offset,"
        " from_at, desired_milli, why, held_at)"
        " SELECT %(channel)s, p.bucket, p.external_id, p.sku, 'held', p.from_milli, %(offset)s,"
        " p.from_at, p.desired_milli, %(why)s, %(at)s"
        " FROM unnest(%(buckets)s::text[], %(external_ids)s::text[], %(skus)s::text[],"
        "  %(froms)s::bigint[], %(from_ats)s::timestamptz[], %(desired)s::bigint[])"
        " AS p (bucket, external_id, sku, from_milli, from_at, desired_milli)"
        " ON CONFLICT (channel, bucket, external_id) DO UPDATE SET sku = excluded.sku,"
        " state = 'held', from_milli = excluded.from_milli, from_offset = excluded.from_offset,"
        " from_at = excluded.from_at, desired_milli = excluded.desired_milli, why = excluded.why,"
        " held_at = excluded.held_at, decided_at = NULL, decided_by = NULL, reason = NULL,"
        " used_at = NULL",
        {
            "channel": channel, "offset": from_offset, "why": why, "at": at,
            "buckets": [listing.bucket for listing in listings],
            "external_ids": [listing.external_id for listing in listings],
            "skus": [row.sku for row, _, _ in rows],
            "froms": [from_milli for _, from_milli, _ in rows],
            "from_ats": [from_at for _, _, from_at in rows],
            "desired": [row.desired_milli for row, _, _ in rows],
        },
    )  # fmt: skip


def ordered_since(connection: Connection, types: Sequence[str]) -> list[str]:
    """Skus of the entries of these types that were computed since this was asked last; asked only
    while something is held.
    """
    rows = connection.execute(
        "WITH upto AS (SELECT ledger_offset FROM hub.sync_cursor),"
        " asked AS (UPDATE hub.guard_cursor c SET looked_upto = u.ledger_offset"
        "  FROM upto u, (SELECT looked_upto FROM hub.guard_cursor) before"
        "  WHERE c.looked_upto < u.ledger_offset AND EXISTS (SELECT 1 FROM hub.holds)"
        "  RETURNING before.looked_upto AS after, u.ledger_offset AS upto)"
        " SELECT DISTINCT l.sku FROM asked a JOIN hub.ledger l"
        " ON l.ledger_offset > a.after AND l.ledger_offset <= a.upto"
        " WHERE l.sku IS NOT NULL AND l.type = ANY(%s)",
        (list(types),),
    )
    return [sku for (sku,) in rows]


def look_at(connection: Connection, skus: Sequence[str]) -> None:
    """What is held or was rejected of these skus is looked at again."""
    connection.execute(
        "UPDATE hub.outbox o SET look = true, looks = o.looks + 1, look_after = NULL"
        " FROM hub.holds h WHERE h.sku = ANY(%s) AND h.state IN ('held', 'rejected')"
        " AND (o.channel, o.bucket, o.external_id) = (h.channel, h.bucket, h.external_id)",
        (list(skus),),
    )


def keep(connection: Connection, rows: Sequence[OutboxRow], message: str) -> None:
    """These are not sent: no look needed until something changes, and `message` says why.

    A newer desired value of a row that is held is held as well.
    """
    if not rows:
        return
    some = _of(rows[0].channel, [(r.listing.bucket, r.listing.external_id) for r in rows]) | {
        "message": message,
        "looks": [row.looks for row in rows],
        "desired": [row.desired_milli for row in rows],
    }
    of_each = (
        " FROM unnest(%(buckets)s::text[], %(external_ids)s::text[], %(looks)s::bigint[],"
        " %(desired)s::bigint[]) AS p (bucket, external_id, looks, desired_milli)"
        " WHERE h.channel = %(channel)s AND h.bucket = p.bucket AND h.external_id = p.external_id"
    )
    # Whatever marked a row since it was read must not be lost.
    connection.execute(
        "UPDATE hub.outbox h SET look = false, look_after = NULL, failure = %(message)s"
        f"{of_each} AND h.looks = p.looks",
        some,
    )
    connection.execute(
        f"UPDATE hub.holds h SET desired_milli = p.desired_milli{of_each}"
        " AND h.state = 'held' AND h.desired_milli <> p.desired_milli",
        some,
    )


def lift(connection: Connection, channel: str, places: Sequence[Place]) -> None:
    """What was said of these listings does not count any more."""
    if places:
        connection.execute(f"DELETE FROM hub.holds h USING {_PLACES}", _of(channel, places))


def lift_settled(connection: Connection, channel: str) -> int:
    """Lifts holds whose listing shows by now what it must: nothing is left to decide."""
    return connection.execute(
        "DELETE FROM hub.holds h USING hub.outbox o WHERE h.channel = %s"
        " AND (o.channel, o.bucket, o.external_id) = (h.channel, h.bucket, h.external_id)"
        " AND h.state <> 'released' AND NOT o.look AND o.desired_milli <> h.desired_milli",
        (channel,),
    ).rowcount


def used(
    connection: Connection, channel: str, writes: Sequence[PlannedWrite], *, at: datetime
) -> None:
    """Released rows are sent now; the number that passes is the one that the release is about."""
    each(
        connection,
        "UPDATE hub.holds SET used_at = %s, desired_milli = %s"
        " WHERE channel = %s AND bucket = %s AND external_id = %s AND state = 'released'",
        [
            (at, w.row.desired_milli, channel, w.row.listing.bucket, w.row.listing.external_id)
            for w in writes
        ],
    )


# What a person sees and decides.


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRow:
    """One listing that is held (or was decided about) and the number that waits for it now.

    `from_milli` is what the channel showed when it was held, `desired_milli` what it would get.
    """

    channel: str
    bucket: str
    external_id: str
    sku: str
    state: str
    from_milli: int
    desired_milli: int
    shown_milli: int | None
    why: str
    held_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None


# A hold whose listing settled at another number is over, whether its row is gone yet or not.
_IN_FORCE = "h.state = 'held' AND (o.look OR o.desired_milli = h.desired_milli)"
_SEEN = (
    "SELECT h.channel, h.bucket, h.external_id, h.sku, h.state, h.from_milli, o.desired_milli,"
    " o.base_milli AS shown_milli, h.why, h.held_at, h.decided_at, h.decided_by, h.reason"
    " FROM hub.holds h JOIN hub.outbox o USING (channel, bucket, external_id)"
)
_WORST_FIRST = (
    " ORDER BY abs(o.desired_milli - h.from_milli) DESC, h.channel, h.bucket, h.external_id"
)


def held_rows(
    connection: Connection,
    channel: str | None = None,
    *,
    sku: str | None = None,
    decided: bool = False,
    limit: int = 1_000,
) -> list[HeldRow]:
    """Listings that are held, the greatest move first; with `decided` also those released or
    rejected.
    """
    with connection.cursor(row_factory=class_row(HeldRow)) as cursor:
        return cursor.execute(
            f"{_SEEN} WHERE (%(channel)s::text IS NULL OR h.channel = %(channel)s)"
            " AND (%(sku)s::text IS NULL OR h.sku = %(sku)s)"
            f" AND ({_IN_FORCE} OR %(decided)s AND h.state <> 'held')"
            f"{_WORST_FIRST} LIMIT %(limit)s",
            {"channel": channel, "sku": sku, "decided": decided, "limit": limit},
        ).fetchall()


def held_counts(connection: Connection) -> dict[str, tuple[int, datetime]]:
    """Channel → how many of its listings are held, and since when the oldest of them is."""
    rows = connection.execute(
        "SELECT h.channel, count(*), min(h.held_at) FROM hub.holds h"
        f" JOIN hub.outbox o USING (channel, bucket, external_id) WHERE {_IN_FORCE}"
        " GROUP BY h.channel ORDER BY h.channel"
    )
    return {channel: (count, since) for channel, count, since in rows}


def release(
    connection: Connection, places: Sequence[Listing], *, by: str, reason: str, at: datetime
) -> int:
    """Lets the newest desired value of these listings pass, once; how many were held or rejected.

    Sent by the next drain, which is woken. Recorded in the audit.
    """
    done = _decide(connection, places, RELEASED, by=by, reason=reason, at=at)
    each(
        connection,
        "UPDATE hub.outbox SET look = true, looks = looks + 1, look_after = NULL, failure = NULL"
        " WHERE channel = %s AND bucket = %s AND external_id = %s",
        [row[:3] for row in done],
    )
    if done:
        connection.execute("SELECT pg_notify(%s, '')", (LEDGER_NOTIFICATION,))
    return len(done)


def reject(
    connection: Connection, places: Sequence[Listing], *, by: str, reason: str, at: datetime
) -> int:
    """Leaves these listings as their channel shows them until another desired value is computed;
    how many were held. Their orders lower them all the same. Recorded in the audit.
    """
    done = _decide(connection, places, REJECTED, by=by, reason=reason, at=at)
    each(
        connection,
        "UPDATE hub.outbox SET look = true, looks = looks + 1, look_after = NULL"
        " WHERE channel = %s AND bucket = %s AND external_id = %s",
        [row[:3] for row in done],
    )
    return len(done)


def _decide(
    connection: Connection,
    places: Sequence[Listing],
    state: str,
    *,
    by: str,
    reason: str,
    at: datetime,
) -> list[tuple[str, str, str, str, int, int]]:
    """Marks the rows; (channel, bucket, external id, sku, from, desired) of those that changed."""
    if not places:
        return []
    channels, buckets, external_ids = zip(*places, strict=True)
    done = connection.execute(
        "UPDATE hub.holds h SET state = %(state)s, decided_at = %(at)s, decided_by = %(by)s,"
        " reason = %(reason)s, used_at = NULL, desired_milli = o.desired_milli"
        " FROM hub.outbox o, unnest(%(channels)s::text[], %(buckets)s::text[],"
        "  %(external_ids)s::text[]) AS p (channel, bucket, external_id)"
        " WHERE (h.channel, h.bucket, h.external_id) = (p.channel, p.bucket, p.external_id)"
        " AND (o.channel, o.bucket, o.external_id) = (h.channel, h.bucket, h.external_id)"
        " AND h.state IN ('held', 'rejected') AND h.state <> %(state)s"
        " RETURNING h.channel, h.bucket, h.external_id, h.sku, h.from_milli, o.desired_milli",
        {
            "state": state, "at": at, "by": by, "reason": reason, "channels": list(channels),
            "buckets": list(buckets), "external_ids": list(external_ids),
        },
    ).fetchall()  # fmt: skip
    action = "guard.release" if state == RELEASED else "guard.reject"
    for channel in dict.fromkeys(row[0] for row in done):
        rows = [list(row[1:]) for row in done if row[0] == channel]
        columns = ["bucket", "external_id", "sku", "from_milli", "desired_milli"]
        audit.record(
            connection,
            by=by,
            action=action,
            subject=channel,
            detail={"reason": reason, "columns": columns, "rows": rows},
            at=at,
        )
    return done


def _of(channel: str, places: Sequence[Place]) -> dict[str, Any]:
    return {
        "channel": channel,
        "buckets": [bucket for bucket, _ in places],
        "external_ids": [external_id for _, external_id in places],
    }
