"""What checks ask of sending, of feeds and of positions: read-only, bounded, one question each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from inventory_pipeline.memory.facts import WORST_ROWS
from inventory_pipeline.memory.postgres import Connection

# Of so many newest acknowledged attempts the latency is taken.
RECENT_ATTEMPTS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Seconds from receiving an event to the channel's answer, over `acked` attempts."""

    acked: int
    p50_s: float
    p95_s: float


def latency(connection: Connection, channel: str, *, since: datetime) -> Latency | None:
    """Over the newest acknowledged attempts sent after `since`; None where there are none."""
    row = connection.execute(
        """
        SELECT count(*),
               percentile_disc(0.5) WITHIN GROUP (ORDER BY answered_at - received_at),
               percentile_disc(0.95) WITHIN GROUP (ORDER BY answered_at - received_at)
        FROM (SELECT answered_at, received_at FROM hub.attempts
              WHERE channel = %s AND sent_at > %s AND outcome = 'acked'
                AND received_at IS NOT NULL
              ORDER BY sent_at DESC LIMIT %s) recent
        """,
        (channel, since, RECENT_ATTEMPTS),
    ).fetchone()
    if row is None or not row[0]:
        return None
    return Latency(acked=row[0], p50_s=row[1].total_seconds(), p95_s=row[2].total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingFeed:
    """A feed whose last reading failed; `read_at` is its last good reading."""

    feed: str
    read_at: datetime | None
    failed_at: datetime
    failure: str


def failing_feeds(connection: Connection, system: str) -> list[FailingFeed]:
    """Feeds of a system whose last reading failed."""
    rows = connection.execute(
        "SELECT feed, read_at, failed_at, coalesce(failure, '') FROM hub.feeds"
        " WHERE system = %s AND failed_at IS NOT NULL ORDER BY feed",
        (system,),
    )
    return [
        FailingFeed(feed=feed, read_at=read_at, failed_at=failed_at, failure=failure)
        for feed, read_at, failed_at, failure in rows
    ]


def heard_of(connection: Connection, systems: Sequence[str]) -> frozenset[str]:
    """Those of the systems that have an accepted snapshot or an event in the ledger."""
    rows = connection.execute(
        """
        SELECT w.system FROM unnest(%s::text[]) AS w(system)
        WHERE EXISTS (SELECT 1 FROM hub.snapshots s
                      WHERE s.system = w.system AND s.status = 'accepted')
           OR EXISTS (SELECT 1 FROM hub.intake i WHERE i.system = w.system AND i.accepted > 0)
        """,
        (list(systems),),
    )
    return frozenset(system for (system,) in rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class NegativePosition:
    """A place where less than nothing lies; thousandths of the base unit."""

    sku: str
    location: str
    on_hand_milli: int
    since: datetime


def negative_positions(connection: Connection) -> tuple[int, list[NegativePosition]]:
    """How many there are, and the worst of them."""
    rows = connection.execute(
        "SELECT sku, location, on_hand_milli, since, count(*) OVER () FROM hub.negative_positions"
        " ORDER BY on_hand_milli, sku, location LIMIT %s",
        (WORST_ROWS,),
    ).fetchall()
    worst = [
        NegativePosition(sku=sku, location=location, on_hand_milli=milli, since=since)
        for sku, location, milli, since, _ in rows
    ]
    return (rows[0][4] if rows else 0), worst


def store_negative_positions(
    connection: Connection,
    found: Sequence[tuple[str, str, int]],
    *,
    ledger_offset: int,
    at: datetime,
) -> None:
    """(sku, location, on_hand_milli) of all of them: others are below zero no more."""
    skus, locations, quantities = zip(*found, strict=True) if found else ((), (), ())
    connection.execute(
        """
        WITH found AS (
            SELECT * FROM unnest(%(skus)s::text[], %(locations)s::text[], %(quantities)s::bigint[])
                AS f (sku, location, on_hand_milli)
        ), gone AS (
            DELETE FROM hub.negative_positions n
            WHERE NOT EXISTS (
                SELECT 1 FROM found f WHERE f.sku = n.sku AND f.location = n.location)
        )
        INSERT INTO hub.negative_positions AS n
        SELECT sku, location, on_hand_milli, %(ledger_offset)s, %(at)s FROM found
        ON CONFLICT (sku, location) DO UPDATE SET
            on_hand_milli = excluded.on_hand_milli, ledger_offset = excluded.ledger_offset
        WHERE n.on_hand_milli <> excluded.on_hand_milli
        """,
        {
            "skus": list(skus), "locations": list(locations), "quantities": list(quantities),
            "ledger_offset": ledger_offset, "at": at,
        },
    )  # fmt: skip


def variances_by_cause(
    connection: Connection, channel: str, causes: Sequence[str]
) -> list[tuple[str, int, str]]:
    """Of these causes: (cause, open variances, the external id of one of them)."""
    return connection.execute(
        "SELECT cause, count(*), min(external_id) FROM hub.variances"
        " WHERE comparison = 'channel' AND channel = %s AND closed_at IS NULL AND cause = ANY(%s)"
        " GROUP BY cause ORDER BY cause",
        (channel, list(causes)),
    ).fetchall()
