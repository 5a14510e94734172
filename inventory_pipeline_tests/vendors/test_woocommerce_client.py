"""The woocommerce client works against the simulated shop as it does against WooCommerce."""

import pytest

woocommerce = pytest.importorskip("woocommerce", reason="woocommerce is not installed")

from inventory_pipeline_tests.connectors.shops import woocommerce_shop  # noqa: E402


@pytest.fixture
def shop(tmp_path):
    with woocommerce_shop(tmp_path) as running:
        yield running


def client(shop, secret: str = "cs", **more):
    made = woocommerce.API(
        url=shop.url, consumer_key="ck", consumer_secret=secret, version="wc/v3", **more
    )
    # It signs by OAuth where there is no TLS; the simulated shop stands for one behind TLS.
    made.is_ssl = True
    return made


@pytest.mark.parametrize("by_query", [False, True])
def test_products_are_read_in_pages_either_way_of_naming_oneself(shop, by_query):
    api = client(shop, query_string_auth=by_query)
    answer = api.get("products", params={"per_page": 4, "orderby": "id", "order": "asc"})
    assert [one["sku"] for one in answer.json()] == [f"SKU-{n}" for n in range(1, 5)]
    assert answer.headers["X-WP-TotalPages"] == "2"


def test_stock_is_set_one_by_one_and_in_batches(shop):
    api = client(shop)
    assert api.put("products/1", {"stock_quantity": 4}).json()["stock_quantity"] == 4
    update = [{"id": 2, "stock_quantity": 5}, {"id": 999, "stock_quantity": 1}]
    done, failed = api.post("products/batch", {"update": update}).json()["update"]
    assert done["stock_quantity"] == 5
    assert failed["error"]["data"]["status"] == 400
    assert (shop.shown()["SKU-1"], shop.shown()["SKU-2"]) == (4, 5)


def test_orders_are_read(shop):
    shop.order("1", SKU_1=2)
    (order,) = client(shop).get("orders", params={"modified_after": "2020-01-01T00:00:00"}).json()
    assert order["line_items"][0]["quantity"] == 2


def test_a_wrong_secret_is_refused(shop):
    answer = client(shop, "wrong").get("products")
    assert answer.status_code == 401
    assert answer.json()["code"] == "woocommerce_rest_cannot_view"
