"""The Amazon connector against a seller that speaks the same calls: quantities, orders, FBA."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
import stamina

from inventory_pipeline.connectors.amazon import AmazonConnector
from inventory_pipeline.core.errors import ChannelRefused, OutcomeUnknown
from inventory_pipeline.core.ports import Completion, Receipting, Write
from inventory_pipeline_tests.connectors.amazon_sellers import (
    CATALOG,
    Seller,
    listing,
    opened,
    seller,
    write,
)
from inventory_pipeline_tests.connectors.shops import bodies, polled

OPEN: list[AmazonConnector] = []


@pytest.fixture(autouse=True)
def at_once():
    with stamina.set_testing(True, attempts=3):
        yield
    while OPEN:
        OPEN.pop().close()


@pytest.fixture
def shop(tmp_path):
    with seller(tmp_path) as running:
        yield running


def connected(shop: Seller, **options) -> AmazonConnector:
    OPEN.append(opened(shop.url, clock=shop.clock, **options))
    return OPEN[-1]


# -- levels -----------------------------------------------------------------------------------


def test_levels_are_read_by_sku_and_what_amazon_fills_is_left_out(shop):
    wanted = [listing("SKU-1"), listing("SKU-3"), listing("FBA-1"), listing("NONE")]
    levels = {level.listing: level.quantity_milli for level in connected(shop).read_levels(wanted)}
    assert levels == {wanted[0]: 10_000, wanted[1]: 30_000}


def test_a_full_reading_has_every_quantity_that_the_seller_sets(shop):
    levels = list(connected(shop).read_levels(None))
    assert {one.listing.external_id for one in levels} == {f"SKU-{n}" for n in range(1, 8)}
    assert {(one.listing.bucket, one.listing.bucket_external) for one in levels} == {("", "")}


def test_a_sku_with_a_comma_is_asked_for_alone(tmp_path):
    with seller(tmp_path, catalog=CATALOG + '60,"A,B",Odd,1.00,4,,HOME\n') as shop:
        wanted = [listing("A,B"), listing("SKU-1")]
        levels = {one.listing: one.quantity_milli for one in connected(shop).read_levels(wanted)}
        assert levels == {wanted[0]: 4_000, wanted[1]: 10_000}
        assert shop.calls()["getListingsItem"] == 1


def test_listings_beyond_the_thousand_of_one_search_are_found_by_the_next_one(tmp_path):
    rows = "".join(f"{n},S-{n},T,1.00,1,,HOME\n" for n in range(1000, 2_200))
    with seller(tmp_path, catalog=CATALOG + rows) as shop:
        # All were created in one second, which is more than Amazon's search gives of one.
        with pytest.raises(ChannelRefused, match="created at 2026-10-05T09:00:00"):
            list(connected(shop).read_levels(None))
        import sqlite3

        with sqlite3.connect(tmp_path / "amazon.sqlite", isolation_level=None) as file:
            file.execute("UPDATE items SET created_at = '2026-10-04T09:00:00' WHERE item_id < 1400")
        assert len(list(connected(shop).read_levels(None))) == 1_207


def test_more_than_twenty_skus_are_asked_for_in_twenties(tmp_path):
    rows = "".join(f"{n},S-{n},T,1.00,1,,HOME\n" for n in range(100, 150))
    with seller(tmp_path, catalog=CATALOG + rows) as shop:
        wanted = [listing(f"S-{n}") for n in range(100, 150)]
        assert len(list(connected(shop).read_levels(wanted))) == 50
        assert shop.calls()["searchListingsItems"] == 3


# -- writes -----------------------------------------------------------------------------------


def test_what_a_patch_is_accepted_for_has_a_receipt_and_is_asked_for_until_it_shows(shop):
    connector = connected(shop)
    capabilities = connector.capabilities
    assert (capabilities.write, capabilities.completion) == (Write.ABSOLUTE, Completion.JOB)
    assert isinstance(connector, Receipting)
    writes = [write("SKU-1", 4), write("SKU-2", 0)]
    outcomes = connector.write_levels(writes, key="k")
    assert [one.error for one in outcomes] == [None, None]
    receipt = outcomes[0].receipt
    assert receipt == outcomes[1].receipt
    assert json.loads(json.dumps(receipt.body)) == receipt.body
    assert shop.clock() < receipt.poll_after < receipt.give_up_at
    assert connector.poll_receipt(receipt, writes) is None
    assert shop.shown()["SKU-1"] == 10
    shop.clock.forward(5)
    settled = connector.poll_receipt(receipt, writes)
    assert [(one.write, one.error) for one in settled] == [(w, None) for w in writes]
    assert (shop.shown()["SKU-1"], shop.shown()["SKU-2"]) == (4, 0)


def test_a_listing_that_sold_meanwhile_is_read_instead_of_waited_for(shop):
    connector = connected(shop)
    writes = [replace(write("SKU-1", 14), compare_milli=10_000)]
    receipt = connector.write_levels(writes, key="k")[0].receipt
    assert connector.poll_receipt(receipt, writes) is None
    shop.clock.forward(5)
    shop.order("1", SKU_1=3)
    (settled,) = connector.poll_receipt(receipt, writes)
    assert isinstance(settled.error, OutcomeUnknown)
    assert "it shows 11" in str(settled.error)


def test_a_product_type_is_learnt_once_and_asked_for_again_after_a_refusal(shop, tmp_path):
    connector = connected(shop)
    connector.write_levels([write("SKU-1", 4)], key="k")
    connector.write_levels([write("SKU-1", 5)], key="k2")
    assert shop.calls()["searchListingsItems"] == 1
    import sqlite3

    with sqlite3.connect(tmp_path / "amazon.sqlite", isolation_level=None) as file:
        file.execute("UPDATE amazon_listings SET product_type = 'BACKPACK' WHERE item_id = 1")
    (refused,) = connector.write_levels([write("SKU-1", 6)], key="k3")
    assert isinstance(refused.error, ChannelRefused)
    assert "product type is BACKPACK" in str(refused.error)
    assert "SKU-1" in str(refused.error)
    (taken,) = connector.write_levels([write("SKU-1", 6)], key="k4")
    assert taken.error is None


def test_each_impossible_quantity_stands_alone(shop):
    writes = [
        write("NONE", 1), write("FBA-1", 1), write("SKU-1", 1.5), write("SKU-2", 3),
        write("SKU-2", 4), write("SKU-3", 1, "AMAZON_NA"),
    ]  # fmt: skip
    outcomes = connected(shop).write_levels(writes, key="k")
    said = [str(one.error).splitlines()[0] if one.error else "" for one in outcomes]
    assert [bool(text) for text in said] == [True, True, True, False, True, True]
    assert "no such listing" in said[0]
    assert "Amazon fills" in said[1]
    assert "whole units" in said[2]
    assert "two listings" in said[4]
    assert all(one.receipt is None for one in outcomes if one.error)
    shop.clock.forward(5)
    assert shop.shown()["SKU-2"] == 3


def test_many_quantities_go_by_a_feed_and_its_report_names_the_bad_ones(shop, tmp_path):
    connector = connected(shop, feed_from=3)
    writes = [write(f"SKU-{n}", n) for n in range(1, 6)]
    connector.write_levels(writes[:1], key="learns one type")
    import sqlite3

    with sqlite3.connect(tmp_path / "amazon.sqlite", isolation_level=None) as file:
        file.execute("UPDATE amazon_listings SET product_type = 'BACKPACK' WHERE item_id = 1")
    outcomes = connector.write_levels(writes, key="k")
    receipt = outcomes[0].receipt
    assert receipt.body["kind"] == "feed"
    assert [one.error for one in outcomes] == [None] * 5
    assert connector.poll_receipt(receipt, writes) is None  # in the queue
    shop.clock.forward(25)
    assert connector.poll_receipt(receipt, writes) is None  # at work
    shop.clock.forward(10)
    settled = connector.poll_receipt(receipt, writes)
    assert [type(one.error) for one in settled] == [ChannelRefused] + [type(None)] * 4
    assert "BACKPACK" in str(settled[0].error)
    assert [shop.shown()[f"SKU-{n}"] for n in range(2, 6)] == [2, 3, 4, 5]
    assert shop.calls()["patchListingsItem"] == 1


def test_a_cancelled_feed_changed_nothing_and_a_fatal_one_may_have(shop, tmp_path):
    connector = connected(shop, feed_from=1)
    writes = [write("SKU-1", 4)]
    first, second = (connector.write_levels(writes, key=k)[0].receipt for k in ("a", "b"))
    import sqlite3

    with sqlite3.connect(tmp_path / "amazon.sqlite", isolation_level=None) as file:
        number = first.body["feed_id"]
        file.execute("UPDATE amazon_feeds SET done = 'CANCELLED' WHERE number = ?", (number,))
        file.execute("UPDATE amazon_documents SET content = 'no JSON' WHERE packed = 0")
    (cancelled,) = connector.poll_receipt(first, writes)
    assert cancelled.error.retry_after_s == 60
    shop.clock.forward(60)
    (fatal,) = connector.poll_receipt(second, writes)
    assert isinstance(fatal.error, OutcomeUnknown)
    assert "FATAL" in str(fatal.error)


def test_a_receipt_of_somebody_else_is_refused(shop):
    receipt = connected(shop).write_levels([write("SKU-1", 4)], key="k")[0].receipt
    odd = replace(receipt, body={"kind": "bulk"})
    with pytest.raises(ChannelRefused, match="kind 'bulk'"):
        connected(shop).poll_receipt(odd, [write("SKU-1", 4)])


# -- orders -----------------------------------------------------------------------------------


def test_orders_are_told_as_events_with_ids_that_never_change(shop):
    connector = connected(shop, ships_from="dc", overlap_s=0)
    shop.order("1", SKU_1=2, SKU_2=3)
    shop.order("2", SKU_3=1)
    shop.clock.forward(1)
    first, cursor = polled(connector)
    shop.post("/storefront/orders/1/fulfil")
    shop.post("/storefront/orders/2/cancel")
    shop.clock.forward(300)
    again, cursor = polled(connector, cursor)
    found = bodies(first + again)
    about = "order/701-0000000-0000001"
    placed = found[f"{about}:item/100:placed"]
    assert placed == {
        "event_id": f"{about}:item/100:placed", "type": "order_placed",
        "occurred_at": "2026-10-05T09:00:00Z", "order_id": "701-0000000-0000001",
        "line_id": "100", "item": "SKU-1", "quantity": 2,
    }  # fmt: skip
    shipped = [b for b in found.values() if b["type"] == "order_fulfilled"]
    assert {(b["line_id"], b["quantity"], b["location"]) for b in shipped} == {
        ("100", 2, "dc"), ("101", 3, "dc"),
    }  # fmt: skip
    cancelled = [b for b in found.values() if b["type"] == "order_cancelled" and "line_id" not in b]
    assert [b["order_id"] for b in cancelled] == ["701-0000000-0000002"]
    assert json.loads(json.dumps(cursor)) == cursor


def test_without_a_place_of_shipment_nothing_is_said_of_shipping(shop):
    shop.order("1", SKU_1=2)
    shop.post("/storefront/orders/1/fulfil")
    assert [b["type"] for b in bodies(polled(connected(shop))[0]).values()] == ["order_placed"]


def test_the_feed_is_read_to_its_end_whatever_the_page_and_then_rests(shop):
    for number in range(1, 10):
        shop.order(str(number), SKU_7=1)
    connector = connected(shop, page_size=2)
    events, cursor = polled(connector)
    assert len(bodies(events)) == 9
    asked = shop.calls()["searchOrders"]
    assert polled(connector, cursor) == ([], cursor)  # not yet due again
    shop.clock.forward(100)
    assert polled(connector, cursor) == ([], cursor)
    assert shop.calls()["searchOrders"] == asked
    shop.order("10", SKU_7=1)
    shop.clock.forward(100)
    assert "order/701-0000000-0000010:item/1000:placed" in bodies(polled(connector, cursor)[0])


def test_an_order_that_the_search_does_not_show_yet_is_found_by_a_later_pass(tmp_path):
    with seller(tmp_path, order_lag_s=120) as shop:
        connector = connected(shop)
        shop.order("1", SKU_1=1)
        events, cursor = polled(connector)
        assert events == []
        shop.clock.forward(200)
        assert len(bodies(polled(connector, cursor)[0])) == 1


def test_a_pass_whose_page_token_ended_begins_again(shop):
    for number in range(1, 6):
        shop.order(str(number), SKU_7=1)
    connector = connected(shop, page_size=2)
    page = connector.changes({})
    broken = page.cursor | {"orders": page.cursor["orders"] | {"token": "gone"}}
    events, _ = polled(connector, broken)
    assert len(bodies(events)) == 5


def test_pending_orders_hold_stock_too(tmp_path):
    with seller(tmp_path, pending_s=1800) as shop:
        shop.order("1", SKU_1=2)
        assert [b["quantity"] for b in bodies(polled(connected(shop))[0]).values()] == [2]


def test_a_cancelled_order_closes_its_lines_and_is_not_counted_as_giving_back(shop):
    shop.order("1", SKU_1=2)
    connector = connected(shop)
    before, _ = polled(connector)
    shop.clock.forward(60)
    shop.post("/storefront/orders/1/cancel")
    types = [b["type"] for b in bodies([*before, *polled(connector)[0]]).values()]
    assert types == ["order_placed", "order_cancelled"]
    assert connector.capabilities.restores_on == frozenset()


def test_the_order_list_tells_the_same_events_as_the_feed(shop):
    shop.order("1", SKU_1=2)
    shop.clock.forward(60)
    shop.order("2", SKU_1=1)
    connector = connected(shop)
    everything = bodies(polled(connector)[0])
    listed = bodies(list(connector.orders_since(shop.clock() - timedelta(days=1))))
    assert listed == everything
    recent = bodies(list(connector.orders_since(shop.clock() - timedelta(seconds=30))))
    assert set(recent) < set(everything)
    assert len(recent) == 1


ORDER = {
    "orderId": "701-1-1", "createdTime": "2026-03-02T08:00:00Z",
    "lastUpdatedTime": "2026-03-02T09:00:00Z", "salesChannel": {"channelName": "AMAZON"},
    "fulfillment": {"fulfillmentStatus": "UNSHIPPED", "fulfilledBy": "MERCHANT"},
    "orderItems": [{"orderItemId": "5", "quantityOrdered": 2, "product": {"sellerSku": "A"}}],
}  # fmt: skip


def told(**change):
    from inventory_pipeline.connectors.amazon_orders import order_events

    return order_events(ORDER | change, ships_from="dc")


def test_what_amazon_ships_itself_says_nothing():
    assert told(fulfillment={"fulfillmentStatus": "SHIPPED", "fulfilledBy": "AMAZON"}) == []


def test_a_line_that_was_cancelled_alone_is_cancelled_alone():
    line = ORDER["orderItems"][0] | {"cancellation": {"cancellationExecution": {"x": "y"}}}
    placed, cancelled = told(orderItems=[line])
    assert placed["type"] == "order_placed"
    assert (cancelled["type"], cancelled["line_id"]) == ("order_cancelled", "5")


@pytest.mark.parametrize(
    ("status", "types"),
    [
        ("PENDING", []),
        ("SHIPPED", ["order_fulfilled"]),
        ("DELIVERED", ["order_fulfilled"]),
        ("CANCELLED", ["order_fulfilled", "fulfilment_cancelled"]),
    ],
)
def test_a_parcel_counts_when_it_is_on_its_way(status, types):
    package = {
        "packageReferenceId": "1", "shipTime": "2026-03-02T10:00:00Z",
        "packageStatus": {"status": status},
        "packageItems": [{"orderItemId": "5", "quantity": 1}, {"orderItemId": "5", "quantity": 1}],
    }  # fmt: skip
    events = told(packages=[package])[1:]
    assert [event["type"] for event in events] == types
    assert {event["quantity"] for event in events} <= {2}


def test_an_order_that_cannot_be_read_is_kept_aside_and_stops_no_other(shop):
    connector = connected(shop)
    good, bad = ORDER, {"orderId": "701-2-2", "orderItems": "?"}
    events = connector._tell(bad, "poll orders") + connector._tell(good, "poll orders")
    assert [event.body is None for event in events] == [True, False]
    assert "not as expected" in events[0].error
    assert "701-2-2" in events[0].text


# -- FBA --------------------------------------------------------------------------------------


def test_amazons_stock_is_a_snapshot_in_the_hubs_states(shop):
    shop.post(
        "/control/fba", sku="FBA-1", fulfillable=20, pending_orders=3, transfer=2, processing=1,
        unfulfillable=4, researching=5, announced=100, shipped=7, receiving=8,
    )  # fmt: skip
    connector = connected(shop, fba_location="fba")
    (snapshot,) = connector.snapshots(frozenset())
    (row,) = snapshot.frame.to_dict("records")
    assert row == {
        "as_of": "2026-10-05T09:00:00+00:00", "location": "fba", "item": "FBA-1",
        "on_hand": "35", "damaged": "4", "quality_control": "5", "committed": "3",
        "reserved": "3", "incoming": "15",
    }  # fmt: skip
    sellable = 35 - 4 - 5 - 3 - 3
    assert sellable == 20
    assert list(connector.snapshots(frozenset({snapshot.key}))) == []
    shop.clock.forward(900)
    assert len(list(connector.snapshots(frozenset({snapshot.key})))) == 1


def test_amazons_stock_is_read_page_by_page(shop):
    for number in range(120):
        shop.post("/control/fba", sku=f"F-{number}", fulfillable=1)
    (snapshot,) = connected(shop, fba_location="fba").snapshots(frozenset())
    assert len(snapshot.frame) == 121
    assert shop.calls()["getInventorySummaries"] == 3


def test_without_a_place_for_it_amazons_stock_is_not_read(shop):
    connector = connected(shop)
    assert not connector.capabilities.snapshots
    with pytest.raises(NotImplementedError):
        connector.snapshots(frozenset())
