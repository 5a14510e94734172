"""Webhooks of the simulated shops: signed, repeated until heard, some twice, some late."""

import base64
import hashlib
import hmac
import json
import os
import time
from pathlib import Path

import pytest

SPECS = Path(os.environ.get("HUB_API_SPECS", Path(__file__).parents[3] / "shared" / "specs"))


def signed(body: bytes) -> str:
    return base64.b64encode(hmac.new(b"S", body, hashlib.sha256).digest()).decode()


def hooks(listener, *more: str) -> list[str]:
    return ["--webhook-url", listener.url, "--webhook-secret", "S", *more]


def test_an_order_is_told_with_a_signature_over_the_raw_body(start, listener):
    shop = start("shopify", *hooks(listener))
    shop.order("31", ("101", 2), ("TEA", 1))
    (heard,) = listener.wait_for(1)
    assert heard.headers["x-shopify-topic"] == "orders/create"
    assert heard.headers["x-shopify-hmac-sha256"] == signed(heard.body)
    for name in ("x-shopify-webhook-id", "x-shopify-event-id", "x-shopify-triggered-at"):
        assert heard.headers[name]
    assert heard.json["id"] == 31
    assert [(line["sku"], line["quantity"]) for line in heard.json["line_items"]] == [
        ("101", 2),
        ("TEA", 1),
    ]


def test_a_fulfilment_and_a_cancellation_are_told_too(start, listener):
    shop = start("shopify", *hooks(listener))
    shop.order("31", ("101", 2))
    shop.order("32", ("102", 1))
    shop.client.post("/storefront/orders/31/fulfil")
    shop.client.post("/storefront/orders/32/cancel")
    told = {(h.headers["x-shopify-topic"], h.json["id"]): h.json for h in listener.wait_for(4)}
    shipped = told["orders/fulfilled", 31]["fulfillments"]
    assert [(part["location_id"], part["line_items"][0]["quantity"]) for part in shipped] == [
        (1, 2)
    ]
    assert told["orders/cancelled", 32]["cancelled_at"] is not None


def test_what_is_not_heard_is_sent_again_as_it_was(start, listener):
    listener.failing = 2
    shop = start("shopify", *hooks(listener))
    shop.order("31", ("101", 2))
    heard = listener.wait_for(3)
    assert len({(h.body, h.headers["x-shopify-webhook-id"]) for h in heard}) == 1
    time.sleep(0.5)
    assert len(listener.heard) == 3
    assert shop.state()["counts"]["webhook_waiting"] == 0


def test_what_is_not_heard_outlives_a_kill(start, listener):
    listener.failing = 10_000
    shop = start("shopify", *hooks(listener), process=True)
    shop.order("31", ("101", 2))
    listener.wait_for(1)
    shop.kill()
    listener.failing = 0
    before = len(listener.heard)
    shop.start()
    assert listener.wait_for(before + 1)[-1].json["id"] == 31


def test_a_share_of_events_is_delivered_twice_under_one_id(start, listener):
    shop = start("shopify", *hooks(listener, "--duplicate-percent", "30"))
    for number in range(40):
        shop.order(str(100 + number), ("101", 1), allow_oversell=True)
    queued = shop.state()["counts"]["webhook_queued"]
    assert 45 <= queued <= 60
    ids = [h.headers["x-shopify-webhook-id"] for h in listener.wait_for(queued)]
    assert len(set(ids)) == 40


def test_which_events_come_twice_depends_on_the_orders_alone(start, listener, tmp_path):
    twice = []
    for _ in range(2):
        shop = start("shopify", *hooks(listener, "--duplicate-percent", "30"))
        for number in range(20):
            shop.order(str(100 + number), ("101", 1), allow_oversell=True)
        listener.wait_for(shop.state()["counts"]["webhook_queued"])
        ids = [h.headers["x-shopify-webhook-id"] for h in listener.heard]
        twice.append(sorted({one for one in ids if ids.count(one) == 2}))
        shop.stop()
        listener.heard.clear()
        for path in tmp_path.glob("shopify.sqlite*"):
            path.unlink()
    assert twice[0] == twice[1] != []


def test_a_late_delivery_says_when_it_happened(start, listener):
    shop = start("shopify", *hooks(listener, "--late-percent", "100", "--late-s", "1.0"))
    began = time.monotonic()
    shop.order("31", ("101", 2))
    listener.wait_for(1)
    assert time.monotonic() - began >= 0.9


def test_a_burst_of_orders_is_heard_whole(start, listener):
    shop = start("shopify", *hooks(listener))
    for number in range(150):
        shop.order(str(100 + number), ("101", 1), allow_oversell=True)
    heard = {h.json["id"] for h in listener.wait_for(150)}
    assert heard == set(range(100, 250))


def test_woocommerce_tells_once_and_never_again(start, listener):
    listener.failing = 1
    shop = start("woocommerce", *hooks(listener))
    shop.order("31", ("101", 2))
    shop.order("32", ("101", 1))
    heard = listener.wait_for(2)
    time.sleep(0.6)
    assert len(listener.heard) == 2
    assert heard[0].headers["x-wc-webhook-topic"] == "order.created"
    assert heard[0].headers["x-wc-webhook-signature"] == signed(heard[0].body)
    assert shop.state()["counts"]["webhook_given_up"] == 1


@pytest.mark.parametrize("topic", ["create", "fulfilled", "cancelled"])
def test_the_body_has_the_types_that_were_seen_at_shopify(start, listener, topic):
    path = SPECS / "shopify" / "webhooks-2026-07" / f"orders__{topic}.json"
    if not path.exists():
        pytest.skip(f"no description of Shopify's webhooks at {path} (set HUB_API_SPECS)")
    shop = start("shopify", *hooks(listener))
    shop.order("31", ("101", 2))
    after = {"fulfilled": "fulfil", "cancelled": "cancel"}.get(topic)
    if after:
        shop.client.post(f"/storefront/orders/31/{after}")
    heard = listener.wait_for(2 if after else 1)
    (body,) = [h.json for h in heard if h.headers["x-shopify-topic"] == f"orders/{topic}"]
    assert _differences(body, json.loads(path.read_text()), "order") == []


def _differences(value, described: dict, place: str) -> list[str]:
    """Fields of `value` that the description does not have, or has with another type."""
    kinds = described.get("type", [])
    kinds = kinds if isinstance(kinds, list) else [kinds]
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer"}
    kind = "null" if value is None else names[type(value)]
    if kinds and kind not in kinds and not (kind == "integer" and "number" in kinds):
        return [f"{place} is {kind}, not {kinds}"]
    found = []
    if isinstance(value, dict):
        known = described.get("properties", {})
        for name, inner in value.items():
            if name not in known:
                found.append(f"{place}.{name} is unknown")
            else:
                found += _differences(inner, known[name], f"{place}.{name}")
    elif isinstance(value, list):
        for inner in value:
            found += _differences(inner, described.get("items", {}), f"{place}[]")
    return found
