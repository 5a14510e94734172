"""What a whole channel must be showing, as one table (SEMANTICS §8).

The same numbers as memory/looking.py gives for single listings, computed set by set: a million
listings in one statement. Quantities in thousandths of the channel's unit.
"""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.csv as pc

from inventory_pipeline.config.policy import Channel
from inventory_pipeline.core.ports import Capabilities
from inventory_pipeline.core.vocabulary import EventType, Mode, MovesAt
from inventory_pipeline.memory.postgres import Connection

Place = tuple[str, str]  # bucket, external id

TAKES = {
    MovesAt.ORDER: (EventType.ORDER_PLACED, EventType.ORDER_ADJUSTED),
    MovesAt.PAYMENT: (EventType.ORDER_PLACED, EventType.ORDER_ADJUSTED),
    MovesAt.FULFILMENT: (EventType.ORDER_FULFILLED,),
    MovesAt.NONE: (),
}

SCHEMA = pa.schema(
    [
        ("bucket", pa.string()), ("external_id", pa.string()), ("expected_milli", pa.int64()),
        ("settles", pa.bool_()),
    ]
)  # fmt: skip


def takes_and_gives(capabilities: Capabilities) -> tuple[list[str], list[str]]:
    """Types of events by which the channel lowers its own number, and by which it raises it."""
    gives = [EventType.ORDER_CANCELLED] if "cancel" in capabilities.restores_on else []
    return [str(t) for t in TAKES[capabilities.moves_at]], [str(t) for t in gives]


# Own events are few beside the listings: they are read once and joined, not looked up listing by
# listing. `settles`: a reading that agrees says more than the base does.
_SHOWING = """
WITH rows AS (
    SELECT bucket, external_id, sku, desired_milli, base_milli, base_kind, base_sent_at,
           base_answered_at, units_milli, open_key, unread
    FROM hub.outbox WHERE channel = %(channel)s AND listed {only}
), events AS MATERIALIZED (
    SELECT l.sku, l.item, l.type, l.quantity_milli, l.occurred_at, EXISTS (
               SELECT 1 FROM hub.outbox other WHERE other.channel = %(channel)s
               AND other.bucket = ANY(%(buckets)s) AND other.external_id = l.item) AS item_listed
    FROM hub.ledger l
    WHERE l.kind = 'event' AND l.system = %(system)s AND l.sku IS NOT NULL
      AND (l.channel = %(channel)s OR l.channel IS NULL) AND l.type = ANY(%(types)s)
      AND l.occurred_at >= (SELECT min(base_sent_at) FROM rows) - %(skew)s
      AND l.ledger_offset <= (SELECT ledger_offset FROM hub.sync_cursor)
), own AS (
    SELECT o.bucket, o.external_id,
           sum(CASE WHEN e.occurred_at <= o.base_answered_at + %(skew)s THEN 0
                    WHEN e.type = ANY(%(takes)s) THEN -e.quantity_milli
                    ELSE e.quantity_milli END * 1000 / o.units_milli)::bigint AS own_milli
    FROM events e
    JOIN rows o ON o.sku = e.sku AND e.occurred_at >= o.base_sent_at - %(skew)s
        AND (e.item = o.external_id OR NOT e.item_listed)
    GROUP BY o.bucket, o.external_id
)
SELECT r.bucket, r.external_id,
       CASE WHEN %(shadow)s OR r.base_kind = 'shadow' AND %(canary)s THEN r.desired_milli
            WHEN r.base_kind = 'shadow' THEN NULL
            ELSE r.base_milli + coalesce(own.own_milli, 0) END,
       NOT %(shadow)s AND r.open_key IS NULL AND r.base_kind IS DISTINCT FROM 'shadow'
           AND (r.base_milli IS NULL OR r.unread OR own.own_milli <> 0)
FROM rows r LEFT JOIN own USING (bucket, external_id)
"""


def showing(
    connection: Connection,
    channel: Channel,
    capabilities: Capabilities,
    places: Sequence[Place] | None = None,
) -> pa.Table:
    """SCHEMA, one row a listing (of `places`, or all). `expected_milli` is null where nothing is
    known of it yet; a shadow's is what the hub computed.
    """
    takes, gives = takes_and_gives(capabilities)
    only, named = "", {}
    if places is not None:
        only = (
            "AND (bucket, external_id) IN"
            " (SELECT * FROM unnest(%(some_buckets)s::text[], %(some_ids)s::text[]))"
        )
        named = {
            "some_buckets": [bucket for bucket, _ in places],
            "some_ids": [external for _, external in places],
        }
    values = {
        "channel": channel.id, "system": channel.system, "skew": channel.skew, "takes": takes,
        "types": [*takes, *gives], "buckets": [bucket.id for bucket in channel.buckets],
        "shadow": channel.mode is Mode.SHADOW, "canary": channel.mode is Mode.CANARY, **named,
    }  # fmt: skip
    return _table(connection, f"COPY ({_SHOWING.format(only=only)}) TO STDOUT (FORMAT csv)", values)


def _table(connection: Connection, statement: str, values: dict[str, object]) -> pa.Table:
    """The rows of a COPY: text is read in columns, without an object a row."""
    buffer = io.BytesIO()
    with connection.cursor().copy(statement, values) as copy:
        for piece in copy:
            buffer.write(piece)
    if not buffer.tell():
        return SCHEMA.empty_table()
    buffer.seek(0)
    return pc.read_csv(
        buffer,
        read_options=pc.ReadOptions(column_names=SCHEMA.names),
        parse_options=pc.ParseOptions(newlines_in_values=True),
        convert_options=pc.ConvertOptions(
            column_types=dict(zip(SCHEMA.names, SCHEMA.types, strict=True)),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
            true_values=["t"],
            false_values=["f"],
        ),
    )
