"""Comparisons that read a shop by a bulk operation, while it is pushed to and sells."""

import threading
import time

import pytest

from inventory_pipeline.core.vocabulary import Cause
from inventory_pipeline.flow.reconcile import reconcile_channel
from inventory_pipeline_tests.reconcile.worlds import CALM_S, SKUS, patiently, shopify_world

AS_LISTED = {sku.replace("-", "_"): 10 * n for n, sku in enumerate(SKUS, 1)}
RUNS_S = CALM_S + 0.4  # so long that what was read at the start is old at the end


@pytest.fixture
def world(pg, tmp_path, monkeypatch):
    patiently(monkeypatch)
    with shopify_world(pg, tmp_path, bulk_from=1) as world:
        world.poll()
        world.want(**{**AS_LISTED, "SKU_1": 8})
        world.push()
        time.sleep(0.1)
        yield world


def operations(world):
    return world.shop.post("/control/bulk")["operations"]


def test_an_edit_is_found_by_a_bulk_reading(world):
    assert world.causes() == {}
    time.sleep(CALM_S)  # the shop dates edits in whole seconds: not in the one of our push
    world.edit("SKU-1", 55)
    time.sleep(CALM_S)
    world.shop.post("/control/bulk", seconds=0)
    assert world.causes() == {"SKU-1": Cause.EXTERNAL_EDIT}
    assert operations(world) == 2


def test_what_moves_while_the_operation_runs_is_no_variance(world):
    time.sleep(CALM_S)
    world.shop.post("/control/bulk", seconds=RUNS_S, early=True)

    def meanwhile():
        world.want(SKU_3=4)
        world.push()
        world.shop.order("1", SKU_4=5)
        world.poll()

    moving = threading.Timer(0.3, meanwhile)
    moving.start()
    report = reconcile_channel(world.ctx, "web")
    moving.join()
    assert world.shop.shown()["SKU-3"] == 4
    assert report.reread >= 2, "the file shows both as they were"
    assert report.variances == ()
    assert operations(world) == 1
