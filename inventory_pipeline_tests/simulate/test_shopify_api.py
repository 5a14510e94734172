"""The simulated Shopify's Admin API: reads, compare-and-swap, keys, throttling, faults."""

import httpx
import pytest

from inventory_pipeline_tests.simulate.conftest import LOCATION

SET = """
mutation Set($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { id changes { delta quantityAfterChange item { sku } } }
    userErrors { field code message }
  }
}
"""
ITEMS = """
query Items($first: Int!, $after: String, $query: String) {
  inventoryItems(first: $first, after: $after, query: $query) {
    nodes { id sku inventoryLevels(first: 5) { nodes {
      location { id } quantities(names: ["available", "on_hand", "committed"]) { name quantity }
    } } }
    pageInfo { hasNextPage endCursor }
  }
}
"""
ORDERS = """
query Orders($query: String, $after: String) {
  orders(first: 2, after: $after, query: $query, sortKey: UPDATED_AT) {
    nodes { id updatedAt cancelledAt displayFinancialStatus displayFulfillmentStatus
      lineItems(first: 10) { nodes { id sku quantity currentQuantity variant { id } } }
      fulfillments { status location { id } fulfillmentLineItems(first: 5) { nodes { quantity } } }
    }
    pageInfo { hasNextPage endCursor }
  }
}
"""


def quantity(item: int, to: int, compare: int | None) -> dict:
    return {
        "inventoryItemId": f"gid://shopify/InventoryItem/{item}",
        "locationId": LOCATION,
        "quantity": to,
        "changeFromQuantity": compare,
    }


def set_input(*quantities: dict, name: str = "available", reason: str = "correction") -> dict:
    return {"name": name, "reason": reason, "quantities": list(quantities)}


def set_quantities(shop, key: str, *quantities: dict, **more) -> dict:
    answer = shop.graphql(SET, input=set_input(*quantities, **more), key=key).json()
    return answer["data"]["inventorySetQuantities"]


def codes(payload: dict) -> list[str]:
    return [error["code"] for error in payload["userErrors"]]


@pytest.fixture
def shop(start):
    return start("shopify")


def test_items_are_read_in_pages_with_their_quantities(shop):
    first = shop.graphql(ITEMS, first=2).json()["data"]["inventoryItems"]
    assert [node["sku"] for node in first["nodes"]] == ["101", "102"]
    assert first["pageInfo"]["hasNextPage"]
    rest = shop.graphql(ITEMS, first=2, after=first["pageInfo"]["endCursor"]).json()
    page = rest["data"]["inventoryItems"]
    assert [node["sku"] for node in page["nodes"]] == ["TEA"]
    assert not page["pageInfo"]["hasNextPage"]
    (level,) = first["nodes"][0]["inventoryLevels"]["nodes"]
    shown = {one["name"]: one["quantity"] for one in level["quantities"]}
    assert shown == {"available": 10, "on_hand": 10, "committed": 0}


def test_a_search_names_items_by_sku_or_number(shop):
    for query in ("sku:101 OR sku:TEA", "id:101 OR sku:'TEA'"):
        found = shop.graphql(ITEMS, first=9, query=query).json()["data"]["inventoryItems"]
        assert [node["sku"] for node in found["nodes"]] == ["101", "TEA"]


def test_a_misspelt_search_field_is_ignored_with_a_warning(shop):
    answer = shop.graphql(ITEMS, first=9, query="skuu:101").json()
    assert len(answer["data"]["inventoryItems"]["nodes"]) == 3
    assert "skuu" in str(answer["extensions"]["search"])


def test_a_sale_lowers_available_and_commits(shop):
    assert shop.order("1", ("101", 4)).status_code == 200
    found = shop.graphql(ITEMS, first=1).json()["data"]["inventoryItems"]["nodes"][0]
    (level,) = found["inventoryLevels"]["nodes"]
    shown = {one["name"]: one["quantity"] for one in level["quantities"]}
    assert shown == {"available": 6, "on_hand": 10, "committed": 4}


def test_a_fitting_compare_value_sets_the_quantity(shop):
    done = set_quantities(shop, "k1", quantity(101, 7, 10))
    assert codes(done) == []
    (change,) = done["inventoryAdjustmentGroup"]["changes"]
    assert change == {"delta": -3, "quantityAfterChange": 7, "item": {"sku": "101"}}
    assert shop.shows("101") == 7


def test_one_stale_compare_value_refuses_the_whole_batch(shop):
    done = set_quantities(shop, "k1", quantity(102, 1, 5), quantity(101, 7, 9))
    assert codes(done) == ["CHANGE_FROM_QUANTITY_STALE"]
    assert done["userErrors"][0]["field"] == ["input", "quantities", "1", "changeFromQuantity"]
    assert done["inventoryAdjustmentGroup"] is None
    assert (shop.shows("101"), shop.shows("102")) == (10, 5)


def test_a_null_compare_value_skips_the_comparison(shop):
    assert codes(set_quantities(shop, "k1", quantity(101, 2, None))) == []
    assert shop.shows("101") == 2


