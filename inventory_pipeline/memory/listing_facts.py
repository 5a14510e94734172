"""What is known of listings that differ: evidence for their causes (SEMANTICS §9).

Quantities in thousandths of the channel's unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import class_row

from inventory_pipeline.config.policy import Channel
from inventory_pipeline.core.causes import Effect
from inventory_pipeline.core.ports import Capabilities
from inventory_pipeline.memory.postgres import Connection
from inventory_pipeline.memory.showing import takes_and_gives

Place = tuple[str, str]  # bucket, external id


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingFacts:
    """One listing's state in the outbox, its last attempts, and what holds it."""

    bucket: str
    external_id: str
    units_milli: int
    failure: str
    dead_at: datetime | None
    base_kind: str | None
    intent_key: str | None
    intent_state: str | None  # sent | again | accepted
    intent_sent_at: datetime | None
    intent_until: datetime | None
    held_at: datetime | None
    held_why: str | None
    attempt_key: str | None
    attempt_outcome: str | None
    attempt_error: str | None
    attempt_sent_at: datetime | None
    write_key: str | None
    write_sent_at: datetime | None
    write_answered_at: datetime | None
    write_from_milli: int | None
    write_milli: int | None

    @property
    def place(self) -> Place:
        return (self.bucket, self.external_id)


_ATTEMPT = (
    "FROM hub.attempts a WHERE a.channel = o.channel AND a.bucket = o.bucket"
    " AND a.external_id = o.external_id"
)
# A batch names its listings; one that waits for an answer is in no listing's row.
_FACTS = f"""
WITH under_way AS (
    SELECT DISTINCT ON (p.bucket, p.external_id) p.bucket, p.external_id, i.key, i.state,
           i.sent_at, i.until
    FROM hub.intents i, unnest(i.buckets, i.external_ids) AS p (bucket, external_id)
    WHERE i.channel = %(channel)s ORDER BY p.bucket, p.external_id, i.sent_at DESC
)
SELECT o.bucket, o.external_id, o.units_milli, coalesce(o.failure, '') AS failure, o.dead_at,
       o.base_kind, coalesce(i.key, o.open_key) AS intent_key, i.state AS intent_state,
       i.sent_at AS intent_sent_at, i.until AS intent_until, h.held_at, h.why AS held_why,
       l.key AS attempt_key, l.outcome AS attempt_outcome, l.error AS attempt_error,
       l.sent_at AS attempt_sent_at, w.key AS write_key, w.sent_at AS write_sent_at,
       w.answered_at AS write_answered_at, w.compare_milli AS write_from_milli,
       w.quantity_milli AS write_milli
FROM unnest(%(buckets)s::text[], %(ids)s::text[]) AS p (bucket, external_id)
JOIN hub.outbox o ON o.channel = %(channel)s AND o.bucket = p.bucket
    AND o.external_id = p.external_id
LEFT JOIN under_way i ON i.bucket = o.bucket AND i.external_id = o.external_id
LEFT JOIN hub.holds h ON h.channel = o.channel AND h.bucket = o.bucket
    AND h.external_id = o.external_id AND h.state = 'held'
    AND (o.look OR o.desired_milli = h.desired_milli)
LEFT JOIN LATERAL (SELECT a.key, a.outcome, a.error, a.sent_at {_ATTEMPT}
    AND a.outcome <> 'shadow' ORDER BY a.sent_at DESC LIMIT 1) l ON true
LEFT JOIN LATERAL (SELECT a.key, a.sent_at, a.answered_at, a.compare_milli, a.quantity_milli
    {_ATTEMPT} AND a.outcome = 'acked' ORDER BY a.sent_at DESC LIMIT 1) w ON true
"""


def listing_facts(
    connection: Connection, channel: str, places: Sequence[Place]
) -> dict[Place, ListingFacts]:
    """Of these listings; one that the outbox does not have is left out."""
    with connection.cursor(row_factory=class_row(ListingFacts)) as cursor:
        rows = cursor.execute(
            _FACTS,
            {
                "channel": channel,
                "buckets": [bucket for bucket, _ in places],
                "ids": [external for _, external in places],
            },
        ).fetchall()
    return {row.place: row for row in rows}


