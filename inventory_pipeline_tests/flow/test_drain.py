"""From the ledger to the channel: cycles, crashes between stores, and a drain that stays warm."""

import threading
import time
from dataclasses import replace
from datetime import timedelta

import duckdb
import psycopg
import pytest

from inventory_pipeline.compute.engine import Engine, open_engine
from inventory_pipeline.flow import cycle as cycle_module
from inventory_pipeline.flow.cycle import run_cycle
from inventory_pipeline.flow.drain import drain
from inventory_pipeline.flow.rebuild import rebuild
from inventory_pipeline.flow.times import utc_now
from inventory_pipeline.memory import sync
from inventory_pipeline_tests.fakes import (
    Clock,
    FakeChannel,
    busy,
    context,
    happened,
    land,
    small_hub,
)


@pytest.fixture
def hub(pg, tmp_path):
    clock = Clock()
    ctx = context(
        small_hub(), pg, tmp_path, clock, FakeChannel(clock, levels={"A": 0, "B": 0, "C": 0})
    )
    land(ctx, A=10, B=5, C=0)
    clock.pass_(minutes=1)
    return ctx


def desired(ctx):
    with ctx.pg.connection() as connection:
        rows = connection.execute("SELECT external_id, desired_milli / 1000 FROM hub.outbox")
        return dict(rows.fetchall())


def tables(ctx):
    with open_engine(ctx.duckdb_path) as engine:
        read = (engine.positions(), engine.order_lines(), engine.ats(), engine.desired())
        return [
            table.drop_columns(
                [c for c in ("computed_at", "ledger_offset") if c in table.column_names]
            )
            for table in read
        ]


def quick_drain(ctx, **options):
    reports = []
    result = drain(
        ctx,
        idle=options.pop("idle", timedelta(0)),
        max_run=timedelta(minutes=1),
        report=lambda cycles, pushes: reports.append((cycles, pushes)),
        **options,
    )
    return result, reports


def test_stock_becomes_desired_numbers(hub):
    report = run_cycle(hub)
    assert desired(hub) == {"A": 10, "B": 5, "C": 0}
    assert (report.snapshots, report.changed) == (1, {"web": 3})
    assert run_cycle(hub).idle


def test_one_event_touches_one_sku(hub):
    run_cycle(hub)
    happened(hub, "goods_issued", "A", 4, location="dc")
    report = run_cycle(hub)
    assert (report.skus, report.changed) == (1, {"web": 1})
    assert desired(hub) == {"A": 6, "B": 5, "C": 0}


def test_a_crash_between_the_two_stores_loses_nothing(hub, monkeypatch):
    run_cycle(hub)
    happened(hub, "goods_issued", "A", 4, location="dc")

    def crash(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cycle_module.outbox, "store_desired", crash)
    with pytest.raises(KeyboardInterrupt):
        run_cycle(hub)
    assert desired(hub)["A"] == 10
    monkeypatch.undo()
    run_cycle(hub)
    assert desired(hub)["A"] == 6
    with hub.pg.connection() as connection:
        assert sync.state(connection).behind == 0


@pytest.mark.parametrize("fault", [duckdb.InternalException, duckdb.FatalException])
def test_a_fault_inside_duckdb_repeats_the_cycle_once(hub, monkeypatch, caplog, fault):
    computes = Engine.compute
    faults = [fault("dict-surviving cache: global dictionary column 0 changed identity")]

    def compute(engine, **options):
        if faults:
            raise faults.pop()
        return computes(engine, **options)

    monkeypatch.setattr(Engine, "compute", compute)
    report = run_cycle(hub)
    assert desired(hub) == {"A": 10, "B": 5, "C": 0}
    assert report.changed == {"web": 3}
    [said] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "dict-surviving cache" in said.getMessage()


def test_a_fault_inside_duckdb_that_comes_again_is_raised(hub, monkeypatch):
    engines = []

    def compute(engine, **_):
        engines.append(engine)
        raise duckdb.InternalException("again")

    monkeypatch.setattr(Engine, "compute", compute)
    with pytest.raises(duckdb.InternalException, match="again"):
        run_cycle(hub)
    assert len(set(engines)) == 2


def test_a_crash_before_pending_is_emptied_repeats_harmlessly(hub, monkeypatch):
    def crash(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "clear_pending", crash)
    with pytest.raises(KeyboardInterrupt):
        run_cycle(hub)
    monkeypatch.undo()
    run_cycle(hub)
    assert desired(hub) == {"A": 10, "B": 5, "C": 0}
    with open_engine(hub.duckdb_path) as engine:
        assert engine.pending().num_rows == 0


