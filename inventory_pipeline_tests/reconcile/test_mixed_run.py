"""Ten thousand variances of known cause, among listings where nothing is wrong."""

from collections import Counter
from dataclasses import replace

import pytest

from inventory_pipeline.core.vocabulary import Cause
from inventory_pipeline.flow import reconcile as reconcile_module
from inventory_pipeline.flow.heal import heal
from inventory_pipeline.flow.reconcile import reconcile_channel
from inventory_pipeline.flow.reconcile_sources import reconcile_ledger, reconcile_systems
from inventory_pipeline.memory import variance_views as views
from inventory_pipeline_tests.fakes import Clock, context, happened, land
from inventory_pipeline_tests.reconcile.plants import SOLD, Field, Shelf, wide_hub

PLANTED = {
    Cause.IN_FLIGHT: 700,
    Cause.NOT_YET_APPLIED: 700,
    Cause.PUSH_FAILED: 900,
    Cause.UNMAPPED: 800,
    Cause.NOT_LISTED: 800,
    Cause.ORDER_NOT_INGESTED: 900,
    Cause.LOST_UPDATE: 900,
    Cause.DUPLICATE_EFFECT: 900,
    Cause.ROUNDING: 700,
    Cause.EXTERNAL_EDIT: 900,
    Cause.UNEXPLAINED: 800,
}
OF_SOURCES = 1_000
INNOCENT = 6_000
SOLD_BEFORE = 1_000  # sold, ingested and counted: as it should be
SOLD_MEANWHILE = 500  # their orders come in while the channel is read


@pytest.fixture
def field(pg, tmp_path):
    clock = Clock()
    shelf = Shelf(clock)
    skus = [f"S{number:05d}" for number in range(sum(PLANTED.values()) + INNOCENT)]
    return Field(context(wide_hub(skus), pg, tmp_path, clock, shelf), shelf, skus)


def test_ten_thousand_planted_variances_are_named_and_nothing_else_is(field, monkeypatch):
    assert sum(PLANTED.values()) + OF_SOURCES == 10_000
    for cause, count in PLANTED.items():
        field.plant(cause, count)
    before, meanwhile = field.take(SOLD_BEFORE), field.take(SOLD_MEANWHILE)
    field.ingest(field.sold(before))
    field.moves([*before, *meanwhile], -SOLD * 1000)
    late = field.sold(meanwhile, prefix="late")

    def time_passes(seconds):
        field.ctx.clock.pass_(seconds=seconds)
        if late:
            field.ingest(late.copy())
            late.clear()

    monkeypatch.setattr(reconcile_module.time, "sleep", time_passes)
    report = reconcile_channel(field.ctx, "web")
    named = {variance.external_id: variance.cause for variance in report.variances}
    assert not set(field.truth) - set(named), "missed"
    assert not set(named) - set(field.truth), "invented"
    wrong = Counter(
        (str(cause), str(named[sku])) for sku, cause in field.truth.items() if named[sku] != cause
    )
    assert sum(wrong.values()) * 100 <= len(field.truth), wrong
    assert report.opened == len(field.truth)
    every_variance_is_stored_with_its_evidence(field)
    what_can_be_done_is_done(field)


def every_variance_is_stored_with_its_evidence(field):
    with field.ctx.pg.connection() as connection:
        stored = dict(
            connection.execute(
                "SELECT cause, count(*) FROM hub.variances WHERE closed_at IS NULL GROUP BY cause"
            ).fetchall()
        )
        rows = views.open_variances(connection, cause=Cause.DUPLICATE_EFFECT, limit=10)
        groups = views.systemic_groups(connection)
    assert stored == {str(cause): count for cause, count in PLANTED.items()}
    assert all(row.evidence["events"] == [f"twice-{row.sku}"] for row in rows)
    assert all(row.value == 2 * SOLD for row in rows), "3 units at 2 each"
    assert ("channel", "web") in {(group.dimension, group.value) for group in groups}


def what_can_be_done_is_done(field):
    repushed = (Cause.LOST_UPDATE, Cause.DUPLICATE_EFFECT, Cause.EXTERNAL_EDIT, Cause.UNEXPLAINED)
    sendable = sum(PLANTED[cause] for cause in repushed)
    failed_only = PLANTED[Cause.PUSH_FAILED] // 3  # the dead and the held ones wait
    ingested = PLANTED[Cause.ORDER_NOT_INGESTED]
    heal(field.ctx, most=1_000)
    with field.ctx.pg.connection() as connection:
        decided = "SELECT count(*) FROM hub.variances WHERE healed_at IS NOT NULL"
        assert connection.execute(decided).fetchone() == (1_000,), "a ceiling per run"
    assert sum(heal(field.ctx).values()) == sendable + failed_only + ingested
    assert heal(field.ctx) == {}, "once"
    with field.ctx.pg.connection() as connection:
        done = dict(
            connection.execute("SELECT action, count(*) FROM hub.heals GROUP BY action").fetchall()
        )
        [(orders,)] = connection.execute(
            "SELECT count(*) FROM hub.ledger WHERE event_id LIKE 'lost-%'"
        ).fetchall()
    assert done["repush"] + done["repush_and_alert"] == sendable + failed_only
    assert done["ingest"] == ingested == orders
    assert done["wait"] == PLANTED[Cause.PUSH_FAILED] - failed_only


