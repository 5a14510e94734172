"""The SQL connector against a real MariaDB: its types, its times, its refusals."""

import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.sql import SqlConnector
from inventory_pipeline.core.errors import SourceRefused, SourceUnreachable
from inventory_pipeline.core.ports import Opening
from inventory_pipeline_tests.real_systems.mariadb import MariaDb, mariadb, missing

pytestmark = pytest.mark.real_systems

SNAPSHOT = "SELECT place AS location, sku AS item, qty AS on_hand, bad AS damaged FROM stock"
EVENTS = (
    "SELECT changed_at, CONCAT('m', id) AS event_id, 'adjusted' AS type, changed_at AS occurred_at,"
    " sku AS item, qty AS quantity, place AS location FROM moves WHERE changed_at > :cursor"
    " ORDER BY changed_at, id"
)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    reason = missing()
    if reason:
        pytest.skip(reason)
    with mariadb(tmp_path_factory.mktemp("mariadb")) as running:
        yield running


@pytest.fixture
def erp(server) -> MariaDb:
    server.run(
        "DROP TABLE IF EXISTS stock",
        "DROP TABLE IF EXISTS moves",
        "CREATE TABLE stock (place INT, sku VARCHAR(20), qty DECIMAL(14, 3), bad DECIMAL(14, 3))",
        "INSERT INTO stock VALUES (1, 'A', 12345678901.125, NULL), (1, 'Größe-ß', 0, 0),"
        " (2, 'A', NULL, -0.5)",
        "CREATE TABLE moves (id INT PRIMARY KEY, changed_at DATETIME(6), sku VARCHAR(20),"
        " qty DECIMAL(14, 3), place INT)",
        "INSERT INTO moves VALUES (1, '2026-07-01 10:00:00', 'A', 1.5, 1),"
        " (2, '2026-07-01 10:00:00.25', 'A', -2, 1), (3, '2026-07-01 10:00:00.25', 'B', 3, NULL)",
    )
    return server


def connected(erp: MariaDb, *, url: str = "", **options) -> SqlConnector:
    given: dict[str, object] = {
        "url": Secret(url or erp.url()), "snapshot_query": SNAPSHOT, "events_query": EVENTS,
        "cursor_column": "changed_at", "cursor_start": "2000-01-01", "timezone": "Europe/Berlin",
        "overlap": 0,
    }  # fmt: skip
    return SqlConnector(Opening(system="erp", options=_chosen(given | options), hub_folder="."))


def _chosen(options: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in options.items() if value is not None}


def frame_of(connector: SqlConnector):
    (found,) = connector.snapshots(frozenset())
    return found.frame


@pytest.mark.parametrize("kind", ["mariadb", "mysql"])
def test_levels_by_query_are_exact_and_null_is_empty(erp, kind):
    frame = frame_of(connected(erp, url=erp.url(kind=kind)))
    assert frame["item"].tolist() == ["A", "Größe-ß", "A"]
    assert frame["location"].tolist() == ["1", "1", "2"]
    assert frame["on_hand"].tolist()[:2] == ["12345678901.125", "0.000"]
    assert frame["on_hand"].isna().tolist() == [False, False, True]
    assert frame["damaged"].isna().tolist() == [True, False, False]
    assert Decimal(frame["damaged"].iloc[2]) == Decimal("-0.5")


def test_a_snapshot_is_dated_by_the_servers_clock_in_utc(erp):
    # The server's own time zone is two hours off.
    as_of = datetime.fromisoformat(frame_of(connected(erp))["as_of"].iloc[0])
    assert abs(as_of - datetime.now(UTC)) < timedelta(seconds=30)


def test_times_are_in_the_zone_that_was_named(erp):
    body = connected(erp).changes({}).events[0].body
    assert body["occurred_at"] == "2026-07-01T08:00:00+00:00"
    assert (body["event_id"], body["quantity"]) == ("m1", "1.500")
    without = connected(erp, timezone=None).changes({}).events[0].body
    assert without["occurred_at"] == "2026-07-01T10:00:00", "which goes to quarantine"


def test_changes_go_on_behind_a_cursor_of_time_with_microseconds(erp):
    connector = connected(erp, page_rows=2)
    page = connector.changes({})
    assert [e.body["event_id"] for e in page.events] == ["m1", "m2", "m3"], "one moment, one page"
    assert "location" not in page.events[2].body
    assert page.cursor == {"at": "2026-07-01T10:00:00.250000", "kind": "time"}
    assert list(connector.changes(page.cursor).events) == []
    erp.run("INSERT INTO moves VALUES (4, '2026-07-01 10:00:00.250001', 'A', 1, 1)")
    assert [e.body["event_id"] for e in connector.changes(page.cursor).events] == ["m4"]
    overlapping = connected(erp, overlap=1).changes(page.cursor)
    assert [e.body["event_id"] for e in overlapping.events] == ["m1", "m2", "m3", "m4"]