def test_a_superseded_cycle_stores_nothing(hub):
    with sync.drain_lock(hub.pg, holder="old", wait=True) as old:
        pass
    with (
        sync.drain_lock(hub.pg, holder="new", wait=True),
        pytest.raises(sync.Superseded),
    ):
        run_cycle(hub, old)
    assert desired(hub) == {}


def test_rebuild_makes_the_same_tables(hub):
    run_cycle(hub)
    for sku, units in (("A", 3), ("B", 1), ("A", 2)):
        hub.clock.pass_(seconds=1)
        happened(hub, "goods_issued", sku, units, location="dc")
        run_cycle(hub)
    happened(
        hub, "order_placed", "A", 1, system="shop", order_id="1", line_id="1", channel="web"
    )  # fmt: skip
    run_cycle(hub)
    before = tables(hub)
    report = rebuild(hub)
    assert (report.events, report.snapshots, report.rows) == (4, 1, 3)
    assert tables(hub) == before
    assert desired(hub) == {"A": 4, "B": 4, "C": 0}


def test_a_lost_duckdb_file_is_made_again_by_the_next_cycle(hub):
    run_cycle(hub)
    happened(hub, "goods_issued", "A", 4, location="dc")
    run_cycle(hub)
    before = tables(hub)
    hub.duckdb_path.unlink()
    run_cycle(hub)
    assert tables(hub) == before


def test_a_drain_brings_the_numbers_to_the_channel_and_reports_once(hub):
    result, reports = quick_drain(hub)
    assert hub.connectors["shop"].levels == {"A": 10, "B": 5, "C": 0}
    assert (result.ended, result.pushes["web"].acked) == ("idle", 2)
    assert sum(len(cycles) for cycles, _ in reports) == 1


def test_a_channel_that_fails_is_told_once_and_once_more_when_it_answers(hub, caplog):
    channel = hub.connectors["shop"]
    channel.failures = [busy(retry_after_s=0.5) for _ in range(2)]
    hub = replace(hub, clock=utc_now)
    with caplog.at_level("WARNING", logger="inventory_pipeline"):
        quick_drain(hub, idle=timedelta(seconds=2))
    said = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in said] == ["channel web", "channel web answers again"]
    assert "429" in said[0]
    assert channel.levels == {"A": 10, "B": 5, "C": 0}


def test_only_one_drains(hub):
    with sync.drain_lock(hub.pg, holder="other", wait=True):
        assert quick_drain(hub, wait_for_lock=False)[0].ended == "another drains"


def test_a_warm_drain_answers_an_event_at_once(pg, tmp_path):
    channel = FakeChannel(utc_now, levels={"A": 0, "B": 0, "C": 0})
    ctx = context(small_hub(), pg, tmp_path, utc_now, channel)
    land(ctx, A=10, B=5, C=0)
    ended = []
    thread = threading.Thread(
        target=lambda: ended.append(quick_drain(ctx, idle=timedelta(seconds=1.5))[0])
    )
    thread.start()
    wait_until(lambda: channel.levels["A"] == 10)
    for left in (9, 8, 7):
        happened(ctx, "goods_issued", "A", 1, location="dc")
        wait_until(lambda left=left: channel.levels["A"] == left)
    thread.join()
    assert ended[0].ended == "idle"
    assert ended[0].events == 3


def test_a_drain_whose_lock_is_lost_in_the_middle_stops_and_its_successor_goes_on(pg, tmp_path):
    channel = FakeChannel(utc_now, levels={"A": 0, "B": 0, "C": 0})
    ctx = context(small_hub(), pg, tmp_path, utc_now, channel)
    land(ctx, A=10, B=5, C=0)
    ended = []
    thread = threading.Thread(
        target=lambda: ended.append(quick_drain(ctx, idle=timedelta(seconds=20), holder="first")[0])
    )
    thread.start()
    wait_until(lambda: channel.levels["A"] == 10)
    with psycopg.connect(pg.url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            " AND objid = %s AND database = (SELECT oid FROM pg_database"
            "  WHERE datname = current_database())",
            (sync.DRAIN_LOCK,),
        )
    successor, _ = quick_drain(ctx, holder="second")
    happened(ctx, "goods_issued", "A", 1, location="dc")
    thread.join(timeout=15)
    assert ended[0].ended == "superseded"
    quick_drain(ctx)
    assert channel.levels["A"] == 9
    assert successor.ended == "idle"


def wait_until(holds, timeout=10.0):
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
