"""The Square connector against a merchant that speaks the same calls: as a source, as a channel."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
import stamina

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.square import SquareConnector
from inventory_pipeline.core.errors import ChannelRefused, OutcomeUnknown, WebhookRefused
from inventory_pipeline.core.ports import Delivery, LevelWrite, Write
from inventory_pipeline.core.vocabulary import MovesAt
from inventory_pipeline.simulate.square_ledger import variation_id
from inventory_pipeline_tests.connectors.shops import bodies, polled
from inventory_pipeline_tests.connectors.square_merchants import (
    CATALOG,
    MAIN,
    SECOND,
    Merchant,
    listing,
    merchant,
    named,
    opened,
    write,
)

OPEN: list[SquareConnector] = []


@pytest.fixture(autouse=True)
def at_once():
    with stamina.set_testing(True, attempts=3):
        yield
    while OPEN:
        OPEN.pop().close()


@pytest.fixture
def shop(tmp_path):
    with merchant(tmp_path) as running:
        yield running


def connected(shop: Merchant, **options) -> SquareConnector:
    OPEN.append(opened(shop.url, **options))
    return OPEN[-1]


def channel(shop: Merchant, **options) -> SquareConnector:
    return connected(shop, role="channel", **options)


# -- what a source tells ----------------------------------------------------------------------


def test_a_till_tells_its_counts_sales_and_returns_once_each(shop):
    connector = connected(shop)
    shop.sell("1", 2)
    shop.sell("2", 3)
    shop.post("/storefront/orders/2/cancel")
    shop.post("/control/set", sku="SKU-1", available=50)
    events, cursor = polled(connector)
    told = [e.body for e in events if e.body["item"] == variation_id("SKU-1")]
    assert [(b["type"], b["quantity"]) for b in told] == [
        ("counted", "10"), ("pos_sale", "2"), ("pos_sale", "3"), ("returned", "3"),
        ("counted", "50"),
    ]  # fmt: skip
    assert {b["location"] for b in told} == {MAIN}
    assert told[3]["disposition"] == "restock"
    assert all(b["occurred_at"].endswith("Z") for b in told)
    assert json.loads(json.dumps(cursor)) == cursor
    again, _ = polled(connector, cursor)
    assert bodies(events + again) == bodies(events), "the same facts, the same events"


@pytest.mark.parametrize(
    ("from_state", "to_state", "type_", "quantity"),
    [
        ("NONE", "IN_STOCK", "goods_received", "4"),
        ("IN_STOCK", "WASTE", "adjusted", "-4"),
        ("IN_STOCK", "NONE", "adjusted", "-4"),
        ("UNLINKED_RETURN", "IN_STOCK", "returned", "4"),
        ("RETURNED_BY_CUSTOMER", "IN_STOCK", "returned", "4"),
        ("IN_STOCK", "SOLD_ONLINE", "pos_sale", "4"),
        ("WASTE", "IN_STOCK", "adjusted", "4"),
        ("NONE", "WASTE", None, None),
    ],
)
def test_every_move_into_and_out_of_stock_is_an_event(shop, from_state, to_state, type_, quantity):
    shop.post("/control/adjust", sku="SKU-2", from_state=from_state, to_state=to_state, quantity=4)
    found = [
        (e.body["type"], e.body["quantity"])
        for e in polled(connected(shop))[0]
        if e.body["event_id"].startswith("adjustment/")
    ]
    assert found == ([(type_, quantity)] if type_ else [])


def test_older_versions_name_one_place_and_newer_ones_two(shop):
    shop.sell("1", 2, location=MAIN)
    old = bodies(polled(connected(shop, api_version="2025-08-20"))[0])
    new = bodies(polled(connected(shop, api_version="2026-09-16"))[0])
    assert old == new


def test_the_feed_is_read_to_its_end_whatever_the_page(shop):
    for number in range(12):
        shop.sell(str(number), 1, sku="SKU-7")
    connector = connected(shop, page_size=5)
    events, cursor = polled(connector)
    assert len(bodies(events)) == 7 + 12
    assert set(cursor) == {"since"}
    shop.sell("late", 1, sku="SKU-7")
    again = bodies(polled(connector, cursor)[0])
    assert any(body["type"] == "pos_sale" for body in again.values())
    assert set(bodies(events)) < set(bodies(events) | again)


def test_a_pass_whose_cursor_ended_begins_again(shop):
    connector = connected(shop, page_size=3)
    page = connector.changes({})
    events, _ = polled(connector, page.cursor | {"cursor": "gone"})
    assert len(bodies(events)) == 7


def test_quantities_finer_than_thousandths_stay_as_they_are_for_the_check_of_events(shop):
    shop.post("/control/set", sku="SKU-1", available="1.23456")
    events = [e.body["quantity"] for e in polled(connected(shop))[0]]
    assert "1.23456" in events


def test_all_counts_are_a_snapshot_once_a_window(shop):
    shop.post("/control/set", sku="SKU-1", available="2.5", location=SECOND)
    (snapshot,) = connected(shop).snapshots(frozenset())
    rows = {(r["location"], r["item"]): r["on_hand"] for r in snapshot.frame.to_dict("records")}
    assert rows[SECOND, variation_id("SKU-1")] == "2.5"
    assert rows[MAIN, variation_id("SKU-3")] == "30"
    assert set(snapshot.frame.columns) == {"as_of", "location", "item", "on_hand"}
    shop.clock.forward(3600)
    later = connected(shop, clock=shop.clock)
    assert [one.key for one in later.snapshots(frozenset())] != [snapshot.key]
    assert list(connected(shop).snapshots(frozenset({snapshot.key}))) == []


def test_a_count_that_moved_after_the_reading_began_is_left_to_its_events(shop):
    shop.post("/control/set", sku="SKU-1", available=50)
    shop.clock.forward(120)  # as if the next change came while the pages were read
    shop.post("/control/set", sku="SKU-2", available=50)
    (snapshot,) = connected(shop).snapshots(frozenset())
    items = {row["item"] for row in snapshot.frame.to_dict("records")}
    assert variation_id("SKU-1") in items
    assert variation_id("SKU-2") not in items


def test_a_source_is_not_written_to(shop):
    connector = connected(shop)
    assert connector.capabilities.write is Write.NONE
    with pytest.raises(NotImplementedError):
        connector.write_levels([write("SKU-1", 1000)], key="k")


# -- webhooks ---------------------------------------------------------------------------------


def hooked(shop: Merchant, **options) -> SquareConnector:
    given = {"webhook_secret": ["new", Secret("hush")], "notification_url": shop.hook}
    return connected(shop, **given | options)


def test_a_webhook_its_repetition_and_the_poll_tell_the_same_events(shop):
    connector = hooked(shop)
    shop.sell("1", 2)
    told = []
    ids = set()
    for delivery in shop.wait_for(2):
        verified = connector.verify(delivery)
        assert verified.topic == "inventory.count.updated"
        ids.add(verified.delivery_id)
        told += connector.parse(verified.topic, delivery)
    assert len(ids) == 1
    assert ids != {""}
    from_poll = bodies(polled(connector)[0])
    from_hooks = bodies(told)
    assert from_hooks.items() <= from_poll.items()
    assert [b["type"] for b in from_hooks.values() if b["type"] == "pos_sale"] == ["pos_sale"]


def test_what_a_webhook_says_is_a_hint_and_what_happened_is_read(shop):
    """The quantity in the body plays no part: two sales behind one delivery are two sales."""
    connector = hooked(shop)
    shop.sell("1", 2)
    first = shop.wait_for(1)[0]
    shop.sell("2", 3)
    sales = list(bodies(connector.parse("inventory.count.updated", first)).values())
    assert sorted(b["quantity"] for b in sales if b["type"] == "pos_sale") == ["2", "3"]


def test_the_count_in_a_webhook_is_a_hint_about_a_channels_listing_at_its_place(shop):
    shop.sell("1", 2)
    topic = "inventory.count.updated"
    delivery = shop.wait_for(1)[0]
    (told,) = hooked(shop, role="channel").hints(topic, delivery)
    assert (told.external_id, told.bucket_external) == (variation_id("SKU-1"), MAIN)
    assert told.quantity_milli == 1000 * shop.shown()["SKU-1"]
    assert abs(told.told_at - shop.clock()) < timedelta(minutes=1)
    assert hooked(shop, role="channel").hints("order.updated", delivery) == []
    assert hooked(shop).hints(topic, delivery) == [], "of a source it is no hint: it is read"


def test_the_signature_is_over_the_address_and_the_raw_body(shop):
    shop.sell("1", 1)
    good = shop.wait_for(1)[0]
    assert hooked(shop).verify(good).topic
    assert hooked(shop, notification_url=None).verify(good).topic, "its own address"
    bad = [
        (hooked(shop), replace(good, body=good.body + b" ")),
        (hooked(shop), replace(good, headers={})),
        (hooked(shop, notification_url=shop.hook + "/"), good),
        (hooked(shop, webhook_secret="other"), good),
        (hooked(shop, webhook_secret=None), good),
    ]
    for connector, delivery in bad:
        with pytest.raises(WebhookRefused):
            connector.verify(delivery)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"{}", b'{"data": {"object": {"inventory_counts": [1]}}}']
)
def test_a_body_that_is_no_count_is_refused(shop, body):
    delivery = Delivery(headers={}, body=body, received_at=shop.clock())
    with pytest.raises(WebhookRefused) as error:
        hooked(shop).parse("inventory.count.updated", delivery)
    assert error.value.status == 422


def test_topics_about_other_things_say_nothing(shop):
    delivery = Delivery(headers={}, body=b"{}", received_at=shop.clock())
    assert hooked(shop).parse("payment.updated", delivery) == []


# -- levels -----------------------------------------------------------------------------------


def test_levels_are_read_by_place_and_what_was_never_counted_shows_none(shop):
    wanted = [listing("SKU-1"), listing("SKU-3"), listing("SKU-1", SECOND), named("NOSUCH")]
    found = {one.listing: one.quantity_milli for one in channel(shop).read_levels(wanted)}
    assert found == {wanted[0]: 10_000, wanted[1]: 30_000, wanted[2]: 0}


def test_a_full_reading_has_every_count_with_its_time_of_change(shop):
    levels = list(channel(shop).read_levels(None))
    assert {one.listing.external_id for one in levels} == {
        variation_id(f"SKU-{n}") for n in range(1, 8)
    }
    assert {one.listing.bucket_external for one in levels} == {MAIN}
    assert all(one.changed_at is not None for one in levels)


def test_items_may_be_named_by_sku(shop):
    connector = channel(shop, identify_by="sku")
    wanted = [named("SKU-1"), named("NONE")]
    assert [one.listing for one in connector.read_levels(wanted)] == wanted[:1]
    assert {one.listing.external_id for one in connector.read_levels(None)} == {
        f"SKU-{n}" for n in range(1, 8)
    }
    shop.sell("1", 1)
    assert {b["item"] for b in bodies(polled(connector)[0]).values()} == {"SKU-1"}
    (outcome,) = connector.write_levels(
        [LevelWrite(listing=named("SKU-1"), quantity_milli=4_000, compare_milli=None)], key="k"
    )
    assert outcome.error is None
    assert shop.shown()["SKU-1"] == 4


def test_a_level_finer_than_thousandths_is_left_out_and_the_others_are_read(shop, capsys):
    shop.post("/control/set", sku="SKU-1", available="1.23456")
    wanted = [listing("SKU-1"), listing("SKU-2")]
    levels = list(channel(shop).read_levels(wanted))
    assert [one.listing for one in levels] == wanted[1:]
    assert "level left out" in capsys.readouterr().out


# -- a channel --------------------------------------------------------------------------------


def test_a_channel_tells_its_sales_as_orders_that_left_at_once(shop):
    connector = channel(shop)
    assert connector.capabilities.moves_at is MovesAt.ORDER
    shop.sell("77", 2)
    shop.post("/control/set", sku="SKU-1", available=50)
    shop.post("/control/adjust", sku="SKU-2", from_state="NONE", to_state="IN_STOCK", quantity=4)
    placed, fulfilled = bodies(polled(connector)[0]).values()
    assert (placed["type"], placed["order_id"], placed["quantity"]) == ("order_placed", "77", "2")
    assert (fulfilled["type"], fulfilled["line_id"]) == ("order_fulfilled", placed["line_id"])
    assert fulfilled["location"] == MAIN
    since = shop.clock() - timedelta(hours=1)
    listed = bodies(list(connector.orders_since(since)))
    assert listed == {one["event_id"]: one for one in (placed, fulfilled)}


def test_counts_are_written_and_their_own_echo_says_nothing(shop):
    connector = channel(shop)
    capabilities = connector.capabilities
    assert (capabilities.write, capabilities.atomic_batch) == (Write.ABSOLUTE, True)
    writes = [write("SKU-1", 4_000), write("SKU-2", 0), write("SKU-1", 7_000, SECOND)]
    outcomes = connector.write_levels(writes, key="k")
    assert [(one.write, one.error) for one in outcomes] == [(w, None) for w in writes]
    assert (shop.shown()["SKU-1"], shop.shown()["SKU-2"]) == (4, 0)
    assert shop.shown(SECOND)["SKU-1"] == 7
    source = bodies(polled(connected(shop))[0])
    assert len(source) == 7, "only the first counts of the merchant"


def test_a_count_is_written_even_if_it_equals_the_last_count(shop):
    """Square drops such counts by default, also after sales: the sold units would come back."""
    connector = channel(shop, clock=shop.clock)
    connector.write_levels([write("SKU-1", 8_000)], key="a")
    shop.sell("1", 3)
    shop.clock.forward(1)  # counts are dated to the millisecond: a sale of the same one comes after
    (outcome,) = connector.write_levels([write("SKU-1", 8_000)], key="b")
    assert outcome.error is None
    assert shop.shown()["SKU-1"] == 8


def test_the_same_key_again_is_applied_once(shop):
    connector = channel(shop)
    connector.write_levels([write("SKU-1", 8_000)], key="a")
    shop.sell("1", 3)
    (outcome,) = connector.write_levels([write("SKU-1", 8_000)], key="a")
    assert shop.shown()["SKU-1"] == 5, "what was sold is not given back"
    assert outcome.error is None


def test_a_key_that_another_process_used_is_read_and_not_believed(shop):
    channel(shop).write_levels([write("SKU-1", 8_000)], key="a")
    shop.clock.forward(1)
    with pytest.raises(OutcomeUnknown, match="IDEMPOTENCY_KEY_REUSED"):
        channel(shop, clock=shop.clock).write_levels([write("SKU-1", 8_000)], key="a")


def test_a_count_that_is_dated_before_a_sale_does_not_undo_it(shop):
    shop.sell("1", 3)
    early = lambda: shop.clock() - timedelta(seconds=30)  # noqa: E731
    connector = channel(shop, clock=early)
    (outcome,) = connector.write_levels([write("SKU-1", 8_000)], key="a")
    # The count of 10 at the beginning is newer too: the late one changes nothing.
    assert shop.shown()["SKU-1"] == 7
    assert isinstance(outcome.error, OutcomeUnknown)


def test_decimals_go_as_text(shop):
    connector = channel(shop, decimals=3)
    (outcome,) = connector.write_levels([write("SKU-1", 1_250)], key="k")
    assert outcome.error is None
    assert shop.shown()["SKU-1"] == "1.25"


def test_one_bad_quantity_never_stops_the_others(shop):
    connector = channel(shop)
    unknown = LevelWrite(listing=named("NOSUCH"), quantity_milli=1_000, compare_milli=None)
    writes = [
        write("SKU-1", 4_000), unknown, write("SKU-2", 1_500), write("SKU-3", 3_000),
        write("SKU-3", 4_000), write("SKU-4", 1_000, ""), write("SKU-5", -1_000),
    ]  # fmt: skip
    outcomes = connector.write_levels(writes, key="k")
    kinds = [type(one.error).__name__ for one in outcomes]
    assert kinds[1:3] == ["ChannelRefused", "ChannelRefused"]
    assert kinds[4:] == ["ChannelRefused"] * 3
    assert "NOT_FOUND" in str(outcomes[1].error)
    # Square takes all or nothing: what stood beside the unknown one goes with the next batch.
    assert kinds[0] == kinds[3] == "ChannelBusy"
    assert outcomes[0].error.retry_after_s == 0
    again = connector.write_levels([writes[0], writes[3]], key="k2")
    assert [one.error for one in again] == [None, None]


def test_more_than_a_hundred_are_too_many(shop):
    many = [write("SKU-1", 1_000)] * 101
    with pytest.raises(ChannelRefused, match="100 are allowed"):
        channel(shop).write_levels(many, key="k")


def test_a_long_key_is_shortened_and_stays_the_same_key(shop):
    connector = channel(shop)
    for _ in range(2):
        (outcome,) = connector.write_levels([write("SKU-1", 4_000)], key="k" * 300)
        assert outcome.error is None


def test_a_hundred_in_one_batch(tmp_path):
    rows = "".join(f"S-{n},T,1.00,1\n" for n in range(100))
    with merchant(tmp_path, catalog=CATALOG + rows) as shop:
        outcomes = channel(shop).write_levels(
            [write(f"S-{n}", n * 1_000) for n in range(100)], key="k"
        )
        assert {one.error for one in outcomes} == {None}
        assert shop.shown()["S-99"] == 99
