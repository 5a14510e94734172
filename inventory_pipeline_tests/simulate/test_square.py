"""The simulated Square merchant: what makes the real one special."""

from datetime import timedelta

import httpx
import pytest

from inventory_pipeline.simulate.square_ledger import variation_id
from inventory_pipeline_tests.connectors.square_merchants import MAIN, Merchant, merchant

CREATE = "/v2/inventory/changes/batch-create"
CHANGES = "/v2/inventory/changes/batch-retrieve"
COUNTS = "/v2/inventory/counts/batch-retrieve"


@pytest.fixture
def shop(tmp_path):
    with merchant(tmp_path) as running:
        yield running


def ask(shop: Merchant, path: str, body: dict, version: str = "2026-09-16") -> httpx.Response:
    headers = {"Authorization": "Bearer token", "Square-Version": version}
    return shop.client.post(path, json=body, headers=headers)


def count(shop: Merchant, quantity: object, *, ago_s: float = 0, **change) -> dict:
    at = shop.clock() - timedelta(seconds=ago_s)
    one = {
        "catalog_object_id": variation_id("SKU-1"), "location_id": MAIN, "state": "IN_STOCK",
        "quantity": quantity, "occurred_at": at.isoformat(),
    }  # fmt: skip
    return {"type": "PHYSICAL_COUNT", "physical_count": one | change}


def write(shop: Merchant, *changes: dict, key: str = "k", **more) -> httpx.Response:
    return ask(shop, CREATE, {"idempotency_key": key, "changes": list(changes), **more})


