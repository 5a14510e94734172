"""The Feeds page's questions to Postgres, each bounded by LIMIT."""

from inventory_pipeline.memory.postgres import Connection
from inventory_pipeline.server import rows
from inventory_pipeline.server.queries import PAGE_ROWS, ask


def newest_snapshots(
    connection: Connection, *, status: str | None = None, limit: int = PAGE_ROWS
) -> list[rows.SnapshotRow]:
    """The snapshots that landed last, accepted and rejected ones."""
    return ask(
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


def quarantined(
    connection: Connection, *, reason: str = "", limit: int = PAGE_ROWS
) -> list[rows.QuarantinedRow]:
    """Rows held back and not released, newest first; `reason` "": any."""
    return ask(
        connection,
        rows.QuarantinedRow,
        """
        SELECT quarantine_id, system, kind, source, position, reason, message, raw, received_at
        FROM hub.quarantine WHERE released_at IS NULL
          AND (%(reason)s = '' OR reason = %(reason)s)
        ORDER BY quarantine_id DESC LIMIT %(limit)s
        """,
        {"reason": reason, "limit": limit},
    )
