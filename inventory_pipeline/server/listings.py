"""What the API tells of listings, straight from the outbox."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from inventory_pipeline.memory.postgres import Connection

Place = tuple[int, str, str]  # offset, bucket, external id: after which a page begins

_COLUMNS = (
    "sku, channel, bucket, external_id, desired_milli, units_milli, desired_offset, computed_at"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One listing; `desired_milli` in thousandths of the channel's unit."""

    sku: str
    channel: str
    bucket: str
    external_id: str
    desired_milli: int
    units_milli: int
    desired_offset: int
    computed_at: datetime


def listings_of(
    connection: Connection, *, sku: str | None, channel: str | None, limit: int
) -> list[Offer]:
    """Listings of a sku, of a channel, or of both; by channel, bucket, external id."""
    wanted = [
        f"{name} = %({name})s"
        for name, value in (("sku", sku), ("channel", channel))
        if value is not None
    ]
    with connection.cursor(row_factory=class_row(Offer)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM hub.outbox WHERE {' AND '.join(wanted)}"
            " ORDER BY channel, bucket, external_id LIMIT %(limit)s",
            {"sku": sku, "channel": channel, "limit": limit},
        ).fetchall()


def page_of(
    connection: Connection,
    channel: str,
    *,
    since: int | None,
    after: Place | None,
    limit: int,
) -> tuple[int, list[Offer]]:
    """(the computed offset, a page of listings), of one moment.

    By bucket and external id; with `since` by offset first, so that what changes meanwhile comes
    later. Offset and desired values are stored in one transaction, so they are read in one, too.
    """
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    row = connection.execute("SELECT ledger_offset FROM hub.sync_cursor").fetchone()
    order = "bucket, external_id" if since is None else "desired_offset, bucket, external_id"
    wanted = ["channel = %(channel)s"]
    if since is not None:
        wanted.append("desired_offset >= %(since)s")
    if after is not None:
        marks = "%(bucket)s, %(external_id)s"
        wanted.append(f"({order}) > ({marks if since is None else '%(offset)s, ' + marks})")
    offset, bucket, external_id = after or (0, "", "")
    with connection.cursor(row_factory=class_row(Offer)) as cursor:
        found = cursor.execute(
            f"SELECT {_COLUMNS} FROM hub.outbox WHERE {' AND '.join(wanted)}"
            f" ORDER BY {order} LIMIT %(limit)s",
            {
                "channel": channel, "since": since, "offset": offset, "bucket": bucket,
                "external_id": external_id, "limit": limit,
            },
        ).fetchall()  # fmt: skip
    return int(row[0]) if row else 0, found
