"""The outbox's table: what an older one becomes, what is due, and texts that need quoting."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from inventory_pipeline.core.breaker import Breaker
from inventory_pipeline.core.ports import Level, ListingRef
from inventory_pipeline.memory import breakers, outbox
from inventory_pipeline.memory.arrays import moments, numbers, texts
from inventory_pipeline.memory.postgres import MIGRATIONS, migrate

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
ODD = ["a", 'q"uote', "back\\slash", "comma,", "{brace}", "NULL", "", "ä ", "line\nbreak"]


@pytest.fixture
def old_url(postgres_server):
    """A database as version 0003 left it."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    from inventory_pipeline_tests.conftest import database_url

    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS old_outbox WITH (FORCE)")
        connection.execute("CREATE DATABASE old_outbox")
    url = database_url(postgres_server, "old_outbox")
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
    engine.dispose()
    yield url
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("DROP DATABASE old_outbox WITH (FORCE)")


def _old_row(connection, external_id, *, key=None, outcome="acked", base=5000):
    connection.execute(
        "INSERT INTO hub.outbox (channel, bucket, external_id, bucket_external, sku, units_milli,"
        " desired_milli, desired_offset, policy_version, mapping_version, computed_at, base_milli,"
        " base_kind, base_sent_at, base_answered_at, look, open_key)"
        " VALUES ('web', 'main', %s, '', %s, 1000, 5000, 1, 1, 1, %s, %s, 'write', %s, %s, false,"
        " %s)",
        (external_id, external_id, NOW, base, NOW, NOW, key),
    )
    connection.execute(
        "INSERT INTO hub.attempts (key, channel, bucket, external_id, sku, epoch, quantity_milli,"
        " desired_offset, policy_version, mode, computed_at, sent_at, outcome)"
        " VALUES ('k', 'web', 'main', %s, %s, 1, 5000, 1, 1, 'live', %s, %s, %s)",
        (external_id, external_id, NOW, NOW, outcome),
    )


def test_an_older_outbox_keeps_what_it_knows(old_url):
    with psycopg.connect(old_url, autocommit=True) as connection:
        _old_row(connection, "sent")
        _old_row(connection, "noted", outcome="shadow")
        _old_row(connection, "open", key="k", outcome=None)
    migrate(old_url)
    with psycopg.connect(old_url) as connection:
        rows = connection.execute(
            "SELECT external_id, base_milli, base_kind, unread, look, open_key FROM hub.outbox"
            " ORDER BY external_id"
        ).fetchall()
        outcomes = connection.execute("SELECT outcome FROM hub.attempts ORDER BY external_id")
        assert [outcome for (outcome,) in outcomes] == ["shadow", "unknown", "acked"]
    assert rows == [
        ("noted", 5000, "shadow", False, False, None),
        ("open", 5000, "write", True, True, None),
        ("sent", 5000, "write", False, False, None),
    ]


def test_texts_reach_postgres_as_they_are(pg):
    with pg.connection() as connection:
        for values in ([], ["a"], ["a", "b"], ODD):
            [found] = connection.execute("SELECT %s::text[]", (texts(values),)).fetchone()
            assert found == values
        [found] = connection.execute("SELECT %s::bigint[]", (numbers([1, -2]),)).fetchone()
        assert found == [1, -2]
        values = [NOW, None, NOW + timedelta(microseconds=1)]
        [found] = connection.execute("SELECT %s::timestamptz[]", (moments(values),)).fetchone()
        assert found == values


def want(connection, names, *, offset=1):
    rows = [
        {
            "channel": "web", "bucket": "main", "bucket_external": "", "external_id": name,
            "sku": name, "units_milli": 1000, "desired_milli": 3000, "ledger_offset": offset,
            "occurred_at": NOW, "received_at": NOW, "listed": True,
        }
        for name in names
    ]  # fmt: skip
    outbox.store_desired(connection, rows, policy_version=1, mapping_version=1, computed_at=NOW)


def level(name, *, units=3, reserved=0):
    return Level(
        listing=ListingRef(bucket="main", bucket_external="", external_id=name),
        quantity_milli=units * 1000, reserved_milli=reserved * 1000, asked_at=NOW, answered_at=NOW,
    )  # fmt: skip


def test_odd_names_are_read_and_kept(pg):
    with pg.connection() as connection:
        want(connection, ODD)
        outbox.store_readings(connection, "web", [level(name) for name in ODD])
        [(read,)] = connection.execute(
            "SELECT count(*) FROM hub.outbox WHERE base_milli = 3000"
        ).fetchall()
    assert read == len(ODD)


def test_the_base_is_what_is_offered_and_not_what_the_platform_holds_reserved(pg):
    with pg.connection() as connection:
        want(connection, ["A"])
        outbox.store_readings(connection, "web", [level("A", units=5, reserved=2)])
        [(base,)] = connection.execute("SELECT base_milli FROM hub.outbox").fetchall()
    assert base == 3000


def test_a_paused_channel_is_due_when_its_pause_is_over(pg):
    later = NOW + timedelta(seconds=30)
    with pg.connection() as connection:
        want(connection, ["A"])
        assert outbox.channels_due(connection, now=NOW) == {"web"}
        assert outbox.next_look(connection) is None
        breakers.store(connection, Breaker(channel="web", failures=1, paused_until=later))
        assert outbox.channels_due(connection, now=NOW) == frozenset()
        assert outbox.next_look(connection) == later
        assert outbox.channels_due(connection, now=later) == {"web"}


def test_a_breaker_comes_back_as_it_was_stored(pg):
    stored = Breaker(
        channel="web", state="open", since=NOW, why="502", failures=4, failing_since=NOW,
        suspects=frozenset({("main", "A"), ("b", "")}), probes=2, next_probe_at=NOW,
        paused_until=NOW, acked_at=NOW, failing="write",
    )  # fmt: skip
    with pg.connection() as connection:
        assert breakers.breaker_of(connection, "web") == Breaker(channel="web")
        breakers.store(connection, stored)
        assert breakers.breaker_of(connection, "web") == stored
        assert breakers.breakers(connection) == [stored]
