"""ShopifyAPI works against the simulated shop as it does against Shopify."""

import json
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest

shopify = pytest.importorskip("shopify", reason="ShopifyAPI is not installed")

from inventory_pipeline.connectors import shopify_documents as documents  # noqa: E402
from inventory_pipeline_tests.connectors.shops import LOCATION, shopify_shop  # noqa: E402

VERSION = "2026-10"


@pytest.fixture
def shop(tmp_path):
    with shopify_shop(tmp_path) as running:
        yield running


@pytest.fixture
def graphql(shop):
    """The client's GraphQL, pointed at the simulation; its shops are named below one domain."""
    own = {
        name: getattr(shopify.Session, name) for name in ("protocol", "myshopify_domain", "port")
    }
    first, _, domain = str(urlsplit(shop.url).hostname).partition(".")
    shopify.ApiVersion.define_version(shopify.api_version.Release(VERSION))
    shopify.Session.setup(protocol="http", myshopify_domain=domain, port=urlsplit(shop.url).port)
    shopify.ShopifyResource.activate_session(shopify.Session(first, VERSION, "token"))
    yield lambda document, **variables: json.loads(
        shopify.GraphQL().execute(document, variables=variables)
    )
    shopify.ShopifyResource.clear_session()
    shopify.Session.setup(**own)


def levels(answer: dict) -> dict[str, int]:
    return {
        item["sku"]: level["quantities"][0]["quantity"]
        for item in answer["data"]["inventoryItems"]["nodes"]
        for level in item["inventoryLevels"]["nodes"]
    }


ITEMS = """query($first: Int!) { inventoryItems(first: $first) { nodes { id sku inventoryLevels(
first: 2) { nodes { location { id } quantities(names: ["available"]) { name quantity } } } } } }"""


def test_quantities_are_read_and_set_with_compare_and_swap(shop, graphql):
    answer = graphql(ITEMS, first=50)
    assert levels(answer)["SKU-1"] == 10
    assert answer["extensions"]["cost"]["throttleStatus"]["restoreRate"] > 0
    item = next(
        one["id"] for one in answer["data"]["inventoryItems"]["nodes"] if one["sku"] == "SKU-1"
    )
    quantity = {
        "inventoryItemId": item, "locationId": LOCATION, "quantity": 4, "changeFromQuantity": 10,
    }  # fmt: skip
    wanted = {"name": "available", "reason": "correction", "quantities": [quantity]}
    done = graphql(documents.SET_QUANTITIES, input=wanted, key="k")
    assert done["data"]["inventorySetQuantities"]["userErrors"] == []
    assert shop.shown()["SKU-1"] == 4
    stale = graphql(documents.SET_QUANTITIES, input=wanted, key="other")
    (error,) = stale["data"]["inventorySetQuantities"]["userErrors"]
    assert error["code"] == "CHANGE_FROM_QUANTITY_STALE"


def test_orders_are_read(shop, graphql):
    shop.order("1", SKU_1=2)
    variables = {
        "first": 5, "after": None, "query": None, "lines": 5, "parts": 5, "partLines": 5,
    }  # fmt: skip
    (order,) = graphql(documents.ORDERS_UPDATED, **variables)["data"]["orders"]["nodes"]
    assert [line["quantity"] for line in order["lineItems"]["nodes"]] == [2]


def test_a_wrong_token_is_refused(shop, graphql, capsys):
    site = shopify.Session("127", VERSION, "wrong")
    shopify.ShopifyResource.activate_session(site)
    try:
        answer = graphql("{ shop { name } }")
    except HTTPError as error:
        assert error.code == 401  # noqa: PT017 - the client raises for some refusals only
        error.close()
    else:
        assert answer.get("errors")
