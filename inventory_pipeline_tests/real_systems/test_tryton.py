"""The connector against a real Tryton: what it holds, what happened, and what it refuses."""

import time
from datetime import datetime, timedelta

import pytest

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.core.errors import SourceRefused, SourceUnreachable

pytestmark = [pytest.mark.real_systems, pytest.mark.timeout(1200)]


def held(connector, column="on_hand"):
    """(warehouse, item) → quantity, of a snapshot taken now."""
    (snapshot,) = connector.snapshots(frozenset())
    frame = snapshot.frame
    return {(row["location"], row["item"]): row[column] for row in frame.to_dict("records")}


def told(connector, item, cursor=None):
    """All that happened to an item, without ids, times and references, to the feed's end."""
    found, place = [], cursor or {}
    for _ in range(1000):
        page = connector.changes(place)
        found += [e.body for e in page.events if e.body["item"] == item]
        place = page.cursor
        if not page.more:
            return found
    raise AssertionError("the feed does not end")


def short(events):
    return [(e["type"], e["location"], e["quantity"]) for e in events]


def test_a_snapshot_holds_every_product_of_every_warehouse(erp):
    erp.product("HELD")
    erp.count("STO", HELD=40)
    erp.move("HELD", 2, "SUP", "STO2")
    erp.ship("HELD", 3, until="assign_try")  # promised, not gone
    found = held(erp.connector())
    assert (found["WH", "HELD"], found["WH2", "HELD"]) == ("40", "2")


def test_fractions_come_without_the_noise_of_floats(erp):
    erp.product("FLOUR", digits=2)
    for amount in (0.1, 0.2):
        erp.move("FLOUR", amount, "SUP", "STO")
    assert held(erp.connector())["WH", "FLOUR"] == "0.3"
    assert [e["quantity"] for e in told(erp.connector(), "FLOUR")] == ["0.1", "0.2"]


def test_what_is_expected_and_promised_can_be_part_of_a_snapshot(erp):
    erp.product("OPEN")
    erp.count("STO", OPEN=10)
    erp.move("OPEN", 25, "SUP", "IN", done=False)
    erp.ship("OPEN", 4, until="wait")
    connector = erp.connector(snapshot_states=["on_hand", "incoming", "committed"])
    assert held(connector, "incoming")["WH", "OPEN"] == "25"
    assert held(connector, "committed")["WH", "OPEN"] == "4"


def test_a_snapshot_is_taken_once_in_its_time(erp):
    connector = erp.connector(snapshot_every_s=86_400)
    (snapshot,) = connector.snapshots(frozenset())
    assert list(connector.snapshots(frozenset({snapshot.key}))) == []


def test_goods_in_out_counted_and_returned_are_events(erp):
    erp.product("MOVED")
    erp.move("MOVED", 9, "SUP", "STO")
    erp.count("STO", MOVED=7)
    erp.move("MOVED", 2, "CUS", "STO")
    erp.ship("MOVED", 3)
    erp.move("MOVED", 1, "SUP", "STO", done=False)  # a draft says nothing yet
    assert short(told(erp.connector(), "MOVED")) == [
        ("goods_received", "WH", "9"),
        ("adjusted", "WH", "-2"),
        ("returned", "WH", "2"),
        ("goods_issued", "WH", "3"),
    ]


def test_a_shipment_names_the_order_line_that_it_fulfils(erp):
    erp.product("SOLD")
    erp.count("STO", SOLD=5)
    erp.ship("SOLD", 2, reference="ORDER-1")
    erp.ship("SOLD", 1)
    first, second = [e for e in told(erp.connector(), "SOLD") if e["type"] == "goods_issued"]
    assert (first["order_id"], first["line_id"]) == ("ORDER-1", "SOLD")
    assert "order_id" not in second


