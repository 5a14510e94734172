"""The outbox: state, not a queue. Desired, base, what is under way (SEMANTICS §8).

Quantities in thousandths of the channel's unit. Every write of a drain checks its epoch first.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from inventory_pipeline.core.outbox import OutboxRow
from inventory_pipeline.core.ports import Level
from inventory_pipeline.memory.arrays import join_by_index, moments, numbers, texts
from inventory_pipeline.memory.dead import DeadRow, dead_rows, drop_dead, revive
from inventory_pipeline.memory.looking import rows_at, rows_of_sku, rows_to_look_at
from inventory_pipeline.memory.postgres import Connection

__all__ = [
    "DeadRow", "channels_due", "dead_rows", "drop_dead", "look_at_own_events", "next_look",
    "not_listed", "postpone", "reading_failed", "repush", "revive", "revive_since", "rows_at",
    "rows_of_sku", "rows_to_look_at", "settle", "settle_read", "start_sending", "store_desired",
    "store_readings", "wait_for_orders",
]  # fmt: skip

_PENDING = (
    "channel", "bucket", "external_id", "bucket_external", "sku", "units_milli", "desired_milli",
    "desired_offset", "occurred_at", "received_at", "listed", "caused_by",
)  # fmt: skip

# A newer desired value replaces an older one that was not sent; an older one never a newer. The
# same value again, as after a rebuild, is no news: the row stays as it is.
_UPSERT = f"""
INSERT INTO hub.outbox AS o
    ({", ".join(_PENDING)}, policy_version, mapping_version, computed_at, own_at)
SELECT {", ".join(_PENDING)}, %(policy_version)s, %(mapping_version)s, %(computed_at)s,
    CASE WHEN NOT EXISTS (SELECT 1 FROM hub.outbox k WHERE k.channel = p.channel
            AND k.bucket = p.bucket AND k.external_id = p.external_id AND k.sku = p.sku)
        THEN coalesce((SELECT max(l.occurred_at) FROM hub.ledger l WHERE l.sku = p.sku), 'epoch')
    END
FROM pg_temp.pending p
ON CONFLICT (channel, bucket, external_id) DO UPDATE SET
    bucket_external = excluded.bucket_external, sku = excluded.sku,
    units_milli = excluded.units_milli, desired_milli = excluded.desired_milli,
    desired_offset = excluded.desired_offset, occurred_at = excluded.occurred_at,
    received_at = excluded.received_at, listed = excluded.listed, caused_by = excluded.caused_by,
    policy_version = excluded.policy_version, mapping_version = excluded.mapping_version,
    computed_at = excluded.computed_at,
    own_at = CASE WHEN o.sku = excluded.sku THEN o.own_at ELSE excluded.own_at END,
    -- How fast it falls: what fell before fades by half in an hour.
    falling_milli = greatest(0, o.desired_milli - excluded.desired_milli)
        + (o.falling_milli * power(0.5, least(60, greatest(0, extract(
            epoch FROM excluded.computed_at - o.computed_at) / 3600))))::bigint,
    waiting_since = coalesce(CASE WHEN o.look THEN o.waiting_since END, excluded.computed_at),
    look = true, looks = o.looks + 1, look_after = NULL, attempts = 0,
    failure = NULL, failing_since = NULL, dead_at = NULL
WHERE excluded.desired_offset >= o.desired_offset
  AND (excluded.desired_milli, excluded.listed, excluded.sku, excluded.units_milli,
       excluded.bucket_external)
   IS DISTINCT FROM (o.desired_milli, o.listed, o.sku, o.units_milli, o.bucket_external)
"""


def store_desired(
    connection: Connection,
    rows: Sequence[Mapping[str, Any]],
    *,
    policy_version: int,
    mapping_version: int,
    computed_at: datetime,
) -> None:
    """Upserts desired values; repeating it is harmless.

    `rows` have the keys channel, bucket, external_id, bucket_external, sku, units_milli,
    desired_milli, ledger_offset, occurred_at, received_at, listed; and caused_by, the offset of the
    entry that moved the number, where one did.
    """
    connection.execute("SET LOCAL client_min_messages TO warning")
    connection.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS pending (channel text, bucket text, external_id text,"
        " bucket_external text, sku text, units_milli bigint, desired_milli bigint,"
        " desired_offset bigint, occurred_at timestamptz, received_at timestamptz, listed boolean,"
        " caused_by bigint)"
        " ON COMMIT DELETE ROWS"
    )
    with connection.cursor().copy(f"COPY pg_temp.pending ({', '.join(_PENDING)}) FROM STDIN") as c:
        for row in rows:
            values = {"caused_by": None, **row, "desired_offset": row["ledger_offset"]}
            c.write_row(tuple(values[name] for name in _PENDING))
    connection.execute(
        _UPSERT,
        {
            "policy_version": policy_version,
            "mapping_version": mapping_version,
            "computed_at": computed_at,
        },
    )


# Entries of a whole order have no sku of their own: those of the order's lines.
_OWN_EVENTS = """
WITH own AS (
    SELECT l.sku, l.system, l.order_id, l.occurred_at, l.received_at FROM hub.ledger l
    WHERE l.ledger_offset > %s AND l.ledger_offset <= %s AND l.kind = 'event' AND l.system = %s
      AND l.order_id IS NOT NULL
), moved AS (
    SELECT sku, max(occurred_at) AS own_at, min(received_at) AS received_at FROM (
        SELECT sku, occurred_at, received_at FROM own WHERE sku IS NOT NULL
        UNION ALL
        SELECT k.sku, l.occurred_at, l.received_at FROM own l
        JOIN hub.ledger k ON k.system = l.system AND k.order_id = l.order_id
        WHERE l.sku IS NULL AND k.sku IS NOT NULL
    ) every GROUP BY sku
)
UPDATE hub.outbox o SET look = true, looks = o.looks + 1, look_after = NULL,
    own_at = greatest(o.own_at, m.own_at),
    waiting_since = coalesce(CASE WHEN o.look THEN o.waiting_since END, m.received_at)
