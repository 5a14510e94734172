"""The definitions of a hub are pinned: a key that changes breaks everybody's history."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from inventory_pipeline.config.load import load_hub
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.defs.build import build_definitions
from inventory_pipeline.defs.resources import HubResource
from inventory_pipeline.flow.activation import activate_folder
from inventory_pipeline_tests.defs.hubs import two_channels

REPOSITORY = Path(__file__).resolve().parents[2]
FIRST_HUB = REPOSITORY / "examples" / "first-hub"

FIRST_HUB_ASSETS = {
    "landing/wms",
    "landing/pos",
    "ledger",
    "positions",
    "ats/web",
    "push/web",
    "reconcile/web",
    "reconcile/ledger",
    "reconcile/systems",
    "health",
}
TWO_CHANNEL_ASSETS = {
    "landing/wms",
    "landing/till-2",
    "landing/orders",
    "ledger",
    "positions",
    "ats/web",
    "ats/pickup",
    "push/web",
    "push/pickup",
    "reconcile/web",
    "reconcile/pickup",
    "reconcile/ledger",
    "reconcile/systems",
    "health",
}
COMMON_CHECKS = {
    "ledger:gapless_offsets",
    "ledger:quarantine_stays_small",
    "ledger:deliveries_are_read",
    "positions:computing_keeps_up",
    "positions:no_negative_positions",
    "positions:owners_were_heard",
    "reconcile/ledger:no_open_variances",
    "reconcile/systems:no_open_variances",
}
CHANNEL_CHECKS = (
    ("ats", "no_negative_ats"),
    ("push", "guard_holds_nothing"),
    ("push", "breaker_closed"),
    ("push", "no_dead_letters"),
    ("push", "pushed_in_time"),
    ("reconcile", "channel_shows_what_it_must"),
    ("reconcile", "listings_are_mapped"),
)
SNAPSHOT_CHECKS = ("completeness", "freshness", "plausibility", "schema")


def definitions(folder: Path) -> dg.Definitions:
    return build_definitions(load_hub(folder, {}), HubResource(hub_folder=str(folder)))


@pytest.fixture
def two(tmp_path: Path) -> dg.Definitions:
    return definitions(two_channels(tmp_path / "hub"))


def assets(defs: dg.Definitions) -> set[str]:
    graph = defs.get_repository_def().asset_graph
    return {key.to_user_string() for key in graph.get_all_asset_keys()}


def checks(defs: dg.Definitions) -> set[str]:
    graph = defs.get_repository_def().asset_graph
    return {f"{key.asset_key.to_user_string()}:{key.name}" for key in graph.asset_check_keys}


def test_the_assets_of_the_first_hub():
    assert assets(definitions(FIRST_HUB)) == FIRST_HUB_ASSETS


def test_the_assets_of_two_channels_leave_out_the_one_that_is_off(two):
    assert assets(two) == TWO_CHANNEL_ASSETS


def test_the_checks_of_two_channels(two):
    landing = {f"landing/{s}:{check}" for s in ("wms", "till-2") for check in SNAPSHOT_CHECKS}
    channels = {
        f"{asset}/{channel}:{check}"
        for channel in ("web", "pickup")
        for asset, check in CHANNEL_CHECKS
    }
    read = {f"landing/{s}:can_be_read" for s in ("wms", "till-2", "orders")}
    assert checks(two) == COMMON_CHECKS | landing | read | channels


def test_a_bad_shape_and_a_held_wave_block_and_nothing_else_does(two):
    graph = two.get_repository_def().asset_graph
    blocking = {key.name for key in graph.asset_check_keys if graph.get_check_spec(key).blocking}
    assert blocking == {"schema", "completeness", "guard_holds_nothing"}


def test_jobs_sensors_and_schedules(two):
    repository = two.get_repository_def()
    assert {name for name in repository.job_names if not name.startswith("__")} == {
        "sync",
        "land",
        "reconcile",
        "heal",
        "rebuild",
    }
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "sync_sensor",
        "land_sensor",
        "heal_sensor",
    }
    assert {schedule.name for schedule in repository.schedule_defs} == {
        "land_wms",
        "land_till_2d_2",
        "land_orders",
        "reconcile_light",
        "reconcile_full",
    }


def test_everything_that_ticks_runs_by_itself(two):
    repository = two.get_repository_def()
    assert all(s.default_status.value == "RUNNING" for s in repository.sensor_defs)
    assert all(s.default_status.value == "RUNNING" for s in repository.schedule_defs)


def test_every_asset_has_owners_kinds_a_description_and_its_group(two):
    graph = two.get_repository_def().asset_graph
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.owners == ["team:ops_2d_lead", "ann@example.com"]
        assert node.group_name == key.path[0]
        assert node.description
        assert node.kinds


def test_tables_have_a_column_schema(two):
    graph = two.get_repository_def().asset_graph
    without = {
        key.to_user_string()
        for key in graph.get_all_asset_keys()
        if "dagster/column_schema" not in graph.get(key).metadata
    }
    assert without == {"health"}


def test_what_flows_into_what(two):
    graph = two.get_repository_def().asset_graph

    def parents(name: str) -> set[str]:
        node = graph.get(dg.AssetKey.from_user_string(name))
        return {key.to_user_string() for key in node.parent_keys}

    landing = {"landing/wms", "landing/till-2", "landing/orders"}
    assert parents("ledger") == landing
    assert parents("positions") == {"ledger", *landing}
    assert parents("ats/web") == {"positions"}
    assert parents("push/web") == {"ats/web"}
    assert parents("reconcile/web") == {"push/web"}
    assert parents("reconcile/ledger") == {"positions"}


def test_a_channel_cannot_have_the_name_of_a_comparison(tmp_path):
    folder = two_channels(tmp_path / "hub")
    text = (folder / "hub.yaml").read_text().replace("  pickup:", "  ledger:")
    (folder / "hub.yaml").write_text(text)
    with pytest.raises(HubError, match=r"channels\.ledger: this name is taken"):
        definitions(folder)


def test_importing_the_definitions_loads_nothing_heavy():
    code = (
        "import sys, inventory_pipeline.definitions\n"
        "print([m for m in ('pandas', 'pandera', 'duckdb', 'sqlglot') if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HUB_FOLDER": str(FIRST_HUB), "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert answer.stdout.strip() == "[]"


def shown_systems(folder, **environment):
    code = (
        "import inventory_pipeline.definitions as d\n"
        "keys = d.defs.resolve_all_asset_keys()\n"
        "print(sorted(k.to_user_string() for k in keys if k.path[0] == 'landing'))"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        env={
            **{n: v for n, v in os.environ.items() if n != "HUB_POSTGRES_URL"},
            "HUB_FOLDER": str(folder), "PYTHONPATH": str(REPOSITORY), **environment,
        },
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_a_half_edited_folder_leaves_the_definitions_of_the_hub_that_counts(tmp_path, pg_url):
    folder = tmp_path / "hub"
    shutil.copytree(FIRST_HUB, folder)
    before = shown_systems(folder)
    activate_folder(folder, tmp_path / "state", pg_url, by="maria")
    (folder / "hub.yaml").write_text("hub: [")
    after = shown_systems(folder, HUB_POSTGRES_URL=pg_url)
    assert after.returncode == 0, after.stderr
    assert after.stdout == before.stdout
    assert "has mistakes; shown is the hub as it was activated last" in after.stderr
    assert shown_systems(folder).returncode != 0
