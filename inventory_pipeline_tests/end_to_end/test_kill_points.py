"""kill -9 between any two statements and around any request: the same end (core/faults.py).

A sync run is killed at one point, its successor at another, and then runs go on until all is quiet.
HUB_KILLS says how often altogether; the points are spread over all that a run passes.
"""

import os
from collections import Counter
from itertools import chain, cycle, zip_longest
from pathlib import Path

import psycopg
import pytest

from inventory_pipeline_tests.conftest import TEMPLATE, database_url
from inventory_pipeline_tests.end_to_end.kill_world import SKUS, KillWorld

KILLS = int(os.environ.get("HUB_KILLS", "40"))
PARTS = 2
GOLDEN = 0.6180339887498949

pytestmark = pytest.mark.timeout(900)
one_server = pytest.mark.parametrize("postgres_server", ["embedded"], indirect=True)


@pytest.fixture
def worlds(postgres_server, tmp_path):
    """Opens worlds by name, each with a database of its own."""
    opened = []

    def open_world(name):
        database = f"kill_{os.getpid()}_{abs(hash(tmp_path)) % 10**6}_{name}"
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database} TEMPLATE {TEMPLATE}")
        folder: Path = tmp_path / name
        world = KillWorld(folder, database_url(postgres_server, database))
        opened.append((world, database))
        return world.__enter__()

    yield open_world
    for world, database in opened:
        world.__exit__()
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {database} WITH (FORCE)")


@one_server
@pytest.mark.parametrize("part", range(PARTS))
def test_killed_anywhere_the_end_is_the_same(worlds, part):
    calm, killed = worlds("calm"), worlds("killed")
    killed.happen(0)
    be_quiet(killed)
    calm.happen(0)
    points = calm.points()
    be_quiet(calm)
    wanted = -(-KILLS // PARTS)
    first, second = two_by_two(spread(points)[part::PARTS])
    number = 0
    while killed.kills < wanted:
        number += 1
        assert number <= 3 * wanted + 10, f"{killed.kills} of {wanted} runs could be killed"
        die_twice(killed, number, next(first), next(second))
        calm.happen(number)
        sell_between(calm, number)
        be_quiet(calm)
        assert killed.remembered() == calm.remembered(), f"episode {number} of part {part}"


def die_twice(world, number, first, second):
    """Things happen, a run dies, a shop sells, the run's successor dies, all gets quiet."""
    world.happen(number)
    world.run_killed(first)
    world.check_writes()
    sell_between(world, number)
    world.run_killed(second)
    world.check_writes()
    be_quiet(world)


def sell_between(world, number):
    if number % 2:
        world.sell("web" if number % 4 == 1 else "market", SKUS[number % len(SKUS)], 1)


def be_quiet(world):
    world.until_quiet()
    world.check_writes()
    world.check()


def spread(points):
    """Each point as the switch names it; any beginning of the list is spread over all of the run,
    and kinds take turns: commits and writes are few, and most is at stake there.
    """
    passed, kinds = Counter(), {}
    for name in points:
        passed[name] += 1
        kinds.setdefault(name.split()[0], []).append(f"{name}:{passed[name]}")
    mixed = [
        [kind[place] for place in sorted(range(len(kind)), key=lambda n: n * GOLDEN % 1)]
        for kind in kinds.values()
    ]
    return [point for point in chain(*zip_longest(*mixed)) if point is not None]


def two_by_two(points):
    """Endless: points for first runs, and others for their successors."""
    half = len(points) // 2
    return cycle(points), cycle(points[half:] + points[:half])


def test_points_are_spread_over_all_of_a_run():
    points = [f"duckdb {n}" for n in range(100)] + ["commit", "write sent", "write applied"] * 10
    chosen = spread(points)
    assert sorted(chosen) == sorted(set(chosen))
    assert len(chosen) == len(points)
    early = chosen[:12]
    assert {name.split(":")[0].split()[0] for name in early} == {"duckdb", "commit", "write"}
    numbers = sorted(int(name.split(":")[0].split()[1]) for name in chosen if "duckdb" in name)
    assert numbers == list(range(100))
    tenths = {int(name.split(":")[0].split()[1]) // 10 for name in chosen if "duckdb" in name[:60]}
    assert tenths == set(range(10))
