"""Random catalogues, files and releases: the hub ends where a fresh look at its files does."""

import random

import pytest

from inventory_pipeline_tests.flow.worlds import World, moment, order, sale

ITEMS = ("X1", "X2", "X3", "A")
SKUS = ("A", "B", "C")


@pytest.fixture
def world(tmp_path, pg_url):
    made = World(tmp_path, pg_url)
    yield made
    made.close()


@pytest.mark.parametrize("seed", range(2))
def test_any_sequence_of_changes_ends_where_the_files_do(world, seed):
    chance = random.Random(seed)
    world.policy(complete=chance.choice(["true", "false"]))
    story = []
    for step in range(5):
        story.append(change(world, chance))
        world.open()
        story.append(bring(world, chance, step))
        if chance.random() < 0.5:
            world.release()
        if chance.random() < 0.7:
            world.cycle()
    world.release()
    world.cycle()
    incremental = world.numbers()
    assert world.rebuilt() == incremental, story
    assert world.available(incremental) == world.by_the_files(), story


def change(world, chance):
    decimals = [sku + chance.choice(["", "", ":1"]) for sku in SKUS]
    world.items(*decimals)
    rows = [
        f"{system},{item},{chance.choice(SKUS)},{chance.choice(['1', '2', '0.5'])}"
        for system in ("wms", "shop")
        for item in ITEMS
        if chance.random() < 0.6
    ]
    world.identifiers(*rows)
    return decimals, rows


def bring(world, chance, step):
    rows = [
        f"1,{item},{chance.randint(0, 9)},{chance.choice(['', '0', '1'])}"
        for item in ITEMS
        if chance.random() < 0.7
    ]
    hours = -20 + 3 * step
    world.snapshot(f"s{step}", *rows, hours=hours)
    sold = [
        sale(10 * step + n, chance.choice(ITEMS), chance.randint(1, 5),
             occurred_at=moment(hours + chance.choice([-1, 1, 2])))
        for n in range(3)
    ]  # fmt: skip
    ordered = [
        order(10 * step + n, chance.choice(ITEMS), chance.randint(1, 3), occurred_at=moment(hours))
        for n in range(2)
    ]
    world.events("wms", f"e{step}", *sold)
    world.events("shop", f"o{step}", *ordered)
    return hours, rows, [(e["item"], e["quantity"]) for e in sold + ordered]
