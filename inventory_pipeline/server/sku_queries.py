"""The SKU page's questions to Postgres, each bounded by LIMIT."""

from inventory_pipeline.memory.correlation import OF_ENTRY
from inventory_pipeline.memory.postgres import Connection
from inventory_pipeline.server import rows
from inventory_pipeline.server.queries import PAGE_ROWS, ask


def listings_of(connection: Connection, sku: str, *, limit: int = 500) -> list[rows.ListingState]:
    """Outbox rows of a sku, by channel and bucket."""
    return ask(
        connection,
        rows.ListingState,
        """
        SELECT channel, bucket, external_id, sku, units_milli, desired_milli, desired_offset,
               computed_at, base_milli, base_kind, base_answered_at, listed, look, failure, dead_at
        FROM hub.outbox WHERE sku = %(sku)s
        ORDER BY channel, bucket, external_id LIMIT %(limit)s
        """,
        {"sku": sku, "limit": limit},
    )


def entries_of(
    connection: Connection, sku: str, *, limit: int = PAGE_ROWS
) -> list[rows.LedgerEntry]:
    """The newest ledger entries of one sku, newest first."""
    return ask(
        connection,
        rows.LedgerEntry,
        f"""
        SELECT ledger_offset, kind, system, event_id, type, occurred_at, received_at, sku,
               quantity_milli, location, to_location, order_id, line_id, channel, source,
               {OF_ENTRY} AS correlation_id
        FROM hub.ledger l WHERE sku = %(sku)s ORDER BY ledger_offset DESC LIMIT %(limit)s
        """,
        {"sku": sku, "limit": limit},
    )
