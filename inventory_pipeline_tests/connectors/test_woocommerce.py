"""The WooCommerce connector against a shop that speaks the same calls, and against faults."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import stamina

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.woocommerce import WooCommerceConnector
from inventory_pipeline.core.errors import (
    ChannelBusy,
    ChannelRefused,
    OutcomeUnknown,
    SourceRefused,
    SourceUnreachable,
    WebhookRefused,
)
from inventory_pipeline.core.ports import Delivery, LevelWrite, ListingRef
from inventory_pipeline_tests.connectors.servers import Reply, closed_port, scripted
from inventory_pipeline_tests.connectors.shops import (
    Shop,
    bodies,
    opening,
    polled,
    woocommerce_shop,
)

OPEN: list[WooCommerceConnector] = []
SKUS = {f"SKU-{n}" for n in range(1, 8)}


@pytest.fixture(autouse=True)
def at_once():
    with stamina.set_testing(True, attempts=3):
        yield
    while OPEN:
        OPEN.pop().close()


@pytest.fixture
def shop(tmp_path):
    with woocommerce_shop(tmp_path) as running:
        yield running


def connected(url: str, known=SKUS, **options) -> WooCommerceConnector:
    given = {
        "consumer_key": Secret("ck"), "consumer_secret": Secret("cs"),
        "webhook_secret": ["new", Secret("hush")], "timeout_s": 5,
    }  # fmt: skip
    OPEN.append(WooCommerceConnector(opening(url, given | options, known)))
    return OPEN[-1]


def listing(name: str) -> ListingRef:
    return ListingRef(bucket="main", bucket_external="", external_id=name)


def write(name: str, units: int) -> LevelWrite:
    return LevelWrite(listing=listing(name), quantity_milli=units * 1000, compare_milli=None)


def told(connector: WooCommerceConnector, shop: Shop, count: int):
    events = []
    for delivery in shop.wait_for(count):
        events += connector.parse(connector.verify(delivery).topic, delivery)
    return events


@pytest.mark.parametrize("known", [SKUS, {str(n) for n in range(1, 8)}, set()])
def test_webhook_duplicate_and_poll_tell_the_same_events(shop, known):
    connector = connected(shop.url, known, ships_from="1")
    shop.order("1", SKU_1=2, SKU_2=3)
    shop.order("2", SKU_3=1)
    shop.order("3", SKU_3=1)
    shop.post("/storefront/orders/1/fulfil")
    shop.post("/storefront/orders/2/cancel")
    from_webhooks = bodies(told(connector, shop, 10))
    from_polls = bodies(polled(connector)[0])
    # The poll comes too late to see that the cancelled order was placed.
    late = {"order/2:line/200:placed"}
    assert {k: v for k, v in from_webhooks.items() if k not in late} == from_polls
    placed = from_polls["order/1:line/100:placed"]
    assert (placed["type"], placed["quantity"]) == ("order_placed", 2)
    assert placed["occurred_at"].endswith("Z")
    assert placed["item"] == ("1" if "1" in known else "SKU-1")
    shipped = from_polls["order/1:line/101:fulfilled"]
    assert (shipped["location"], shipped["quantity"]) == ("1", 3)
    assert any(k.startswith("order/2:cancelled:") for k in from_polls)


def test_without_a_place_of_shipment_nothing_is_said_of_shipping(shop):
    shop.order("1", SKU_1=2)
    shop.post("/storefront/orders/1/fulfil")
    events = bodies(polled(connected(shop.url))[0])
    assert [b["type"] for b in events.values()] == ["order_placed"]


def test_the_feed_is_read_to_its_end_whatever_the_page(shop):
    connector = connected(shop.url, page_size=2, overlap_s=1)
    for number in range(1, 10):  # most of them within one second
        shop.order(str(number), SKU_7=1)
    events, cursor = polled(connector)
    assert len(bodies(events)) == 9
    assert json.loads(json.dumps(cursor)) == cursor
    assert set(cursor) == {"since"}
    shop.order("10", SKU_7=1)
    again, _ = polled(connector, cursor)
    assert "order/10:line/1000:placed" in bodies(again)
    assert polled(connected(shop.url, orders_since="2100-01-01"))[0] == []


def test_the_order_list_tells_the_same_events_as_the_feed(shop):
    shop.order("1", SKU_1=2)
    time.sleep(2.1)
    cut = datetime.now(UTC)
    for number in range(2, 7):  # most of them within one second
        shop.order(str(number), SKU_7=1)
    connector = connected(shop.url, page_size=2, overlap_s=3600)
    everything = bodies(polled(connector)[0])
    day = timedelta(days=1)
    assert bodies(list(connector.orders_since(cut - day))) == everything
    recent = bodies(list(connector.orders_since(cut)))
    assert set(everything) - set(recent) == {"order/1:line/100:placed"}
    assert list(connector.orders_since(cut + day)) == []


ORDER = {
    "id": 5, "status": "processing", "date_created_gmt": "2026-03-02T08:00:00",
    "date_modified_gmt": "2026-03-02T09:00:00", "date_paid_gmt": None,
    "line_items": [
        {"id": 51, "product_id": 7, "variation_id": 8, "sku": "SKU-1", "quantity": 2},
        {"id": 52, "product_id": 0, "variation_id": 0, "sku": "", "quantity": 1},
    ],
}  # fmt: skip


def delivery(body: object, **headers: str) -> Delivery:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Delivery(headers=headers, body=raw, received_at=datetime(2026, 3, 2, tzinfo=UTC))


def of(status: str, **change):
    connector = connected("https://x.example", {"7:8"})
    body = ORDER | {"status": status} | change
    return [event.body for event in connector.parse("order.updated", delivery(body))]


@pytest.mark.parametrize("status", ["processing", "on-hold", "completed"])
def test_a_status_that_holds_stock_places_the_lines_of_goods(status):
    (placed,) = of(status)
    assert placed == {
        "event_id": "order/5:line/51:placed", "type": "order_placed",
        "occurred_at": "2026-03-02T08:00:00Z", "order_id": "5", "line_id": "51", "item": "7:8",
        "quantity": 2,
    }  # fmt: skip


@pytest.mark.parametrize("status", ["pending", "draft", "checkout-draft", "trash", "anything"])
def test_another_status_holds_none(status):
    assert of(status) == []


@pytest.mark.parametrize(
    ("status", "type_"),
    [
        ("cancelled", "order_cancelled"),
        ("refunded", "order_cancelled"),
        ("failed", "payment_failed"),
    ],
)
def test_an_order_that_is_given_up_says_so_with_the_time_of_the_change(status, type_):
    (event,) = of(status)
    assert (event["type"], event["occurred_at"]) == (type_, "2026-03-02T09:00:00Z")
    assert "line_id" not in event


def test_a_payment_after_the_order_takes_a_failure_back():
    _, paid = of("processing", date_paid_gmt="2026-03-02T08:30:00")
    assert (paid["type"], paid["occurred_at"]) == ("payment_recovered", "2026-03-02T08:30:00Z")
    assert len(of("processing", date_paid_gmt="2026-03-02T08:00:00")) == 1


def test_a_wrong_signature_is_refused_and_a_rotated_secret_is_not(shop):
    shop.order("1", SKU_1=1)
    good = shop.wait_for(1)[0]
    assert connected(shop.url).verify(good).topic == "order.created"
    bad = replace(good, body=good.body + b" ")
    with pytest.raises(WebhookRefused):
        connected(shop.url).verify(bad)
    with pytest.raises(WebhookRefused):
        connected(shop.url, webhook_secret="other").verify(good)


def test_the_unsigned_ping_of_a_new_webhook_is_answered_and_tells_nothing():
    def sent(body, **headers):
        return Delivery(headers=headers, body=body, received_at=datetime.now(UTC))

    shop = connected("http://127.0.0.1:9")
    assert not shop.verify(sent(b"webhook_id=12")).keep
    for odd in (b"webhook_id=12&x=1", b"webhook_id=", b'{"webhook_id": 12}', b""):
        with pytest.raises(WebhookRefused):
            shop.verify(sent(odd))
    with pytest.raises(WebhookRefused):
        shop.verify(sent(b"webhook_id=12", **{"x-wc-webhook-signature": "guessed"}))


@pytest.mark.parametrize("body", [b"webhook_id=1", b"[]", {"id": 1}, {"id": "x"}])
def test_a_body_that_is_no_order_is_refused(body):
    with pytest.raises(WebhookRefused) as error:
        connected("https://x.example").parse("order.updated", delivery(body))
    assert error.value.status == 422


def test_topics_about_other_things_say_nothing():
    assert connected("https://x.example").parse("product.updated", delivery({})) == []


@pytest.mark.parametrize("prefix", ["SKU-", ""])
def test_levels_are_read_and_set_by_sku_and_by_number(shop, prefix):
    known = {f"{prefix}{n}" for n in range(1, 8)}
    connector = connected(shop.url, known)
    wanted = [listing(f"{prefix}1"), listing(f"{prefix}3"), listing(f"{prefix}99")]
    some = {level.listing: level.quantity_milli for level in connector.read_levels(wanted)}
    assert some == {wanted[0]: 10_000, wanted[1]: 30_000}
    everything = {level.listing.external_id for level in connector.read_levels(None)}
    assert everything == known
    outcomes = connector.write_levels(
        [write(f"{prefix}1", 4), write(f"{prefix}99", 1), write(f"{prefix}2", 5)], key="k"
    )
    assert [type(o.error) for o in outcomes] == [type(None), ChannelRefused, type(None)]
    assert (shop.shown()["SKU-1"], shop.shown()["SKU-2"]) == (4, 5)


def product(number: int, **more):
    return {
        "id": number,
        "type": "simple",
        "sku": "",
        "manage_stock": True,
        "stock_quantity": 3,
    } | more


def test_variations_are_found_below_their_product():
    parents = [product(1, type="variable", manage_stock=False, stock_quantity=None), product(2)]
    below = [
        product(11, sku="RED"),
        product(12, manage_stock="parent"),
        product(13, manage_stock=False),
    ]
    with scripted(Reply(body=parents), Reply(body=below)) as script:
        levels = list(connected(script.url, {"1:11", "2"}).read_levels(None))
        assert [level.listing.external_id for level in levels] == ["2", "1:11"] or [
            level.listing.external_id for level in levels
        ] == ["1:11", "2"]
        assert script.asked[1][0].startswith("/wp-json/wc/v3/products/1/variations")


def test_products_and_variations_go_by_their_own_batches_and_stand_alone():
    done = Reply(body={"update": [product(2, stock_quantity=5)]})
    with scripted(done, Reply(status=500)) as script:
        outcomes = connected(script.url).write_levels([write("2", 5), write("1:11", 6)], key="k")
        paths = [path for path, _ in script.asked]
    assert paths == ["/wp-json/wc/v3/products/batch", "/wp-json/wc/v3/products/1/variations/batch"]
    assert [type(o.error) for o in outcomes] == [type(None), OutcomeUnknown]
    assert script.asked[1][1] == {"update": [{"id": 11, "manage_stock": True, "stock_quantity": 6}]}


@pytest.mark.parametrize(
    ("item", "type_"),
    [
        (product(2, stock_quantity=5), type(None)),
        (product(2, stock_quantity=4), OutcomeUnknown),
        (
            {"id": 2, "error": {"code": "c", "message": "m", "data": {"status": 400}}},
            ChannelRefused,
        ),
        (
            {"id": 2, "error": {"code": "c", "message": "m", "data": {"status": 500}}},
            OutcomeUnknown,
        ),
        ({"id": 2, "error": {"code": "c", "message": "m", "data": None}}, ChannelRefused),
        ({"id": 3}, OutcomeUnknown),
        ("odd", OutcomeUnknown),
    ],
)
def test_every_item_of_a_batch_has_its_own_outcome(item, type_):
    with scripted(Reply(body={"update": [item]})) as script:
        (outcome,) = connected(script.url).write_levels([write("2", 5)], key="k")
    assert type(outcome.error) is type_


@pytest.mark.parametrize(
    ("reply", "type_"),
    [
        (Reply(status=401, body={"code": "woocommerce_rest_cannot_edit"}), ChannelRefused),
        (Reply(status=413), ChannelRefused),
        (Reply(status=429, headers={"Retry-After": "9"}), ChannelBusy),
        (Reply(status=500, body=b"<html>"), OutcomeUnknown),
        (Reply(body=b"<html>"), OutcomeUnknown),
        (Reply(body=b'{"update": [', cut=True), OutcomeUnknown),
    ],
)
def test_a_batch_that_failed_as_a_whole_says_what_is_known(reply, type_):
    with scripted(reply) as script, pytest.raises(type_) as error:
        connected(script.url).write_levels([write("2", 5)], key="k")
    if type_ is ChannelBusy:
        assert error.value.retry_after_s == 9


def test_a_write_that_was_applied_and_not_answered_has_an_unknown_outcome(shop):
    shop.post("/control/faults", mode="timeout_after_apply", count=1, seconds=1)
    with pytest.raises(OutcomeUnknown):
        connected(shop.url, timeout_s=0.5).write_levels([write("1", 4)], key="k")
    assert shop.shown()["SKU-1"] == 4


def test_a_shop_that_is_away_is_asked_again_later():
    away = connected(closed_port())
    with pytest.raises(SourceUnreachable):
        away.changes({})
    with pytest.raises(ChannelBusy):
        away.write_levels([write("1", 4)], key="k")
    with pytest.raises(ChannelBusy):
        list(away.read_levels([listing("1")]))


@pytest.mark.parametrize("body", [{"not": "a list"}, [{"id": 1}], ["x"], b"<html>"])
def test_a_feed_that_is_not_as_expected_is_a_source_error(body):
    with scripted(Reply(body=body)) as script, pytest.raises((SourceRefused, SourceUnreachable)):
        connected(script.url).changes({})


@pytest.mark.parametrize("body", [{"not": "a list"}, [{}], ["x"]])
def test_levels_that_are_not_as_expected_are_a_channel_error(body):
    with scripted(Reply(body=body)) as script:
        for listings in (None, [listing("1")]):
            with pytest.raises((ChannelRefused, ChannelBusy)):
                list(connected(script.url).read_levels(listings))


def test_secrets_show_nowhere(shop):
    wrong = connected(shop.url, consumer_secret=Secret("s3cret-text"))
    with pytest.raises(SourceRefused) as error:
        wrong.changes({})
    assert "s3cret" not in str(error.value) + repr(wrong.__dict__)