def test_setting_what_stands_there_gives_no_group_and_no_error(shop):
    done = set_quantities(shop, "k1", quantity(101, 10, 10))
    assert done == {"inventoryAdjustmentGroup": None, "userErrors": []}


def test_the_same_key_again_answers_the_same_and_changes_nothing(shop):
    first = set_quantities(shop, "k1", quantity(101, 7, 10))
    shop.order("1", ("101", 2))
    assert set_quantities(shop, "k1", quantity(101, 7, 10)) == first
    assert shop.shows("101") == 5


def test_the_same_key_with_other_variables_is_refused(shop):
    set_quantities(shop, "k1", quantity(101, 7, 10))
    again = set_quantities(shop, "k1", quantity(101, 8, 7))
    assert codes(again) == ["IDEMPOTENCY_KEY_PARAMETER_MISMATCH"]
    assert shop.shows("101") == 7


def test_a_key_is_remembered_over_a_kill(start):
    shop = start("shopify", process=True)
    first = set_quantities(shop, "k1", quantity(101, 7, 10))
    shop.kill()
    shop.start()
    assert set_quantities(shop, "k1", quantity(101, 7, 10)) == first


@pytest.mark.parametrize(
    ("quantities", "more", "code"),
    [
        ([quantity(999, 1, None)], {}, "INVALID_INVENTORY_ITEM"),
        (
            [quantity(101, 1, None) | {"locationId": "gid://shopify/Location/9"}],
            {},
            "INVALID_LOCATION",
        ),
        ([quantity(101, 1_000_000_001, None)], {}, "INVALID_QUANTITY_TOO_HIGH"),
        ([quantity(101, -1_000_000_001, None)], {}, "INVALID_QUANTITY_TOO_LOW"),
        ([quantity(101, -1, None)], {"name": "on_hand"}, "INVALID_QUANTITY_NEGATIVE"),
        ([quantity(101, 1, None)], {"name": "incoming"}, "INVALID_NAME"),
        ([quantity(101, 1, None)], {"reason": "because"}, "INVALID_REASON"),
        ([quantity(101, 1, None)] * 2, {}, "NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR"),
    ],
)
def test_what_is_wrong_with_an_input_has_its_code(shop, quantities, more, code):
    assert codes(set_quantities(shop, "k1", *quantities, **more)) == [code]
    assert shop.state()["counts"]["api_writes"] == 0


def test_available_may_be_set_below_zero(shop):
    assert codes(set_quantities(shop, "k1", quantity(101, -4, None))) == []
    assert shop.shows("101") == -4


def test_a_missing_compare_value_is_an_error_of_the_request(shop):
    bare = {k: v for k, v in quantity(101, 1, None).items() if k != "changeFromQuantity"}
    answer = shop.graphql(SET, input=set_input(bare), key="k1").json()
    assert answer["errors"][0]["extensions"]["code"] == "INVALID_FIELD_ARGUMENTS"
    assert shop.shows("101") == 10


def test_the_compare_fields_of_older_versions_are_unknown(shop):
    old = quantity(101, 1, None) | {"compareQuantity": 10}
    answer = shop.graphql(SET, input=set_input(old), key="k1").json()
    assert answer["errors"][0]["extensions"]["code"] == "INVALID_VARIABLE"


def test_a_write_without_a_key_is_a_bad_request(shop):
    bare = SET.replace(", $key: String!", "").replace("@idempotent(key: $key)", "")
    answer = shop.graphql(bare, input=set_input(quantity(101, 1, None))).json()
    assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    assert shop.shows("101") == 10


def test_more_than_250_quantities_are_too_many(shop):
    many = [quantity(n, 1, None) for n in range(251)]
    answer = shop.graphql(SET, input=set_input(*many), key="k1").json()
    assert "maximum allowed of 250" in answer["errors"][0]["message"]


def test_orders_are_read_by_change_time_page_after_page(shop):
    for number in ("1", "2", "3"):
        shop.order(number, ("101", 1))
    shop.client.post("/storefront/orders/1/cancel")
    shop.client.post("/storefront/orders/2/fulfil")
    query = "updated_at:>='2020-01-01T00:00:00Z'"
    first = shop.graphql(ORDERS, query=query).json()["data"]["orders"]
    cursor = first["pageInfo"]["endCursor"]
    rest = shop.graphql(ORDERS, query=query, after=cursor).json()["data"]["orders"]
    found = [node["id"].rpartition("/")[2] for node in first["nodes"] + rest["nodes"]]
    assert found == ["3", "1", "2"]
    cancelled, fulfilled = first["nodes"][1], rest["nodes"][0]
    assert cancelled["cancelledAt"] is not None
    assert cancelled["lineItems"]["nodes"][0]["currentQuantity"] == 0
    assert fulfilled["displayFulfillmentStatus"] == "FULFILLED"
    (parcel,) = fulfilled["fulfillments"]
    assert parcel["location"] == {"id": LOCATION}
    assert parcel["fulfillmentLineItems"]["nodes"] == [{"quantity": 1}]


