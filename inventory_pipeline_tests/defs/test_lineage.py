"""Column lineage out of sql/: kept beside a hash, and true to the files."""

import json

import dagster as dg
import pytest

from inventory_pipeline.compute.engine import open_engine
from inventory_pipeline.config.load import load_hub
from inventory_pipeline.defs import columns, lineage
from inventory_pipeline.defs.sql_columns import Column, direct_sources, sources
from inventory_pipeline_tests.defs.hubs import two_channels


@pytest.fixture(scope="module")
def read():
    return lineage.read_sql()


def test_a_position_comes_from_its_own_state_and_from_events(read):
    found = read["positions"]["damaged_milli"]
    assert ["landing", "damaged"] in found
    assert ["ledger", "quantity_milli"] in found
    assert ["landing", "on_hand"] not in found


def test_what_may_be_sold_comes_from_positions(read):
    found = read["ats"]["available_milli"]
    states = {name for group, name in found if group == "positions"}
    assert {"on_hand_milli", "damaged_milli", "quality_control_milli"} <= states
    assert {"committed_milli", "reserved_milli", "incoming_milli"} <= states


def test_what_is_sent_comes_from_what_may_be_sold(read):
    assert read["push"]["desired_milli"] == [["ats", "available_milli"]]


def test_one_step_goes_through_unions_and_common_tables():
    made = direct_sources()
    assert made[Column("happened", "sku")] == {
        Column("components", "component"),
        Column("events", "sku"),
    }
    assert {column.table for column in made[Column("snapshot_values", "on_hand_milli")]} >= {
        "scope_cells",
        "sweeps",
        "happened",
    }


def test_a_circle_between_two_files_comes_to_an_end():
    pool = Column("pools", "pool_milli")
    assert Column("bundle_pools", "pool_milli") in direct_sources()[pool]
    assert pool in sources(Column("bundle_pools", "pool_milli"), stop=("pools",))
    found = sources(pool, stop=("balances",))
    assert Column("balances", "on_hand_milli") in found


@pytest.mark.parametrize("table", ["positions", "ats"])
def test_the_columns_that_are_shown_are_those_of_the_table(table):
    shown = {"positions": columns.POSITIONS, "ats": columns.ATS}[table]
    with open_engine(None) as engine:
        made = getattr(engine, table)().schema.names
    assert [name for name, _, _ in shown] == made


def test_every_shown_column_with_a_source_names_assets_of_the_hub(read, tmp_path):
    hub = load_hub(two_channels(tmp_path / "hub"), {})
    shown = lineage.metadata(dg.AssetKey(["ats", "web"]), hub, read)["dagster/column_lineage"]
    assets = {dep.asset_key.to_user_string() for d in shown.deps_by_column.values() for dep in d}
    assert assets == {"positions", "ledger", "landing/wms", "landing/till-2"}
    assert lineage.metadata(dg.AssetKey("health"), hub, read) == {}


def test_it_is_kept_and_made_again_when_the_file_is_old_or_broken(tmp_path, read):
    assert lineage.load(tmp_path, make=False) == {}
    assert lineage.load(tmp_path, make=True) == read
    path = tmp_path / lineage.FILE
    assert lineage.load(tmp_path, make=False) == read
    for broken in ("", "[]", json.dumps({"sql": "another", "lineage": {}})):
        path.write_text(broken)
        assert lineage.load(tmp_path, make=False) == {}
        assert lineage.load(tmp_path, make=True) == read
