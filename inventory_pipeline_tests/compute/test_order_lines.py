"""Order lines: no double counting, no early release (SEMANTICS §5)."""

import pytest

from inventory_pipeline_tests.compute.hubs import History, channel, hub, system


def placed(quantity=5, **fields):
    return (
        History()
        .snapshot("wms", "08:00", {("A", "dc"): {"on_hand": 20}})
        .order("order_placed", "08:05", quantity, **{"location": "dc", **fields})
    )


def line_of(bench, said, of_hub=None, at="10:00"):
    [line] = bench.run(of_hub or hub(), said, at).lines
    return line


def test_adjustments_and_cancels_with_a_quantity_change_what_is_open(bench):
    said = placed().order("order_adjusted", "08:10", -1).order("order_cancelled", "08:20", 2)
    assert line_of(bench, said)["open_milli"] == 2_000


def test_a_cancel_may_leave_the_item_out(bench):
    said = placed().order("order_cancelled", "08:20", 2, sku=None)
    assert line_of(bench, said)["open_milli"] == 3_000


def test_a_cancel_without_a_quantity_is_for_good(bench):
    said = placed().order("order_cancelled", "08:20").order("order_adjusted", "08:30", 4)
    assert line_of(bench, said)["open_milli"] == 0


@pytest.mark.parametrize(
    ("events", "opened"),
    [
        (["payment_failed"], 0),
        (["payment_failed", "payment_recovered"], 5_000),
        (["payment_recovered", "payment_failed"], 0),
    ],
)
def test_the_latest_payment_event_decides(bench, events, opened):
    said = placed()
    for minute, kind in enumerate(events, 10):
        said.event("shop", kind, f"08:{minute}", None, order_id="1")
    assert line_of(bench, said)["open_milli"] == opened


def test_of_two_payment_events_at_one_time_the_recovery_counts(bench):
    said = placed()
    for kind in ("payment_recovered", "payment_failed"):
        said.event("shop", kind, "08:10", None, order_id="1")
    assert line_of(bench, said)["open_milli"] == 5_000


def test_goods_issued_by_the_warehouse_prove_the_shops_line(bench):
    said = placed().order("goods_issued", "08:30", 2, by="wms", location="dc")
    said.order("order_fulfilled", "08:40", 5, location="dc")
    line = line_of(bench, said)
    assert (line["shipped_milli"], line["shipped_any_milli"]) == (2_000, 5_000)
    assert (line["not_shipped_milli"], line["awaiting_shipment_proof_milli"]) == (0, 3_000)


def test_goods_issued_that_two_systems_could_mean_prove_nothing(bench):
    two_shops = hub(
        systems=(system("wms", ["dc"]), system("pos", ["nyc"]), system("shop"), system("shop2"))
    )
    said = placed().order("goods_issued", "08:30", 2, by="wms", location="dc")
    assert line_of(bench, said, two_shops)["proved_milli"] == 2_000
    said.order("order_placed", "08:06", 1, by="shop2", location="dc")
    lines = bench.run(two_shops, said, "10:00").lines
    assert [line["proved_milli"] for line in lines] == [0, 0]


def test_a_fulfilment_by_the_owner_of_the_stock_posts_by_itself(bench):
    own = hub(systems=(system("shop", ["dc", "nyc"]), system("wms")))
    said = History().snapshot("shop", "08:00", {("A", "dc"): {"on_hand": 20}})
    said.order("order_placed", "08:05", 5, location="dc")
    said.order("order_fulfilled", "08:30", 3, location="dc")
    result = bench.run(own, said, "10:00")
    assert (result.position("on_hand"), result.position("committed")) == (17, 2)
    said.order("fulfilment_cancelled", "08:40", 1, location="dc")
    result = bench.run(own, said, "10:00")
    assert (result.position("on_hand"), result.position("committed")) == (18, 3)


def test_a_proved_fulfilment_does_not_post_a_second_time(bench):
    own = hub(systems=(system("shop", ["dc", "nyc"]), system("wms")))
    said = History().snapshot("shop", "08:00", {("A", "dc"): {"on_hand": 20}})
    said.order("order_placed", "08:05", 5, location="dc")
    said.order("order_fulfilled", "08:30", 3, location="dc")
    said.order("goods_issued", "08:31", 3, by="shop", location="dc")
    result = bench.run(own, said, "10:00")
    assert (result.position("on_hand"), result.position("committed")) == (17, 2)


def test_a_line_without_a_location_is_taken_from_every_pool_of_its_channel(bench):
    shops = hub(
        channels=(
            channel("web", {"main": ["dc"]}),
            channel("market", {"main": ["dc", "nyc"]}),
            channel("till", {"main": ["nyc"]}),
        )
    )
    said = placed(5, location=None, channel="web")
    result = bench.run(shops, said, "10:00")
    waiting = [result.row(name)["unassigned_milli"] for name in ("web", "market", "till")]
    assert waiting == [5_000, 5_000, 0]
    anywhere = placed(5, location=None, channel="nobody-knows")
    result = bench.run(shops, anywhere, "10:00")
    waiting = [result.row(name)["unassigned_milli"] for name in ("web", "market", "till")]
    assert waiting == [5_000, 5_000, 5_000]


def test_a_line_goes_where_its_latest_placing_that_names_a_place_says(bench):
    said = placed(2).order("order_placed", "08:06", 1, location="nyc")
    said.order("order_placed", "08:07", 1, location=None)
    result = bench.run(hub(), said, "10:00")
    assert (result.position("committed", "nyc"), result.position("committed")) == (4, 0)


def test_events_of_a_line_that_was_never_placed_promise_nothing(bench):
    said = History().order("order_adjusted", "08:10", 3)
    assert bench.run(hub(), said, "10:00").lines == []
