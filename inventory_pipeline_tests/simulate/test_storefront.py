"""Both simulated shops sell by themselves and keep their books over a kill."""

import pytest


@pytest.fixture(params=["shopify", "woocommerce"])
def shop(request, start):
    return start(request.param)


def test_an_order_lowers_what_is_shown_once(shop):
    first = shop.order("7", ("101", 4))
    assert first.status_code == 200
    assert shop.order("7", ("101", 4)).json() == first.json()
    assert shop.shows("101") == 6


def test_what_is_sold_out_is_refused_by_name_and_nothing_is_sold(shop):
    refused = shop.order("7", ("101", 4), ("102", 6), ("TEA", 9))
    assert refused.status_code == 409
    assert refused.json()["sold_out"] == [
        {"sku": "102", "asked": 6, "shown": 5},
        {"sku": "TEA", "asked": 9, "shown": 3},
    ]
    assert (shop.shows("101"), shop.shows("102")) == (10, 5)
    counts = shop.state()["counts"]
    assert (counts["orders"], counts["refusals"], counts["units_refused"]) == (0, 2, 15)


def test_two_lines_of_one_sku_are_refused_together(shop):
    assert shop.order("7", ("101", 6), ("101", 6)).status_code == 409
    assert shop.order("8", ("101", 6), ("101", 4)).status_code == 200
    assert shop.shows("101") == 0


def test_it_sells_below_zero_only_when_asked_to(shop):
    assert shop.order("7", ("102", 6)).status_code == 409
    assert shop.order("7", ("102", 6), allow_oversell=True).status_code == 200
    assert shop.shows("102") == -1


def test_an_unlisted_sku_and_an_empty_order_are_refused(shop):
    assert shop.order("7", ("NOPE", 1)).json() == {"error": "unknown_sku", "sku": "NOPE"}
    assert shop.order("8").status_code == 422
    assert shop.client.post("/storefront/orders", content="{").status_code == 422


def test_a_cancel_gives_back_what_is_not_shipped_once(shop):
    shop.order("7", ("101", 4), ("102", 2))
    parcel = {"name": "p1", "lines": [{"sku": "101", "quantity": 3}]}
    assert shop.client.post("/storefront/orders/7/fulfil", json=parcel).status_code == 200
    for _ in range(2):
        assert shop.client.post("/storefront/orders/7/cancel").status_code == 200
    assert (shop.shows("101"), shop.shows("102")) == (7, 5)


def test_a_parcel_of_the_same_name_is_counted_once(shop):
    shop.order("7", ("101", 4))
    parcel = {"name": "p1", "lines": [{"sku": "101", "quantity": 3}]}
    for _ in range(2):
        order = shop.client.post("/storefront/orders/7/fulfil", json=parcel).json()
    assert (order["lines"][0]["fulfilled"], order["status"]) == (3, "open")
    order = shop.client.post("/storefront/orders/7/fulfil").json()
    assert (order["lines"][0]["fulfilled"], order["status"]) == (4, "fulfilled")
    assert shop.client.post("/storefront/orders/7/cancel").status_code == 409


def test_an_edit_in_the_admin_stands_beside_the_writes_of_the_api(shop):
    answer = shop.client.post("/control/set", json={"sku": "101", "available": 44})
    assert answer.json()["available"] == 44
    counts = shop.state()["counts"]
    assert (counts["edits"], counts["api_writes"]) == (1, 0)


@pytest.mark.parametrize("module", ["shopify", "woocommerce"])
def test_nothing_that_was_answered_is_lost_by_a_kill(start, module):
    shop = start(module, process=True)
    for number in range(6):
        shop.order(str(number + 1), ("101", 1))
        if number % 3 == 0:
            shop.kill()
            shop.start()
    shop.client.post("/storefront/orders/1/cancel")
    shop.kill()
    shop.start()
    state = shop.state()
    assert shop.shows("101") == 5
    assert state["counts"]["orders"] == 6
    assert [order["status"] for order in state["orders"]] == ["cancelled"] + ["open"] * 5


def test_an_unknown_fault_is_named(shop):
    answer = shop.client.post("/control/faults", json={"mode": "explode"})
    assert answer.status_code == 422
    assert "throttle" in answer.json()["modes"]