def test_a_transfer_leaves_one_warehouse_and_arrives_in_the_other(erp):
    erp.product("SENT")
    erp.count("STO", SENT=8)
    erp.transfer("SENT", 5, arrive=False)
    connector = erp.connector()
    shipped = told(connector, "SENT")[1:]
    assert short(shipped) == [("transfer_shipped", "WH", "5")]
    assert shipped[0]["to_location"] == "WH2"
    assert held(connector)["WH2", "SENT"] == "0"
    erp.transfer("SENT", 1)
    events = told(connector, "SENT")[2:]
    assert sorted(short(events)) == [
        ("transfer_received", "WH", "1"),
        ("transfer_shipped", "WH", "1"),
    ]
    assert {e["to_location"] for e in events} == {"WH2"}
    assert events[0]["reference"] == events[1]["reference"] != shipped[0]["reference"]


def test_rows_that_were_never_changed_after_their_creation_are_found(erp):
    """A row has no write_date until its first change."""
    connector = erp.connector()
    _, cursor = drained(connector)
    erp.product("NEVER")
    erp.count("STO", NEVER=3)
    time.sleep(0.01)
    assert short(told(connector, "NEVER", cursor)) == [("adjusted", "WH", "3")]


def test_every_page_size_tells_the_same(erp):
    erp.product("PAGED")
    for _ in range(5):
        erp.move("PAGED", 1, "SUP", "STO")
    whole = told(erp.connector(), "PAGED")
    assert len(whole) == 5
    assert told(erp.connector(page_size=2), "PAGED") == whole


def test_the_same_fact_has_the_same_content_after_its_costs_were_changed(erp):
    erp.product("COSTED")
    erp.count("STO", COSTED=10)
    erp.ship("COSTED", 4)
    before = told(erp.connector(), "COSTED")
    assert len(before) == 2
    erp.touch("COSTED")
    assert told(erp.connector(), "COSTED") == before


def test_a_quiet_feed_stays_where_it_is(erp):
    connector = erp.connector()
    _, cursor = drained(connector)
    page = connector.changes(cursor)
    assert (page.cursor, page.more) == (cursor, False)


def test_an_ended_session_is_begun_again(erp):
    connector = erp.connector()
    erp.product("AGAIN")
    assert ("WH", "AGAIN") in held(connector)
    erp.end_sessions()
    time.sleep(1)
    assert ("WH", "AGAIN") in held(connector)


def test_a_snapshot_is_dated_by_the_servers_clock_and_after_its_reading(erp):
    (snapshot,) = erp.connector().snapshots(frozenset())
    at = datetime.fromisoformat(snapshot.frame["as_of"].iloc[0])
    assert timedelta(0) < at - datetime.fromtimestamp(time.time(), at.tzinfo) < timedelta(seconds=5)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"password": Secret("not-the-password")}, "credentials"),
        ({"database": "elsewhere"}, "no database at /elsewhere/rpc/"),
        ({"warehouses": ["WH", "WH9"]}, "no warehouse WH9"),
        ({"order_field": "no_such_field"}, "no_such_field"),
    ],
)
def test_what_is_wrong_in_hub_yaml_is_said(erp, wrong, words):
    connector = erp.connector(**wrong)
    with pytest.raises(SourceRefused, match=words) as error:
        list(connector.changes({}).events) if "order_field" in wrong else list(
            connector.snapshots(frozenset())
        )
    assert "What to do" in str(error.value)
    assert "not-the-password" not in str(error.value)


def test_a_locked_server_is_asked_again_and_then_at_the_next_poll(erp):
    """Tryton answers 503 while another transaction holds what it needs."""
    from inventory_pipeline_tests.connectors.servers import Reply, scripted

    login = Reply({"id": 1, "result": [1, "token", None]})
    context = Reply({"id": 1, "result": {"company": 1}})
    rows = Reply({"id": 1, "result": []})
    locked = Reply(b"locked", status=503)
    with scripted(login, context, locked, rows) as script:
        connector = erp.connector(url=script.url)
        assert connector.changes({}).events == []
    with scripted(login, context, locked) as script, pytest.raises(SourceUnreachable):
        erp.connector(url=script.url).changes({})


def drained(connector):
    cursor, found = {}, []
    for _ in range(1000):
        page = connector.changes(cursor)
        found += page.events
        cursor = page.cursor
        if not page.more:
            return found, cursor
    raise AssertionError("the feed does not end")
