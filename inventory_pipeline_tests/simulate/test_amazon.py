"""The simulated seller on Amazon: what makes the real one hard to use."""

import gzip
import json

import httpx
import pytest

from inventory_pipeline.simulate.amazon import MARKETPLACE, SELLER
from inventory_pipeline_tests.connectors.amazon_sellers import Seller, seller

ITEMS = f"/listings/2021-08-01/items/{SELLER}"
ORDERS = "/orders/2026-01-01/orders"
FBA = "/fba/inventory/v1/summaries"


@pytest.fixture
def shop(tmp_path):
    with seller(tmp_path) as running:
        yield running


def token(shop: Seller, **change: str) -> httpx.Response:
    form = {
        "grant_type": "refresh_token", "client_id": "app", "client_secret": "hush",
        "refresh_token": "refresh",
    }  # fmt: skip
    return shop.client.post("/auth/o2/token", data=form | change)


def ask(shop: Seller, method: str, path: str, **request) -> httpx.Response:
    held = getattr(shop, "token", None)
    if held is None:
        held = shop.token = token(shop).json()["access_token"]
    return shop.client.request(method, path, headers={"x-amz-access-token": held}, **request)


def patch(shop: Seller, sku: str, quantity: object, **change) -> httpx.Response:
    value = {"fulfillment_channel_code": "DEFAULT", "quantity": quantity}
    merge = {"op": "merge", "path": "/attributes/fulfillment_availability", "value": [value]}
    body = {"productType": "LUGGAGE", "patches": [merge]} | change.pop("body", {})
    query = {"marketplaceIds": MARKETPLACE} | change
    return ask(shop, "PATCH", f"{ITEMS}/{sku}", params=query, json=body)


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"client_secret": "x"}, 401, "invalid_client"),
        ({"refresh_token": "x"}, 400, "invalid_grant"),
        ({"grant_type": "x"}, 400, "unsupported_grant_type"),
    ],
)
def test_a_token_costs_the_right_credentials(shop, change, status, error):
    answer = token(shop, **change)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_a_token_ends_after_its_hour(shop):
    assert ask(shop, "GET", ITEMS, params={"marketplaceIds": MARKETPLACE}).status_code == 200
    shop.clock.forward(3_600)
    answer = ask(shop, "GET", ITEMS, params={"marketplaceIds": MARKETPLACE})
    assert answer.status_code == 403
    assert "expired" in answer.json()["errors"][0]["details"]


def test_accepted_is_not_applied(shop):
    answer = patch(shop, "SKU-1", 4)
    assert (answer.status_code, answer.json()["status"]) == (200, "ACCEPTED")
    assert shop.shown()["SKU-1"] == 10
    shop.clock.forward(5)
    assert shop.shown()["SKU-1"] == 4


def test_what_is_applied_late_overwrites_what_was_sold_meanwhile(shop):
    patch(shop, "SKU-1", 4)
    shop.order("1", SKU_1=9)
    assert shop.shown()["SKU-1"] == 1
    shop.clock.forward(5)
    assert shop.shown()["SKU-1"] == 4


def test_a_preview_changes_nothing(shop):
    assert patch(shop, "SKU-1", 4, mode="VALIDATION_PREVIEW").json()["status"] == "VALID"
    shop.clock.forward(5)
    assert shop.shown()["SKU-1"] == 10


@pytest.mark.parametrize("quantity", [-1, 1.5, "4", None, True])
def test_a_quantity_that_is_none_is_invalid_and_says_so(shop, quantity):
    answer = patch(shop, "SKU-1", quantity).json()
    assert answer["status"] == "INVALID"
    assert answer["issues"][0]["attributeNames"] == ["fulfillment_availability"]


def test_a_wrong_product_type_and_amazons_own_stock_are_invalid(shop):
    wrong = patch(shop, "SKU-1", 4, body={"productType": "HAT"}).json()
    assert "LUGGAGE" in wrong["issues"][0]["message"]
    own = patch(shop, "FBA-1", 4, body={"productType": "HOME"}).json()
    assert own["status"] == "INVALID"
    assert patch(shop, "NONE", 4).status_code == 404


