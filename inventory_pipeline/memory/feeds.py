"""How far each feed of each system was read, and how its last reading went."""

from datetime import datetime

from psycopg.types.json import Jsonb

from inventory_pipeline.core.ports import Cursor
from inventory_pipeline.memory.postgres import Connection


def cursor(connection: Connection, system: str, feed: str) -> Cursor:
    """Where to read on; {} at the beginning. Locks the feed until the caller commits: one reader
    at a time.
    """
    connection.execute(
        "INSERT INTO hub.feeds (system, feed) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (system, feed),
    )
    row = connection.execute(
        "SELECT cursor FROM hub.feeds WHERE system = %s AND feed = %s FOR UPDATE", (system, feed)
    ).fetchone()
    assert row is not None
    found: Cursor = row[0]
    return found


def move(
    connection: Connection,
    system: str,
    feed: str,
    to: Cursor,
    *,
    read_at: datetime,
    as_of: datetime | None = None,
) -> None:
    """Moves the cursor in the transaction that stores what was read; clears a recorded failure."""
    connection.execute(
        "INSERT INTO hub.feeds (system, feed, cursor, read_at, as_of) VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT (system, feed) DO UPDATE SET cursor = excluded.cursor, read_at ="
        " excluded.read_at,"
        " as_of = greatest(feeds.as_of, excluded.as_of), failed_at = NULL, failure = NULL",
        (system, feed, Jsonb(to), read_at, as_of),
    )


def failed(connection: Connection, system: str, feed: str, message: str, at: datetime) -> None:
    """Records that this feed could not be read; the cursor stays where it was."""
    connection.execute(
        "INSERT INTO hub.feeds (system, feed, failed_at, failure) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (system, feed) DO UPDATE SET"
        " failed_at = excluded.failed_at, failure = excluded.failure",
        (system, feed, at, message),
    )
