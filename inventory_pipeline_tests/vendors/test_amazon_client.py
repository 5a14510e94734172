"""python-amazon-sp-api works against the simulated seller as it does against Amazon."""

import io
import json
from urllib.parse import urlsplit

import pytest

sp_api = pytest.importorskip("sp_api.api", reason="python-amazon-sp-api is not installed")

from sp_api.api import (  # noqa: E402 - after the check that it is there
    FeedsV20210630,
    Inventories,
    ListingsItemsV20210801,
    Notifications,
    OrdersV20260101,
)
from sp_api.auth import AccessTokenClient  # noqa: E402
from sp_api.auth import access_token_client as tokens  # noqa: E402
from sp_api.auth.exceptions import AuthorizationError  # noqa: E402
from sp_api.base import Marketplaces, SellingApiForbiddenException  # noqa: E402
from sp_api.base.exceptions import (  # noqa: E402
    SellingApiBadRequestException,
    SellingApiNotFoundException,
    SellingApiRequestThrottledException,
)

from inventory_pipeline.simulate.amazon import SELLER  # noqa: E402
from inventory_pipeline_tests.connectors.amazon_sellers import Seller, seller  # noqa: E402

DOCUMENT = {"contentType": "application/json; charset=UTF-8"}


OPEN: list = []


@pytest.fixture(autouse=True)
def no_tokens_of_other_tests():
    tokens.cache.clear()
    yield
    tokens.cache.clear()
    while OPEN:
        made = OPEN.pop()
        made._auth._transport.close()
        made.close()


@pytest.fixture
def shop(tmp_path):
    with seller(tmp_path) as running:
        yield running


def client(kind, shop: Seller, **change):
    """The vendor's client, pointed at the simulation instead of at Amazon."""

    class Tokens(AccessTokenClient):
        scheme = "http://"
        host = urlsplit(shop.url).netloc

    credentials = {
        "lwa_app_id": "app", "lwa_client_secret": "hush", "refresh_token": "refresh",
    } | change  # fmt: skip
    made = kind(
        marketplace=Marketplaces.US, credentials=credentials, auth_token_client_class=Tokens,
        refresh_token=credentials["refresh_token"],
    )  # fmt: skip
    made.endpoint = shop.url
    OPEN.append(made)
    return made


def patch(quantity: int) -> dict:
    value = {"fulfillment_channel_code": "DEFAULT", "quantity": quantity}
    one = {"op": "merge", "path": "/attributes/fulfillment_availability", "value": [value]}
    return {"productType": "LUGGAGE", "patches": [one]}


def test_listings_are_read_searched_and_patched(shop):
    listings = client(ListingsItemsV20210801, shop)
    one = listings.get_listings_item(
        SELLER, "SKU-1", includedData=["summaries", "fulfillmentAvailability"]
    )
    assert one.payload["fulfillmentAvailability"][0]["quantity"] == 10
    assert one.rate_limit
    found = listings.search_listings_items(
        SELLER, identifiers=["SKU-1", "SKU-2"], identifiersType="SKU"
    )
    assert {item["sku"] for item in found.payload["items"]} == {"SKU-1", "SKU-2"}
    answer = listings.patch_listings_item(SELLER, "SKU-1", body=patch(4))
    assert answer.payload["status"] == "ACCEPTED"
    shop.clock.forward(5)
    assert shop.shown()["SKU-1"] == 4


def test_a_feed_is_uploaded_queued_and_reports(shop):
    feeds = client(FeedsV20210630, shop)
    message = {"messageId": 1, "sku": "SKU-1", "operationType": "PATCH", **patch(7)}
    document = {"header": {"sellerId": SELLER, "version": "2.0"}, "messages": [message]}
    _, created = feeds.submit_feed(
        "JSON_LISTINGS_FEED", io.StringIO(json.dumps(document)), DOCUMENT["contentType"]
    )
    number = created.payload["feedId"]
    assert feeds.get_feed(number).payload["processingStatus"] == "IN_QUEUE"
    shop.clock.forward(60)
    done = feeds.get_feed(number).payload
    assert done["processingStatus"] == "DONE"
    report = json.loads(feeds.get_feed_document(done["resultFeedDocumentId"]))
    assert report["summary"]["messagesAccepted"] == 1
    assert shop.shown()["SKU-1"] == 7


def test_amazons_stock_is_read(shop):
    shop.post("/control/fba", sku="FBA-1", fulfillable=5, unfulfillable=2)
    answer = client(Inventories, shop).get_inventory_summary_marketplace(details=True)
    (summary,) = answer.payload["inventorySummaries"]
    assert summary["inventoryDetails"]["fulfillableQuantity"] == 5


def test_orders_are_searched_page_by_page_and_read(shop):
    for number in range(1, 4):
        shop.order(str(number), SKU_7=2)
    orders = client(OrdersV20260101, shop)
    query = {"lastUpdatedAfter": "2026-10-01T00:00:00Z", "maxResultsPerPage": 2}
    first = orders.search_orders(**query, includedData="FULFILLMENT")
    token = first.pagination["nextToken"]
    second = orders.search_orders(**query, includedData="FULFILLMENT", paginationToken=token)
    found = [one["orderId"] for page in (first, second) for one in page.payload["orders"]]
    assert len(set(found)) == 3
    order = orders.get_order(found[0]).payload["order"]
    assert order["orderItems"][0]["quantityOrdered"] == 2


def test_errors_become_the_clients_own(shop):
    with pytest.raises(AuthorizationError):
        client(Inventories, shop, lwa_client_secret="x").get_inventory_summary_marketplace()
    tokens.cache.clear()
    listings = client(ListingsItemsV20210801, shop)
    with pytest.raises(SellingApiNotFoundException):
        listings.get_listings_item(SELLER, "NONE")
    with pytest.raises(SellingApiBadRequestException):
        client(OrdersV20260101, shop).search_orders()
    shop.post("/control/faults", mode="throttle", count=1)
    with pytest.raises(SellingApiRequestThrottledException):
        listings.get_listings_item(SELLER, "SKU-1")
    shop.post("/control/expire")
    with pytest.raises(SellingApiForbiddenException):
        listings.get_listings_item(SELLER, "SKU-1")


def test_notifications_know_the_types_that_the_queue_brings():
    from sp_api.base import NotificationType

    known = {one.value for one in NotificationType}
    assert {"ORDER_CHANGE", "LISTINGS_ITEM_MFN_QUANTITY_CHANGE"} <= known
    assert Notifications is not None
