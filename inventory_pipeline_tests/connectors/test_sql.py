"""Databases by query: the same on SQLite and on PostgreSQL, and never a write."""

import contextlib
import sqlite3
from datetime import datetime

import psycopg
import pytest

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.sql import SqlConnector
from inventory_pipeline.connectors.sql_values import Place, event_value
from inventory_pipeline.core.errors import HubError, SourceRefused, SourceUnreachable
from inventory_pipeline.core.ports import Opening

SETUP = [
    "CREATE TABLE stock (place text, sku text, qty numeric(12, 3))",
    "INSERT INTO stock VALUES ('1', 'A', 5.125), ('1', 'B', 0), ('2', 'A', NULL)",
    "CREATE TABLE moves (id integer, kind text, at text, sku text, qty integer, place text)",
    (
        "INSERT INTO moves VALUES"
        " (1, 'goods_received', '2026-03-02T08:00:00Z', 'A', 5, '1'),"
        " (2, 'goods_issued', '2026-03-02T09:00:00Z', 'A', 1, '1'),"
        " (2, 'goods_issued', '2026-03-02T09:00:00Z', 'B', 1, '1'),"
        " (3, 'goods_issued', '2026-03-02T10:00:00Z', 'A', 2, '1')"
    ),
]
SNAPSHOT = "SELECT place AS location, sku AS item, qty AS on_hand FROM stock ORDER BY 1, 2"
EVENTS = (
    "SELECT id, id || '/' || sku AS event_id, kind AS type, at AS occurred_at, sku AS item,"
    " qty AS quantity, place AS location FROM moves WHERE id > :cursor ORDER BY id, sku"
)


class Database:
    def __init__(self, url, connect, folder):
        self.url, self._connect, self.folder = url, connect, folder
        self.run(*SETUP)

    def run(self, *statements):
        with contextlib.closing(self._connect()) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def connector(self, **options):
        given = {"url": Secret(self.url), "snapshot_query": SNAPSHOT, "events_query": EVENTS,
                 "cursor_column": "id", "snapshot_every_s": 60}  # fmt: skip
        chosen = {name: v for name, v in (given | options).items() if v is not None}
        opening = Opening(system="erp", options=chosen, hub_folder=str(self.folder))
        return SqlConnector(opening, wall=lambda: 1_000_000.0)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path, pg_url):
    if request.param == "sqlite":
        path = tmp_path / "erp.sqlite"
        return Database("sqlite:///erp.sqlite", lambda: sqlite3.connect(path), tmp_path)
    return Database(pg_url, lambda: psycopg.connect(pg_url), tmp_path)


def told(connector):
    found, cursor, pages = [], {}, 0
    while True:
        page = connector.changes(cursor)
        found += [event.body["event_id"] for event in page.events]
        cursor, pages = page.cursor, pages + 1
        if not page.more:
            return found, cursor, pages


def test_a_query_is_a_snapshot_of_exact_text(database):
    (found,) = database.connector().snapshots(frozenset())
    frame = found.frame
    assert frame["item"].tolist() == ["A", "B", "A"]
    assert [float(v) for v in frame["on_hand"].dropna()] == [5.125, 0.0]
    assert frame["on_hand"].isna().tolist() == [False, False, True]
    assert datetime.fromisoformat(frame["as_of"].iloc[0]).tzinfo is not None
    assert list(database.connector().snapshots(frozenset({found.key}))) == []


def test_events_come_page_by_page_and_rows_of_one_value_stay_together(database):
    assert told(database.connector())[0] == ["1/A", "2/A", "2/B", "3/A"]
    found, cursor, pages = told(database.connector(page_rows=1))
    assert (found, pages) == (["1/A", "2/A", "2/B", "3/A"], 3)
    assert cursor == {"at": "3", "kind": "int"}


def test_a_row_that_was_committed_late_is_found_within_the_overlap(database):
    _, cursor, _ = told(database.connector())
    database.run(
        "INSERT INTO moves VALUES (0, 'goods_issued', '2026-03-02T07:00:00Z', 'A', 1, '1'),"
        " (4, 'goods_issued', '2026-03-02T11:00:00Z', 'A', 1, '1')"
    )
    page = database.connector(overlap=10).changes(cursor)
    ids = [event.body["event_id"] for event in page.events]
    assert ids[0] == "0/A"
    assert ids[-1] == "4/A"
    assert [e.body["event_id"] for e in database.connector(overlap=0).changes(cursor).events] == [
        "4/A"
    ]


