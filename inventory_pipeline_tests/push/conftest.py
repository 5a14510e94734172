"""Merchants on a database of the test's own."""

from dataclasses import replace

import psycopg
import pytest

from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline.memory.postgres import Postgres
from inventory_pipeline_tests.push.channel import MOVING, Merchant


@pytest.fixture
def merchant(pg, tmp_path):
    """A merchant whose channel can what is asked for, showing 9 of A, 9 of B and 0 of C as it must.

    Keywords are capabilities that differ from an absolute channel that sells and cannot compare.
    """

    def opened(*, mode=Mode.LIVE, **abilities):
        made = Merchant(pg, tmp_path, replace(MOVING, **abilities), mode=mode)
        made.channel.on_hand.update(A=9, B=9, C=0)
        made.count_stock(A=9, B=9, C=0)
        made.push()
        made.clock.pass_(minutes=1)
        made.push()
        made.channel.reads.clear()
        made.channel.writes.clear()
        return made

    return opened


@pytest.fixture
def bench(pg_url, tmp_path):
    """Opens a merchant with these capabilities: one database for all of them, emptied between."""
    with psycopg.connect(pg_url, autocommit=True) as connection:
        [name] = connection.execute("SELECT current_database()").fetchone()
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit TO off")

    def opened(can):
        with psycopg.connect(pg_url, autocommit=True) as connection:
            connection.execute(
                "TRUNCATE hub.outbox, hub.attempts, hub.intents, hub.breakers, hub.holds"
            )
            connection.execute("ALTER TABLE hub.ledger DISABLE TRIGGER USER")
            connection.execute("DELETE FROM hub.ledger")
            connection.execute("UPDATE hub.counter SET ledger_offset = 0")
            connection.execute("UPDATE hub.sync_cursor SET ledger_offset = 0")
        return Merchant(Postgres(pg_url, max_connections=3), tmp_path, can)

    return opened
