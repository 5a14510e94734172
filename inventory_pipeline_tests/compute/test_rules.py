"""Every rule kind, and which one wins (SEMANTICS §6)."""

from datetime import timedelta
from decimal import Decimal

import pytest

from inventory_pipeline.config.policy import AutoBuffer
from inventory_pipeline.core.errors import ConfigInvalid
from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline_tests.compute.hubs import DAY, History, channel, clock, hub, item, rules

PAIR = (channel("web", {"main": ["dc", "nyc"]}), channel("b2b", {"main": ["dc"]}, system="wms"))


def stocked(on_hand=20, sku="A"):
    return History().snapshot("wms", "08:00", {(sku, "dc"): {"on_hand": on_hand}})


def ruled(*written, **more):
    return hub(channels=PAIR, rules=rules(*written), **more)


@pytest.mark.parametrize(
    ("rule", "sells"),
    [
        ({"kind": "safety_stock", "units": 3}, 17),
        ({"kind": "safety_stock", "units": 3, "locations": ("dc", "nyc")}, 14),
        ({"kind": "location_reserve", "units": 3}, 14),
        ({"kind": "protect", "for_channel": "b2b", "units": 6}, 14),
        ({"kind": "protect", "for_channel": "b2b", "units": 60}, 0),
        ({"kind": "protect", "for_channel": "web", "units": 6}, 20),
        ({"kind": "protect", "for_channel": "b2b", "units": 6, "locations": ("nyc",)}, 14),
        ({"kind": "contract", "for_channel": "b2b", "units": 30}, 0),
        ({"kind": "contract", "for_channel": "web", "units": 8, "exclusive": True}, 8),
        ({"kind": "contract", "for_channel": "web", "units": 8}, 20),
        ({"kind": "buffer", "units": 25}, 0),
        ({"kind": "buffer", "percent": "12.5"}, 17),
        ({"kind": "share", "percent": "33.3333"}, 6),
        ({"kind": "backorder", "limit": 5}, 25),
        ({"kind": "cap", "units": 7}, 7),
        ({"kind": "min_display", "units": 21}, 0),
        ({"kind": "min_display", "units": 20}, 20),
        ({"kind": "exclude"}, 0),
        ({"kind": "cap", "units": 7, "skus": ("B", "X-*", "tag:new")}, 20),
        ({"kind": "cap", "units": 7, "from_at": clock("08:00"), "until_at": clock("09:00")}, 20),
        ({"kind": "cap", "units": 7, "from_at": clock("09:00"), "until_at": clock("09:01")}, 7),
    ],
)
def test_each_kind_of_rule_takes_its_step(bench, rule, sells):
    assert bench.run(ruled(rule), stocked(), "09:00").sells("web") == sells


def test_a_debt_is_not_shared(bench):
    of = ruled({"kind": "share", "percent": 50}, {"kind": "backorder", "limit": 10})
    result = bench.run(of, stocked(-4), "09:00")
    assert (result.row()["after_share_milli"], result.sells()) == (-4_000, 6)


def test_a_buffer_rounds_up_in_the_items_smallest_step(bench):
    of = ruled({"kind": "buffer", "percent": 10}, items=(item("A", decimals=1),))
    assert bench.run(of, stocked("2.3"), "09:00").row()["buffer_milli"] == 300


def test_percents_stay_exact_at_large_quantities(bench):
    of = ruled({"kind": "buffer", "percent": "0.0001"}, {"kind": "share", "percent": "99.9999"})
    row = bench.run(of, stocked(999_999_999_999), "09:00").row()
    assert row["buffer_milli"] == 1_000_000_000
    assert row["after_share_milli"] == 999_998_000_000_000


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        ({}, {"skus": ("A",)}, "second"),
        ({"skus": ("tag:hot",)}, {"skus": ("?",)}, "second"),
        ({"skus": ("A",)}, {"skus": ("?",), "channels": ("web/main",)}, "first"),
        ({"channels": ("web",)}, {"channels": ("web/main",)}, "second"),
        ({"skus": ("A",)}, {"priority": 1}, "second"),
        ({}, {}, "first"),
        ({"skus": ("A",), "except_channels": ("web",)}, {}, "second"),
        ({"skus": ("A",), "until_at": clock("09:00")}, {}, "second"),
    ],
)
def test_one_rule_of_a_kind_wins(bench, first, second, winner):
    of = ruled(
        {"id": "first", "kind": "cap", "units": 3, **first},
        {"id": "second", "kind": "cap", "units": 5, **second},
        items=(item("A", tags=("hot",)),),
    )
    assert bench.run(of, stocked(), "09:00").row()["cap_rule"] == winner


def test_safety_stock_of_a_place_and_of_the_network_both_apply(bench):
    of = ruled(
        {"kind": "safety_stock", "units": 2, "locations": ("dc",)},
        {"kind": "safety_stock", "units": 3},
    )
    row = bench.run(of, stocked(), "09:00").row()
    assert (row["safety_stock_milli"], row["network_safety_stock_milli"]) == (2_000, 3_000)


def test_protections_add_up_and_each_is_bounded_by_the_pool(bench):
    of = ruled(
        {"kind": "protect", "for_channel": "b2b", "units": 3},
        {"kind": "protect", "for_channel": "b2b", "units": 9},
    )
    row = bench.run(of, stocked(5), "09:00").row()
    assert (row["protected_for_others_milli"], row["protect_rules"]) == (8_000, "r1, r2")


