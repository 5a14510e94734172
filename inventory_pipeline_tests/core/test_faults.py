"""The switch that kills a process at one point, and that costs nothing while it is off."""

import os
import subprocess
import sys

import psycopg
import pytest

from inventory_pipeline.core import faults
from inventory_pipeline.memory import fault_points

WALK = """
from inventory_pipeline.core.faults import point
for name in ("a", "b:c", "a", "b:c", "a"):
    point(name)
    print(name, flush=True)
"""


def walk(**env):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUB_FAULT")}
    return subprocess.run(
        [sys.executable, "-c", WALK], env=clean | env, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("at", "before"),
    [("1", []), ("4", ["a", "b:c", "a"]), ("a:3", ["a", "b:c", "a", "b:c"]), ("b:c:1", ["a"])],
)
def test_a_process_dies_at_the_point_that_is_named_and_not_before(at, before):
    ended = walk(HUB_FAULT_AT=at)
    assert (ended.returncode, ended.stdout.split()) == (-9, before)


def test_a_point_that_is_never_reached_kills_nobody():
    assert walk(HUB_FAULT_AT="6").returncode == 0
    assert walk(HUB_FAULT_AT="c:1").returncode == 0


def test_points_are_written_down_in_order(tmp_path):
    log = tmp_path / "points"
    assert walk(HUB_FAULT_LOG=str(log)).returncode == 0
    assert log.read_text().split() == ["a", "b:c", "a", "b:c", "a"]


def test_with_the_switch_off_nothing_stands_in_between(monkeypatch):
    monkeypatch.delenv(faults.AT, raising=False)
    monkeypatch.delenv(faults.LOG, raising=False)
    thing = object()
    assert faults.watched(thing, "duckdb", "execute") is thing
    assert fault_points.connection_class() is psycopg.Connection


def test_each_statement_and_commit_is_a_point(monkeypatch, pg_url, tmp_path):
    log = tmp_path / "points"
    monkeypatch.setenv(faults.LOG, str(log))
    with fault_points.connection_class().connect(pg_url) as connection:
        connection.execute("SELECT\n  1")
        with connection.cursor() as cursor:
            cursor.executemany("SELECT %s", [(1,), (2,)])
    said = ["postgres SELECT 1", "postgres SELECT %s", "commit"]
    assert log.read_text().splitlines() == said