LEDGER = {Cause.DUPLICATE_EFFECT: 150, Cause.LATE_EVENT: 150, Cause.UNEXPLAINED: 150}
SYSTEMS = {
    Cause.DUPLICATE_EFFECT: 100,
    Cause.LATE_EVENT: 100,
    Cause.ROUNDING: 100,  # a team that counts in cases of twelve
    Cause.STALE_SOURCE: 150,  # a count of two days ago
    Cause.UNEXPLAINED: 100,
}
STOOD = 40
FOUND = {
    Cause.DUPLICATE_EFFECT: STOOD - 2 * SOLD,
    Cause.LATE_EVENT: STOOD - SOLD,
    Cause.ROUNDING: 36,
    Cause.STALE_SOURCE: 29,
    Cause.UNEXPLAINED: 29,
}


class Cells:
    """Skus by the cause that is planted at them; as many others where nothing is wrong."""

    def __init__(self, planted, skus):
        self.truth = {sku: cause for cause, count in planted.items() for sku in take(skus, count)}
        self.innocent = take(skus, len(self.truth))

    def of(self, *causes):
        return [sku for sku, cause in self.truth.items() if cause in causes]

    def counted(self, *causes):
        """What a system says of these."""
        return {sku: FOUND[self.truth[sku]] for sku in self.of(*causes)}

    def innocents(self):
        return dict.fromkeys(self.innocent, STOOD)


def take(skus, count):
    return [next(skus) for _ in range(count)]


def issued(ctx, skus, **more):
    for sku in skus:
        happened(ctx, "goods_issued", sku, SOLD, location="dc", **more)


def test_a_thousand_cells_of_snapshots_are_named_and_no_other_is(pg, tmp_path):
    assert sum(LEDGER.values()) + sum(SYSTEMS.values()) == OF_SOURCES
    clock = Clock()
    skus = [f"S{number:05d}" for number in range(2 * OF_SOURCES)]
    names = iter(skus)
    owner, others = Cells(LEDGER, names), Cells(SYSTEMS, names)
    ctx = context(with_counters(wide_hub(skus)), pg, tmp_path, clock, Shelf(clock))
    land(ctx, **dict.fromkeys(skus, STOOD))
    clock.pass_(minutes=10)
    stale = others.counted(Cause.STALE_SOURCE)
    land(ctx, system="old", complete=False, **stale, **others.innocents())
    clock.pass_(days=2)
    issued(ctx, owner.of(Cause.DUPLICATE_EFFECT))
    owners_moved_at = clock()
    clock.pass_(minutes=10)
    land(ctx, **{**dict.fromkeys(skus, STOOD), **owner.counted(*LEDGER)})
    clock.pass_(minutes=10)
    issued(ctx, others.of(Cause.DUPLICATE_EFFECT))
    others_moved_at = clock()
    clock.pass_(minutes=10)
    land(ctx, system="cases", complete=False, unit=12, **others.counted(Cause.ROUNDING))
    units = (Cause.DUPLICATE_EFFECT, Cause.LATE_EVENT, Cause.UNEXPLAINED)
    land(ctx, system="team", complete=False, **others.counted(*units), **others.innocents())
    issued(ctx, owner.of(Cause.LATE_EVENT), occurred_at=owners_moved_at)
    issued(ctx, others.of(Cause.LATE_EVENT), occurred_at=others_moved_at)
    clock.pass_(minutes=1)
    of_ledger, of_systems = reconcile_ledger(ctx), reconcile_systems(ctx)
    assert {v.sku: v.cause for v in of_ledger.variances} == owner.truth
    assert {v.sku: v.cause for v in of_systems.variances} == others.truth
    assert len(of_systems.variances) == len(others.truth), "one a cell"
    assert of_ledger.compared == len(skus)
    assert of_systems.compared == len(others.truth) + 2 * len(others.innocent)


def with_counters(hub):
    """Systems that count what the warehouse owns: in cases, in units, and long ago."""
    counters = {name: replace(hub.systems["shop"], id=name) for name in ("cases", "team", "old")}
    return replace(hub, systems={**hub.systems, **counters})
