"""What a channel shows against what it must be showing: causes, heals, and no false alarms."""

from datetime import timedelta

import pytest

from inventory_pipeline.core.errors import ChannelRefused
from inventory_pipeline.core.vocabulary import Cause, Mode
from inventory_pipeline.flow import reconcile as reconcile_module
from inventory_pipeline.flow.reconcile import heal, reconcile_channel
from inventory_pipeline_tests.flow.test_push import Bench


@pytest.fixture
def bench(pg, tmp_path, monkeypatch):
    bench = Bench(pg, tmp_path, A=10, B=10, C=0)
    bench.want(A=10, B=8, C=0)
    bench.push()
    bench.clock.pass_(minutes=5)
    monkeypatch.setattr(reconcile_module.time, "sleep", lambda s: bench.clock.pass_(seconds=s))
    return bench


def causes(bench, **options):
    report = reconcile_channel(bench.ctx, "web", **options)
    return {variance.external_id: variance.cause for variance in report.variances}


def open_variances(bench):
    with bench.ctx.pg.connection() as connection:
        rows = connection.execute(
            "SELECT external_id, cause, healed_at IS NOT NULL FROM hub.variances"
            " WHERE closed_at IS NULL ORDER BY external_id"
        )
        return rows.fetchall()


def test_a_channel_that_shows_what_it_must_has_no_variance(bench):
    report = reconcile_channel(bench.ctx, "web")
    assert (report.compared, report.variances) == (3, ())


def test_a_number_edited_there_is_named_healed_and_closed(bench):
    bench.channel.levels["A"] = 99
    bench.channel.changed_at["A"] = bench.clock()
    bench.clock.pass_(minutes=1)
    assert causes(bench) == {"A": Cause.UNEXPLAINED}, "A was read, never written by us"
    assert heal(bench.ctx) == {"web": 1}
    assert open_variances(bench) == [("A", "unexplained", True)]
    bench.push()
    assert bench.channel.levels["A"] == 10
    bench.clock.pass_(minutes=1)
    assert causes(bench) == {}
    assert open_variances(bench) == []


def test_an_edit_after_our_write_is_an_external_edit(bench):
    bench.channel.levels["B"] = 50
    bench.channel.changed_at["B"] = bench.clock()
    bench.clock.pass_(minutes=1)
    assert causes(bench) == {"B": Cause.EXTERNAL_EDIT}


def test_the_value_from_before_our_write_is_a_lost_update(bench):
    bench.channel.levels["B"] = 10
    assert causes(bench) == {"B": Cause.LOST_UPDATE}


def test_a_listing_that_is_gone_is_not_listed(bench):
    del bench.channel.levels["C"]
    assert causes(bench) == {"C": Cause.NOT_LISTED}


def test_a_listing_that_no_mapping_knows_is_unmapped(bench):
    bench.channel.levels["X"] = 4
    assert causes(bench) == {"X": Cause.UNMAPPED}


def test_a_failed_push_is_named_only_where_the_number_is_wrong(bench):
    bench.channel.failures = [ChannelRefused("no", system="shop", call="write")]
    bench.want(A=3)
    bench.push()
    assert causes(bench) == {}, "it still shows what it must: the last acknowledged number"
    bench.channel.levels["A"] = 77
    bench.clock.pass_(minutes=1)
    assert causes(bench) == {"A": Cause.PUSH_FAILED}


def test_an_order_that_comes_in_during_the_read_is_no_variance(bench, monkeypatch):
    late = bench.order("A", 2, ingest=False)
    pauses = []

    def the_order_comes_in(seconds):
        bench.clock.pass_(seconds=seconds)
        if not pauses:
            bench.ingest(late)
        pauses.append(seconds)

    monkeypatch.setattr(reconcile_module.time, "sleep", the_order_comes_in)
    report = reconcile_channel(bench.ctx, "web")
    assert report.variances == ()
    assert report.reread >= 1


def test_a_variance_is_opened_once_and_keeps_its_first_time(bench):
    bench.channel.levels["A"] = 99
    causes(bench)
    first = bench.clock.at
    bench.clock.pass_(hours=1)
    causes(bench)
    with bench.ctx.pg.connection() as connection:
        [(seen, last)] = connection.execute(
            "SELECT first_seen, last_seen FROM hub.variances"
        ).fetchall()
    assert seen <= first
    assert last - seen >= timedelta(hours=1)


def test_within_tolerance_is_no_variance(bench):
    from dataclasses import replace
    from decimal import Decimal

    from inventory_pipeline.config.policy import Tolerances

    bench.channel.levels["A"] = 9
    hub = replace(bench.ctx.hub, tolerances=Tolerances(units=Decimal(1)))
    assert reconcile_channel(replace(bench.ctx, hub=hub), "web").variances == ()


def test_a_light_comparison_looks_at_what_was_not_seen_for_longest(bench, monkeypatch):
    monkeypatch.setattr(reconcile_module, "LIGHT_LISTINGS", 1)
    bench.channel.reads.clear()
    reconcile_channel(bench.ctx, "web", full=False)
    bench.clock.pass_(minutes=1)
    reconcile_channel(bench.ctx, "web", full=False)
    assert len(set(bench.channel.reads)) == 2


def test_a_light_comparison_closes_nothing_that_it_did_not_look_at(bench, monkeypatch):
    del bench.channel.levels["C"]
    causes(bench)
    monkeypatch.setattr(bench.ctx.connectors["shop"], "reads", [])
    monkeypatch.setattr(reconcile_module, "LIGHT_LISTINGS", 1)
    reconcile_channel(bench.ctx, "web", full=False)
    assert [row[0] for row in open_variances(bench)] == ["C"]


def test_a_shadow_channel_is_compared_with_desired_and_never_healed(pg, tmp_path):
    bench = Bench(pg, tmp_path, mode=Mode.SHADOW, A=10)
    bench.want(A=7)
    bench.push()
    bench.clock.pass_(minutes=1)
    assert set(causes(bench)) == {"A"}
    assert heal(bench.ctx) == {}