FROM moved m WHERE o.sku = m.sku AND o.channel = ANY(%s)
"""


def look_at_own_events(
    connection: Connection, systems: Mapping[str, Sequence[str]], *, after: int, upto: int
) -> None:
    """Marks listings whose channel reported an event of its own: its number moved by itself.

    `systems` is system → its channels; offsets are ledger offsets, after < o <= upto.
    """
    for system, channels in systems.items():
        connection.execute(_OWN_EVENTS, (after, upto, system, list(channels)))


# A channel that asked for patience, or whose breaker is open, has nothing to do until then.
_ASKED_AT = (
    "(SELECT CASE b.state WHEN 'open' THEN b.next_probe_at ELSE b.paused_until END"
    " FROM hub.breakers b WHERE b.channel = d.channel)"
)
_LOOKS = "look AND dead_at IS NULL AND open_key IS NULL"


def channels_due(connection: Connection, *, now: datetime) -> frozenset[str]:
    """Channels with listings that need a look now, or with a batch to ask about."""
    rows = connection.execute(
        f"SELECT channel FROM (SELECT DISTINCT channel FROM hub.outbox WHERE {_LOOKS}"
        " AND (look_after IS NULL OR look_after <= %(now)s)"
        " UNION SELECT channel FROM hub.intents WHERE due_at <= %(now)s) d"
        f" WHERE coalesce({_ASKED_AT} <= %(now)s, true)",
        {"now": now},
    )
    return frozenset(channel for (channel,) in rows)


def next_look(connection: Connection) -> datetime | None:
    """When the next postponed listing or batch is due, or a paused channel may be asked again;
    None if none waits.
    """
    row = connection.execute(
        "SELECT min(greatest(d.at, d.asked_at)) FROM ("
        f" SELECT d.at, {_ASKED_AT} AS asked_at FROM ("
        f"  SELECT channel, min(look_after) AS at FROM hub.outbox WHERE {_LOOKS} GROUP BY channel"
        "  UNION ALL"
        "  SELECT channel, min(due_at) FROM hub.intents WHERE due_at IS NOT NULL GROUP BY channel"
        "  UNION ALL"
        "  SELECT channel, NULL FROM hub.breakers b WHERE EXISTS (SELECT 1 FROM hub.outbox o"
        f"   WHERE o.channel = b.channel AND {_LOOKS} AND o.look_after IS NULL)"
        " ) d) d"
    ).fetchone()
    return row[0] if row else None


def start_sending(
    connection: Connection, channel: str, *, among: Sequence[str] | None = None
) -> int:
    """Forgets what a shadow noted as shown, so that these listings are read before they are
    written; `among` names skus, None stands for all. Returns how many it were.

    To be called whenever a channel begins to send; repeating it costs one look into an index.
    """
    return connection.execute(
        "UPDATE hub.outbox SET base_milli = NULL, base_kind = NULL, base_sent_at = NULL,"
        " base_answered_at = NULL, bases = bases + 1, look = true, looks = looks + 1,"
        " look_after = NULL, waiting_since = NULL"
        " WHERE channel = %(channel)s AND base_kind = 'shadow'"
        " AND (%(among)s::text[] IS NULL OR sku = ANY(%(among)s))",
        {"channel": channel, "among": None if among is None else list(among)},
    ).rowcount


_ROW = "o.channel = p.channel AND o.bucket = p.bucket AND o.external_id = p.external_id"
# Whatever marked the row since it was read (a newer desired value, an own event) must not be lost.
_SEEN = (
    " FROM unnest(%(channels)s::text[], %(buckets)s::text[], %(ids)s::text[], %(looks)s::bigint[])"
    f" AS p (channel, bucket, external_id, looks) WHERE {_ROW} AND o.looks = p.looks"
)


def _change(connection: Connection, rows: Sequence[OutboxRow], changes: str, **values: Any) -> None:
    """The same change for all these rows that nothing has marked meanwhile."""
    if rows:
        join_by_index(connection)
        connection.execute(
            f"UPDATE hub.outbox o SET {changes}{_SEEN}",
            {
                "channels": texts([row.channel for row in rows]),
                "buckets": texts([row.listing.bucket for row in rows]),
                "ids": texts([row.listing.external_id for row in rows]),
                "looks": numbers([row.looks for row in rows]),
                **values,
            },
        )


def settle(connection: Connection, rows: Sequence[OutboxRow]) -> None:
    """These show what they must: no look needed until something changes, or until an acknowledged
    number is to be read.
    """
    _change(
        connection,
        rows,
        "look = o.verify_at IS NOT NULL, look_after = o.verify_at, attempts = 0, failure = NULL,"
        " failing_since = NULL, waiting_since = NULL",
    )


def settle_read(connection: Connection, rows: Sequence[OutboxRow]) -> None:
    """These were just read and show what they must: as `settle`, whatever was to be verified."""
    _change(
        connection,
        rows,
        "look = false, look_after = NULL, verify_at = NULL, attempts = 0, failure = NULL,"
        " failing_since = NULL, waiting_since = NULL",
    )


def postpone(
    connection: Connection, rows: Sequence[OutboxRow], until: datetime, why: str | None = None
) -> None:
    """Looks at these again at `until`; `why`, where given, is shown to people meanwhile."""
    _change(
        connection,
        rows,
        "look = true, look_after = %(until)s, failure = coalesce(%(why)s, o.failure)",
        until=until,
        why=why,
    )


def wait_for_orders(connection: Connection, rows: Sequence[OutboxRow], until: datetime) -> None:
    """These show less than they must, and are not raised before `until`, whatever is desired."""
    _change(
        connection,
        rows,
        "look = true, look_after = %(until)s, raise_after = %(until)s",
        until=until,
    )


def store_readings(connection: Connection, channel: str, levels: Sequence[Level]) -> None:
    """A reading becomes the base unless a newer answer is already held."""
    if levels:
        join_by_index(connection)
        connection.execute(
            "UPDATE hub.outbox o SET base_milli = p.milli, base_kind = 'reading',"
            " base_sent_at = p.asked_at, base_answered_at = p.answered_at, bases = o.bases + 1,"
            " unread = false, verify_at = NULL"
            " FROM unnest(%(buckets)s::text[], %(ids)s::text[], %(milli)s::bigint[],"
            " %(asked)s::timestamptz[], %(answered)s::timestamptz[])"
            " AS p (bucket, external_id, milli, asked_at, answered_at)"
            " WHERE o.channel = %(channel)s AND o.bucket = p.bucket"
            " AND o.external_id = p.external_id AND o.open_key IS NULL"
            " AND (o.base_answered_at IS NULL OR o.base_answered_at <= p.answered_at)",
            {
                "channel": channel,
                "buckets": texts([level.listing.bucket for level in levels]),
                "ids": texts([level.listing.external_id for level in levels]),
                "milli": numbers([level.available_milli for level in levels]),
                "asked": moments([level.asked_at for level in levels]),
                "answered": moments([level.answered_at for level in levels]),
            },
        )


def not_listed(
    connection: Connection, rows: Sequence[OutboxRow], message: str, *, until: datetime
) -> None:
    """The channel does not have these listings: asked again later, and shown to people
    meanwhile.
    """
    _change(connection, rows, "failure = %(why)s, look_after = %(until)s", why=message, until=until)


def reading_failed(
    connection: Connection,
    rows: Sequence[OutboxRow],
    message: str,
    *,
    until: datetime,
    dead_at: datetime | None = None,
) -> None:
    """A listing could not be read: asked again at `until`, or dead from `dead_at` on."""
    _change(
        connection,
        rows,
        "failure = %(why)s, look_after = %(until)s, attempts = o.attempts + 1,"
        " failing_since = coalesce(o.failing_since, %(until)s), dead_at = %(dead_at)s",
        why=message,
        until=until,
        dead_at=dead_at,
    )


def repush(connection: Connection, channel: str, places: Sequence[tuple[str, str]]) -> None:
    """Reads these again and sends desired where it differs; a dead one gets another chance."""
    if places:
        buckets, external_ids = zip(*places, strict=True)
        connection.execute(
            "UPDATE hub.outbox o SET look = true, looks = o.looks + 1, look_after = NULL,"
            " dead_at = NULL, attempts = 0, failing_since = NULL, unread = true"
            " FROM unnest(%s::text[], %s::text[]) AS p (bucket, external_id)"
            " WHERE o.channel = %s AND o.bucket = p.bucket AND o.external_id = p.external_id",
            (list(buckets), list(external_ids), channel),
        )


def revive_since(connection: Connection, channel: str, at: datetime) -> None:
    """Listings that died since then were judged by a channel that refuses everything."""
    connection.execute(
        "UPDATE hub.outbox SET dead_at = NULL, attempts = 0, look = true, looks = looks + 1,"
        " look_after = NULL WHERE channel = %s AND dead_at >= %s",
        (channel, at),
    )
