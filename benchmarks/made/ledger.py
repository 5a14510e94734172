"""A ledger of many million events, made inside the server and indexed afterwards."""

from pathlib import Path

import psycopg

from benchmarks.made.hub import LOCATIONS
from inventory_pipeline.memory.embedded import start_embedded, stop_embedded
from inventory_pipeline.memory.postgres import migrate

TEMPLATES = 100_000  # events that differ; each is there once in every so many rows

_TEMPLATES = f"""
CREATE TEMPORARY TABLE template ON COMMIT DROP AS
SELECT n, n % 2 = 1 AS sold, 'SKU-' || lpad(((n * 7919) % {TEMPLATES})::text, 7, '0') AS sku,
       'dc-' || lpad((n % {LOCATIONS})::text, 2, '0') AS location,
       json_build_object('event_id', 'evt-' || n, 'type', 'order_placed', 'item', 'SKU-' || n,
           'occurred_at', '2026-01-01T00:00:00Z', 'quantity', 1, 'order_id', 'ord-' || n,
           'line_id', '1', 'price', '19.90') AS raw
FROM generate_series(0, {TEMPLATES - 1}) n
"""

_EVENTS = f"""
INSERT INTO hub.ledger (ledger_offset, kind, system, event_id, type, occurred_at, received_at, item,
    sku, quantity_milli, external_location, location, order_id, line_id, mapping_version, source,
    position, content_hash, raw)
SELECT number, 'event', 'wms', 'evt-' || number,
       CASE WHEN sold THEN 'order_placed' ELSE 'adjusted' END,
       timestamptz '2026-01-01 00:00Z' + number * interval '0.5 second',
       timestamptz '2026-01-01 00:00:01Z' + number * interval '0.5 second',
       sku, sku, 1000, CASE WHEN NOT sold THEN location END, CASE WHEN NOT sold THEN location END,
       CASE WHEN sold THEN 'ord-' || number / 4 END, CASE WHEN sold THEN (number %% 4)::text END,
       1, 'events/2026.jsonl', number::text, sha256(('evt-' || number)::bytea), raw
FROM generate_series(0, %(rounds)s - 1) AS round
CROSS JOIN LATERAL (SELECT *, round::bigint * {TEMPLATES} + n + 1 AS number FROM template) AS t
"""


def make_ledger(folder: Path, rows: int) -> str:
    """Starts an embedded server in `folder` whose ledger has `rows` events (whole TEMPLATES of
    them), numbered evt-1 and so on, and returns its URL.

    While they are made nothing is logged ahead: it is the server's own way to load a new table.
    Afterwards the server runs with the product's own settings.
    """
    url = start_embedded(folder)
    migrate(url)
    _set(url, wal_level="minimal", max_wal_senders="0")
    url = _again(folder)
    with psycopg.connect(url) as connection:
        _fill(connection, rows // TEMPLATES)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE) hub.ledger")
        connection.execute("CHECKPOINT")
    _set(url, wal_level=None, max_wal_senders=None)
    return _again(folder)


def _fill(connection: psycopg.Connection, rounds: int) -> None:
    indexes = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes"
        " WHERE schemaname = 'hub' AND tablename = 'ledger' AND indexname <> 'ledger_pkey'"
    ).fetchall()
    connection.execute("SET LOCAL maintenance_work_mem TO '1GB'")
    connection.execute("TRUNCATE hub.ledger")
    connection.execute("ALTER TABLE hub.ledger DROP CONSTRAINT ledger_pkey")
    for name, _ in indexes:
        connection.execute(f"DROP INDEX hub.{name}")
    connection.execute(_TEMPLATES)
    connection.execute(_EVENTS, {"rounds": rounds})
    connection.execute("ALTER TABLE hub.ledger ADD PRIMARY KEY (ledger_offset)")
    for _, definition in indexes:
        connection.execute(definition)
    connection.execute("UPDATE hub.counter SET ledger_offset = %s", (rounds * TEMPLATES,))


def _set(url: str, **settings: str | None) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for name, value in settings.items():
            change = f"RESET {name}" if value is None else f"SET {name} TO '{value}'"
            connection.execute(f"ALTER SYSTEM {change}")


def _again(folder: Path) -> str:
    stop_embedded(folder)
    return start_embedded(folder)