def code(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["errors"][0]
    return answer.status_code, error["code"], error.get("field", "")


def test_a_count_sets_what_is_in_stock(shop):
    answer = write(shop, count(shop, "4.5")).json()
    assert [(one["state"], one["quantity"]) for one in answer["counts"]] == [("IN_STOCK", "4.5")]
    assert answer["changes"][0]["physical_count"]["source"]["product"] == "EXTERNAL_API"
    assert shop.shown()["SKU-1"] == "4.5"


def test_a_late_count_that_is_older_does_not_win(shop):
    write(shop, count(shop, "4"))
    write(shop, count(shop, "9", ago_s=60), key="late")
    assert shop.shown()["SKU-1"] == 4


def test_a_sale_after_a_count_is_counted_on_top_of_it_whenever_it_comes(shop):
    shop.sell("1", 3)
    shop.clock.forward(10)
    write(shop, count(shop, "20", ago_s=5))
    assert shop.shown()["SKU-1"] == 20, "counted after the sale"
    shop.sell("2", 3)
    assert shop.shown()["SKU-1"] == 17


@pytest.mark.parametrize("ago_s", [25 * 3600, -60])
def test_a_date_of_another_day_or_of_the_future_is_refused(shop, ago_s):
    answer = write(shop, count(shop, "4", ago_s=ago_s))
    assert code(answer) == (400, "INVALID_TIME", "changes[0].physical_count.occurred_at")


def test_a_key_goes_with_one_content(shop):
    one = count(shop, "4")
    first = write(shop, one)
    shop.sell("1", 1)
    again = write(shop, one)
    assert again.json() == first.json()
    assert shop.shown()["SKU-1"] == 3, "applied once"
    other = write(shop, count(shop, "5"))
    assert code(other) == (400, "IDEMPOTENCY_KEY_REUSED", "idempotency_key")


def test_unchanged_counts_are_dropped_by_default_even_after_sales(shop):
    write(shop, count(shop, "8"), key="a")
    shop.sell("1", 3)
    dropped = write(shop, count(shop, "8"), key="b")
    assert dropped.json()["changes"] == []
    assert shop.shown()["SKU-1"] == 5
    write(shop, count(shop, "8"), key="c", ignore_unchanged_counts=False)
    assert shop.shown()["SKU-1"] == 8


def test_a_request_is_taken_whole_or_not_at_all(shop):
    answer = write(shop, count(shop, "4"), count(shop, "4", catalog_object_id="NOSUCH"))
    assert code(answer) == (404, "NOT_FOUND", "changes[1].physical_count.catalog_object_id")
    assert shop.shown()["SKU-1"] == 10


@pytest.mark.parametrize("quantity", ["4.123456", "-1", "many", 4, None, "1e3"])
def test_a_quantity_is_a_decimal_text_of_five_places(shop, quantity):
    answer = write(shop, count(shop, quantity))
    assert code(answer) == (400, "INVALID_VALUE", "changes[0].physical_count.quantity")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"changes": []}, "MISSING_REQUIRED_PARAMETER"),
        ({"idempotency_key": "k" * 129}, "VALUE_TOO_LONG"),
        ({"idempotency_key": "k", "changes": [{}] * 101}, "ARRAY_LENGTH_TOO_LONG"),
        ({"idempotency_key": "k", "changes": [{"type": "TRANSFER"}]}, "INVALID_ENUM_VALUE"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(shop, body, expected):
    assert code(ask(shop, CREATE, body))[:2] == (400, expected)


def test_states_that_only_square_itself_moves_are_refused(shop):
    move = {
        "type": "ADJUSTMENT",
        "adjustment": count(shop, "1")["physical_count"]
        | {"from_state": "IN_STOCK", "to_state": "RESERVED_FOR_SALE"},
    }
    assert code(write(shop, move))[1] == "INVALID_VALUE"
    move["adjustment"]["to_state"] = "WASTE"
    assert write(shop, move).status_code == 200
    assert shop.shown()["SKU-1"] == 9


def test_changes_come_oldest_first_and_counts_newest_first(shop):
    shop.sell("1", 1, sku="SKU-7")
    found = ask(shop, CHANGES, {"limit": 3}).json()
    assert [one["type"] for one in found["changes"]] == ["PHYSICAL_COUNT"] * 3
    rest = ask(shop, CHANGES, {"limit": 3, "cursor": found["cursor"]}).json()
    last = ask(shop, CHANGES, {"limit": 3, "cursor": rest["cursor"]}).json()
    assert [one["type"] for one in last["changes"]] == ["PHYSICAL_COUNT", "ADJUSTMENT"]
    assert "cursor" not in last
    counts = ask(shop, COUNTS, {"states": ["IN_STOCK"]}).json()["counts"]
    assert counts[0]["catalog_object_id"] == variation_id("SKU-7")
    assert counts[0]["quantity"] == "69"


def test_a_cursor_goes_with_its_own_question(shop):
    cursor = ask(shop, CHANGES, {"limit": 3}).json()["cursor"]
    answer = ask(shop, CHANGES, {"limit": 4, "cursor": cursor})
    assert code(answer)[1] == "INVALID_CURSOR"


def test_a_sale_names_one_place_in_older_versions_and_two_in_newer_ones(shop):
    shop.sell("1", 1)
    body = {"types": ["ADJUSTMENT"]}
    (old,) = ask(shop, CHANGES, body, "2026-01-21").json()["changes"]
    (new,) = ask(shop, CHANGES, body, "2026-07-15").json()["changes"]
    assert "location_id" in old["adjustment"]
    assert "location_id" not in new["adjustment"]
    assert new["adjustment"]["to_location_id"] == MAIN


def test_webhooks_are_signed_over_their_address_and_sent_until_they_are_taken(shop):
    shop.sell("1", 2)
    deliveries = shop.wait_for(2)
    assert len({one.body for one in deliveries}) == 1, "the same event, twice"
    from square.utils.webhooks_helper import verify_signature

    for one in deliveries:
        assert verify_signature(
            request_body=one.body.decode(),
            signature_header=one.headers["x-square-hmacsha256-signature"],
            signature_key="hush",
            notification_url=shop.hook,
        )


def test_it_is_found_again_after_a_restart(tmp_path):
    with merchant(tmp_path) as shop:
        shop.sell("1", 3)
    with merchant(tmp_path) as shop:
        assert shop.shown()["SKU-1"] == 7
