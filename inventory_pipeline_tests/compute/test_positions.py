"""Positions: snapshots, postings, ownership and time (SEMANTICS §3, §4)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from inventory_pipeline.config.policy import Ownership
from inventory_pipeline.core.vocabulary import State
from inventory_pipeline_tests.compute.hubs import History, hub, item, system

ONE = hub(systems=(system("wms", ["dc", "nyc"]), system("shop"), system("erp")))


def stocked(on_hand=10, **states):
    return History().snapshot("wms", "08:00", {("A", "dc"): {"on_hand": on_hand, **states}})


@pytest.mark.parametrize(
    ("kind", "quantity", "state", "expected"),
    [
        ("goods_received", 4, "on_hand", 14),
        ("goods_issued", 4, "on_hand", 6),
        ("pos_sale", 4, "on_hand", 6),
        ("adjusted", -3, "on_hand", 7),
        ("damaged", 2, "damaged", 2),
        ("quality_held", 2, "quality_control", 2),
    ],
)
def test_each_stock_event_posts_to_its_state(bench, kind, quantity, state, expected):
    said = stocked().event("wms", kind, "08:30", quantity=quantity, location="dc")
    assert bench.run(ONE, said, "09:00").position(state) == expected


@pytest.mark.parametrize(
    ("disposition", "on_hand", "held"), [("restock", 12, 0), ("inspect", 12, 2), ("discard", 10, 0)]
)
def test_returns_go_where_their_disposition_says(bench, disposition, on_hand, held):
    said = stocked().event(
        "wms", "returned", "08:30", quantity=2, location="dc", disposition=disposition
    )
    result = bench.run(ONE, said, "09:00")
    assert (result.position("on_hand"), result.position("quality_control")) == (on_hand, held)


def test_what_a_non_owner_says_is_an_observation(bench):
    said = (
        stocked()
        .event("erp", "goods_issued", "08:30", quantity=4, location="dc")
        .snapshot("erp", "08:40", {("A", "dc"): {"on_hand": 99}})
    )
    assert bench.run(ONE, said, "09:00").position("on_hand") == 10


def test_nothing_dated_later_counts_yet(bench):
    said = stocked().event("wms", "pos_sale", "09:00", quantity=1, location="dc")
    said.snapshot("wms", "09:30", {("A", "dc"): {"on_hand": 3}})
    assert bench.run(ONE, said, "08:59:59").position("on_hand") == 10
    assert bench.run(ONE, said, "09:00").position("on_hand") == 9
    assert bench.run(ONE, said, "09:30").position("on_hand") == 3


def test_an_empty_cell_and_a_state_that_is_not_carried_stay_as_they_were(bench):
    said = stocked(damaged=2).snapshot(
        "wms", "08:30", {("A", "dc"): {"damaged": None}, ("A", "nyc"): {"damaged": 1}}
    )
    result = bench.run(ONE, said, "09:00")
    assert (result.position("on_hand"), result.position("damaged")) == (10, 2)
    assert result.position("damaged", "nyc") == 1


def test_a_complete_snapshot_says_zero_of_what_it_leaves_out_at_its_locations(bench):
    two = replace(ONE, catalog=hub(items=(item("A"), item("B"))).catalog)
    said = History().snapshot(
        "wms",
        "08:00",
        {("A", "dc"): {"on_hand": 5, "damaged": 1}, ("A", "nyc"): {"on_hand": 6}},
    )
    said.snapshot("wms", "08:30", {("B", "dc"): {"on_hand": 1}}, complete=True)
    result = bench.run(two, said, "09:00")
    assert (result.position("on_hand"), result.position("damaged")) == (0, 1)
    assert result.position("on_hand", "nyc") == 6


def test_a_quarantined_row_is_not_left_out_its_last_value_stays(bench):
    two = replace(ONE, catalog=hub(items=(item("A"), item("B"))).catalog)
    said = stocked(5).snapshot(
        "wms", "08:30", {("B", "dc"): {"on_hand": 1}}, complete=True, held=[("A", "dc")]
    )
    said.event("wms", "pos_sale", "08:20", quantity=1, location="dc")
    assert bench.run(two, said, "09:00").position("on_hand") == 4


def test_rows_of_one_item_and_place_add_up_and_one_held_row_holds_them_all(bench):
    said = stocked(5)
    snapshot = said.snapshot("wms", "08:30", {("A", "dc"): {"on_hand": 3}}).entries.pop()
    more = (("A", "dc", {"on_hand": 4_000}, False),)
    said.entries.append(replace(snapshot, rows=snapshot.rows + more))
    assert bench.run(ONE, said, "09:00").position("on_hand") == 7
    held = (("A", "dc", {}, True),)
    said.entries[-1] = replace(snapshot, rows=snapshot.rows + held)
    assert bench.run(ONE, said, "09:00").position("on_hand") == 5


def test_a_late_snapshot_does_not_replace_a_newer_one(bench):
    said = stocked(10).snapshot("wms", "07:00", {("A", "dc"): {"on_hand": 99, "damaged": 3}})
    result = bench.run(ONE, said, "09:00")
    assert (result.position("on_hand"), result.position("damaged")) == (10, 3)


def test_a_count_replaces_at_its_time_and_an_older_count_has_no_effect(bench):
    said = stocked().event("wms", "counted", "07:00", quantity=3, location="dc")
    assert bench.run(ONE, said, "09:00").position("on_hand") == 10
    said.event("wms", "counted", "08:00", quantity=8, location="dc")
    said.event("wms", "pos_sale", "08:10", quantity=1, location="dc")
    assert bench.run(ONE, said, "09:00").position("on_hand") == 7


def test_only_what_lowers_the_sellable_is_counted_again_within_the_lag(bench):
    slow = hub(systems=(system("wms", ["dc"], lag=timedelta(minutes=5)), system("shop")))
    said = (
        stocked(10, damaged=0)
        .event("wms", "goods_received", "07:58", quantity=5, location="dc")
        .event("wms", "goods_issued", "07:58", quantity=2, location="dc")
        .event("wms", "goods_issued", "07:55", quantity=1, location="dc")
        .event("wms", "damaged", "07:58", quantity=1, location="dc")
        .event("wms", "damaged", "07:59", quantity=-1, location="dc")
    )
    result = bench.run(slow, said, "09:00")
    assert (result.position("on_hand"), result.position("damaged")) == (8, 1)


def test_a_receipt_closes_what_is_open_on_its_reference_and_no_more(bench):
    said = (
        History()
        .event("wms", "goods_expected", "08:00", quantity=10, location="dc", reference="po")
        .event("wms", "goods_received", "08:10", quantity=4, location="dc", reference="po")
        .event("wms", "goods_received", "08:20", quantity=9, location="dc", reference="po")
        .event("wms", "goods_received", "08:30", quantity=2, location="dc")
    )
    assert bench.run(ONE, said, "08:15").position("incoming") == 6
    result = bench.run(ONE, said, "09:00")
    assert (result.position("incoming"), result.position("on_hand")) == (0, 15)


def test_a_transfer_leaves_one_place_and_is_on_its_way_to_the_other(bench):
    two = hub(systems=(system("wms", ["dc"]), system("pos", ["nyc"]), system("shop")))
    way = {"reference": "t1", "location": "dc", "to_location": "nyc"}
    said = History().snapshot("wms", "08:00", {("A", "dc"): {"on_hand": 10}})
    said.event("wms", "transfer_shipped", "08:10", quantity=4, **way)
    result = bench.run(two, said, "09:00")
    assert (result.position("on_hand"), result.position("incoming", "nyc")) == (6, 4)
    said.event("pos", "transfer_received", "08:30", quantity=3, **way)
    result = bench.run(two, said, "09:00")
    assert (result.position("incoming", "nyc"), result.position("on_hand", "nyc")) == (1, 3)


def test_where_the_destination_reports_a_transfer_itself_only_its_report_counts(bench):
    two = hub(systems=(system("wms", ["dc"]), system("pos", ["nyc"]), system("shop")))
    said = History().event(
        "wms", "transfer_shipped", "08:10", quantity=4, reference="t", location="dc",
        to_location="nyc",
    )  # fmt: skip
    said.event("pos", "goods_expected", "08:12", quantity=5, reference="t", location="nyc")
    assert bench.run(two, said, "09:00").position("incoming", "nyc") == 5


def test_a_reservation_holds_until_it_is_released_or_expires(bench):
    said = stocked().event(
        "shop", "reserved", "08:10", quantity=2, reservation_id="c", location="dc",
        expires_at="08:40",
    )  # fmt: skip
    said.event("shop", "reserved", "08:11", quantity=3, reservation_id="d", location="dc")
    assert bench.run(ONE, said, "08:39:59").position("reserved") == 5
    assert bench.run(ONE, said, "08:40").position("reserved") == 3
    said.event("shop", "reservation_released", "08:05", None, reservation_id="d")
    assert bench.run(ONE, said, "08:45").position("reserved") == 0


def test_an_owned_number_of_commitments_already_holds_what_was_placed_before(bench):
    owns = (
        *system("wms", ["dc", "nyc"]).owns,
        Ownership(states=(State.COMMITTED,), locations=("dc",)),
    )
    counting = hub(systems=(replace(system("wms"), owns=owns), system("shop")))
    said = (
        stocked(10, committed=3)
        .order("order_placed", "07:50", 2, location="dc")
        .order("order_placed", "08:10", 1, location="dc", order_id="2")
        .order("order_placed", "07:50", 1, order_id="3")
    )
    result = bench.run(counting, said, "09:00")
    assert result.position("committed") == 4
    assert result.row()["unassigned_milli"] == 1_000
    assert result.sells() == 5


def test_a_second_report_of_the_same_orders_is_only_observed(bench):
    twice = hub(
        systems=(
            system("wms", ["dc", "nyc"]),
            system("shop"),
            system("erp", orders="ignore"),
        )
    )
    said = stocked().order("order_placed", "08:10", 2, location="dc")
    said.order("order_placed", "08:11", 2, by="erp", location="dc", order_id="SO-1")
    said.event("erp", "reserved", "08:12", quantity=1, reservation_id="x", location="dc")
    assert bench.run(twice, said, "09:00").sells() == 8


def test_a_bundle_sold_at_the_till_takes_its_components(bench):
    kit = hub(
        systems=ONE.systems.values(),
        items=(item("A"), item("B", decimals=1), item("KIT", "bundle"), item("BOX", "bundle")),
        parts=(("KIT", "A", 1), ("KIT", "B", "2.5"), ("BOX", "KIT", 2)),
    )
    said = History().snapshot(
        "wms", "08:00", {("A", "dc"): {"on_hand": 10}, ("B", "dc"): {"on_hand": 20}}
    )
    said.event("wms", "pos_sale", "08:10", "BOX", 1, location="dc")
    result = bench.run(kit, said, "09:00")
    assert (result.position("on_hand"), result.position("on_hand", sku="B")) == (8, 15)
    assert (result.sells(sku="KIT"), result.sells(sku="BOX")) == (6, 3)