# Whole-order entries have no sku and no quantity: what they did cannot be told here.
_OWN = """
SELECT o.bucket, o.external_id, l.event_id, l.type, l.occurred_at,
       CASE WHEN l.type = ANY(%(takes)s) THEN -l.quantity_milli ELSE l.quantity_milli END
           * 1000 / o.units_milli,
       l.ledger_offset <= (SELECT ledger_offset FROM hub.sync_cursor)
FROM unnest(%(buckets)s::text[], %(ids)s::text[]) AS p (bucket, external_id)
JOIN hub.outbox o ON o.channel = %(channel)s AND o.bucket = p.bucket
    AND o.external_id = p.external_id
JOIN hub.ledger l ON l.sku = o.sku
    AND l.occurred_at >= coalesce(o.base_sent_at, %(now)s) - %(before)s
WHERE l.kind = 'event' AND l.system = %(system)s
  AND (l.channel = %(channel)s OR l.channel IS NULL) AND l.type = ANY(%(types)s)
  AND (l.item = o.external_id OR NOT EXISTS (
      SELECT 1 FROM hub.outbox other WHERE other.channel = %(channel)s
      AND other.bucket = ANY(%(all_buckets)s) AND other.external_id = l.item))
ORDER BY o.bucket, o.external_id, l.occurred_at, l.ledger_offset
"""


def own_events(
    connection: Connection,
    channel: Channel,
    capabilities: Capabilities,
    places: Sequence[Place],
    *,
    before: timedelta,
    now: datetime,
) -> dict[Place, list[Effect]]:
    """What the channel itself did to these listings since `before` their base, in order.

    `counted` is False for what the ledger has and the numbers do not have yet.
    """
    takes, gives = takes_and_gives(capabilities)
    found: dict[Place, list[Effect]] = {}
    if not takes and not gives:
        return found
    rows = connection.execute(
        _OWN,
        {
            "channel": channel.id, "system": channel.system, "takes": takes,
            "types": [*takes, *gives], "before": before, "now": now,
            "buckets": [bucket for bucket, _ in places], "ids": [e for _, e in places],
            "all_buckets": [bucket.id for bucket in channel.buckets],
        },
    )  # fmt: skip
    for bucket, external_id, event_id, type_, occurred_at, milli, counted in rows:
        found.setdefault((bucket, external_id), []).append(
            Effect(
                event_id=event_id, type=type_, occurred_at=occurred_at, effect_milli=milli,
                counted=counted,
            )
        )  # fmt: skip
    return found


def known_events(connection: Connection, system: str, event_ids: Sequence[str]) -> frozenset[str]:
    """Those of the ids that the ledger has."""
    rows = connection.execute(
        "SELECT event_id FROM hub.ledger WHERE kind = 'event' AND system = %s"
        " AND event_id = ANY(%s)",
        (system, list(event_ids)),
    )
    return frozenset(event_id for (event_id,) in rows)


def feed_cursor_before(
    connection: Connection, channel: str, at: datetime
) -> tuple[datetime, dict[str, object]] | None:
    """Where the change feed of the channel's system stood at a comparison begun before `at`, the
    newest such, else at the oldest that is known; None: none is.
    """
    row = connection.execute(
        "SELECT started_at, feed_cursor FROM hub.reconciliations WHERE comparison = 'channel'"
        " AND channel = %(channel)s AND feed_cursor IS NOT NULL"
        " ORDER BY started_at >= %(at)s, CASE WHEN started_at < %(at)s THEN started_at END DESC,"
        " started_at LIMIT 1",
        {"channel": channel, "at": at},
    ).fetchone()
    return None if row is None else (row[0], row[1])


def units_of(connection: Connection, channel: str, skus: Sequence[str]) -> dict[Place, int]:
    """Listings of these skus: place → base units in one of the channel's units, in thousandths."""
    rows = connection.execute(
        "SELECT bucket, external_id, units_milli FROM hub.outbox"
        " WHERE channel = %s AND listed AND sku = ANY(%s)",
        (channel, list(skus)),
    )
    return {(bucket, external): units for bucket, external, units in rows}
