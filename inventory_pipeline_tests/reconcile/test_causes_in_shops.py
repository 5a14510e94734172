"""Each cause made to happen in a simulated shop: named, healed, and closed."""

import threading
import time
from datetime import timedelta

import pytest
from psycopg.types.json import Jsonb

from inventory_pipeline.core.vocabulary import Cause
from inventory_pipeline.flow.times import utc_now
from inventory_pipeline_tests.reconcile.worlds import (
    SKUS,
    calm,
    patiently,
    shopify_world,
    until_settled,
    woocommerce_world,
)

AS_LISTED = {sku.replace("-", "_"): 10 * n for n, sku in enumerate(SKUS, 1)}


@pytest.fixture
def shopify(pg, tmp_path, monkeypatch):
    patiently(monkeypatch)
    with shopify_world(pg, tmp_path) as world:
        start(world)
        yield world


@pytest.fixture
def woocommerce(pg, tmp_path, monkeypatch):
    patiently(monkeypatch)
    with woocommerce_world(pg, tmp_path, timeout_s=1) as world:
        start(world)
        yield world


def start(world):
    """Everything was pushed once; SKU-1 from 10 to 8."""
    world.poll()
    world.want(**{**AS_LISTED, "SKU_1": 8})
    world.push()
    time.sleep(0.1)
    assert world.causes() == {}
    assert world.shop.shown()["SKU-1"] == 8


def healed_and_closed(world, sku, cause, done="repush"):
    world.heal()
    until_settled(world)
    assert world.causes() == {}
    assert world.open() == []
    assert world.closed() == {sku: (cause, done)}


def test_a_push_that_is_still_under_way(shopify):
    shopify.shop.post("/control/faults", mode="timeout_after_apply", seconds=2)
    shopify.want(SKU_1=3)
    pushing = threading.Thread(target=shopify.push)
    pushing.start()
    while shopify.shop.shown()["SKU-1"] != 3:
        time.sleep(0.02)
    assert shopify.causes() == {"SKU-1": Cause.IN_FLIGHT}
    [row] = shopify.open()
    assert row.evidence["under_way"]
    shopify.heal()
    pushing.join()
    until_settled(shopify)
    assert shopify.causes() == {}
    assert shopify.closed() == {"SKU-1": (Cause.IN_FLIGHT, "reread")}


def test_a_push_whose_answer_never_came(woocommerce):
    woocommerce.shop.post("/control/faults", mode="timeout_after_apply", seconds=3)
    woocommerce.want(SKU_1=3)
    woocommerce.push()
    assert woocommerce.shop.shown()["SKU-1"] == 3
    assert woocommerce.causes() == {"SKU-1": Cause.PUSH_FAILED}
    [row] = woocommerce.open()
    assert row.evidence["attempt_outcome"] == "unknown"
    woocommerce.heal()
    until_settled(woocommerce)
    assert woocommerce.causes() == {}
    assert woocommerce.closed() == {"SKU-1": (Cause.PUSH_FAILED, "repush")}


def test_an_item_that_nobody_mapped(shopify):
    shopify.want(listed=False, SKU_7=70)
    assert shopify.causes() == {"SKU-7": Cause.UNMAPPED}
    [row] = shopify.open()
    assert row.alert_at is not None
    shopify.want(SKU_7=70)
    healed_and_closed(shopify, "SKU-7", Cause.UNMAPPED, done="alert")


def test_a_listing_that_the_channel_does_not_have(shopify):
    shopify.want(SKU_99=5)
    assert shopify.causes() == {"SKU-99": Cause.NOT_LISTED}
    shopify.want(listed=False, SKU_99=5)
    healed_and_closed(shopify, "SKU-99", Cause.NOT_LISTED, done="alert")


def test_an_order_that_the_feed_skipped(shopify):
    calm()
    shopify.shop.order("1", SKU_1=2)
    with shopify.ctx.pg.connection() as connection:
        skipped = {"since": (utc_now() + timedelta(hours=1)).isoformat()}
        connection.execute("UPDATE hub.feeds SET cursor = %s", (Jsonb(skipped),))
    shopify.poll()
    calm()
    assert shopify.causes() == {"SKU-1": Cause.ORDER_NOT_INGESTED}
    [row] = shopify.open()
    assert len(row.evidence["events"]) == 1
    assert shopify.heal() == {"web": 1}
    shopify.computed()
    shopify.want(SKU_1=6)
    shopify.push()
    time.sleep(0.1)
    assert shopify.causes() == {}
    assert shopify.closed() == {"SKU-1": (Cause.ORDER_NOT_INGESTED, "ingest")}
    assert shopify.shop.shown()["SKU-1"] == 6, "the sold units are not given back"