def test_every_operation_has_its_own_rate(tmp_path):
    with seller(tmp_path, generous=1) as shop:
        query = {"marketplaceIds": MARKETPLACE}
        answers = [ask(shop, "GET", f"{ITEMS}/SKU-1", params=query) for _ in range(11)]
        assert [one.status_code for one in answers] == [200] * 10 + [429]
        assert answers[0].headers["x-amzn-ratelimit-limit"] == "5"
        assert answers[10].json()["errors"][0]["code"] == "QuotaExceeded"
        assert ask(shop, "GET", ITEMS, params=query).status_code == 200, "another bucket"
        shop.clock.forward(0.2)
        assert ask(shop, "GET", f"{ITEMS}/SKU-1", params=query).status_code == 200


def test_the_orders_search_is_given_once_in_three_minutes(tmp_path):
    with seller(tmp_path, generous=1, token_s=86_400) as shop:
        query = {"lastUpdatedAfter": "2026-10-01T00:00:00Z"}
        for _ in range(20):
            assert ask(shop, "GET", ORDERS, params=query).status_code == 200
        shop.clock.forward(170)
        assert ask(shop, "GET", ORDERS, params=query).status_code == 429
        shop.clock.forward(10)
        assert ask(shop, "GET", ORDERS, params=query).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        {}, {"createdAfter": "2026-10-01T00:00:00Z", "lastUpdatedAfter": "2026-10-01T00:00:00Z"},
        {"createdAfter": "yesterday"}, {"createdAfter": "2026-10-01T00:00:00"},
        {"createdAfter": "2027-10-01T00:00:00Z"},
        {"createdAfter": "2026-10-01T00:00:00Z", "maxResultsPerPage": 101},
        {"createdAfter": "2026-10-01T00:00:00Z", "includedData": "EVERYTHING"},
    ],
)  # fmt: skip
def test_an_orders_search_that_makes_no_sense_is_refused(shop, query):
    assert ask(shop, "GET", ORDERS, params=query).status_code == 400


def test_orders_come_in_pages_by_their_time_of_change(tmp_path):
    with seller(tmp_path, order_lag_s=120) as shop:
        for number in range(1, 4):
            shop.order(str(number), SKU_7=1)
        query = {"lastUpdatedAfter": "2026-10-01T00:00:00Z", "maxResultsPerPage": 2}
        assert ask(shop, "GET", ORDERS, params=query).json()["orders"] == []
        shop.clock.forward(121)
        first = ask(shop, "GET", ORDERS, params=query).json()
        token = {"paginationToken": first["pagination"]["nextToken"]}
        second = ask(shop, "GET", ORDERS, params=query | token).json()
        assert [len(one["orders"]) for one in (first, second)] == [2, 1]
        assert "pagination" not in second
        assert second["lastUpdatedBefore"] == "2026-10-05T09:00:01Z"
        assert "fulfillment" not in first["orders"][0], "it was not asked for"


def test_the_token_of_a_page_of_amazons_stock_lives_thirty_seconds(shop):
    for number in range(60):
        shop.post("/control/fba", sku=f"F-{number}", fulfillable=1)
    query = {
        "granularityType": "Marketplace", "granularityId": MARKETPLACE,
        "marketplaceIds": MARKETPLACE, "details": "true",
    }  # fmt: skip
    first = ask(shop, "GET", FBA, params=query).json()
    assert len(first["payload"]["inventorySummaries"]) == 50
    more = query | {"nextToken": first["pagination"]["nextToken"]}
    shop.clock.forward(29)
    assert len(ask(shop, "GET", FBA, params=more).json()["payload"]["inventorySummaries"]) == 11
    shop.clock.forward(2)
    assert ask(shop, "GET", FBA, params=more).status_code == 400


