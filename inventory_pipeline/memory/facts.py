"""What sensors and checks ask of the memory: read-only, bounded, one question each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from inventory_pipeline.core.causes import HARMLESS
from inventory_pipeline.memory.postgres import Connection

WORST_ROWS = 20
SNAPSHOTS_LOOKED_AT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What waits for a sync: offsets are of the ledger, counts are of rows."""

    head: int
    cursor: int
    computed_at: datetime | None
    next_wakeup_at: datetime | None
    looks: int

    def reason(self, now: datetime) -> str | None:
        """Why a sync is needed at `now`; None if it is not."""
        if self.head > self.cursor:
            return f"the ledger is at {self.head}, the numbers are at {self.cursor}"
        if self.next_wakeup_at is not None and self.next_wakeup_at <= now:
            return f"a wake-up was due at {self.next_wakeup_at.isoformat()}"
        if self.looks:
            return f"{self.looks} listings wait to be pushed"
        return None

    def traffic(self, now: datetime, idle: timedelta) -> bool:
        """Whether something was computed within `idle`, or is to be."""
        recent = self.computed_at is not None and now - self.computed_at < idle
        return recent or self.reason(now) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """One row of the snapshot register."""

    snapshot_id: int
    feed: str
    source: str
    as_of: datetime | None
    accepted: bool
    reason: str
    message: str
    complete: bool
    data_rows: int
    quarantined_rows: int
    path: str | None
    landed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVariance:
    """One open variance of a channel; quantities in thousandths of the channel's unit."""

    bucket: str
    external_id: str
    sku: str
    expected_milli: int | None
    found_milli: int | None
    cause: str
    first_seen: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Variances:
    """The open variances of a comparison, the worst first, and when it last ended."""

    total: int
    oldest: datetime | None
    worst: Sequence[OpenVariance]
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerShape:
    """The counter against the rows: gapless means that they agree."""

    counter: int
    greatest: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Counts of a hub at one moment."""

    head: int
    behind: int
    inbox: int
    listings: int
    looks: int
    dead: int
    quarantined: int
    variances: int
    feeds_failing: int


def health(connection: Connection, now: datetime) -> Health:
    """`looks` are listings due at `now`; `feeds_failing` are feeds whose last reading failed."""
    row = connection.execute(
        """
        SELECT k.ledger_offset, k.ledger_offset - c.ledger_offset,
               (SELECT count(*) FROM hub.inbox WHERE done_at IS NULL),
               (SELECT count(*) FROM hub.outbox),
               (SELECT count(*) FROM hub.outbox
                WHERE look AND dead_at IS NULL AND (look_after IS NULL OR look_after <= %s)),
               (SELECT count(*) FROM hub.outbox WHERE dead_at IS NOT NULL),
               (SELECT count(*) FROM hub.quarantine WHERE released_at IS NULL),
               (SELECT count(*) FROM hub.variances WHERE closed_at IS NULL),
               (SELECT count(*) FROM hub.feeds WHERE failed_at IS NOT NULL)
        FROM hub.counter k, hub.sync_cursor c
        """,
        (now,),
    ).fetchone()
    head, behind, inbox, listings, looks, dead, quarantined, variances_open, failing = _some(row)
    return Health(
        head=head,
        behind=behind,
        inbox=inbox,
        listings=listings,
        looks=looks,
        dead=dead,
        quarantined=quarantined,
        variances=variances_open,
        feeds_failing=failing,
    )


def backlog(connection: Connection, channels: Sequence[str], now: datetime) -> Backlog:
    """`channels` are those that may be pushed to: others never wait."""
    row = connection.execute(
        """
        SELECT (SELECT ledger_offset FROM hub.counter), c.ledger_offset, c.computed_at,
               c.next_wakeup_at,
               (SELECT count(*) FROM hub.outbox
                WHERE look AND dead_at IS NULL AND channel = ANY(%s)
                  AND (look_after IS NULL OR look_after <= %s))
        FROM hub.sync_cursor c
        """,
        (list(channels), now),
    ).fetchone()
    head, cursor, computed_at, wakeup, looks = _some(row)
    return Backlog(
        head=head, cursor=cursor, computed_at=computed_at, next_wakeup_at=wakeup, looks=looks
    )


def unread_since(connection: Connection) -> datetime | None:
    """When the oldest delivery came that nobody has read yet; None: all are read."""
    row = connection.execute(
        "SELECT min(received_at) FROM hub.inbox WHERE done_at IS NULL"
    ).fetchone()
    oldest: datetime | None = _some(row)[0]
    return oldest


def repushes_due(connection: Connection, channels: Sequence[str], causes: Sequence[str]) -> int:
    """Open variances of these channels and causes that nothing was done about yet."""
    row = connection.execute(
        """
        SELECT count(*) FROM hub.variances
        WHERE comparison = 'channel' AND closed_at IS NULL AND healed_at IS NULL
          AND channel = ANY(%s) AND cause = ANY(%s)
        """,
        (list(channels), list(causes)),
    ).fetchone()
    due: int = _some(row)[0]
    return due


def feed_reads(connection: Connection, system: str) -> datetime | None:
    """When the system was last read, successfully or not; None: never."""
    row = connection.execute(
        "SELECT max(greatest(read_at, failed_at)) FROM hub.feeds WHERE system = %s", (system,)
    ).fetchone()
    last: datetime | None = _some(row)[0]
    return last


def last_snapshots(connection: Connection, system: str) -> list[Landed]:
    """The newest of the register first, at most SNAPSHOTS_LOOKED_AT."""
    rows = connection.execute(
        """
        SELECT snapshot_id, feed, source, as_of, status = 'accepted', coalesce(reason, ''),
               coalesce(message, ''), complete, data_rows, quarantined_rows, path, landed_at
        FROM hub.snapshots WHERE system = %s ORDER BY snapshot_id DESC LIMIT %s
        """,
        (system, SNAPSHOTS_LOOKED_AT),
    ).fetchall()
    return [
        Landed(
            snapshot_id=row[0],
            feed=row[1],
            source=row[2],
            as_of=row[3],
            accepted=row[4],
            reason=row[5],
            message=row[6],
            complete=row[7],
            data_rows=row[8],
            quarantined_rows=row[9],
            path=row[10],
            landed_at=row[11],
        )
        for row in rows
    ]


def newest_as_of(connection: Connection, system: str) -> dict[str, datetime]:
    """By feed: the newest moment that an accepted snapshot speaks of."""
    rows = connection.execute(
        """
        SELECT feed, max(as_of) FROM hub.snapshots
        WHERE system = %s AND status = 'accepted' AND as_of IS NOT NULL
        GROUP BY feed ORDER BY feed
        """,
        (system,),
    ).fetchall()
    return dict(rows)


def negative_listings(connection: Connection, channel: str) -> list[tuple[str, str, str, int]]:
    """Listings below zero: bucket, external id, sku, quantity in thousandths."""
    return connection.execute(
        """
        SELECT bucket, external_id, sku, desired_milli FROM hub.outbox
        WHERE channel = %s AND desired_milli < 0
        ORDER BY desired_milli, bucket, external_id LIMIT %s
        """,
        (channel, WORST_ROWS),
    ).fetchall()


def variances(connection: Connection, comparison: str, channel: str | None = None) -> Variances:
    """The open variances of one comparison (`channel` | `ledger` | `systems`); those that pass by
    themselves are left out.
    """
    harmless = [str(cause) for cause in HARMLESS]
    total, oldest = _some(
        connection.execute(
            """
            SELECT count(*), min(first_seen) FROM hub.variances
            WHERE comparison = %s AND channel IS NOT DISTINCT FROM %s AND closed_at IS NULL
              AND cause <> ALL(%s)
            """,
            (comparison, channel, harmless),
        ).fetchone()
    )
    rows = connection.execute(
        """
        SELECT coalesce(bucket, location, ''), coalesce(external_id, state, ''), coalesce(sku, ''),
               expected_milli, found_milli, cause, first_seen
        FROM hub.variances
        WHERE comparison = %s AND channel IS NOT DISTINCT FROM %s AND closed_at IS NULL
          AND cause <> ALL(%s)
        ORDER BY abs(coalesce(found_milli, 0) - coalesce(expected_milli, 0)) DESC, variance_id
        LIMIT %s
        """,
        (comparison, channel, harmless, WORST_ROWS),
    ).fetchall()
    finished = _some(
        connection.execute(
            """
            SELECT max(finished_at) FROM hub.reconciliations
            WHERE comparison = %s AND channel IS NOT DISTINCT FROM %s
            """,
            (comparison, channel),
        ).fetchone()
    )[0]
    worst = [
        OpenVariance(
            bucket=row[0],
            external_id=row[1],
            sku=row[2],
            expected_milli=row[3],
            found_milli=row[4],
            cause=row[5],
            first_seen=row[6],
        )
        for row in rows
    ]
    return Variances(total=total, oldest=oldest, worst=worst, finished_at=finished)


def ledger_shape(connection: Connection, *, newest: int | None = None) -> LedgerShape:
    """One statement, so one moment: the counter moves only with the rows.

    With `newest` only so many of the newest offsets are counted, and those before taken as right.
    """
    row = connection.execute(
        """
        WITH looked AS (
            SELECT ledger_offset AS counter,
                   CASE WHEN %(newest)s::bigint IS NULL THEN 0
                        ELSE greatest(0, ledger_offset - %(newest)s) END AS after
            FROM hub.counter
        )
        SELECT k.counter, coalesce(max(l.ledger_offset), k.after), k.after + count(l.ledger_offset)
        FROM looked k LEFT JOIN hub.ledger l ON l.ledger_offset > k.after
        GROUP BY k.counter, k.after
        """,
        {"newest": newest},
    ).fetchone()
    counter, greatest, rows = _some(row)
    return LedgerShape(counter=counter, greatest=greatest, rows=rows)


def uncomputed_since(connection: Connection) -> datetime | None:
    """When the oldest entry came in that is not computed yet; None: all are."""
    row = connection.execute(
        "SELECT l.received_at FROM hub.sync_cursor c"
        " JOIN hub.ledger l ON l.ledger_offset = c.ledger_offset + 1"
    ).fetchone()
    oldest: datetime | None = row[0] if row else None
    return oldest


def quarantine(
    connection: Connection, since: datetime
) -> tuple[int, int, list[tuple[str, str, int]]]:
    """Rows held in all, rows that came after `since`, and the commonest (system, reason, rows)."""
    held, fresh = _some(
        connection.execute(
            """
            SELECT count(*), count(*) FILTER (WHERE received_at > %s)
            FROM hub.quarantine WHERE released_at IS NULL
            """,
            (since,),
        ).fetchone()
    )
    commonest = connection.execute(
        """
        SELECT system, reason, count(*) FROM hub.quarantine WHERE released_at IS NULL
        GROUP BY system, reason ORDER BY count(*) DESC, system, reason LIMIT %s
        """,
        (WORST_ROWS,),
    ).fetchall()
    return held, fresh, commonest


def _some(row: tuple[Any, ...] | None) -> tuple[Any, ...]:
    """The row of a query that always has one."""
    assert row is not None, "an aggregate without a row"
    return row
