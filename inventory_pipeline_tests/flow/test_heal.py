"""What is done about variances: by cause, recorded, with a ceiling; and what only people may do."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.ports import Capabilities, Completion, MovesAt, Write
from inventory_pipeline.core.vocabulary import Cause
from inventory_pipeline.flow import reconcile as reconcile_module
from inventory_pipeline.flow.cycle import run_cycle
from inventory_pipeline.flow.derived import derived
from inventory_pipeline.flow.heal import heal
from inventory_pipeline.flow.rebaseline import rebaseline
from inventory_pipeline.flow.reconcile import reconcile_channel
from inventory_pipeline.flow.reconcile_sources import reconcile_systems
from inventory_pipeline.memory import audit, heals, sightings
from inventory_pipeline.memory import variance_views as views
from inventory_pipeline_tests.fakes import Clock, FakeChannel, context, land, small_hub
from inventory_pipeline_tests.flow.test_push import Bench
from inventory_pipeline_tests.reconcile.plants import Field, Shelf, wide_hub


@pytest.fixture
def field(pg, tmp_path, monkeypatch):
    clock = Clock()
    shelf = Shelf(clock)
    skus = [f"S{number:03d}" for number in range(100)]
    field = Field(context(wide_hub(skus), pg, tmp_path, clock, shelf), shelf, skus)
    monkeypatch.setattr(
        reconcile_module.time, "sleep", lambda seconds: clock.pass_(seconds=seconds)
    )
    return field


def causes(field, **options):
    report = reconcile_channel(field.ctx, "web", **options)
    return {variance.external_id: variance.cause for variance in report.variances}


def with_heal(field, **policy):
    channel = replace(field.ctx.hub.channels["web"], heal=policy)
    return replace(field.ctx, hub=replace(field.ctx.hub, channels={"web": channel}))


def asked(field, query):
    with field.ctx.pg.connection() as connection:
        return connection.execute(query).fetchall()


def test_hub_yaml_may_say_otherwise(field):
    field.plant(Cause.LOST_UPDATE, 1)
    ctx = with_heal(field, lost_update="alert")
    reconcile_channel(ctx, "web")
    assert heal(ctx) == {}
    with field.ctx.pg.connection() as connection:
        [row] = views.alerts_due(connection)
    assert (row.cause, row.heal) == ("lost_update", "alert")


def test_what_is_left_alone_is_decided_once(field):
    field.plant(Cause.ROUNDING, 1)
    for _ in range(3):
        causes(field)
        heal(field.ctx)
        field.ctx.clock.pass_(hours=1)
    assert asked(field, "SELECT action, count(*) FROM hub.heals GROUP BY action") == [("none", 1)]


def test_what_does_not_help_three_times_is_told_to_a_person(field):
    field.plant(Cause.LOST_UPDATE, 1)
    for _ in range(5):
        causes(field)
        heal(field.ctx)
        field.ctx.clock.pass_(hours=1)
    actions = asked(field, "SELECT action FROM hub.heals ORDER BY heal_id")
    assert actions == [("repush",)] * 3 + [("alert",)]


def test_an_open_breaker_makes_a_repush_wait_until_it_closes(field):
    [sku] = field.plant(Cause.LOST_UPDATE, 1)
    causes(field)
    asked_ = "INSERT INTO hub.breakers (channel, state, why) VALUES ('web', 'open', '503')"
    with field.ctx.pg.connection() as connection:
        connection.execute(asked_)
    assert heal(field.ctx) == {}
    with field.ctx.pg.connection() as connection:
        connection.execute("UPDATE hub.breakers SET state = 'closed'")
    field.ctx.clock.pass_(minutes=1)
    causes(field)
    assert heal(field.ctx) == {"web": 1}
    results = asked(field, "SELECT result FROM hub.heals ORDER BY heal_id")
    assert results[0] == ("waits: the breaker of its channel is open",)
    assert [row[0] for row in asked(field, "SELECT sku FROM hub.outbox WHERE unread")] == [sku]


def test_a_breaker_that_is_open_explains_a_listing_that_waits_to_be_sent(field):
    [sku] = field.take(1)
    field.moves([sku], -5000)
    with field.ctx.pg.connection() as connection:
        connection.execute("UPDATE hub.outbox SET desired_milli = 1000 WHERE sku = %s", (sku,))
        connection.execute(
            "INSERT INTO hub.breakers (channel, state, why) VALUES ('web', 'open', '503')"
        )
    assert causes(field) == {sku: Cause.PUSH_FAILED}


def test_an_eventual_channel_has_its_time_to_show_what_it_took(field):
    field.shelf.capabilities = Capabilities(
        levels=True, write=Write.ABSOLUTE, completion=Completion.EVENTUAL,
        moves_at=MovesAt.NONE, applied_within=timedelta(hours=2),
    )  # fmt: skip
    [sku] = field.plant(Cause.LOST_UPDATE, 1)
    assert causes(field) == {sku: Cause.NOT_YET_APPLIED}
    field.ctx.clock.pass_(hours=2)
    assert causes(field) == {sku: Cause.LOST_UPDATE}


def test_a_person_may_decide_about_one_variance(field):
    field.plant(Cause.LOST_UPDATE, 3)
    causes(field)
    [(number,), *_] = asked(field, "SELECT variance_id FROM hub.variances ORDER BY variance_id")
    assert heal(field.ctx, by="ada", only=[number]) == {"web": 1}
    with field.ctx.pg.connection() as connection:
        [done] = heals.heals_of(connection, variance_id=number)
    assert (done.by, done.action) == ("ada", "repush")


def test_a_comparison_that_cannot_be_made_changes_nothing(field, monkeypatch):
    from inventory_pipeline.core.errors import ChannelBusy

    field.plant(Cause.LOST_UPDATE, 2)
    causes(field)

    def fails(listings):
        raise ChannelBusy("503", system="shop", call="read", retry_after_s=1)
        yield

    monkeypatch.setattr(field.shelf, "read_levels", fails)
    with pytest.raises(ChannelBusy):
        causes(field)
    assert asked(field, "SELECT count(*) FROM hub.variances WHERE closed_at IS NULL") == [(2,)]
    assert asked(field, "SELECT count(*) FROM hub.reconciliations WHERE failure LIKE '%503%'") == [
        (1,)
    ]


def test_within_a_day_light_comparisons_see_every_listing(field, monkeypatch):
    monkeypatch.setattr(reconcile_module, "LIGHT_LISTINGS", 1)
    began = field.ctx.clock()
    compared = []
    for _ in range(24):
        report = reconcile_channel(field.ctx, "web", full=False)
        compared.append(report.compared)
        field.ctx.clock.pass_(hours=1)
    with field.ctx.pg.connection() as connection:
        oldest = sightings.oldest_seen(connection, "web")
    assert oldest is not None, "one was never seen"
    assert oldest >= began
    assert max(compared) <= 2 * sightings.hourly(100, least=1)


def test_a_light_comparison_looks_at_what_differs_first(field, monkeypatch):
    monkeypatch.setattr(reconcile_module, "LIGHT_LISTINGS", 1)
    monkeypatch.setattr(sightings, "PARTS_OF_A_DAY", 100)
    skus = field.plant(Cause.LOST_UPDATE, 1)
    causes(field)
    field.ctx.clock.pass_(hours=1)
    assert set(causes(field, full=False)) == set(skus)


@pytest.fixture
def stock(pg, tmp_path):
    """The warehouse says 10 of A, the shop has seen 12."""
    clock = Clock()
    ctx = context(small_hub(), pg, tmp_path, clock, FakeChannel(clock))
    land(ctx, A=10, B=5)
    clock.pass_(minutes=1)
    land(ctx, system="shop", complete=False, A=12, B=5)
    clock.pass_(minutes=1)
    reconcile_systems(ctx)
    return ctx


def decide(ctx, **options):
    given = {"location": "dc", "by": "ada", "reason": "counted", "at": ctx.clock(), **options}
    return rebaseline(ctx.pg, ctx.hub, "A", **given)


def on_hand(ctx, sku):
    run_cycle(ctx)
    with derived(ctx) as engine:
        [row] = [row for row in engine.positions().to_pylist() if row["sku"] == sku]
    return row["on_hand_milli"] // 1000


def test_a_person_decides_that_what_was_observed_is_right(stock):
    assert on_hand(stock, "A") == 10
    done = decide(stock)
    assert (done.system, done.units, done.repeated) == ("wms", Decimal(2), False)
    assert on_hand(stock, "A") == 12
    with stock.pg.connection() as connection:
        [act] = audit.recent(connection, action="variance.rebaseline")
        [row] = views.open_variances(connection, sku="A")
    assert (act.by, act.detail["found_milli"]) == ("ada", 12_000)
    assert (row.heal, row.variance_id) == ("rebaseline", done.variance_id)


def test_the_same_decision_twice_counts_once(stock):
    decide(stock)
    assert decide(stock).repeated
    assert on_hand(stock, "A") == 12


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"location": "moon"}, "no location"),
        ({"reason": " "}, "needs a reason"),
        ({"units": Decimal("0.5")}, "decimals"),
        ({"units": Decimal(0)}, "nothing to adjust"),
    ],
)
def test_a_decision_that_makes_no_sense_is_refused(stock, options, said):
    with pytest.raises(HubError, match=said):
        decide(stock, **options)


def test_without_an_observation_a_person_must_say_how_much(stock):
    with pytest.raises(HubError, match="--units"):
        rebaseline(stock.pg, stock.hub, "B", location="dc", by="ada", reason="r", at=stock.clock())
    done = rebaseline(
        stock.pg, stock.hub, "B", location="dc", by="ada", reason="r", at=stock.clock(),
        units=Decimal(-1),
    )  # fmt: skip
    assert done.variance_id is None
    assert on_hand(stock, "B") == 4


def test_a_bench_without_variances_heals_nothing(pg, tmp_path):
    assert heal(Bench(pg, tmp_path, A=1).ctx) == {}
