"""Connections and migrations."""

import psycopg
import pytest

from inventory_pipeline.core.errors import PostgresUnavailable
from inventory_pipeline.memory import ledger
from inventory_pipeline.memory.postgres import MIGRATIONS, Postgres, migrate, without_password
from inventory_pipeline_tests.conftest import database_url

NEWEST = max(path.name[:4] for path in (MIGRATIONS / "versions").glob("*.sql"))


def test_migrating_twice_changes_nothing(pg_url, pg):
    migrate(pg_url)
    with pg.connection() as connection:
        versions = connection.execute("SELECT version_num FROM hub.schema_version").fetchall()
    assert versions == [(NEWEST,)]


def test_a_database_of_the_first_version_keeps_what_it_holds(postgres_server):
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE first_version")
    url = database_url(postgres_server, "first_version")
    first = (MIGRATIONS / "versions" / "0001_first.sql").read_text()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE SCHEMA hub")
        connection.execute(first)
        connection.execute("CREATE TABLE hub.schema_version (version_num varchar(32) PRIMARY KEY)")
        connection.execute("INSERT INTO hub.schema_version VALUES ('0001')")
        connection.execute(FILLED)
    migrate(url)
    with psycopg.connect(url) as connection:
        events = ledger.read_events(connection, 0, 2).to_pylist()
        [snapshot] = ledger.read_snapshots(connection, 0, 2)
        held = connection.execute("SELECT raw, mapping_offset FROM hub.quarantine").fetchall()
        found = ledger.find_event(connection, "wms", "e1")
        raw = connection.execute(
            "SELECT raw ->> 'quantity', raw ->> 'note' FROM hub.ledger ORDER BY ledger_offset"
        ).fetchone()
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("DROP DATABASE first_version WITH (FORCE)")
    assert [(e["event_id"], e["sku"], e["quantity_milli"]) for e in events] == [("e1", "A", 1000)]
    assert (snapshot.ledger_offset, snapshot.path) == (2, "landing/wms/x.parquet")
    assert held == [("{}", None)]
    assert found == (1, b"\x01")
    assert raw == ("1.50", "ü")


FILLED = """
INSERT INTO hub.ledger (ledger_offset, kind, system, event_id, type, occurred_at, received_at, sku,
    quantity_milli, mapping_version, source, position, order_id, content_hash, raw)
VALUES (1, 'event', 'wms', 'e1', 'pos_sale', now(), now(), 'A', 1000, 1, 'f', '1', 'o1', '\\x01',
    '{"quantity": 1.50, "note": "\\u00fc"}');
INSERT INTO hub.ledger (ledger_offset, kind, system, occurred_at, received_at, mapping_version,
    source, position) VALUES (2, 'snapshot', 'wms', now(), now(), 1, 'f', '1');
INSERT INTO hub.snapshots (system, feed, source, key, as_of, status, states, data_rows, path,
    ledger_offset, landed_at)
VALUES ('wms', 'dc', 'f', 'k', now(), 'accepted', '{on_hand}', 1, 'landing/wms/x.parquet', 2,
    now());
UPDATE hub.counter SET ledger_offset = 2;
INSERT INTO hub.quarantine (system, kind, source, position, reason, message, raw, received_at)
VALUES ('wms', 'event', 'f', '2', 'unknown_item', '?', '{}', now());
"""


@pytest.mark.parametrize("table", ["remaps", "amendments"])
def test_what_a_catalogue_mapped_again_is_never_edited(pg, table):
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"), pg.connection() as c:
        c.execute(f"DELETE FROM hub.{table}")


def test_the_ledger_refuses_edits(pg):
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"), pg.connection() as c:
        c.execute("UPDATE hub.ledger SET kind = 'event'")


def test_an_absent_server_is_one_clear_message():
    nowhere = Postgres("postgresql://hub:secret@127.0.0.1:1/hub", patience_s=0.5)
    with pytest.raises(PostgresUnavailable) as caught, nowhere.connection():
        pass
    assert "127.0.0.1:1" in str(caught.value)
    assert "HUB_POSTGRES_URL" in str(caught.value)
    assert "secret" not in str(caught.value)
    nowhere.close()


def test_a_password_is_never_shown():
    assert without_password("postgresql://u:pw@h/d") == "postgresql://u:***@h/d"