def test_an_order_whose_webhook_was_lost_and_that_no_poll_remembers(shopify):
    a_lost_order_is_named_by_the_shops_own_list(shopify)


def test_an_order_of_woocommerce_that_neither_webhook_nor_poll_told(woocommerce):
    a_lost_order_is_named_by_the_shops_own_list(woocommerce)


def a_lost_order_is_named_by_the_shops_own_list(world):
    calm()
    world.shop.order("1", SKU_1=2)
    with world.ctx.pg.connection() as connection:
        past = {"since": (utc_now() + timedelta(hours=1)).isoformat()}
        connection.execute("UPDATE hub.feeds SET cursor = %s", (Jsonb(past),))
        # No earlier place of the feed is known: only the shop's own list can tell.
        connection.execute("UPDATE hub.reconciliations SET feed_cursor = NULL")
    world.poll()
    calm()
    assert world.causes() == {"SKU-1": Cause.ORDER_NOT_INGESTED}
    [row] = world.open()
    assert len(row.evidence["events"]) == 1
    assert world.heal() == {"web": 1}
    world.computed()
    world.want(SKU_1=6)
    world.push()
    time.sleep(0.1)
    assert world.causes() == {}
    assert world.shop.shown()["SKU-1"] == 6, "the sold units are not given back"


def test_an_update_that_was_lost(shopify):
    shopify.edit("SKU-1", 10)
    assert shopify.causes() == {"SKU-1": Cause.LOST_UPDATE}
    healed_and_closed(shopify, "SKU-1", Cause.LOST_UPDATE)
    assert shopify.shop.shown()["SKU-1"] == 8


def test_a_sale_that_the_channel_counted_twice(shopify):
    calm()
    shopify.shop.order("1", SKU_1=3)
    shopify.poll()
    shopify.want(SKU_1=5)
    shopify.push()
    assert shopify.shop.shown()["SKU-1"] == 5
    shopify.edit("SKU-1", 2)
    calm()
    assert shopify.causes() == {"SKU-1": Cause.DUPLICATE_EFFECT}
    healed_and_closed(shopify, "SKU-1", Cause.DUPLICATE_EFFECT)
    assert shopify.shop.shown()["SKU-1"] == 5


def test_a_number_that_somebody_edited_after_our_push(shopify):
    calm()
    shopify.edit("SKU-1", 77)
    assert shopify.causes() == {"SKU-1": Cause.EXTERNAL_EDIT}
    [row] = shopify.open()
    assert row.evidence["changed_at"] > row.evidence["pushed_at"]
    assert row.alert_at is not None
    healed_and_closed(shopify, "SKU-1", Cause.EXTERNAL_EDIT, done="repush_and_alert")
    assert shopify.shop.shown()["SKU-1"] == 8


def test_a_number_that_nothing_explains_is_repushed_once_and_then_told(woocommerce):
    woocommerce.edit("SKU-1", 77)
    assert woocommerce.causes() == {"SKU-1": Cause.UNEXPLAINED}
    assert woocommerce.heal() == {"web": 1}
    woocommerce.push()
    assert woocommerce.shop.shown()["SKU-1"] == 8
    woocommerce.edit("SKU-1", 66)
    time.sleep(0.1)
    assert woocommerce.causes() == {"SKU-1": Cause.UNEXPLAINED}
    assert woocommerce.heal() == {}, "once"
    [row] = woocommerce.open()
    assert (row.heal, row.repushes) == ("alert", 1)
    assert row.alert_at is not None
    woocommerce.edit("SKU-1", 8)
    assert woocommerce.causes() == {}
    assert woocommerce.closed() == {"SKU-1": (Cause.UNEXPLAINED, "alert")}


def test_a_sale_that_everybody_knows_of_is_no_variance(shopify):
    calm()
    shopify.shop.order("1", SKU_1=1, SKU_2=2)
    shopify.poll()
    calm()
    assert shopify.causes() == {}