def test_changes_go_on_behind_a_number(erp):
    events = EVENTS.replace("SELECT changed_at,", "SELECT id,").replace(
        "changed_at > :cursor ORDER BY changed_at, id", "id > :cursor ORDER BY id"
    )
    connector = connected(
        erp, events_query=events, cursor_column="id", cursor_start="1", page_rows=1
    )
    page = connector.changes({})
    assert ([e.body["event_id"] for e in page.events], page.more) == (["m2"], True)
    page = connector.changes(page.cursor)
    assert ([e.body["event_id"] for e in page.events], page.more) == (["m3"], False)
    assert page.cursor == {"at": "3", "kind": "int"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": "stale"}, "Access denied for user 'reader'"),
        ({"database": "nowhere"}, "nowhere"),
    ],
)
def test_wrong_credentials_and_an_unknown_database_need_a_person(erp, change, said):
    with pytest.raises(SourceRefused, match=said) as error:
        connected(erp, url=erp.url(**change)).changes({})
    text = str(error.value)
    assert text.startswith("erp: events_query: ")
    assert "docs/sql.md" in text
    assert "stale" not in text


def test_a_column_that_was_dropped_needs_a_person(erp):
    connector = connected(erp)
    assert len(frame_of(connector)) == 3
    erp.run("ALTER TABLE stock DROP COLUMN qty")
    with pytest.raises(SourceRefused, match=r"Unknown column 'qty'") as error:
        list(connector.snapshots(frozenset()))
    assert str(error.value).startswith("erp: snapshot_query: ")
    assert "docs/sql.md" in str(error.value)
    erp.run("DROP TABLE stock")
    with pytest.raises(SourceRefused, match="stock"):
        list(connector.snapshots(frozenset()))


def test_a_query_with_a_wrong_word_needs_a_person(erp):
    with pytest.raises(SourceRefused, match="SQL syntax"):
        list(connected(erp, snapshot_query="SELEC 1").snapshots(frozenset()))


def test_a_table_that_may_not_be_read_needs_a_person(erp):
    with pytest.raises(SourceRefused, match="denied"):
        list(connected(erp, snapshot_query="SELECT * FROM mysql.user").snapshots(frozenset()))


def test_a_query_that_takes_too_long_is_given_up_and_asked_again(erp):
    began = time.monotonic()
    slow = "SELECT 1 AS location, 'A' AS item, SLEEP(20) AS on_hand"
    with pytest.raises(SourceUnreachable, match=r"erp: snapshot.*max_statement_time") as error:
        list(connected(erp, snapshot_query=slow, timeout_s=1).snapshots(frozenset()))
    assert time.monotonic() - began < 10
    assert "next poll" in str(error.value)
    assert len(frame_of(connected(erp))) == 3


def test_a_table_that_is_locked_is_given_up_and_asked_again(erp):
    lock = erp.connected()
    with lock.cursor() as cursor:
        cursor.execute("LOCK TABLES stock WRITE")
    try:
        with pytest.raises(SourceUnreachable, match="max_statement_time"):
            list(connected(erp, timeout_s=1).snapshots(frozenset()))
    finally:
        lock.close()
    assert len(frame_of(connected(erp))) == 3


def test_nothing_can_be_written_even_by_a_user_who_may(erp):
    admin = f"mariadb://root@127.0.0.1:{erp.port}/erp"
    for query in (
        "DELETE FROM stock RETURNING place AS location, sku AS item, qty AS on_hand",
        "INSERT INTO stock VALUES (9, 'Z', 1, 0) RETURNING place AS location",
    ):
        with pytest.raises(SourceRefused, match="READ ONLY transaction"):
            list(connected(erp, url=admin, snapshot_query=query).snapshots(frozenset()))
    assert len(frame_of(connected(erp))) == 3


def test_a_snapshot_is_one_moment_while_others_write(erp):
    erp.run("DELETE FROM stock", "INSERT INTO stock VALUES (1, 'A', 50, 0), (2, 'A', 50, 0)")
    query = (
        "SELECT 1 AS location, 'A' AS item, (SELECT qty FROM stock WHERE place = 1) AS on_hand"
        " UNION ALL SELECT 2, SLEEP(0.3), (SELECT qty FROM stock WHERE place = 2)"
    )
    stop = threading.Event()

    def move() -> None:
        while not stop.is_set():
            erp.run("UPDATE stock SET qty = qty + IF(place = 1, -1, 1)")

    moving = threading.Thread(target=move)
    moving.start()
    try:
        for _ in range(3):
            frame = frame_of(connected(erp, snapshot_query=query))
            assert sum(Decimal(cell) for cell in frame["on_hand"]) == 100
    finally:
        stop.set()
        moving.join()


def test_a_server_that_stopped_is_unreachable_and_no_secret_is_told(tmp_path):
    reason = missing()
    if reason:
        pytest.skip(reason)
    with mariadb(tmp_path) as short:
        connector = SqlConnector(
            Opening(
                system="erp",
                options={"url": Secret(short.url()), "snapshot_query": "SELECT 1 AS location"},
                hub_folder=".",
            )
        )
        assert len(frame_of(connector)) == 1
    with pytest.raises(SourceUnreachable, match="erp: snapshot_query: ") as error:
        list(connector.snapshots(frozenset()))
    assert "right" not in str(error.value)
