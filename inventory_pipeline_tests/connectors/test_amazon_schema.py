"""Everything that passes between the Amazon connector and the simulated seller, judged by Amazon's
own descriptions.
"""

import gzip
import json

import httpx
import pytest

from inventory_pipeline.connectors.amazon_feeds import PATH as FEEDS
from inventory_pipeline_tests.connectors.amazon_sellers import (
    listing,
    opened,
    queue_options,
    seller,
    write,
)
from inventory_pipeline_tests.connectors.shops import polled
from inventory_pipeline_tests.connectors.specs import (
    Description,
    Wire,
    description,
    schema_errors,
)

FILES = {
    "/listings/": "listingsItems_2021-08-01.json",
    "/feeds/": "feeds_2021-06-30.json",
    "/fba/": "fbaInventory.json",
    "/orders/": "orders_2026-01-01.json",
}


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """The wire after a connector did everything that it can, and the running seller."""
    with seller(tmp_path_factory.mktemp("seller")) as shop:
        for number in range(60):
            shop.post("/control/fba", sku=f"F-{number}", fulfillable=1, pending_orders=2)
        wire = Wire()
        options = queue_options(shop.url) | {"fba_location": "fba", "ships_from": "dc"}
        connector = opened(
            shop.url, clock=shop.clock, transport=wire, feed_from=3, page_size=2, **options
        )
        for number in range(1, 5):
            shop.order(str(number), SKU_7=2)
        shop.post("/storefront/orders/1/fulfil")
        shop.post("/storefront/orders/2/cancel")
        list(connector.read_levels(None))
        list(connector.read_levels([listing("SKU-1"), listing("A,B")]))
        for count in (2, 5):
            writes = [write(f"SKU-{n}", n) for n in range(1, count + 1)]
            receipt = connector.write_levels(writes, key="k")[0].receipt
            shop.clock.forward(60)
            connector.poll_receipt(receipt, writes)
        connector.write_levels([write("SKU-1", 4)], key="k")
        shop.clock.forward(60)
        polled(connector)
        list(connector.snapshots(frozenset()))
        yield shop, wire
        connector.close()


def test_every_request_and_every_answer_is_as_amazon_describes_them(used):
    _, wire = used
    judged = 0
    for prefix, file in FILES.items():
        book = Description(description("amazon", file))
        of_it = [one for one in wire.seen if one.path.startswith(prefix)]
        assert of_it, f"nothing was asked of {prefix}"
        for exchange in of_it:
            assert list(book.errors(exchange)) == []
        judged += len(of_it)
    assert judged > 15


def test_a_field_that_amazon_does_not_know_is_found(used):
    """The judge itself: one wrong letter in a request or an answer fails."""
    _, wire = used
    from dataclasses import replace

    book = Description(description("amazon", "listingsItems_2021-08-01.json"))
    patch = next(one for one in wire.seen if one.method == "PATCH")
    assert list(book.errors(patch)) == []
    for odd in (
        replace(patch, body=patch.body | {"producttype": "X"}),
        replace(patch, answer=patch.answer | {"status": "DONE"}),
        replace(patch, query=patch.query | {"marketplaceId": ["X"]}),
    ):
        assert list(book.errors(odd)), odd


def test_feed_documents_and_their_reports_are_as_amazon_describes_them(used):
    _, wire = used
    uploaded = next(one for one in wire.seen if one.method == "PUT")
    assert schema_errors(description("amazon", "listings-feed-schema-v2.json"), uploaded.body) == []
    assert len(uploaded.body["messages"]) == 5
    place = next(one.answer for one in wire.seen if one.path.startswith(f"{FEEDS}/documents/"))
    assert place["compressionAlgorithm"] == "GZIP"
    content = httpx.get(place["url"], trust_env=False).content
    report = json.loads(gzip.decompress(content))
    schema = description("amazon", "listings-feed-processing-report-schema-v2.json")
    assert schema_errors(schema, report) == []


def test_errors_are_as_amazon_describes_them(used):
    shop, _ = used
    wire = Wire()
    connector = opened(shop.url, clock=shop.clock, transport=wire, seller_id="NOBODY")
    with pytest.raises(Exception, match="Forbidden"):
        list(connector.read_levels(None))
    connector.close()
    refused = [one for one in wire.seen if one.status >= 400]
    book = Description(description("amazon", "listingsItems_2021-08-01.json"))
    assert [list(book.errors(one)) for one in refused] == [[]]


def test_notifications_are_as_amazon_describes_them(used):
    _, wire = used
    answers = [one.answer for one in wire.seen if one.path == "/" and one.answer.get("Messages")]
    messages = [json.loads(m["Body"]) for answer in answers for m in answer["Messages"]]
    schemas = {
        "ORDER_CHANGE": description("amazon", "OrderChangeNotification.json"),
        "LISTINGS_ITEM_MFN_QUANTITY_CHANGE": description(
            "amazon", "ListingsItemMfnQuantityChange.json"
        ),
    }
    assert {m["NotificationType"] for m in messages} == set(schemas)
    for message in messages:
        assert schema_errors(schemas[message["NotificationType"]], message) == []
