"""Snapshots against the ledger, and systems against each other."""

from dataclasses import replace
from datetime import timedelta

import pytest

from inventory_pipeline.core.vocabulary import Cause
from inventory_pipeline.flow.reconcile_sources import reconcile_ledger, reconcile_systems
from inventory_pipeline_tests.fakes import Clock, FakeChannel, context, happened, land, small_hub
from inventory_pipeline_tests.flow.worlds import World

SECOND = timedelta(seconds=1)


@pytest.fixture
def hub(pg, tmp_path):
    clock = Clock()
    ctx = context(small_hub(), pg, tmp_path, clock, FakeChannel(clock))
    land(ctx, A=10, B=5)
    clock.pass_(minutes=1)
    return ctx


def found(report):
    return {(v.sku, v.expected_milli, v.found_milli): v.cause for v in report.variances}


def test_a_first_snapshot_has_nothing_to_be_compared_with(hub):
    report = reconcile_ledger(hub)
    assert (report.compared, report.variances) == (0, ())


def test_a_snapshot_that_the_ledger_foresaw_has_no_variance(hub):
    happened(hub, "goods_issued", "A", 3, location="dc")
    hub.clock.pass_(minutes=1)
    land(hub, A=7, B=5)
    report = reconcile_ledger(hub)
    assert (report.compared, report.variances) == (2, ())


def test_a_missing_unit_is_a_variance_of_the_ledger_until_the_next_snapshot_agrees(hub):
    land(hub, A=9, B=5)
    assert found(reconcile_ledger(hub)) == {("A", 10_000, 9_000): Cause.UNEXPLAINED}
    hub.clock.pass_(minutes=1)
    land(hub, A=9, B=5)
    assert found(reconcile_ledger(hub)) == {}
    with hub.pg.connection() as connection:
        rows = connection.execute("SELECT closed_at IS NOT NULL FROM hub.variances").fetchall()
    assert rows == [(True,)]


def test_an_observation_of_another_system_is_compared_with_the_position(hub):
    land(hub, system="shop", complete=False, A=12, B=5)
    report = reconcile_systems(hub)
    assert found(report) == {("A", 10_000, 12_000): Cause.UNEXPLAINED}
    assert report.variances[0].system == "shop"


def test_an_old_observation_is_a_stale_source(hub):
    land(hub, system="shop", complete=False, A=12)
    hub.clock.pass_(days=2)
    assert set(found(reconcile_systems(hub)).values()) == {Cause.STALE_SOURCE}


def test_a_snapshot_is_compared_as_todays_catalogue_maps_it(tmp_path, pg_url):
    world = World(tmp_path, pg_url)
    world.identifiers("wms,X1,A,1")
    world.open()
    world.snapshot("old", "1,X1,4,0", hours=-3)
    world.snapshot("new", "1,X1,4,0", hours=-2)
    world.identifiers("wms,X1,A,2")
    world.open()
    report = reconcile_ledger(world.ctx)
    world.close()
    assert (report.compared, found(report)) == (2, {})


def test_a_difference_within_tolerance_is_none(hub):
    from decimal import Decimal

    from inventory_pipeline.config.policy import Tolerances

    land(hub, A=9, B=5)
    tolerant = replace(hub.hub, tolerances=Tolerances(units=Decimal(1)))
    assert found(reconcile_ledger(replace(hub, hub=tolerant))) == {}


def causes(report):
    return {v.sku: v.cause for v in report.variances}


def test_an_event_that_came_after_the_snapshot_explains_it_and_is_harmless(hub):
    land(hub, A=7, B=5)
    happened(hub, "goods_issued", "A", 3, location="dc", occurred_at=hub.clock() - SECOND)
    [variance] = reconcile_ledger(hub).variances
    assert (variance.cause, variance.expected_milli) == (Cause.LATE_EVENT, 10_000)
    assert len(variance.evidence["events"]) == 1
    assert not variance.alert
    hub.clock.pass_(minutes=1)
    land(hub, A=7, B=5)
    assert causes(reconcile_ledger(hub)) == {}, "closed by the next snapshot"


def test_a_late_event_that_the_snapshot_does_not_have_is_named_too(hub):
    land(hub, A=10, B=5)
    happened(hub, "goods_issued", "A", 3, location="dc", occurred_at=hub.clock() - SECOND)
    [variance] = reconcile_ledger(hub).variances
    assert (variance.cause, variance.expected_milli) == (Cause.LATE_EVENT, 7_000)


def test_an_event_that_the_warehouse_counted_twice(hub):
    event = happened(hub, "goods_issued", "A", 3, location="dc")
    hub.clock.pass_(minutes=1)
    land(hub, A=4, B=5)
    [variance] = reconcile_ledger(hub).variances
    assert variance.cause is Cause.DUPLICATE_EFFECT
    assert variance.evidence["events"] == [event.event_id]


def test_an_event_that_came_under_two_ids_counts_twice_in_the_ledger(hub):
    for _ in range(2):
        happened(hub, "goods_issued", "A", 3, location="dc")
    hub.clock.pass_(minutes=1)
    land(hub, A=7, B=5)
    assert causes(reconcile_ledger(hub)) == {"A": Cause.DUPLICATE_EFFECT}


def test_what_a_complete_snapshot_leaves_out_is_nothing(hub):
    land(hub, A=10)
    assert found(reconcile_ledger(hub)) == {("B", 5_000, 0): Cause.UNEXPLAINED}


def test_an_item_that_no_mapping_knows_is_named_until_it_is_mapped(tmp_path, pg_url):
    world = World(tmp_path, pg_url)
    world.identifiers("wms,X1,A,1")
    world.open()
    world.snapshot("new", "1,X1,4,0", "1,NOBODY,7,0", hours=-2)
    [variance] = reconcile_systems(world.ctx).variances
    world.close()
    assert (variance.cause, variance.external_id) == (Cause.UNMAPPED, "NOBODY")
    assert (variance.system, variance.found_milli) == ("wms", 7_000)
    assert variance.alert