def test_a_channel_that_is_off_is_still_protected(bench):
    of = hub(
        channels=(PAIR[0], channel("b2b", {"main": ["dc"]}, mode=Mode.OFF)),
        rules=rules({"kind": "protect", "for_channel": "b2b", "units": 3}),
    )
    result = bench.run(of, stocked(), "09:00")
    assert result.sells("web") == 17
    assert {row["channel"] for row in result.ats} == {"web"}


def test_a_contract_shrinks_by_what_was_ordered_under_it(bench):
    of = ruled(
        {"kind": "contract", "for_channel": "b2b", "units": 10, "from_at": clock("08:00")},
    )
    said = (
        stocked()
        .order("order_placed", "08:30", 4, channel="b2b", location="nyc")
        .order("order_placed", "07:59", 4, channel="b2b", location="nyc", order_id="2")
        .order("order_placed", "08:30", 4, channel="web", location="nyc", order_id="3")
    )
    assert bench.run(of, said, "09:00").row()["protected_for_others_milli"] == 6_000
    said.order("order_cancelled", "08:40", 1)
    assert bench.run(of, said, "09:00").row()["protected_for_others_milli"] == 7_000
    said.event("shop", "payment_failed", "08:41", None, order_id="1")
    assert bench.run(of, said, "09:00").row()["protected_for_others_milli"] == 7_000
    said.event("shop", "order_cancelled", "08:50", None, order_id="1")
    assert bench.run(of, said, "09:00").row()["protected_for_others_milli"] == 10_000


def test_an_exclusive_contract_sells_what_is_left_of_it(bench):
    of = ruled({"kind": "contract", "for_channel": "web", "units": 6, "exclusive": True})
    said = stocked().order("order_placed", "08:30", 4, channel="web", location="nyc")
    row = bench.run(of, said, "09:00").row()
    assert (row["contract_units_left_milli"], row["after_contract_milli"]) == (2_000, 2_000)


def test_a_preorder_offers_what_is_due_within_its_horizon(bench):
    of = ruled({"kind": "preorder", "limit": 9, "horizon": timedelta(hours=2)})
    said = stocked(0)
    due = {"location": "dc", "quantity": 5}
    said.event("wms", "goods_expected", "08:10", reference="p1", expected_at="11:00", **due)
    said.event("wms", "goods_expected", "08:10", reference="p2", expected_at="13:00", **due)
    said.event("wms", "goods_expected", "08:10", reference="p3", **due)
    assert bench.run(of, said, "08:59").sells() == 0
    assert bench.run(of, said, "09:00").sells() == 5
    assert bench.run(of, said, "11:00").sells() == 9
    said.order("order_placed", "08:30", 6, channel="web", location="nyc")
    row = bench.run(of, said, "11:00").row()
    assert (row["after_backorder_milli"], row["preordered_milli"]) == (-6_000, 6_000)
    assert row["after_preorder_milli"] == 3_000


def test_a_preorder_never_offers_less_than_there_is(bench):
    of = ruled({"kind": "preorder", "limit": 1, "horizon": timedelta(hours=2)})
    assert bench.run(of, stocked(20), "09:00").sells() == 20


def test_a_bundle_has_its_own_rules_beside_its_components(bench):
    of = hub(
        channels=PAIR,
        items=(item("A"), item("KIT", "bundle")),
        parts=(("KIT", "A", 2),),
        rules=rules(
            {"kind": "protect", "for_channel": "b2b", "units": 4},
            {"kind": "cap", "units": 5, "skus": ("KIT",)},
        ),
    )
    row = bench.run(of, stocked(20), "09:00").row(sku="KIT")
    assert row["pool_milli"] == 8_000  # 16 of A are left, 2 in each
    assert row["after_protect_milli"] == 4_000  # the rule for all items is the bundle's own, too
    assert (row["available_milli"], row["on_hand_milli"]) == (4_000, None)


def test_an_auto_buffer_grows_while_the_owner_is_silent(bench):
    auto = AutoBuffer(factor=Decimal(2), max_units=Decimal(12), window=timedelta(hours=2))
    of = ruled({"kind": "buffer", "channels": ("web",), "auto": auto})
    said = stocked(100).event("wms", "pos_sale", "09:00", quantity=3, location="dc")
    said.event("pos", "pos_sale", "09:00", quantity=0, location="nyc")
    # 1.5 units an hour, twice: 3 for each hour of silence, in quarters of an hour.
    assert bench.run(of, said, "09:00").row()["buffer_milli"] == 0
    assert bench.run(of, said, "09:01").row()["buffer_milli"] == 1_000
    assert bench.run(of, said, "10:00").row()["buffer_milli"] == 3_000
    assert bench.run(of, said, "11:00").row()["buffer_milli"] == 0
    silent = stocked(100)
    assert bench.run(of, silent, "09:00").row()["buffer_milli"] == 12_000


def test_a_number_that_is_too_fine_is_an_error_that_names_the_rule(bench):
    of = ruled({"id": "thin", "kind": "share", "percent": "33.33333"})
    with pytest.raises(ConfigInvalid, match="thin"):
        bench.full(of, [], DAY)


def test_bundles_that_contain_each_other_are_an_error(bench):
    of = hub(items=(item("X", "bundle"), item("Y", "bundle")), parts=(("X", "Y", 1), ("Y", "X", 1)))
    with pytest.raises(ConfigInvalid, match="X > Y > X"):
        bench.full(of, [], DAY)


def test_a_bundle_whose_smallest_fraction_cannot_be_taken_apart_is_an_error(bench):
    of = hub(items=(item("A"), item("KIT", "bundle", decimals=3)), parts=(("KIT", "A", "0.5"),))
    with pytest.raises(ConfigInvalid, match="A in one KIT at its 3 decimals"):
        bench.full(of, [], DAY)