PARCEL = """
query Parcel($id: ID!, $after: String) {
  fulfillment(id: $id) { fulfillmentLineItems(first: 1, after: $after) {
    nodes { quantity lineItem { sku } } pageInfo { hasNextPage endCursor }
  } }
}
"""
LINES = """
query Lines($id: ID!, $after: String) {
  order(id: $id) { lineItems(first: 1, after: $after) {
    nodes { sku } pageInfo { hasNextPage endCursor }
  } }
}
"""


def pages(shop, document: str, top: str, inner: str, **asked) -> list[dict]:
    """All nodes of a connection inside one object, page after page."""
    found, after = [], None
    for _ in range(10):
        answer = shop.graphql(document, after=after, **asked).json()["data"][top][inner]
        found += answer["nodes"]
        if not answer["pageInfo"]["hasNextPage"]:
            return found
        after = answer["pageInfo"]["endCursor"]
    raise AssertionError("the pages do not come to an end")


def test_lines_of_an_order_and_of_a_parcel_are_read_page_after_page(shop):
    shop.order("1", ("101", 1), ("102", 2), ("TEA", 3))
    shop.client.post("/storefront/orders/1/fulfil")
    lines = pages(shop, LINES, "order", "lineItems", id="gid://shopify/Order/1")
    assert [line["sku"] for line in lines] == ["101", "102", "TEA"]
    gid = "gid://shopify/Fulfillment/1"
    parcel = pages(shop, PARCEL, "fulfillment", "fulfillmentLineItems", id=gid)
    assert [(one["lineItem"]["sku"], one["quantity"]) for one in parcel] == [
        ("101", 1),
        ("102", 2),
        ("TEA", 3),
    ]


def test_orders_before_the_asked_time_are_left_out(shop):
    shop.order("1", ("101", 1))
    found = shop.graphql(ORDERS, query="updated_at:>2099-01-01T00:00:00Z").json()
    assert found["data"]["orders"]["nodes"] == []


def test_an_empty_bucket_throttles_and_says_how_full_it_is(start):
    shop = start("shopify", "--bucket", "25", "--restore", "0.001")
    assert codes(set_quantities(shop, "k1", quantity(101, 9, 10))) == []
    assert codes(set_quantities(shop, "k2", quantity(101, 8, 9))) == []
    answer = shop.graphql(SET, input=set_input(quantity(101, 7, 8)), key="k3").json()
    assert answer["errors"][0]["extensions"]["code"] == "THROTTLED"
    throttle = answer["extensions"]["cost"]["throttleStatus"]
    assert throttle["maximumAvailable"] == 25
    assert throttle["currentlyAvailable"] < answer["extensions"]["cost"]["requestedQueryCost"]
    assert shop.shows("101") == 8


def test_a_query_above_a_thousand_points_is_refused(shop):
    deep = """{ inventoryItems(first: 250) { nodes { inventoryLevels(first: 250) { nodes {
        item { inventoryLevels(first: 250) { nodes { id } } } } } } } }"""
    answer = shop.graphql(deep).json()
    assert answer["errors"][0]["extensions"]["code"] == "MAX_COST_EXCEEDED"


def test_throttling_and_failing_can_be_ordered_for_a_number_of_calls(shop):
    shop.fault("throttle", count=1)
    answer = shop.graphql(SET, input=set_input(quantity(101, 7, 10)), key="k1").json()
    assert answer["errors"][0]["extensions"]["code"] == "THROTTLED"
    shop.fault("fail", count=1, only="writes")
    assert shop.graphql(ITEMS, first=1).status_code == 200
    failed = shop.graphql(SET, input=set_input(quantity(101, 7, 10)), key="k1")
    assert failed.status_code == 500
    assert codes(set_quantities(shop, "k1", quantity(101, 7, 10))) == []


def test_a_timeout_after_applying_leaves_the_write_in_place(shop):
    shop.fault("timeout_after_apply", count=1, seconds=30)
    with pytest.raises(httpx.ReadTimeout):
        shop.client.post(
            "/admin/api/2026-10/graphql.json",
            json={
                "query": SET,
                "variables": {"input": set_input(quantity(101, 7, 10)), "key": "k1"},
            },
            headers={"X-Shopify-Access-Token": "T"},
            timeout=0.5,
        )
    assert shop.shows("101") == 7
    assert codes(set_quantities(shop, "k1", quantity(101, 7, 10))) == []


def test_a_wrong_token_or_version_is_turned_away(shop):
    path = "/admin/api/2026-10/graphql.json"
    body = {"query": "{ location { id } }"}
    assert shop.client.post(path, json=body).status_code == 401
    assert shop.graphql("{ location { id } }", version="2024-01").status_code == 404


def test_an_unknown_field_is_an_error_with_its_name(shop):
    answer = shop.graphql("{ inventoryItems(first: 1) { nodes { colour } } }").json()
    assert "colour" in answer["errors"][0]["message"]
