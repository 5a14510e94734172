"""How statements find a listing's row: by its place, and only if nothing has marked it since."""

from collections.abc import Sequence
from typing import Any

from inventory_pipeline.core.outbox import OutboxRow
from inventory_pipeline.memory.postgres import Connection

# Whatever marked the row since it was read (a newer desired value, an own event) must not be lost.
UNTOUCHED = "channel = %s AND bucket = %s AND external_id = %s AND looks = %s"


def seen(row: OutboxRow) -> tuple[str, str, str, int]:
    return (*place(row), row.looks)


def place(row: OutboxRow) -> tuple[str, str, str]:
    return (row.channel, row.listing.bucket, row.listing.external_id)


def each(connection: Connection, query: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(query, rows)
