"""The Shopify connector against a shop that speaks the same calls, and against faults."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import stamina

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.shopify import ShopifyConnector
from inventory_pipeline.core.errors import (
    ChannelBusy,
    ChannelRefused,
    OutcomeUnknown,
    SourceRefused,
    SourceUnreachable,
    StaleCompare,
    WebhookRefused,
)
from inventory_pipeline.core.ports import Delivery, LevelWrite, ListingRef
from inventory_pipeline_tests.connectors.servers import Reply, closed_port, scripted
from inventory_pipeline_tests.connectors.shops import (
    LOCATION,
    Shop,
    bodies,
    opening,
    polled,
    shopify_shop,
)

ITEM = "gid://shopify/InventoryItem/"
GIDS = {f"{ITEM}{n}" for n in range(1, 8)}


OPEN: list[ShopifyConnector] = []


@pytest.fixture(autouse=True)
def at_once():
    with stamina.set_testing(True, attempts=3):
        yield
    while OPEN:
        OPEN.pop().close()


@pytest.fixture
def shop(tmp_path):
    with shopify_shop(tmp_path) as running:
        yield running


def connected(url: str, known=GIDS, **options) -> ShopifyConnector:
    given = {"access_token": Secret("token"), "webhook_secret": "hush", "timeout_s": 5} | options
    OPEN.append(ShopifyConnector(opening(url, given, known)))
    return OPEN[-1]


def listing(number: object, location: str = LOCATION) -> ListingRef:
    external = number if isinstance(number, str) else f"{ITEM}{number}"
    return ListingRef(bucket="main", bucket_external=location, external_id=external)


def write(number: object, units: int, compare: int | None = None) -> LevelWrite:
    return LevelWrite(
        listing=listing(number),
        quantity_milli=units * 1000,
        compare_milli=None if compare is None else compare * 1000,
    )


def told(connector: ShopifyConnector, shop: Shop, count: int):
    """Events of all webhooks that came; every one of them is verified."""
    events = []
    for delivery in shop.wait_for(count):
        topic = connector.verify(delivery).topic
        events += connector.parse(topic, delivery)
    return events


@pytest.mark.parametrize("known", [GIDS, {f"SKU-{n}" for n in range(1, 8)}, set()])
def test_webhook_duplicate_and_poll_tell_the_same_events(shop, known):
    connector = connected(shop.url, known)
    shop.order("1", SKU_1=2, SKU_2=3)
    shop.order("2", SKU_3=1)
    shop.post("/storefront/orders/1/fulfil", name="a", lines=[{"sku": "SKU-1", "quantity": 1}])
    shop.post("/storefront/orders/1/fulfil", name="b")
    shop.post("/storefront/orders/2/cancel")
    from_webhooks = bodies(told(connector, shop, 10))
    again, cursor = polled(connector)
    from_polls = bodies(again)
    assert from_webhooks == from_polls
    assert json.loads(json.dumps(cursor)) == cursor
    placed = from_polls["gid://shopify/Order/1:line/100:placed"]
    assert placed["type"] == "order_placed"
    assert placed["quantity"] == 2
    assert placed["occurred_at"].endswith("Z")
    assert "channel" not in placed
    types = sorted(body["type"] for body in from_polls.values())
    assert types == ["order_cancelled", *["order_fulfilled"] * 3, *["order_placed"] * 3]
    shipped = [b for b in from_polls.values() if b["type"] == "order_fulfilled"]
    assert {b["location"] for b in shipped} == {LOCATION}
    assert sum(b["quantity"] for b in shipped) == 5
    item = {"SKU-1"} if not known else {f"{ITEM}1", "SKU-1"} & known
    assert placed["item"] in item


def test_the_feed_goes_on_behind_its_cursor_with_an_overlap(shop):
    connector = connected(shop.url, page_size=2, overlap_s=60)
    for number in range(1, 6):
        shop.order(str(number), SKU_7=1)
    events, cursor = polled(connector)
    assert len(bodies(events)) == 5
    shop.order("6", SKU_7=1)
    events, cursor = polled(connector, cursor)
    assert "gid://shopify/Order/6:line/600:placed" in bodies(events)
    far_back = connected(shop.url, orders_since="2100-01-01")
    assert polled(far_back)[0] == []
    # Without an overlap only what is new, of the newest second, comes again.
    assert cursor["since"].endswith("Z")


def test_an_order_with_many_lines_is_read_to_its_end(tmp_path):
    with shopify_shop(tmp_path) as shop:
        connector = connected(shop.url)
        lines = [{"sku": "SKU-7", "quantity": 1}] * 45
        shop.post("/storefront/orders", order_id="1", lines=lines)
        shop.post("/storefront/orders/1/fulfil")
        events = bodies(polled(connector)[0])
        assert sum(b["type"] == "order_placed" for b in events.values()) == 45
        assert sum(b["type"] == "order_fulfilled" for b in events.values()) == 45


def test_an_order_with_many_fulfilments_is_read_to_its_end(shop):
    connector = connected(shop.url)
    shop.order("1", SKU_7=14)
    for number in range(14):
        shop.post(
            "/storefront/orders/1/fulfil", name=str(number), lines=[{"sku": "SKU-7", "quantity": 1}]
        )
    events = bodies(polled(connector)[0])
    assert sum(b["type"] == "order_fulfilled" for b in events.values()) == 14


def test_a_refund_before_shipping_cancels_those_units_only():
    connector = connected("https://x.example", {"SKU-1"})
    order = {
        "id": 5, "created_at": "2026-03-02T08:00:00-05:00", "cancelled_at": None,
        "updated_at": "2026-03-02T08:00:01-05:00",
        "line_items": [{"id": 51, "variant_id": 1, "sku": "SKU-1", "quantity": 3}],
        "fulfillments": [],
        "refunds": [{
            "id": 9, "order_id": 5, "created_at": "2026-03-02T09:00:00-05:00",
            "refund_line_items": [
                {"id": 1, "line_item_id": 51, "quantity": 1, "restock_type": "cancel"},
                {"id": 2, "line_item_id": 51, "quantity": 1, "restock_type": "return"},
            ],
        }],
    }  # fmt: skip
    placed, cancelled = [e.body for e in connector.parse("orders/create", delivery(order))]
    assert cancelled == {
        "event_id": "gid://shopify/Order/5:line/51:refund/9:cancelled",
        "type": "order_cancelled",
        "occurred_at": "2026-03-02T14:00:00Z",
        "order_id": "gid://shopify/Order/5",
        "line_id": "gid://shopify/LineItem/51",
        "item": "SKU-1",
        "quantity": 1,
    }
    refund = order["refunds"][0]
    refund["refund_line_items"][0]["line_item"] = order["line_items"][0]
    (alone,) = [e.body for e in connector.parse("refunds/create", delivery(refund))]
    assert alone == cancelled
    assert placed["occurred_at"] == "2026-03-02T13:00:00Z"


def test_a_cancelled_fulfilment_takes_its_word_back():
    connector = connected("https://x.example", set())
    part = {
        "id": 7, "status": "cancelled", "created_at": "2026-03-02T08:00:00Z",
        "updated_at": "2026-03-02T09:00:00Z", "location_id": 1,
        "line_items": [{"id": 51, "quantity": 2}],
    }  # fmt: skip
    order = {
        "id": 5, "created_at": "2026-03-02T07:00:00Z",
        "line_items": [
            {"id": 51, "variant_id": 1, "sku": "SKU-1", "quantity": 3},
            {"id": 52, "variant_id": None, "sku": None, "quantity": 1},
        ],
        "fulfillments": [part, part | {"id": 8, "status": "error"}],
    }  # fmt: skip
    events = [e.body for e in connector.parse("orders/updated", delivery(order))]
    assert [(e["type"], e["occurred_at"][11:13]) for e in events] == [
        ("order_fulfilled", "08"),
        ("fulfilment_cancelled", "09"),
    ]


def net_of_lines(events) -> dict[str, int]:
    """Units that were ordered, by line."""
    net: dict[str, int] = {}
    for body in bodies(events).values():
        if body["type"] in {"order_placed", "order_adjusted"}:
            net[body["line_id"]] = net.get(body["line_id"], 0) + body["quantity"]
    return net


RAISED = {"gid://shopify/LineItem/100": 7, "gid://shopify/LineItem/101": 3}


def edited(shop: Shop) -> None:
    """Two units are raised to three and then to seven; three of another item are added."""
    shop.order("1", SKU_1=2)
    time.sleep(1.1)  # the shop tells whole seconds
    shop.post("/storefront/orders/1/edit", lines=[{"sku": "SKU-1", "quantity": 1}])
    more = [{"sku": "SKU-1", "quantity": 4}, {"sku": "SKU-2", "quantity": 3}]
    shop.post("/storefront/orders/1/edit", lines=more)


def test_a_quantity_that_is_raised_after_the_sale_is_ordered(shop):
    connector = connected(shop.url, page_size=1)
    edited(shop)
    events, _ = polled(connector)
    assert net_of_lines(events) == RAISED
    found = bodies(events)
    placed = found["gid://shopify/Order/1:line/100:placed"]
    assert (placed["type"], placed["quantity"]) == ("order_placed", 2)
    more = found["gid://shopify/Order/1:line/100:edit/2:added"]
    assert (more["type"], more["quantity"]) == ("order_adjusted", 4)
    assert more["occurred_at"] > placed["occurred_at"], "dated by the edit"
    new = found["gid://shopify/Order/1:line/101:placed"]
    assert (new["type"], new["quantity"]) == ("order_placed", 3)
    assert new["occurred_at"] == more["occurred_at"], "a new line is placed by its edit"


def test_an_edited_order_tells_the_same_events_in_whatever_way_they_come(shop):
    connector = connected(shop.url)
    shop.order("1", SKU_1=2)
    first, _ = polled(connector)
    time.sleep(1.1)
    shop.post("/storefront/orders/1/edit", lines=[{"sku": "SKU-1", "quantity": 1}])
    second, _ = polled(connector)
    more = [{"sku": "SKU-1", "quantity": 4}, {"sku": "SKU-2", "quantity": 3}]
    shop.post("/storefront/orders/1/edit", lines=more)
    shop.post("/storefront/orders/1/fulfil")
    from_webhooks = told(connector, shop, 8)
    last, _ = polled(connector)
    late, _ = polled(connected(shop.url))
    assert net_of_lines(late) == RAISED, "who never saw the first quantity"
    assert net_of_lines(from_webhooks) == RAISED, "no poll at all"
    assert net_of_lines([*first, *second, *from_webhooks, *last, *late]) == RAISED
    assert net_of_lines([*late, *from_webhooks, *second, *first]) == RAISED


def test_a_webhook_that_was_sent_after_an_edit_does_not_pass_for_the_first_quantity(shop):
    connector = connected(shop.url)
    edited(shop)
    created = shop.wait_for(1)[0]
    payload = json.loads(created.body)
    payload["line_items"][0]["quantity"] = 7
    payload["updated_at"] = "2100-01-01T00:00:00Z"
    for topic in ("orders/create", "orders/updated", "orders/paid"):
        events = connector.parse(topic, delivery(payload))
        assert net_of_lines(events) in (RAISED, {}), "read again, or nothing said"
    assert net_of_lines(connector.parse("orders/create", delivery(payload))) == RAISED
    gone = {"order_edit": {"order_id": 99}}
    assert connector.parse("orders/edited", delivery(gone)) == []
    with pytest.raises(WebhookRefused):
        connector.parse("orders/edited", delivery({"order_edit": None}))


def test_an_edit_of_very_many_lines_is_read_to_its_end(tmp_path, monkeypatch):
    from inventory_pipeline.connectors import shopify_documents as documents

    monkeypatch.setattr(documents, "SALES_PER_PAGE", 2)
    monkeypatch.setattr(documents, "AGREEMENTS_PER_PAGE", 2)
    with shopify_shop(tmp_path) as shop:
        shop.order("1", SKU_1=1)
        for _ in range(5):
            lines = [{"sku": f"SKU-{number}", "quantity": 1} for number in range(1, 8)]
            shop.post("/storefront/orders/1/edit", lines=lines)
        net = net_of_lines(polled(connected(shop.url))[0])
        assert sorted(net.values()) == [5] * 6 + [6]


def test_the_order_list_tells_the_same_events_as_the_feed(shop):
    shop.order("1", SKU_1=2)
    time.sleep(2.1)
    cut = datetime.now(UTC)
    for number in range(2, 6):
        shop.order(str(number), SKU_7=1)
    connector = connected(shop.url, page_size=2, overlap_s=3600)
    everything = bodies(polled(connector)[0])
    day = timedelta(days=1)
    assert bodies(list(connector.orders_since(cut - day))) == everything
    recent = bodies(list(connector.orders_since(cut)))
    assert set(everything) - set(recent) == {"gid://shopify/Order/1:line/100:placed"}
    assert list(connector.orders_since(cut + day)) == []


def delivery(body: object, **headers: str) -> Delivery:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Delivery(headers=headers, body=raw, received_at=datetime(2026, 3, 2, tzinfo=UTC))


def test_a_wrong_signature_is_refused_and_a_rotated_secret_is_not(shop):
    shop.order("1", SKU_1=1)
    good = shop.wait_for(1)[0]
    verified = connected(shop.url).verify(good)
    assert verified.topic == "orders/create"
    assert verified.delivery_id
    assert connected(shop.url, webhook_secret=["new", Secret("hush")]).verify(good) == verified
    for bad in (
        replace(good, body=good.body + b" "),
        replace(good, headers=dict(good.headers) | {"x-shopify-hmac-sha256": "été"}),
        replace(good, headers={}),
    ):
        with pytest.raises(WebhookRefused) as error:
            connected(shop.url).verify(bad)
        assert error.value.status == 401
        assert "hush" not in str(error.value)
    with pytest.raises(WebhookRefused, match="no webhook_secret"):
        connected(shop.url, webhook_secret=None).verify(good)


@pytest.mark.parametrize(
    "body", [b"no json", b"[1]", {"id": 1}, {"id": None, "line_items": 3}, b"\xff"]
)
def test_a_body_that_is_no_order_is_refused(body):
    with pytest.raises(WebhookRefused) as error:
        connected("https://x.example").parse("orders/create", delivery(body))
    assert error.value.status == 422


def test_topics_about_other_things_say_nothing():
    connector = connected("https://x.example")
    assert connector.parse("inventory_levels/update", delivery({})) == []
    assert connector.parse("products/update", delivery(b"no json")) == []


@pytest.mark.parametrize("known", [GIDS, {f"SKU-{n}" for n in range(1, 8)}])
def test_levels_are_read_under_the_names_that_the_hub_knows(shop, known):
    connector = connected(shop.url, known)
    names = sorted(known)
    wanted = [
        listing(name) for name in (names[0], names[2], "gid://shopify/InventoryItem/99", "NO-SKU")
    ]
    before = datetime.now(UTC)
    some = {level.listing.external_id: level for level in connector.read_levels(wanted)}
    assert {name: level.quantity_milli for name, level in some.items()} == {
        names[0]: 10_000,
        names[2]: 30_000,
    }
    assert some[names[0]].listing == wanted[0]
    assert before <= some[names[0]].asked_at <= some[names[0]].answered_at
    everything = list(connector.read_levels(None))
    assert {level.listing.external_id for level in everything} == known
    assert {(level.listing.bucket, level.listing.bucket_external) for level in everything} == {
        ("", LOCATION)
    }


def test_a_write_sets_what_is_still_as_it_was_read(shop):
    connector = connected(shop.url)
    outcomes = connector.write_levels([write(1, 4, 10), write(2, 5)], key="k1")
    assert [o.error for o in outcomes] == [None, None]
    assert shop.shown()["SKU-1"] == 4
    # The same key again is the same write: a sale in between is not given back.
    shop.order("1", SKU_1=1)
    outcomes = connector.write_levels([write(1, 4, 10), write(2, 5)], key="k1")
    assert [o.error for o in outcomes] == [None, None]
    assert shop.shown()["SKU-1"] == 3


def test_one_stale_line_is_stale_and_the_others_were_not_applied(shop):
    connector = connected(shop.url)
    outcomes = connector.write_levels([write(1, 4, 10), write(2, 5, 19), write(3, 6, 30)], key="k")
    assert [type(o.error) for o in outcomes] == [ChannelBusy, StaleCompare, ChannelBusy]
    assert outcomes[0].error.retry_after_s == 0
    assert f"{ITEM}2" in str(outcomes[1].error)
    assert shop.shown()["SKU-1"] == 10
    again = connector.write_levels([write(1, 4, 10), write(3, 6, 30)], key="k2")
    assert [o.error for o in again] == [None, None]


def test_lines_that_cannot_be_sent_do_not_hold_up_the_others(shop):
    connector = connected(shop.url)
    half = LevelWrite(listing=listing(2), quantity_milli=500, compare_milli=None)
    nowhere = LevelWrite(listing=listing(3, ""), quantity_milli=1000, compare_milli=None)
    outcomes = connector.write_levels([write("NO-SKU", 1), half, nowhere, write(4, 7)], key="k")
    assert [type(o.error) for o in outcomes] == [ChannelRefused] * 3 + [type(None)]
    assert "whole units" in str(outcomes[1].error)
    assert "names no location" in str(outcomes[2].error)
    assert shop.shown()["SKU-4"] == 7


def test_a_line_that_the_shop_refuses_is_refused_and_the_others_wait(shop):
    connector = connected(shop.url)
    outcomes = connector.write_levels([write(99, 1), write(4, 7)], key="k")
    assert [type(o.error) for o in outcomes] == [ChannelRefused, ChannelBusy]
    assert "catalog/identifiers.csv" in str(outcomes[0].error)


def test_a_write_that_is_throttled_waits_and_keeps_its_key(shop):
    shop.post("/control/faults", mode="throttle", count=1)
    outcomes = connected(shop.url).write_levels([write(1, 4)], key="k")
    assert outcomes[0].error is None
    assert shop.shown()["SKU-1"] == 4


def test_a_shop_that_throttles_beyond_patience_is_busy(shop):
    shop.post("/control/faults", mode="throttle", count=100)
    with pytest.raises(ChannelBusy) as error:
        connected(shop.url, max_wait_s=0.5).write_levels([write(1, 4)], key="k")
    assert error.value.retry_after_s > 0
    with pytest.raises(SourceUnreachable, match="rate limit"):
        connected(shop.url, max_wait_s=0.5).changes({})


def test_an_empty_bucket_is_waited_for_before_asking():
    status = {"maximumAvailable": 2000, "currentlyAvailable": 1, "restoreRate": 100}
    cost = {"requestedQueryCost": 61, "actualQueryCost": 61, "throttleStatus": status}
    with scripted(Reply(body=answer(fields=()) | {"extensions": {"cost": cost}})) as script:
        patient = connected(script.url, max_wait_s=5)
        patient.write_levels([write(1, 1)], key="k1")
        began = time.monotonic()
        patient.write_levels([write(1, 2)], key="k2")
        assert time.monotonic() - began > 0.5
        impatient = connected(script.url, max_wait_s=0)
        impatient.write_levels([write(1, 1)], key="k3")
        with pytest.raises(ChannelBusy) as error:
            impatient.write_levels([write(1, 2)], key="k4")
        assert 0 < error.value.retry_after_s <= 0.6
        assert len(script.asked) == 3


def test_a_write_that_was_applied_and_not_answered_has_an_unknown_outcome(shop):
    shop.post("/control/faults", mode="timeout_after_apply", count=1, seconds=1)
    with pytest.raises(OutcomeUnknown, match="did not answer"):
        connected(shop.url, timeout_s=0.5).write_levels([write(1, 4, 10)], key="k")
    assert shop.shown()["SKU-1"] == 4


def test_a_write_that_found_nobody_is_only_busy():
    with pytest.raises(ChannelBusy):
        connected(closed_port()).write_levels([write(1, 4)], key="k")
    with pytest.raises(SourceUnreachable):
        connected(closed_port()).changes({})
    with pytest.raises(ChannelBusy):
        list(connected(closed_port()).read_levels([listing(1)]))


def test_a_wrong_token_is_refused_and_never_shown(shop):
    wrong = connected(shop.url, access_token=Secret("s3cret-token"))
    for call in (
        lambda: wrong.write_levels([write(1, 4)], key="k"),
        lambda: list(wrong.read_levels(None)),
        lambda: wrong.changes({}),
    ):
        with pytest.raises((ChannelRefused, SourceRefused)) as error:
            call()
        assert "credentials" in str(error.value)
        assert "s3cret" not in str(error.value) + repr(wrong.__dict__)


FIRST = (["input", "quantities", "0"],)


def answer(*codes: str, fields=(None,)):
    errors = [
        {"code": code, "message": "because", "field": field}
        for code, field in zip(codes, fields, strict=True)
    ]
    return {
        "data": {"inventorySetQuantities": {"inventoryAdjustmentGroup": None, "userErrors": errors}}
    }


@pytest.mark.parametrize(
    ("body", "type_"),
    [
        (answer("IDEMPOTENCY_CONCURRENT_REQUEST"), OutcomeUnknown),
        (answer("IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED"), ChannelBusy),
        (answer("SERVICE_UNAVAILABLE"), ChannelBusy),
        (answer("IDEMPOTENCY_KEY_PARAMETER_MISMATCH"), ChannelRefused),
        (answer("NON_MUTABLE_INVENTORY_ITEM", fields=FIRST), ChannelRefused),
        (answer("INVALID_LOCATION"), ChannelRefused),
        (answer("SOMETHING_NEW"), ChannelRefused),
        (answer("CHANGE_FROM_QUANTITY_STALE"), StaleCompare),
        (answer(fields=()), type(None)),  # nothing changed, and no error either
    ],
)  # fmt: skip
def test_every_user_error_has_its_meaning(body, type_):
    with scripted(Reply(body=body)) as script:
        (outcome,) = connected(script.url).write_levels([write(1, 4)], key="k")
    assert type(outcome.error) is type_


def errors(code: str, message: str = "because"):
    return {"errors": [{"message": message, "extensions": {"code": code}}]}


@pytest.mark.parametrize(
    ("body", "type_"),
    [
        (errors("ACCESS_DENIED"), ChannelRefused),
        (errors("BAD_REQUEST"), ChannelRefused),
        (errors("INVALID_FIELD_ARGUMENTS"), ChannelRefused),
        (errors("INTERNAL_SERVER_ERROR"), OutcomeUnknown),
        ({"errors": "Not Found"}, ChannelRefused),
        ({"data": None}, OutcomeUnknown),
        ({"data": {"inventorySetQuantities": None}}, OutcomeUnknown),
        ([], OutcomeUnknown),
        (b"<html>", OutcomeUnknown),
    ],
)
def test_every_top_level_error_of_a_write_has_its_meaning(body, type_):
    with scripted(Reply(body=body)) as script, pytest.raises(type_):
        connected(script.url).write_levels([write(1, 4)], key="k")


def test_a_write_is_sent_as_the_contract_says():
    with scripted(Reply(body=answer(fields=()))) as script:
        connected(script.url).write_levels([write(1, 4), write(2, 5, 7)], key="the-key")
    ((path, body),) = script.asked
    assert path == "/admin/api/2026-10/graphql.json"
    assert "@idempotent(key: $key)" in body["query"]
    assert body["variables"]["key"] == "the-key"
    assert body["variables"]["input"] == {
        "name": "available",
        "reason": "correction",
        "quantities": [
            {
                "inventoryItemId": f"{ITEM}{number}",
                "locationId": LOCATION,
                "quantity": quantity,
                "changeFromQuantity": compare,
            }
            for number, quantity, compare in ((1, 4, None), (2, 5, 7))
        ],
    }


@pytest.mark.parametrize(
    "body",
    [{"data": {"orders": None}}, {"data": {"orders": {"nodes": [{"id": "x"}], "pageInfo": {}}}}],
)
def test_a_feed_that_is_not_as_expected_is_a_source_error(body):
    with (
        scripted(Reply(body=body)) as script,
        pytest.raises(SourceRefused, match="shop: read orders"),
    ):
        connected(script.url).changes({})


def test_levels_that_are_not_as_expected_are_a_channel_error():
    with scripted(Reply(body={"data": {"inventoryItems": {"nodes": [{}]}}})) as script:
        with pytest.raises((ChannelRefused, ChannelBusy)):
            list(connected(script.url).read_levels(None))
        with pytest.raises((ChannelRefused, ChannelBusy)):
            list(connected(script.url).read_levels([listing(1)]))
