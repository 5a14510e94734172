"""Both connectors against a real Vendure: the coded one, and the one that hub.yaml declares."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime

import pytest

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors import vendure_levels
from inventory_pipeline.core.errors import ChannelRefused, SourceRefused, WebhookRefused
from inventory_pipeline.core.ports import Delivery, LevelWrite, ListingRef

pytestmark = [pytest.mark.real_systems, pytest.mark.timeout(1200)]


ABILITIES = (
    "changes", "levels", "write", "basis", "compare_and_swap", "idempotency", "batch_size",
    "decimals", "moves_at", "restores_on",
)  # fmt: skip


@pytest.fixture(params=["vendure", "rest"])
def connect(request, shop):
    """Opens a connector to the shop: (known items, options) → connector."""
    return shop.connector if request.param == "vendure" else shop.as_rest


def at(sku, place="1"):
    return ListingRef(bucket="main", bucket_external=place, external_id=sku)


def write(connector, place="1", **levels):
    """Sets units by sku; returns sku → error."""
    writes = [
        LevelWrite(listing=at(sku, place), quantity_milli=units * 1000, compare_milli=None)
        for sku, units in levels.items()
    ]
    outcomes = connector.write_levels(writes, key="k")
    return {one.write.listing.external_id: one.error for one in outcomes}


def read(connector, *listings):
    """Sku → (on hand, reserved) in units."""
    found = connector.read_levels(listings or None)
    return {
        level.listing.external_id: (level.quantity_milli // 1000, level.reserved_milli // 1000)
        for level in found
    }


def events(connector, order=None, cursor=None):
    """(type, quantity) of everything that was told, of one order or of all."""
    return [(b["type"], b["quantity"]) for b in bodies(connector, order, cursor)]


def bodies(connector, order=None, cursor=None):
    found, place = [], cursor or {}
    for _ in range(1000):
        page = connector.changes(place)
        found += [e.body for e in page.events if order is None or e.body["order_id"] == order]
        place = page.cursor
        if not page.more:
            return found
    raise AssertionError("the feed does not end")


def test_a_level_is_what_stands_there_and_what_of_it_is_allocated(shop, connect):
    sku = shop.product(on_hand=10)
    shop.buy(sku, 3)
    connector = connect(sku)
    assert read(connector, at(sku)) == {sku: (10, 3)}
    assert read(connector)[sku] == (10, 3)
    (level,) = connector.read_levels([at(sku)])
    assert level.available_milli == 7000 == shop.shown(sku) * 1000
    assert level.changed_at is not None


def test_on_hand_is_written_and_what_is_allocated_stays(shop, connect):
    sku, other = shop.product(on_hand=10), shop.product()
    shop.buy(sku, 4)
    assert write(connect(), **{sku: 9, other: 2}) == {sku: None, other: None}
    assert shop.stock(sku) == (9, 4)
    assert (shop.shown(sku), shop.shown(other)) == (5, 2)


def test_one_bad_item_never_stops_the_others(shop, connect):
    sku, untracked = shop.product(on_hand=1), shop.product(on_hand=1, trackInventory="FALSE")
    twice = shop.product("TWICE-1")
    shop.product("TWICE-1")
    errors = write(connect(), **{"NOBODY": 1, sku: 8, untracked: 5, twice: 3})
    assert errors.pop(sku) is None
    assert shop.stock(sku) == (8, 0)
    assert {name: type(error) for name, error in errors.items()} == dict.fromkeys(
        ("NOBODY", untracked, twice), ChannelRefused
    )
    assert "no such" in str(errors["NOBODY"])


def test_a_variant_can_be_named_by_its_number(shop):
    sku = shop.product(on_hand=6)
    name = f"variant:{shop.variants[sku]}"
    connector = shop.connector(name)
    assert read(connector, at(name)) == {name: (6, 0)}
    assert write(connector, **{name: 7}) == {name: None}
    shop.buy(sku, 1)
    assert bodies(connector)[-1]["item"] == name


def test_what_the_shop_does_not_have_or_track_is_left_out(shop, connect):
    untracked = shop.product(on_hand=1, trackInventory="FALSE")
    connector = connect()
    assert read(connector, at("NOBODY"), at(untracked)) == {}
    assert untracked not in read(connector)


def test_each_stock_location_has_its_own_number(shop):
    sku = shop.product(on_hand=5)
    connector = shop.connector()
    assert {level.listing.bucket_external for level in connector.read_levels(None)} == {""}
    east = shop.location("East")
    try:
        list(connector.read_levels(None))
        assert write(connector, place=east, **{sku: 4}) == {sku: None}
        assert read(connector, at(sku, east)) == {sku: (4, 0)}
        assert read(connector, at(sku, "1")) == {sku: (5, 0)}
        places = {
            level.listing.bucket_external
            for level in connector.read_levels(None)
            if level.listing.external_id == sku
        }
        assert places == {"1", east}
        with pytest.raises(ChannelRefused, match=r"no stock location ''.*\n.*East"):
            read(connector, at(sku, ""))
    finally:
        shop.remove_location(east)


def test_an_order_tells_what_was_placed_and_nothing_before_it_is(shop, connect):
    sku = shop.product(on_hand=10)
    order = shop.buy(sku, 3)
    (placed,) = bodies(connect(sku), order["code"])
    assert placed["event_id"] == f"order/{order['code']}:line/{order['lines'][0]['id']}:placed"
    assert (placed["type"], placed["item"], placed["quantity"]) == ("order_placed", sku, 3)
    assert placed["line_id"] == order["lines"][0]["id"]
    assert shop.connector(order_lines="sku").changes({}).events[-1].body["line_id"] == sku


def test_cancelled_units_and_cancelled_orders_are_told_once_each(shop, connect):
    sku = shop.product(on_hand=20)
    order = shop.buy(sku, 5)
    shop.cancel(order, 2)
    shop.cancel(shop.order(order["id"]))
    connector = connect()
    assert events(connector, order["code"]) == [
        ("order_placed", 5), ("order_cancelled", 2), ("order_cancelled", 3),
    ]  # fmt: skip
    assert shop.stock(sku) == (20, 0)


def test_a_changed_order_keeps_what_was_placed_and_adds_the_change(shop, connect):
    sku, added = shop.product(on_hand=20), shop.product(on_hand=20)
    order = shop.buy(sku, 5)
    line = order["lines"][0]["id"]
    shop.modify(order, adjustOrderLines=[{"orderLineId": line, "quantity": 7}])
    shop.admin(
        "mutation($i: ModifyOrderInput!) { modifyOrder(input: $i) { __typename"
        " ... on ErrorResult { errorCode message } } }",
        i={
            "dryRun": False,
            "orderId": order["id"],
            "addItems": [{"productVariantId": shop.variants[added], "quantity": 4}],
        },
    )
    told = bodies(connect(), order["code"])
    assert sorted((b["item"], b["type"], b["quantity"]) for b in told) == sorted(
        [(sku, "order_placed", 5), (sku, "order_adjusted", 2), (added, "order_placed", 4)]
    )
    assert shop.stock(sku) == (20, 7)


def test_fulfilments_are_told_where_the_shop_says_from_where_it_ships(shop):
    sku = shop.product(on_hand=9)
    order = shop.buy(sku, 3)
    shop.undo_fulfilment(shop.fulfil(order, 1))
    shop.fulfil(order, 2)
    assert events(shop.connector(), order["code"]) == [("order_placed", 3)]
    told = bodies(shop.connector(ships_from="main"), order["code"])
    assert [(b["type"], b["quantity"], b.get("location")) for b in told] == [
        ("order_placed", 3, None), ("order_fulfilled", 1, "main"),
        ("fulfilment_cancelled", 1, "main"), ("order_fulfilled", 2, "main"),
    ]  # fmt: skip


def test_a_sale_is_found_by_the_poll_though_no_variant_moved(shop, connect):
    """The variant's updatedAt stays; the order's does not."""
    sku = shop.product(on_hand=9)
    connector = connect()
    cursor = connector.changes({}).cursor
    order = shop.buy(sku, 1)
    assert events(connector, order["code"], cursor) == [("order_placed", 1)]


def test_both_connectors_tell_the_same_events_and_levels(shop):
    """Whoever changes from one to the other sees nothing twice."""
    sku = shop.product(on_hand=30)
    order = shop.buy(sku, 6)
    shop.cancel(order, 1)
    line = order["lines"][0]["id"]
    shop.modify(shop.order(order["id"]), adjustOrderLines=[{"orderLineId": line, "quantity": 8}])
    coded, declared = shop.connector(), shop.as_rest()
    told = {b["event_id"]: b for b in bodies(coded)}
    assert {b["event_id"]: b for b in bodies(declared)} == told
    assert len([b for b in told.values() if b["order_id"] == order["code"]]) == 3
    assert read(declared) == read(coded)
    assert {name: getattr(declared.capabilities, name) for name in ABILITIES} == {
        name: getattr(coded.capabilities, name) for name in ABILITIES
    }


def test_every_page_size_tells_the_same(shop, connect):
    sku = shop.product(on_hand=50)
    for _ in range(4):
        shop.buy(sku, 1)
    whole = bodies(connect())
    small = bodies(connect(page_size=2))
    assert {b["event_id"] for b in small} == {b["event_id"] for b in whole}
    assert len(whole) == len({b["event_id"] for b in whole}) >= 4


def test_a_reading_goes_on_behind_its_last_page(shop, monkeypatch):
    for _ in range(3):
        shop.product(on_hand=1)
    whole = [_told(level) for level in shop.connector().read_levels(None)]
    monkeypatch.setattr(vendure_levels, "TAKE", 2)
    found, resume = [], None
    while True:
        page = next(iter(shop.connector().level_pages(resume)))  # and then it breaks off
        found += [_told(level) for level in page.levels]
        resume = page.resume
        if resume is None:
            break
    assert found == whole
    assert len(whole) > 2


def _told(level):
    return level.listing.external_id, level.quantity_milli, level.reserved_milli


def test_the_order_list_of_a_time_is_what_the_poll_tells(shop, connect):
    sku = shop.product(on_hand=5)
    time.sleep(1.1)
    since = datetime.now(UTC).replace(microsecond=0)
    order = shop.buy(sku, 2)
    listed = [e.body for e in connect().orders_since(since)]
    assert listed == bodies(connect(), order["code"])


def delivered(payload, secret):
    body = json.dumps(payload).encode()
    signature = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
    headers = {"x-inventory-signature": signature, "x-inventory-delivery": "d1"}
    return Delivery(headers=headers, body=body, received_at=datetime.now(UTC))


def test_a_webhook_names_an_order_and_the_shop_is_asked_for_it(shop):
    order = shop.buy(shop.product(on_hand=5), 2)
    connector = shop.connector(webhook_secret=[Secret("new"), Secret("old")])
    for payload in ({"code": order["code"]}, {"id": order["id"]}):
        for secret in ("new", "old"):
            delivery = delivered({"topic": "order"} | payload, secret)
            verified = connector.verify(delivery)
            assert (verified.topic, verified.delivery_id) == ("order", "d1")
            found = [event.body for event in connector.parse("order", delivery)]
            assert found == bodies(connector, order["code"])
    assert connector.parse("else", delivery) == []
    unknown = delivered({"topic": "order", "code": "NOBODYS"}, "new")
    assert connector.parse("order", unknown) == []
    with pytest.raises(WebhookRefused, match="signature"):
        connector.verify(delivered({"topic": "order", "code": order["code"]}, "guessed"))
    with pytest.raises(WebhookRefused, match="names no order"):
        connector.parse("order", delivered({"topic": "order"}, "new"))
    with pytest.raises(WebhookRefused, match="no webhook_secret"):
        shop.connector(webhook_secret=None).verify(delivery)


def test_an_ended_session_is_begun_again(shop):
    sku = shop.product(on_hand=3)
    connector = shop.connector()
    assert read(connector, at(sku)) == {sku: (3, 0)}
    connector._admin._token = "ended-long-ago"
    assert read(connector, at(sku)) == {sku: (3, 0)}
    connector._admin._token = "ended-long-ago"
    assert write(connector, **{sku: 4}) == {sku: None}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"password": Secret("not-the-password")}, "does not let 'superadmin' in"),
        ({"path": "/shop-api"}, "does not let 'superadmin' in"),
        ({"path": "/nowhere"}, "404"),
        ({"password": None, "username": None, "api_key": Secret("wrong-key")}, "not .*authorized"),
    ],
)
def test_what_is_wrong_in_hub_yaml_is_said(shop, wrong, words):
    connector = shop.connector(**wrong)
    with pytest.raises(SourceRefused, match=words) as error:
        connector.changes({})
    assert "What to do" in str(error.value)
    assert "not-the-password" not in str(error.value)
    with pytest.raises(ChannelRefused, match=words):
        list(connector.read_levels(None))
