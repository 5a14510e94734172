"""Everything that passes between the Square connector and the simulated merchant, judged by
Square's own description (of August 2025: adjustments name one place there).
"""

from dataclasses import replace

import pytest

from inventory_pipeline_tests.connectors.shops import polled
from inventory_pipeline_tests.connectors.specs import Description, Wire, description
from inventory_pipeline_tests.connectors.square_merchants import (
    SECOND,
    listing,
    merchant,
    named,
    opened,
    write,
)

FILE = "connect_api_2025-08-19.json.gz"


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """The wire after connectors of both roles did everything that they can."""
    with merchant(tmp_path_factory.mktemp("merchant")) as shop:
        wire = Wire()
        shop.sell("1", 2)
        shop.sell("2", 2)
        shop.post("/storefront/orders/2/cancel")
        for role, names in (("source", "id"), ("channel", "sku")):
            connector = opened(
                shop.url, transport=wire, role=role, identify_by=names, page_size=4,
                api_version="2025-08-20", notification_url=shop.hook, webhook_secret="hush",
            )  # fmt: skip
            polled(connector)
            list(connector.read_levels(None))
            for delivery in shop.wait_for(2):
                connector.parse(connector.verify(delivery).topic, delivery)
            if role == "source":
                list(connector.read_levels([listing("SKU-1"), listing("SKU-1", SECOND)]))
                list(connector.snapshots(frozenset()))
            else:
                writes = [write("SKU-1", 1_000), write("SKU-2", 2_000, SECOND)]
                named_writes = [
                    replace(w, listing=named(sku, w.listing.bucket_external))
                    for w, sku in zip(writes, ("SKU-1", "SKU-2"), strict=True)
                ]
                connector.write_levels(named_writes, key="k")
            connector.close()
        yield shop, wire


@pytest.fixture(scope="module")
def book():
    return Description(description("square", FILE))


def test_every_request_and_every_answer_is_as_square_describes_them(used, book):
    _, wire = used
    assert {one.path for one in wire.seen} == {
        "/v2/inventory/counts/batch-retrieve", "/v2/inventory/changes/batch-retrieve",
        "/v2/inventory/changes/batch-create", "/v2/catalog/list", "/v2/catalog/batch-retrieve",
    }  # fmt: skip
    for exchange in wire.seen:
        assert list(book.errors(exchange)) == []


def test_a_field_that_square_does_not_know_is_found(used, book):
    _, wire = used
    one = next(one for one in wire.seen if one.path.endswith("batch-create"))
    assert list(book.errors(one)) == []
    for odd in (
        replace(one, body=one.body | {"idempotencykey": "X"}),
        replace(one, body={"changes": []}),
        replace(one, answer=one.answer | {"count": []}),
        replace(one, answer={"counts": [{"state": "SOMEWHERE"}]}),
    ):
        assert list(book.errors(odd)), odd


def test_refusals_are_as_square_describes_them(used, book):
    shop, _ = used
    wire = Wire()
    connector = opened(shop.url, transport=wire, access_token="wrong")
    with pytest.raises(Exception, match="UNAUTHORIZED"):
        connector.changes({})
    connector.close()
    writer = opened(shop.url, transport=wire, role="channel", api_version="2025-08-20")
    writer.write_levels([replace(write("X", 1), listing=named("NOSUCH"))], key="z")
    writer.close()
    refused = [one for one in wire.seen if one.status >= 400]
    assert {one.status for one in refused} == {401}, "the second was not even sent"
    sent = opened(shop.url, transport=wire, role="channel", api_version="2025-08-20")
    sent.write_levels([replace(write("X", 1_000), listing=named("NOSUCH"))], key="z")
    sent.close()
    refused = [one for one in wire.seen if one.status >= 400]
    assert {one.status for one in refused} == {401, 404}
    assert [list(book.errors(one)) for one in refused] == [[]] * len(refused)


def test_webhooks_are_as_square_describes_them(used, book):
    import json

    shop, _ = used
    schema = {"$ref": "#/components/schemas/InventoryCountUpdatedEvent"}
    for delivery in shop.deliveries:
        assert list(book._judge(schema, json.loads(delivery.body))) == []
