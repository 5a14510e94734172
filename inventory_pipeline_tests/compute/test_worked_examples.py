"""The worked examples of SEMANTICS §10, as written there."""

from datetime import timedelta
from decimal import Decimal

import pytest

from inventory_pipeline.config.policy import Identifier
from inventory_pipeline_tests.compute.hubs import History, channel, hub, item, rules, system


def test_a_the_whole_waterfall(bench):
    acme = hub(
        channels=(
            channel("web", {"main": ["dc", "nyc"]}),
            channel("wholesale", {"main": ["dc"]}, system="wms"),
            channel("pickup", {"nyc": ["nyc"]}, system="pos"),
        ),
        rules=rules(
            {"kind": "safety_stock", "skus": ("*",), "locations": ("dc",), "units": 2},
            {
                "kind": "location_reserve",
                "locations": ("nyc",),
                "units": 1,
                "except_channels": ("pickup",),
            },
            {"kind": "protect", "for_channel": "wholesale", "skus": ("A*",), "units": 5},
            {"kind": "buffer", "channels": ("web",), "percent": 10},
        ),
    )
    said = (
        History()
        .snapshot("wms", "08:00", {("A", "dc"): {"on_hand": 40, "damaged": 1}})
        .snapshot("pos", "08:00", {("A", "nyc"): {"on_hand": 5}})
        .order("order_placed", "08:05", 4, location="dc")
    )
    result = bench.run(acme, said, "09:00")
    row = result.row("web")
    assert (row["sellable_milli"], row["pool_milli"]) == (37_000, 37_000)
    assert row["after_protect_milli"] == 32_000
    assert (row["buffer_milli"], row["buffer_rule"]) == (4_000, "r4")
    assert (row["safety_stock_rules"], row["protect_rules"]) == ("dc: r1", "r3")
    assert result.sells("web") == 28
    assert result.sells("pickup", bucket="nyc") == 5


@pytest.mark.parametrize(("lag", "on_hand"), [(0, 10), (2, 7)])
def test_b_a_late_shipment_counts_only_within_the_lag(bench, lag, on_hand):
    shop = hub(systems=(system("wms", ["dc", "nyc"], lag=timedelta(minutes=lag)), system("shop")))
    said = (
        History()
        .snapshot("wms", "08:00", {("A", "dc"): {"on_hand": 10}})
        .event("wms", "goods_issued", "07:59", quantity=3, location="dc")
    )
    assert bench.run(shop, said, "08:10").position("on_hand") == on_hand


def test_c_a_unit_is_never_offered_twice_between_shop_and_warehouse(bench):
    said = (
        History()
        .snapshot("wms", "08:00", {("A", "dc"): {"on_hand": 10}})
        .order("order_placed", "08:05", 2, location="dc")
        .order("order_fulfilled", "09:00", 2, location="dc")
    )
    waiting = bench.run(hub(), said, "09:15")
    assert waiting.lines[0]["awaiting_shipment_proof_milli"] == 2_000
    assert waiting.position("committed") == 2
    assert waiting.sells() == 8
    said.snapshot("wms", "09:30", {("A", "dc"): {"on_hand": 8}})
    accounted = bench.run(hub(), said, "09:40")
    assert accounted.position("committed") == 0
    assert accounted.sells() == 8


def test_d_what_is_shipped_stays_shipped_after_cancels_and_failed_payments(bench):
    said = (
        History()
        .snapshot("wms", "08:00", {("A", "dc"): {"on_hand": 10}})
        .order("order_placed", "08:05", 3, location="dc")
        .order("goods_issued", "08:10", 1, by="wms", location="dc")
    )
    assert bench.run(hub(), said, "09:00").lines[0]["open_milli"] == 2_000
    for kind, at in [
        ("order_cancelled", "08:20"),
        ("order_cancelled", "08:21"),
        ("payment_failed", "08:30"),
    ]:
        said.event("shop", kind, at, None, order_id="1")
        result = bench.run(hub(), said, "09:00")
        [line] = result.lines
        assert (line["open_milli"], line["shipped_milli"]) == (0, 1_000)
        assert result.sells() == 9


@pytest.mark.parametrize(("fulfilment", "kits"), [("same_location", 0), ("split", 3)])
def test_e_a_bundle_is_what_its_components_make(bench, fulfilment, kits):
    shop = hub(
        items=(item("A"), item("B"), item("KIT", "bundle")),
        parts=(("KIT", "A", 1), ("KIT", "B", 2)),
        rules=rules({"kind": "bundle", "fulfilment": fulfilment}),
    )
    said = (
        History()
        .snapshot("wms", "08:00", {("A", "dc"): {"on_hand": 3}, ("B", "dc"): {"on_hand": 1}})
        .snapshot("pos", "08:00", {("A", "nyc"): {"on_hand": 0}, ("B", "nyc"): {"on_hand": 9}})
    )
    assert bench.run(shop, said, "09:00").sells(sku="KIT") == kits


def test_f_a_case_listing_shows_whole_cases(bench):
    case = Identifier(system="shop", external_id="CASE-A", sku="A", units=Decimal(12))
    said = History().snapshot("wms", "08:00", {("A", "dc"): {"on_hand": 30}})
    result = bench.run(hub(identifiers=(case,)), said, "09:00")
    assert result.sells() == 2
    [listing] = result.desired
    assert (listing["external_id"], listing["desired_milli"]) == ("CASE-A", 2_000)


def test_g_what_one_channel_protects_the_other_does_not_see(bench):
    shop = hub(
        channels=(channel("m", {"main": ["dc"]}), channel("web", {"main": ["dc"]})),
        rules=rules({"kind": "protect", "for_channel": "m", "units": 3}),
    )
    said = History().snapshot("wms", "08:00", {("A", "dc"): {"on_hand": 10}})
    result = bench.run(shop, said, "09:00")
    assert (result.sells("web"), result.sells("m")) == (7, 10)


def test_h_a_debt_at_one_place_lowers_the_pool(bench):
    said = (
        History()
        .snapshot("wms", "08:00", {("A", "dc"): {"on_hand": -2}})
        .snapshot("pos", "08:00", {("A", "nyc"): {"on_hand": 10}})
    )
    assert bench.run(hub(), said, "09:00").sells() == 8
