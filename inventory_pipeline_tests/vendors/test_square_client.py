"""squareup works against the simulated merchant as it does against Square."""

import httpx
import pytest

square = pytest.importorskip("square", reason="squareup is not installed")

from square.core.api_error import ApiError  # noqa: E402 - after the check that it is there
from square.utils.webhooks_helper import verify_signature  # noqa: E402

from inventory_pipeline.connectors.square_api import VERSION  # noqa: E402
from inventory_pipeline.simulate.square_ledger import variation_id  # noqa: E402
from inventory_pipeline_tests.connectors.square_merchants import (  # noqa: E402
    MAIN,
    merchant,
    opened,
)

ONE_TRY = {"max_retries": 0}


OPEN: list[httpx.Client] = []


@pytest.fixture
def shop(tmp_path):
    with merchant(tmp_path) as running:
        yield running
    while OPEN:
        OPEN.pop().close()


def client(shop, token: str = "token"):
    OPEN.append(httpx.Client(trust_env=False))
    return square.Square(token=token, base_url=shop.url, httpx_client=OPEN[-1])


def counted(shop, quantity: str, **change) -> dict:
    one = {
        "catalog_object_id": variation_id("SKU-1"), "location_id": MAIN, "state": "IN_STOCK",
        "quantity": quantity, "occurred_at": shop.clock().isoformat(),
    }  # fmt: skip
    return {"type": "PHYSICAL_COUNT", "physical_count": one | change}


def test_the_connector_pins_the_version_that_this_client_sends(shop):
    sent = client(shop)._client_wrapper.get_headers()
    assert sent["Square-Version"] == VERSION
    connector = opened(shop.url)
    assert connector._api._caller._client.headers["square-version"] == VERSION
    connector.close()


def test_counts_are_read_page_by_page(shop):
    counts = list(client(shop).inventory.batch_get_counts(states=["IN_STOCK"], limit=3))
    assert {one.catalog_object_id for one in counts} == {
        variation_id(f"SKU-{n}") for n in range(1, 8)
    }
    assert all(one.state == "IN_STOCK" and one.calculated_at for one in counts)


def test_changes_are_written_and_read_as_the_clients_own_types(shop):
    inventory = client(shop).inventory
    answer = inventory.batch_create_changes(
        idempotency_key="k", changes=[counted(shop, "4.5")], ignore_unchanged_counts=False
    )
    assert [(one.state, one.quantity) for one in answer.counts] == [("IN_STOCK", "4.5")]
    shop.sell("1", 2)
    found = list(inventory.batch_get_changes(catalog_object_ids=[variation_id("SKU-1")], limit=2))
    assert [one.type for one in found] == ["PHYSICAL_COUNT", "PHYSICAL_COUNT", "ADJUSTMENT"]
    sale = found[-1].adjustment
    assert (sale.from_state, sale.to_state, sale.quantity) == ("IN_STOCK", "SOLD", "2")
    assert (sale.from_location_id, sale.to_location_id) == (MAIN, MAIN)


def test_the_catalogue_and_the_locations_are_read(shop):
    found = list(client(shop).catalog.list(types="ITEM_VARIATION"))
    assert {one.item_variation_data.sku for one in found} == {f"SKU-{n}" for n in range(1, 8)}
    assert client(shop).locations.list().locations[0].id == MAIN


@pytest.mark.parametrize(
    ("quantity", "status", "code"), [("many", 400, "INVALID_VALUE"), ("4", 200, "")]
)
def test_errors_become_the_clients_own(shop, quantity, status, code):
    def write():
        return client(shop).inventory.batch_create_changes(
            idempotency_key="k", changes=[counted(shop, quantity)], request_options=ONE_TRY
        )

    if status == 200:
        assert write().errors is None
        return
    with pytest.raises(ApiError) as error:
        write()
    assert error.value.status_code == status
    assert error.value.errors[0].code == code


def test_a_wrong_token_is_the_clients_own_error(shop):
    with pytest.raises(ApiError) as error:
        client(shop, "wrong").locations.list(request_options=ONE_TRY)
    assert error.value.status_code == 401
    assert error.value.errors[0].category == "AUTHENTICATION_ERROR"


def test_webhooks_hold_by_the_clients_own_check(shop):
    shop.sell("1", 2)
    delivery = shop.wait_for(1)[0]
    given = delivery.headers["x-square-hmacsha256-signature"]
    for body, right in ((delivery.body, True), (delivery.body + b" ", False)):
        assert right is verify_signature(
            request_body=body.decode(), signature_header=given, signature_key="hush",
            notification_url=shop.hook,
        )  # fmt: skip
