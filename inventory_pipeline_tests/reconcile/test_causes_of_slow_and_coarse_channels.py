"""A channel that accepts first and applies later, and one that counts whole cases: what they show
meanwhile is named, left alone, and closed.
"""

from dataclasses import replace
from decimal import Decimal

import pytest

from inventory_pipeline.config.policy import Catalog, Identifier, Item
from inventory_pipeline.core.vocabulary import Cause
from inventory_pipeline_tests.reconcile.worlds import (
    SKUS,
    World,
    amazon_world,
    calm,
    patiently,
    shopify_world,
    woocommerce_world,
)

AS_LISTED = {sku.replace("-", "_"): 10 * n for n, sku in enumerate(SKUS, 1)}
APPLIED_S = 4  # after the acceptance; the hub asks about it after 5 s at the earliest
BY = {
    "a patch": {"feed_from": 100, "apply_s": APPLIED_S},
    "a feed": {"feed_from": 1, "feed_queue_s": APPLIED_S / 2, "feed_work_s": APPLIED_S / 2},
}
SUBMITS = ("patchListingsItem", "createFeed")
CASE = 12


@pytest.fixture(params=BY)
def seller(request, pg, tmp_path, monkeypatch):
    """Everything was submitted and applied once; SKU-1 from 10 to 8."""
    patiently(monkeypatch)
    with amazon_world(pg, tmp_path, **BY[request.param]) as world:
        world.poll()
        world.want(**{**AS_LISTED, "SKU_1": 8})
        comes_to_rest(world)
        assert world.causes() == {}
        assert world.shop.shown()["SKU-1"] == 8
        yield world


def comes_to_rest(world: World) -> None:
    """The hub works on while its clock, which is the seller's too, goes on by minutes."""
    for _ in range(10):
        world.push()
        if not world.busy():
            world.shop.clock.forward(60)
            return
        world.shop.clock.forward(60)
    raise AssertionError("the channel does not come to rest")


def submitted(world: World) -> int:
    return sum(world.shop.calls().get(name, 0) for name in SUBMITS)


def test_a_number_that_amazon_accepted_and_the_hub_has_no_answer_about_yet(seller):
    seller.want(SKU_1=3)
    seller.push()
    before = submitted(seller)
    assert seller.shop.shown()["SKU-1"] == 8
    assert seller.causes() == {}, "until it is applied the number from before is right"
    seller.shop.clock.forward(APPLIED_S)
    assert seller.shop.shown()["SKU-1"] == 3
    assert seller.causes() == {"SKU-1": Cause.NOT_YET_APPLIED}
    [row] = seller.open()
    assert (row.expected_milli, row.found_milli) == (8_000, 3_000)
    assert row.evidence["receipt_until"] > row.evidence["under_way_since"]
    assert seller.heal() == {}, "it is waited for"
    [row] = seller.open()
    assert (row.heal, row.repushes, row.alert_at) == ("reread", 0, None)
    comes_to_rest(seller)
    assert submitted(seller) == before, "nothing is sent a second time"
    assert seller.causes() == {}
    assert seller.open() == []
    assert seller.closed() == {"SKU-1": (Cause.NOT_YET_APPLIED, "reread")}
    assert seller.shop.shown()["SKU-1"] == 3


@pytest.fixture(params=[shopify_world, woocommerce_world], ids=["shopify", "woocommerce"])
def cases(request, pg, tmp_path, monkeypatch):
    """SKU-1 is a listing of ten cases of tea; SKU-2 sells the same tea by the piece."""
    patiently(monkeypatch)
    with request.param(pg, tmp_path) as world:
        of_tea(world)
        world.poll()
        world.want(of="TEA", each=CASE, SKU_1=10)
        world.want(**{name: units for name, units in AS_LISTED.items() if name not in TEAS})
        world.push()
        calm()
        yield world


TEAS = ("SKU_1", "SKU_2")


def of_tea(world: World) -> None:
    """The catalogue's first row for an item names its listing, the others what else is sold."""
    items = dict(world.ctx.hub.catalog.items)
    items["TEA"] = Item(sku="TEA", title="Tea", kind="simple", decimals=0, price=Decimal(2))
    rows = tuple(
        Identifier(system="shop", external_id=name, sku="TEA", units=Decimal(units))
        for name, units in (("SKU-1", CASE), ("SKU-2", 1))
    )
    catalog = Catalog(items=items, identifiers=rows)
    world.ctx = replace(world.ctx, hub=replace(world.ctx.hub, catalog=catalog))


def test_pieces_that_a_listing_of_whole_cases_cannot_show(cases):
    calm()
    cases.shop.order("1", SKU_2=5)
    cases.poll()
    calm()
    assert cases.causes()["SKU-1"] == Cause.ROUNDING
    [row] = [one for one in cases.open() if one.external_id == "SKU-1"]
    assert 0 < abs(row.found_milli - row.expected_milli) < CASE * 1000
    assert cases.heal().get("SKU-1") is None, "no write of whole cases makes it righter"
    [row] = [one for one in cases.open() if one.external_id == "SKU-1"]
    assert (row.heal, row.repushes, row.alert_at) == ("none", 0, None)
