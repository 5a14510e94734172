"""What a channel shows against what it must be showing: causes, heals, and no false alarms."""

from dataclasses import replace
from datetime import timedelta

import pytest

from inventory_pipeline.core.errors import ChannelBusy, ChannelRefused
from inventory_pipeline.core.ports import LevelPage, ListingRef
from inventory_pipeline.core.vocabulary import Cause, Mode
from inventory_pipeline.flow import reconcile as reconcile_module
from inventory_pipeline.flow.reconcile import heal, reconcile_channel
from inventory_pipeline.memory import modes
from inventory_pipeline_tests.fakes import busy
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


def switch_off(bench):
    with bench.ctx.pg.connection() as connection:
        modes.set_override(connection, "web", Mode.OFF, by="ops", reason="stop", at=bench.clock())


def test_a_channel_that_is_switched_off_is_not_read_to_its_end(bench, monkeypatch):
    bench.channel.levels["A"] = 99
    assert set(causes(bench)) == {"A"}
    monkeypatch.setattr(reconcile_module, "ASKED_WHETHER_STOPPED_S", 0)
    read_levels = bench.channel.read_levels

    def off_after_the_first(listings):
        for level in read_levels(listings):
            yield level
            switch_off(bench)

    monkeypatch.setattr(bench.channel, "read_levels", off_after_the_first)
    bench.channel.reads.clear()
    bench.channel.levels.update(A=10, B=77)
    report = reconcile_channel(bench.ctx, "web")
    assert (report.compared, report.variances) == (0, ())
    assert "switched off" in report.skipped
    assert len(bench.channel.reads) == 2, "not the third"
    assert [row[0] for row in open_variances(bench)] == ["A"], "nothing is opened or closed"
    with bench.ctx.pg.connection() as connection:
        [(failure,)] = connection.execute(
            "SELECT failure FROM hub.reconciliations WHERE finished_at IS NULL"
        ).fetchall()
    assert "switched off" in failure


def test_a_channel_that_is_switched_off_before_it_is_read_again_has_no_new_variance(
    bench, monkeypatch
):
    bench.channel.levels["B"] = 77
    monkeypatch.setattr(reconcile_module.time, "sleep", lambda _seconds: switch_off(bench))
    bench.channel.reads.clear()
    assert causes(bench) == {}
    assert sorted(bench.channel.reads) == ["A", "B", "C"], "once each"
    assert open_variances(bench) == []


class InPages:
    """The channel of a bench, whose full reading breaks off behind pages and can be resumed."""

    def __init__(self, bench, *breaks):
        self.channel = bench.channel
        self.breaks = list(breaks)
        self.asked = []

    def __getattr__(self, name):
        return getattr(self.channel, name)

    def level_pages(self, resume=None):
        names = sorted(self.channel.levels)
        for place in range(int(resume or 0), len(names)):
            if self.breaks and self.breaks[0] == place:
                self.breaks.pop(0)
                raise busy(retry_after_s=3)
            self.asked.append(names[place])
            listing = ListingRef(bucket="main", bucket_external="1", external_id=names[place])
            more = str(place + 1) if place + 1 < len(names) else None
            yield LevelPage(levels=list(self.channel.read_levels([listing])), resume=more)


def in_pages(bench, *breaks):
    pages = InPages(bench, *breaks)
    bench.ctx = replace(bench.ctx, connectors={"shop": pages})
    return pages


def test_a_reading_that_breaks_off_goes_on_in_the_same_comparison(bench, monkeypatch):
    pauses = []
    monkeypatch.setattr(reconcile_module.time, "sleep", pauses.append)
    pages = in_pages(bench, 1, 1, 2)
    report = reconcile_channel(bench.ctx, "web")
    assert (report.compared, report.variances) == (3, ())
    assert pages.asked == ["A", "B", "C"], "each page once"
    assert pauses == [3, 3, 3]


def test_a_reading_that_gets_nowhere_fails_and_leaves_what_was_known(bench):
    bench.channel.levels["A"] = 99
    assert set(causes(bench)) == {"A"}
    bench.channel.levels["B"] = 77
    in_pages(bench, *[1] * 50)
    with pytest.raises(ChannelBusy):
        reconcile_channel(bench.ctx, "web")
    assert [row[0] for row in open_variances(bench)] == ["A"]


def test_a_reading_that_waits_ends_when_the_channel_is_switched_off(bench, monkeypatch):
    monkeypatch.setattr(reconcile_module, "ASKED_WHETHER_STOPPED_S", 0)
    monkeypatch.setattr(reconcile_module.time, "sleep", lambda _seconds: switch_off(bench))
    pages = in_pages(bench, 1, 1)
    assert "switched off" in reconcile_channel(bench.ctx, "web").skipped
    assert pages.asked == ["A"]
