"""One odd order or move is kept aside for a person to see, and stops none of the others."""

import json
from datetime import UTC, datetime

import pytest

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.shopify import ShopifyConnector
from inventory_pipeline.connectors.tryton_moves import INVENTORY_LINE, Reader
from inventory_pipeline.connectors.tryton_places import Places
from inventory_pipeline.connectors.woocommerce import WooCommerceConnector
from inventory_pipeline.core.errors import SourceRefused
from inventory_pipeline.core.ports import Opening
from inventory_pipeline_tests.connectors.scripts import scripted
from inventory_pipeline_tests.connectors.servers import Reply

CREDENTIALS = {
    WooCommerceConnector: {"consumer_key": "ck", "consumer_secret": Secret("cs")},
    ShopifyConnector: {"access_token": Secret("token")},
}


def changes(kind, body, **more):
    """The page that a shop's connector makes of this answer."""
    with scripted(Reply(body=body)) as shop:
        opening = Opening(
            system="shop", options={"url": shop.url, "timeout_s": 5} | CREDENTIALS[kind] | more,
            hub_folder=".", external_ids=frozenset({"SKU-1"}),
        )  # fmt: skip
        connector = kind(opening)
        try:
            return connector.changes({})
        finally:
            connector.close()


def woocommerce_order(number, **change):
    return {
        "id": number, "status": "processing", "date_created_gmt": "2026-03-02T08:00:00",
        "date_modified_gmt": "2026-03-02T09:00:00", "date_paid_gmt": None,
        "line_items": [
            {"id": 51, "product_id": 7, "variation_id": 0, "sku": "SKU-1", "quantity": 2}
        ],
    } | change  # fmt: skip


def shopify_order(number, **change):
    lines = [
        {"id": f"gid://shopify/LineItem/{number}1", "quantity": 2, "currentQuantity": 2,
         "sku": "SKU-1", "variant": {"id": "gid://shopify/ProductVariant/7"}},
    ]  # fmt: skip
    return {
        "id": f"gid://shopify/Order/{number}", "createdAt": "2026-03-02T08:00:00Z",
        "updatedAt": "2026-03-02T09:00:00Z", "cancelledAt": None, "edited": False,
        "lineItems": {"nodes": lines, "pageInfo": {"hasNextPage": False, "endCursor": None}},
        "fulfillments": [],
    } | change  # fmt: skip


def shopify_answer(orders):
    page = {"nodes": orders, "pageInfo": {"hasNextPage": False, "endCursor": None}}
    return {"data": {"orders": page}}


SHOPS = {
    "woocommerce": (WooCommerceConnector, woocommerce_order, list, "5", "line_items"),
    "shopify": (ShopifyConnector, shopify_order, shopify_answer, "gid://shopify/Order/5",
                "lineItems"),
}  # fmt: skip
CREATED = {"woocommerce": "date_modified_gmt", "shopify": "updatedAt"}


@pytest.mark.parametrize("shop", SHOPS)
@pytest.mark.parametrize("odd", [None, "none", 7, [{"id": "x"}]])
def test_an_order_with_odd_lines_goes_to_quarantine_and_the_others_are_told(shop, odd):
    kind, order, answer, name, lines = SHOPS[shop]
    page = changes(kind, answer([order(4), order(5, **{lines: odd}), order(6)]))
    kept = [event for event in page.events if event.body is None]
    told = [event.body["order_id"].rsplit("/", 1)[-1] for event in page.events if event.body]
    assert told == ["4", "6"]
    assert [one.position for one in kept] == [name]
    assert "not as expected" in kept[0].error
    assert json.loads(kept[0].text)[lines] == odd
    assert datetime.fromisoformat(page.cursor["since"]) == datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.mark.parametrize("shop", SHOPS)
@pytest.mark.parametrize("odd", [None, "soon", {}])
def test_an_odd_time_of_change_does_not_move_the_feed(shop, odd):
    kind, order, answer, _, lines = SHOPS[shop]
    change = {lines: None, CREATED[shop]: odd}
    page = changes(kind, answer([order(5, **change), order(6)]))
    assert [event.body is None for event in page.events] == [True, False]
    assert datetime.fromisoformat(page.cursor["since"]) == datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.mark.parametrize("shop", SHOPS)
def test_an_odd_order_that_is_alone_does_not_hold_up_a_quiet_shop(shop):
    kind, order, answer, name, lines = SHOPS[shop]
    page = changes(kind, answer([order(5, **{lines: None})]))
    assert [(one.body, one.position) for one in page.events] == [(None, name)]
    assert datetime.fromisoformat(page.cursor["since"]) == datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.mark.parametrize("shop", SHOPS)
def test_where_no_order_can_be_read_the_feed_stays_where_it_is(shop):
    kind, order, answer, _, lines = SHOPS[shop]
    with pytest.raises(SourceRefused, match="shop: read orders"):
        changes(kind, answer([order(5, **{lines: None}), order(6, **{lines: None})]))
    with pytest.raises(SourceRefused, match="shop: read orders"):
        changes(kind, answer([{"id": 5}]))


# -- Tryton ---------------------------------------------------------------------------------------

PLACES = Places(
    kinds={1: "storage", 2: "supplier"}, inside={1: "DC"}, warehouses={"DC": 3}
)  # fmt: skip


def move(number, **change):
    at = datetime(2026, 3, 2, 8, tzinfo=UTC)
    return {
        "id": number, "product.": {"code": "A"}, "internal_quantity": 2, "from_location": 2,
        "to_location": 1, "create_date": at, "write_date": at, "shipment": None, "origin": None,
    } | change  # fmt: skip


class NoDocuments:
    """An ERP that has no documents; `asked` are the models that it was asked for."""

    def __init__(self):
        self.asked = []

    def search_read(self, model, domain, fields, **_):
        self.asked.append(model)
        return []


def told_moves(*moves):
    return Reader(NoDocuments(), order_field="", line_field="").events(moves, PLACES)


@pytest.mark.parametrize(
    "odd",
    [
        {"from_location": None},
        {"to_location": "?"},
        {"internal_quantity": "many"},
        {"write_date": "soon"},
        {"origin": f"{INVENTORY_LINE},"},
        {"shipment": "stock.shipment.internal,x"},
    ],
)
def test_an_odd_move_goes_to_quarantine_and_the_others_are_told(odd):
    events = told_moves(move(4), move(5, **odd), move(6))
    assert [event.position for event in events] == ["move/4:done", "5", "move/6:done"]
    assert [event.body is None for event in events] == [False, True, False]
    assert "not as expected" in events[1].error
    (alone,) = told_moves(move(5, **odd))
    assert alone.body is None


def test_rows_that_are_no_moves_are_an_error():
    with pytest.raises((KeyError, TypeError, AttributeError)):
        told_moves({"code": 1}, {"code": 2})
