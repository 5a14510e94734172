"""Connections and migrations."""

import pytest

from inventory_pipeline.core.errors import PostgresUnavailable
from inventory_pipeline.memory.postgres import Postgres, migrate, without_password


def test_migrating_twice_changes_nothing(pg_url, pg):
    migrate(pg_url)
    with pg.connection() as connection:
        versions = connection.execute("SELECT version_num FROM hub.schema_version").fetchall()
    assert versions == [("0001",)]


def test_the_ledger_refuses_edits(pg):
    import psycopg

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
