"""The simulated WooCommerce REST API: pages, batches, orders by change time, and its quirks."""

import httpx
import pytest

BASE = "/wp-json/wc/v3"
AUTH = ("ck", "cs")


@pytest.fixture
def shop(start):
    return start("woocommerce")


def get(shop, path: str, **query) -> httpx.Response:
    return shop.client.get(BASE + path, params=query, auth=AUTH)


def post(shop, path: str, body: dict) -> httpx.Response:
    return shop.client.post(BASE + path, json=body, auth=AUTH)


def test_products_come_in_pages_with_totals_and_links(shop):
    first = get(shop, "/products", per_page=2, orderby="id", order="asc")
    assert [product["sku"] for product in first.json()] == ["101", "102"]
    assert (first.headers["X-WP-Total"], first.headers["X-WP-TotalPages"]) == ("3", "2")
    assert 'rel="next"' in first.headers["Link"]
    following = first.links["next"]["url"]
    rest = shop.client.get(following, auth=AUTH)
    assert [product["sku"] for product in rest.json()] == ["TEA"]
    assert "next" not in rest.links


def test_products_are_found_by_sku_and_by_number(shop):
    assert [p["id"] for p in get(shop, "/products", sku="102").json()] == [102]
    assert {p["id"] for p in get(shop, "/products", include="101,102").json()} == {101, 102}
    assert get(shop, "/products/101").json()["stock_quantity"] == 10
    assert get(shop, "/products/999").status_code == 400


def test_a_batch_goes_item_by_item_and_failures_stand_inline(shop):
    body = {"update": [{"id": 101, "stock_quantity": 4}, {"id": 999, "stock_quantity": 1}]}
    answer = post(shop, "/products/batch", body)
    assert answer.status_code == 200
    done, failed = answer.json()["update"]
    assert (done["id"], done["stock_quantity"], done["stock_status"]) == (101, 4, "instock")
    assert failed["error"]["code"] == "woocommerce_rest_product_invalid_id"
    assert failed["error"]["data"]["status"] == 400
    assert shop.shows("101") == 4


def test_a_fraction_of_a_product_is_refused_inline(shop):
    answer = post(shop, "/products/batch", {"update": [{"id": 101, "stock_quantity": 1.5}]})
    assert answer.json()["update"][0]["error"]["code"] == "rest_invalid_param"
    assert shop.shows("101") == 10


def test_more_than_a_hundred_in_a_batch_are_too_many(shop):
    many = [{"id": 101, "stock_quantity": 1}] * 101
    answer = post(shop, "/products/batch", {"update": many})
    assert answer.status_code == 413
    assert answer.json()["code"] == "woocommerce_rest_request_entity_too_large"
    assert shop.shows("101") == 10


def test_a_change_of_stock_alone_leaves_the_change_time_of_a_product(shop):
    before = get(shop, "/products/101").json()["date_modified_gmt"]
    post(shop, "/products/batch", {"update": [{"id": 101, "stock_quantity": 4}]})
    shop.order("7", ("101", 1))
    after = get(shop, "/products/101").json()
    assert (after["stock_quantity"], after["date_modified_gmt"]) == (3, before)


def test_orders_are_read_by_their_time_of_change(shop):
    for number in ("1", "2", "3"):
        shop.order(number, ("101", 1))
    shop.client.post("/storefront/orders/1/fulfil")
    shop.client.post("/storefront/orders/2/cancel")
    query = {"orderby": "modified", "order": "asc", "dates_are_gmt": "true"}
    found = get(shop, "/orders", modified_after="2020-01-01T00:00:00", **query).json()
    assert {order["id"]: order["status"] for order in found} == {
        1: "completed",
        2: "cancelled",
        3: "processing",
    }
    assert found == sorted(found, key=lambda order: (order["date_modified_gmt"], order["id"]))
    (line,) = found[0]["line_items"]
    assert (line["product_id"], line["variation_id"], line["sku"], line["quantity"]) == (
        101,
        0,
        "101",
        1,
    )
    last = found[-1]["date_modified_gmt"]
    assert get(shop, "/orders", modified_after=last, **query).json() == []


def test_orders_are_read_by_status(shop):
    shop.order("1", ("101", 1))
    shop.order("2", ("101", 1))
    shop.client.post("/storefront/orders/1/fulfil")
    assert [o["id"] for o in get(shop, "/orders", status="completed").json()] == [1]
    assert get(shop, "/orders/2").json()["status"] == "processing"
    assert get(shop, "/orders/9").status_code == 404


def test_times_have_whole_seconds_and_no_offset(shop):
    shop.order("1", ("101", 1))
    created = get(shop, "/orders/1").json()["date_created_gmt"]
    assert len(created) == len("2026-03-02T08:00:00")


def test_a_wrong_key_is_turned_away(shop):
    answer = shop.client.get(BASE + "/products", auth=("ck", "wrong"))
    assert answer.status_code == 401
    assert answer.json()["code"] == "woocommerce_rest_cannot_view"
    assert shop.client.get(BASE + "/products").status_code == 401


@pytest.mark.parametrize(
    "query", [{"per_page": "101"}, {"page": "0"}, {"orderby": "colour"}, {"order": "up"}]
)
def test_odd_parameters_are_named(shop, query):
    answer = get(shop, "/products", **query)
    assert answer.status_code == 400
    assert next(iter(query)) in answer.json()["message"]


def test_faults_come_as_a_host_would_send_them(shop):
    shop.fault("throttle", count=1)
    busy = get(shop, "/products")
    assert (busy.status_code, busy.headers["Retry-After"]) == (429, "1")
    shop.fault("fail", count=1)
    assert get(shop, "/products").status_code == 500
    shop.fault("timeout_after_apply", count=1, seconds=30)
    body = {"update": [{"id": 101, "stock_quantity": 4}]}
    with pytest.raises(httpx.ReadTimeout):
        shop.client.post(BASE + "/products/batch", json=body, auth=AUTH, timeout=0.5)
    assert shop.shows("101") == 4
