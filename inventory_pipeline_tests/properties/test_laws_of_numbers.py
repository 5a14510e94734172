"""What holds of every number, whatever the hub and its history."""

from dataclasses import replace
from decimal import Decimal
from math import floor

import pytest
from hypothesis import strategies as st

from inventory_pipeline_tests.properties import generated, trials
from inventory_pipeline_tests.properties.reference_stock import Stock
from inventory_pipeline_tests.properties.worlds import numbered, worlds

pytestmark = pytest.mark.timeout(900)


@trials.portions(share=10)
def test_the_terms_of_every_waterfall_add_up(bench, portion, record_property):
    @trials.tried(portion, record_property, world=worlds())
    def add_up(world):
        for row in bench.full(world.hub, world.history.numbered(), world.at)["ats"]:
            assert wrong_terms(row) == [], row["sku"]


def wrong_terms(row):
    """The terms of one waterfall that do not follow from the terms before them."""
    r = {name.removesuffix("_milli"): value for name, value in row.items()}
    if r["kind"] == "simple":
        kept = ("damaged", "quality_control", "committed", "reserved", "safety_stock",
                "location_reserve")  # fmt: skip
        expected = {
            "sellable": r["on_hand"] - sum(r[name] for name in kept),
            "pool": r["sellable"] - r["unassigned"] - r["network_safety_stock"],
        }
    else:
        expected = {"sellable": None, "on_hand": None}
    step = r["step"]
    after_share = r["after_buffer"]
    if r["share_rule"] and after_share > 0:
        after_share = after_share * r["share_millionths"] // (1_000_000 * step) * step
    after_preorder = r["after_backorder"]
    if r["preorder_rule"] and r["kind"] == "simple":
        room = r["preorder_limit"] - r["preordered"]
        after_preorder = max(after_preorder, min(after_preorder + r["incoming_due"], room))
    hidden = r["min_display_rule"] and r["after_cap"] < r["min_display"]
    expected |= {
        "after_protect": r["pool"] - r["protected_for_others"],
        "after_buffer": r["after_protect"] - r["buffer"],
        "after_share": after_share,
        "after_contract": least(r["after_share"], r["contract_units_left"]),
        "after_backorder": r["after_contract"] + r["backorder"],
        "after_preorder": after_preorder,
        "after_cap": least(r["after_preorder"], r["cap"]),
        "after_min_display": 0 if hidden else r["after_cap"],
        "after_exclude": 0 if r["exclude_rule"] else r["after_min_display"],
        "available": max(0, r["after_exclude"]),
    }
    return [
        f"{name} is {r[name]}, and the terms before it make {value}"
        for name, value in expected.items()
        if r[name] != value
    ]


def least(value, limit):
    return value if limit is None else min(value, limit)


@trials.portions(share=10)
def test_nothing_is_sold_that_does_not_lie_there(bench, portion, record_property):
    """Unless a backorder or preorder rule says so."""

    @trials.tried(portion, record_property, world=worlds())
    def lies_there(world):
        state = bench.full(world.hub, world.history.numbered(), world.at)
        parts = Stock(world.hub, [], [], world.at).parts
        lying = {
            (row["sku"], row["location"]): max(
                0, row["on_hand_milli"] - row["damaged_milli"] - row["quality_control_milli"]
            )
            for row in state["positions"]
        }
        for row in state["ats"]:
            if row["backorder_rule"] or row["preorder_rule"]:
                continue
            [bucket] = [
                b for b in world.hub.channels[row["channel"]].buckets if b.id == row["bucket"]
            ]
            physical = min(
                floor(sum(lying.get((sku, place), 0) for place in bucket.locations) / units)
                for sku, units in parts(row["sku"]).items()
            )
            assert row["available_milli"] <= physical, (row["channel"], row["bucket"], row["sku"])


@trials.portions(share=10)
def test_a_protection_for_one_channel_never_raises_another(bench, portion, record_property):
    @trials.tried(portion, record_property, world=worlds(), data=st.data())
    def lowers(world, data):
        hub = replace(world.hub, rules=tuple(whole(rule) for rule in world.hub.rules))
        protection = replace(data.draw(generated.rules("protect", 0)), from_at=None, until_at=None)
        more = replace(hub, rules=numbered([*hub.rules, whole(protection)]))
        entries = world.history.numbered()
        before = available(bench.full(hub, entries, world.at))
        after = available(bench.full(more, entries, world.at))
        raised = [key for key, units in after.items() if units > before[key]]
        assert raised == []
        own = {key for key in before if key[0] == protection.for_channel}
        simple = {key for key in own if world.hub.catalog.items[key[2]].kind == "simple"}
        assert {key: after[key] for key in simple} == {key: before[key] for key in simple}


def available(state):
    return {
        (row["channel"], row["bucket"], row["sku"]): row["available_milli"] for row in state["ats"]
    }


def whole(rule):
    """With no fraction of an item in it: half a unit kept can be rounded to less kept."""
    amounts = {
        name: Decimal(floor(value))
        for name in ("units", "limit")
        if (value := getattr(rule, name)) is not None
    }
    return replace(rule, **amounts)