def test_an_event_has_its_columns_and_no_empty_ones(database):
    first = database.connector().changes({}).events[0]
    assert first.body == {
        "event_id": "1/A", "type": "goods_received", "occurred_at": "2026-03-02T08:00:00Z",
        "item": "A", "quantity": 5, "location": "1",
    }  # fmt: skip
    assert first.position == "1"


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM stock RETURNING place AS location, sku AS item, qty AS on_hand",
        "INSERT INTO stock VALUES ('9', 'Z', 1) RETURNING place AS location",
    ],
)
def test_nothing_can_be_written(database, query):
    connector = database.connector(snapshot_query=query)
    with pytest.raises(SourceRefused, match=r"(?i)read-?only|CURSOR FOR"):
        list(connector.snapshots(frozenset()))
    assert len(next(iter(database.connector().snapshots(frozenset()))).frame) == 3


def test_a_function_that_writes_is_kept_from_it(pg_url, tmp_path):
    database = Database(pg_url, lambda: psycopg.connect(pg_url), tmp_path)
    database.run(
        "CREATE FUNCTION sly() RETURNS text LANGUAGE sql AS"
        " $$ INSERT INTO stock VALUES ('9', 'Z', 1) RETURNING place $$"
    )
    with pytest.raises(SourceRefused, match="read-only"):
        list(database.connector(snapshot_query="SELECT sly()").snapshots(frozenset()))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT nothing FROM stock", "nothing"),
        ("SELECT * FROM no_such_table", "no_such_table"),
        ("SELEC 1", "(?i)syntax"),
    ],
)
def test_a_wrong_query_is_said_with_the_databases_words(database, query, said):
    with pytest.raises(SourceRefused, match=said) as error:
        list(database.connector(snapshot_query=query).snapshots(frozenset()))
    assert "erp: snapshot_query" in str(error.value)


def test_rows_out_of_order_are_refused_before_one_is_lost(database):
    query = EVENTS.replace("ORDER BY id, sku", "ORDER BY id DESC")
    with pytest.raises(SourceRefused, match="not in the order of id"):
        database.connector(events_query=query).changes({})


def test_a_query_without_its_cursor_column_is_said(database):
    with pytest.raises(SourceRefused, match="no column 'number' but id, event_id"):
        database.connector(cursor_column="number").changes({})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "oracle://x/y"}, "url must begin with postgresql"),
        ({"cursor_column": None}, "cursor_column is missing"),
        ({"events_query": "SELECT 1"}, "must compare id with :cursor"),
        ({"timezone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
        ({"snapshot_query": None, "events_query": None}, "is missing"),
    ],
)
def test_wrong_options_are_named(tmp_path, options, said):
    database = Database.__new__(Database)
    database.url, database.folder = "sqlite:///x.sqlite", tmp_path
    with pytest.raises(HubError, match=said):
        database.connector(**options)


def test_a_database_that_is_not_there_is_unreachable_and_no_secret_is_told(tmp_path):
    for url in (
        "postgresql://hub:very-secret@127.0.0.1:1/erp",
        "mysql://hub:very-secret@127.0.0.1:1/erp",
        "sqlite:///missing.sqlite",
    ):
        database = Database.__new__(Database)
        database.url, database.folder = url, tmp_path
        with pytest.raises(SourceUnreachable) as error:
            database.connector().changes({})
        assert "very-secret" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_times_get_the_zone_that_was_named_and_no_other():
    from zoneinfo import ZoneInfo

    noon = datetime.fromisoformat("2026-07-01T12:00:00")  # as a database without zones tells it
    assert event_value(noon, ZoneInfo("Europe/Berlin")) == "2026-07-01T10:00:00+00:00"
    assert event_value(noon, None) == "2026-07-01T12:00:00"
    assert event_value(0.1, None) == "0.1"
    place = Place.at(noon)
    assert Place.of(place.as_json(), "0") == place
    assert place.before(60).value == datetime.fromisoformat("2026-07-01T11:59:00")