def feed(shop: Seller, content: bytes) -> str:
    kind = "application/json"
    document = ask(shop, "POST", "/feeds/2021-06-30/documents", json={"contentType": kind}).json()
    put = shop.client.put(document["url"], content=content, headers={"Content-Type": kind})
    assert put.status_code == 200
    body = {
        "feedType": "JSON_LISTINGS_FEED", "marketplaceIds": [MARKETPLACE],
        "inputFeedDocumentId": document["feedDocumentId"],
    }  # fmt: skip
    return ask(shop, "POST", "/feeds/2021-06-30/feeds", json=body).json()["feedId"]


def messages(**quantities: int) -> bytes:
    found = [
        {
            "messageId": number, "sku": sku.replace("_", "-"), "operationType": "PATCH",
            "productType": "LUGGAGE",
            "patches": [
                {
                    "op": "merge", "path": "/attributes/fulfillment_availability",
                    "value": [{"fulfillment_channel_code": "DEFAULT", "quantity": quantity}],
                }
            ],
        }
        for number, (sku, quantity) in enumerate(quantities.items(), start=1)
    ]  # fmt: skip
    return json.dumps(
        {"header": {"sellerId": SELLER, "version": "2.0"}, "messages": found}
    ).encode()


def status(shop: Seller, number: str) -> dict:
    return ask(shop, "GET", f"/feeds/2021-06-30/feeds/{number}").json()


def test_feeds_wait_in_a_queue_and_run_one_after_the_other(shop):
    first, second = feed(shop, messages(SKU_1=4)), feed(shop, messages(SKU_1=5))
    assert status(shop, first)["processingStatus"] == "IN_QUEUE"
    shop.clock.forward(20)
    assert status(shop, first)["processingStatus"] == "IN_PROGRESS"
    assert status(shop, second)["processingStatus"] == "IN_QUEUE"
    shop.clock.forward(10)
    assert status(shop, first)["processingStatus"] == "DONE"
    assert shop.shown()["SKU-1"] == 4
    shop.clock.forward(10)
    assert shop.shown()["SKU-1"] == 5


def test_a_patch_may_be_overtaken_by_a_feed_that_was_queued_before_it(shop):
    feed(shop, messages(SKU_1=4))
    patch(shop, "SKU-1", 7)
    shop.clock.forward(5)
    assert shop.shown()["SKU-1"] == 7
    shop.clock.forward(30)
    assert shop.shown()["SKU-1"] == 4, "the older number came last"


def test_a_report_names_the_messages_that_were_not_taken(shop):
    number = feed(shop, messages(SKU_1=4, NONE=1))
    shop.clock.forward(60)
    document = status(shop, number)["resultFeedDocumentId"]
    place = ask(shop, "GET", f"/feeds/2021-06-30/documents/{document}").json()
    report = json.loads(gzip.decompress(shop.client.get(place["url"]).content))
    assert [(one["messageId"], one["sku"]) for one in report["issues"]] == [(2, "NONE")]
    assert report["summary"]["messagesAccepted"] == 1


def test_what_is_no_feed_is_fatal_and_an_address_opens_for_five_minutes(shop):
    number = feed(shop, b"<xml/>")
    shop.clock.forward(60)
    assert status(shop, number)["processingStatus"] == "FATAL"
    path = "/feeds/2021-06-30/documents"
    document = ask(shop, "POST", path, json={"contentType": "x"}).json()
    shop.clock.forward(301)
    put = shop.client.put(document["url"], content=b"", headers={"Content-Type": "x"})
    assert put.status_code == 403


def test_it_is_found_again_after_a_restart(tmp_path):
    with seller(tmp_path) as shop:
        patch(shop, "SKU-1", 4)
        shop.order("1", SKU_2=3)
    with seller(tmp_path) as shop:
        shop.clock.forward(5)
        assert (shop.shown()["SKU-1"], shop.shown()["SKU-2"]) == (4, 17)
