"""The jobs over a real hub: what lands, what stops, and what the assets show afterwards."""

from pathlib import Path

import dagster as dg
import pytest

from inventory_pipeline.config.load import load_hub
from inventory_pipeline.defs.build import build_definitions
from inventory_pipeline.defs.reporter import Beside, Reporter, pool_connections
from inventory_pipeline.defs.resources import HubResource
from inventory_pipeline.flow.cycle import run_cycle
from inventory_pipeline_tests.defs.hubs import snapshot, two_channels
from inventory_pipeline_tests.fakes import Clock, context, land, small_hub

DAY = "2026-03-02T{:02}:00:00Z"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = two_channels(tmp_path / "hub")
    rows = [("dc", "SHIRT", 4), ("dc", "MUG", 7)]
    snapshot(folder, "1.csv", *rows, as_of=DAY.format(8))
    return folder


class Ran:
    """A run, and the facts that its events tell."""

    def __init__(self, result: dg.ExecuteInProcessResult) -> None:
        self.success = result.success
        self.materialized: dict[str, dict[str, object]] = {}
        self.checks: dict[str, tuple[bool, str]] = {}
        for event in result.all_events:
            if event.is_step_materialization:
                found = event.step_materialization_data.materialization
                values = {name: value.value for name, value in found.metadata.items()}
                self.materialized[found.asset_key.to_user_string()] = values
            elif event.event_type_value == "ASSET_CHECK_EVALUATION":
                check = event.asset_check_evaluation_data
                name = f"{check.asset_key.to_user_string()}:{check.check_name}"
                self.checks[name] = (check.passed, check.description)


@pytest.fixture
def run(folder: Path, pg_url: str, tmp_path: Path):
    """Runs a job of the hub in this process."""
    resource = HubResource(
        hub_folder=str(folder), state=str(tmp_path / "state"), postgres_url=pg_url
    )
    repository = build_definitions(load_hub(folder, {}), resource).get_repository_def()
    with dg.DagsterInstance.ephemeral() as instance:

        def run(job: str, *assets: str) -> Ran:
            selection = [dg.AssetKey.from_user_string(asset) for asset in assets]
            return Ran(
                repository.get_job(job).execute_in_process(
                    instance=instance, raise_on_error=False, asset_selection=selection or None
                )
            )

        yield run


def test_stock_lands_and_a_sync_reports_on_the_assets(run):
    landed = run("land", "landing/wms")
    assert landed.success
    assert landed.materialized["landing/wms"]["dagster/row_count"] == 2
    assert landed.checks["landing/wms:schema"][0]
    assert not landed.checks["landing/wms:freshness"][0]
    assert "landing/till-2:schema" not in landed.checks

    synced = run("sync")
    assert synced.success
    assert set(synced.materialized) == {
        "ledger",
        "positions",
        "ats/web",
        "ats/pickup",
        "push/web",
        "push/pickup",
    }
    assert synced.materialized["ats/web"]["listings_changed"] == 2
    assert synced.materialized["push/web"]["shadow"] == 2
    assert synced.checks["ats/web:no_negative_ats"][0]
    assert synced.checks["ledger:gapless_offsets"][0]

    rebuilt = run("rebuild")
    assert rebuilt.materialized["positions"]["dagster/row_count"] == 2
    lineage = rebuilt.materialized["ats/web"]["dagster/column_lineage"]
    assert lineage.deps_by_column["available_milli"]


def test_a_refused_snapshot_fails_its_blocking_check_and_stops_the_run(run, folder):
    assert run("land").success
    snapshot(folder, "2.csv", ("dc", "SHIRT", 4), as_of=DAY.format(9))  # half of the rows
    refused = run("land")
    assert not refused.success
    passed, why = refused.checks["landing/wms:completeness"]
    assert not passed
    assert "landing/wms/2.csv was rejected (max_drop)" in why
    assert refused.checks["landing/wms:schema"][0]
    assert "ledger" not in refused.materialized

    (folder / "landing" / "wms" / "3.csv").write_text("item,on_hand\nSHIRT,4\n")
    shapeless = run("land", "landing/wms")
    assert "(missing_columns)" in shapeless.checks["landing/wms:schema"][1]


def test_a_full_reconciliation_ends_with_health(run):
    run("land")
    run("sync")
    compared = run("reconcile")
    assert compared.success
    assert compared.materialized["health"]["entries_behind"] == 0
    assert compared.checks["reconcile/web:channel_shows_what_it_must"] == (
        True,
        "orders cannot be asked what it shows: nothing to compare",
    )
    assert compared.checks["reconcile/systems:no_open_variances"][0]


def test_a_broken_hub_is_one_message(run, folder):
    (folder / "hub.yaml").write_text("hub: [")
    failed = run("heal")
    assert not failed.success


@pytest.fixture
def reporting(pg, tmp_path):
    clock = Clock()
    ctx = context(small_hub(), pg, tmp_path, clock)
    land(ctx, A=10, B=5)
    return ctx, clock


def test_a_report_is_one_materialization_an_asset_and_checks_follow_at_a_distance(reporting):
    ctx, clock = reporting
    written: list[object] = []
    reporter = Reporter(written.append, ctx)
    clock.pass_(minutes=1)
    reporter.report([run_cycle(ctx), run_cycle(ctx)], [])
    keys = [e.asset_key.to_user_string() for e in written if isinstance(e, dg.AssetMaterialization)]
    assert keys == ["ledger", "positions", "ats/web"]
    checked = [e.asset_key.path[0] for e in written if isinstance(e, dg.AssetCheckEvaluation)]
    assert list(dict.fromkeys(checked)) == ["ledger", "positions", "ats"]
    written.clear()
    clock.pass_(seconds=5)
    reporter.report([], [])
    assert written == []


def test_reports_wait_while_dagsters_storage_is_away(reporting):
    from sqlalchemy.exc import OperationalError

    ctx, _ = reporting
    away, written = [True], []

    def write(event: object) -> None:
        if away[0]:
            raise OperationalError("INSERT", {}, Exception("connection refused"))
        written.append(event)

    reporter = Reporter(write, ctx)
    reporter.report([run_cycle(ctx)], [])
    assert written == []
    away[0] = False
    reporter.close()
    kept = [e for e in written if isinstance(e, dg.AssetMaterialization)]
    assert len(kept) == 3
    assert len(written) > 3


def test_a_report_that_fails_is_logged_and_the_next_is_made(reporting, caplog):
    ctx, _ = reporting
    written: list[object] = []

    def write(event: object) -> None:
        if not caplog.records:
            raise RuntimeError("unforeseen")
        written.append(event)

    beside = Beside(Reporter(write, ctx))
    beside.report([run_cycle(ctx)], [])
    land(ctx, A=9)
    beside.report([run_cycle(ctx)], [])
    beside.close()
    assert "could not be made" in caplog.text
    assert [e.asset_key.to_user_string() for e in written][:2] == ["ledger", "positions"]


def test_pooled_connections_are_a_wish_and_not_a_need():
    asked = []

    class Plain:
        def optimize_for_webserver(self, **wishes: object) -> None:
            asked.append(wishes)
            raise TypeError("not here")

    pool_connections(Plain())
    assert len(asked) == 1
