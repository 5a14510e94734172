"""The worked examples of SEMANTICS §10, as written there."""

from datetime import timedelta
from decimal import Decimal

import pytest

from inventory_pipeline.config.policy import Identifier
from inventory_pipeline_tests.compute.hubs import (
    History,
    channel,
    clock,
    computed,
    hub,
    item,
    rules,
    sells,
    system,
)


def only(engine, table):
    return getattr(engine, table)().to_pylist()[0]


def test_a_the_whole_waterfall(tmp_path):
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
        .event(
            "shop", "order_placed", "08:05", quantity=4, order_id="1", line_id="1", location="dc"
        )
    )
    with computed(acme, said, "09:00", tmp_path) as engine:
        row = next(r for r in engine.ats().to_pylist() if r["channel"] == "web")
        assert (row["sellable_milli"], row["pool_milli"]) == (37_000, 37_000)
        assert row["after_protect_milli"] == 32_000
        assert (row["buffer_milli"], row["buffer_rule"]) == (4_000, "r4")
        assert row["safety_stock_rules"] == "dc: r1"
        assert row["protect_rules"] == "r3"
        assert sells(engine, "web") == 28
        assert sells(engine, "pickup", bucket="nyc") == 5


@pytest.mark.parametrize(("lag", "on_hand"), [(0, 10), (2, 7)])
def test_b_a_late_shipment_counts_only_within_the_lag(tmp_path, lag, on_hand):
    shop = hub(systems=(system("wms", ["dc", "nyc"], lag=timedelta(minutes=lag)), system("shop")))
    said = (
        History()
        .snapshot("wms", "08:00", {("A", "dc"): {"on_hand": 10}})
        .event("wms", "goods_issued", "07:59", quantity=3, location="dc")
    )
    with computed(shop, said, "08:10", tmp_path) as engine:
        assert only(engine, "positions")["on_hand_milli"] == on_hand * 1000


def test_c_a_unit_is_never_offered_twice_between_shop_and_warehouse(tmp_path):
    said = (
        History()
        .snapshot("wms", "08:00", {("A", "dc"): {"on_hand": 10}})
        .event(
            "shop", "order_placed", "08:05", quantity=2, order_id="1", line_id="1", location="dc"
        )
        .event(
            "shop", "order_fulfilled", "09:00", quantity=2, order_id="1", line_id="1", location="dc"
        )
    )
    with computed(hub(), said, "09:15", tmp_path) as engine:
        line = only(engine, "order_lines")
        assert line["awaiting_shipment_proof_milli"] == 2_000
        assert only(engine, "positions")["committed_milli"] == 2_000
        assert sells(engine, "web") == 8
    said.snapshot("wms", "09:30", {("A", "dc"): {"on_hand": 8}})
    with computed(hub(), said, "09:40", tmp_path) as engine:
        assert only(engine, "positions")["committed_milli"] == 0
        assert sells(engine, "web") == 8


def test_d_what_is_shipped_stays_shipped_after_cancels_and_failed_payments(tmp_path):
    said = (
        History()
        .snapshot("wms", "08:00", {("A", "dc"): {"on_hand": 10}})
        .event(
            "shop", "order_placed", "08:05", quantity=3, order_id="1", line_id="1", location="dc"
        )
        .event("wms", "goods_issued", "08:10", quantity=1, order_id="1", line_id="1", location="dc")
    )
    endings = [
        ("order_cancelled", "08:20"),
        ("order_cancelled", "08:21"),
        ("payment_failed", "08:30"),
    ]
    with computed(hub(), said, "09:00", tmp_path) as engine:
        assert only(engine, "order_lines")["open_milli"] == 2_000
    for kind, at in endings:
        said.event("shop", kind, at, None, order_id="1")
        with computed(hub(), said, "09:00", tmp_path) as engine:
            line = only(engine, "order_lines")
            assert (line["open_milli"], line["shipped_milli"]) == (0, 1_000)
            assert sells(engine, "web") == 9


@pytest.mark.parametrize(("fulfilment", "kits"), [("same_location", 0), ("split", 3)])
def test_e_a_bundle_is_what_its_components_make(tmp_path, fulfilment, kits):
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
    with computed(shop, said, "09:00", tmp_path) as engine:
        assert sells(engine, "web", "KIT") == kits


def test_f_a_case_listing_shows_whole_cases(tmp_path):
    shop = hub(
        identifiers=(Identifier(system="shop", external_id="CASE-A", sku="A", units=Decimal(12)),)
    )
    said = History().snapshot("wms", "08:00", {("A", "dc"): {"on_hand": 30}})
    with computed(shop, said, "09:00", tmp_path) as engine:
        assert sells(engine, "web") == 2
        assert [(d["external_id"], d["desired_milli"]) for d in engine.desired().to_pylist()] == [
            ("CASE-A", 2_000)
        ]


def test_g_what_one_channel_protects_the_other_does_not_see(tmp_path):
    shop = hub(
        channels=(channel("m", {"main": ["dc"]}), channel("web", {"main": ["dc"]})),
        rules=rules({"kind": "protect", "for_channel": "m", "units": 3}),
    )
    said = History().snapshot("wms", "08:00", {("A", "dc"): {"on_hand": 10}})
    with computed(shop, said, "09:00", tmp_path) as engine:
        assert (sells(engine, "web"), sells(engine, "m")) == (7, 10)


def test_h_a_debt_at_one_place_lowers_the_pool(tmp_path):
    said = (
        History()
        .snapshot("wms", "08:00", {("A", "dc"): {"on_hand": -2}})
        .snapshot("pos", "08:00", {("A", "nyc"): {"on_hand": 10}})
    )
    with computed(hub(), said, "09:00", tmp_path) as engine:
        assert sells(engine, "web") == 8
        assert clock("09:00").hour == 9
