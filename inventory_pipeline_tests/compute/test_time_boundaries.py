"""Time alone changes a number: at its moment, not a microsecond before, and without any event."""

from datetime import timedelta
from decimal import Decimal

import pytest

from inventory_pipeline.config.policy import AutoBuffer
from inventory_pipeline_tests.compute import hubs
from inventory_pipeline_tests.compute.hubs import History, channel, clock, hub, rules, system

MICROSECOND = timedelta(microseconds=1)
CHANNELS = (channel("web", {"main": ["dc", "nyc"]}), channel("market", {"main": ["dc"]}))


def stocked(units=10):
    return History().snapshot("wms", "08:00", {("A", "dc"): {"on_hand": units}})


def ruled(*written):
    return hub(channels=CHANNELS, rules=rules(*written))


def reserved():
    hold = {"reservation_id": "cart", "location": "dc", "expires_at": "09:00"}
    return stocked().event("shop", "reserved", "08:10", "A", 4, **hold)


def expected():
    return stocked().event(
        "wms", "goods_expected", "08:10", "A", 6,
        reference="po", location="dc", expected_at="11:00",
    )  # fmt: skip


def sold():
    order = {"order_id": "1", "line_id": "1", "channel": "market", "location": "dc"}
    return stocked().event("shop", "order_placed", "07:30", "A", 3, **order)


PREORDER = {"kind": "preorder", "horizon": timedelta(hours=2), "limit": 100}
AUTO = AutoBuffer(factor=Decimal(1), max_units=Decimal(8), window=timedelta(hours=1, minutes=30))
AT_NINE = {
    "a reservation expires": (ruled(), reserved(), 6, 10),
    "an event dated ahead happens": (
        ruled(),
        stocked().event("wms", "pos_sale", "09:00", "A", 1, location="dc"),
        10,
        9,
    ),
    "a snapshot dated ahead is taken": (
        ruled(),
        stocked().snapshot("wms", "09:00", {("A", "dc"): {"on_hand": 3}}),
        10,
        3,
    ),
    "a rule begins": (
        ruled({"kind": "cap", "units": 3, "from_at": clock("09:00")}),
        stocked(),
        10,
        3,
    ),
    "a rule ends": (
        ruled({"kind": "cap", "units": 3, "until_at": clock("09:00")}),
        stocked(),
        3,
        10,
    ),
    "another rule begins to win": (
        ruled(
            {"kind": "cap", "units": 3},
            {"kind": "cap", "units": 5, "priority": 1, "from_at": clock("09:00")},
        ),
        stocked(),
        3,
        5,
    ),
    "a protection begins": (
        ruled({"kind": "protect", "for_channel": "market", "units": 4, "from_at": clock("09:00")}),
        stocked(),
        10,
        6,
    ),
    "a contract ends": (
        ruled(
            {"kind": "contract", "for_channel": "market", "units": 4, "until_at": clock("09:00")}
        ),
        sold(),
        6,
        7,
    ),
    "goods come within the horizon": (ruled(PREORDER), expected(), 10, 16),
    "a preorder ends": (
        ruled({**PREORDER, "horizon": timedelta(hours=9), "until_at": clock("09:00")}),
        expected(),
        16,
        10,
    ),
    "a sale leaves an auto buffer's window": (
        ruled({"kind": "buffer", "auto": AUTO}),
        sold().event("pos", "counted", "08:00", "A", 0, location="nyc"),
        5,
        7,
    ),
}


@pytest.mark.parametrize("case", AT_NINE, ids=[name.replace(" ", "-") for name in AT_NINE])
def test_a_number_changes_at_its_moment_and_no_event_arrives(bench, case):
    of_hub, history, before, after = AT_NINE[case]
    entries, due = history.numbered(), clock("09:00")
    bench.full(of_hub, entries, due - MICROSECOND)
    assert web(bench) == before
    assert bench.engine.next_wakeup() == due
    with bench.engine.transaction():
        hubs.run(bench.engine, due, len(entries))
    assert web(bench) == after


def test_an_auto_buffer_grows_with_each_quarter_of_an_hour_of_silence(bench):
    auto = AutoBuffer(factor=Decimal(1), max_units=Decimal(8), window=timedelta(hours=3))
    of_hub = hub(
        locations=("dc",),
        systems=(system("wms", ["dc"]), system("shop")),
        channels=(channel("web", {"main": ["dc"]}),),
        rules=rules({"kind": "buffer", "auto": auto}),
    )
    history = stocked(20)
    order = {"order_id": "1", "line_id": "1", "channel": "web", "location": "dc"}
    history.event("shop", "order_placed", "07:30", "A", 6, **order)
    # 2 units an hour; heard at 08:00, so at 09:00 four quarters old.
    bench.full(of_hub, history.numbered(), clock("09:00"))
    assert (web(bench), bench.engine.next_wakeup()) == (12, clock("09:00") + MICROSECOND)
    with bench.engine.transaction():
        hubs.run(bench.engine, clock("09:00") + MICROSECOND, 2)
    assert web(bench) == 11


def web(bench):
    [row] = [r for r in bench.state()["ats"] if (r["channel"], r["sku"]) == ("web", "A")]
    return row["available_milli"] / 1000
