"""The guard: what would change too much at once is held, orders pass, and people decide."""

from dataclasses import replace
from decimal import Decimal

import pytest

from inventory_pipeline.config.policy import BundlePart, Guard
from inventory_pipeline.core.vocabulary import Mode, MovesAt
from inventory_pipeline.flow.guard import guard_state, judge
from inventory_pipeline.memory import audit, guard, modes
from inventory_pipeline_tests.flow.guarded import CHANNEL, Guarded


@pytest.fixture
def hub(pg, tmp_path):
    """A hundred listings that show 40."""
    hub = Guarded(pg, tmp_path, 100)
    hub.shows(**hub.every(40))
    return hub


def bad_import(hub, count=60, number=0):
    hub.imported()
    hub.want(**hub.every(number, count))
    return hub.push()


def test_an_import_that_zeroes_a_channel_is_held_and_nothing_of_it_is_sent(hub):
    judged = bad_import(hub)
    assert (judged.send, judged.held, judged.newly_held) == ([], 60, 60)
    assert set(hub.shown().values()) == {40}
    assert hub.planned() == [], "what is held is no work that waits"
    [first, *rest] = hub.held()
    assert len(rest) == 59
    assert (first.from_milli, first.desired_milli) == (40_000, 0)
    assert "60 of 100 listings would go to zero or move by more than 50 %" in first.why


def test_what_moves_little_passes_beside_what_is_held(hub):
    hub.imported()
    hub.want(**hub.every(0, 60) | {"S99": 38})
    judged = hub.push()
    assert [write.row.sku for write in judged.send] == ["S99"]
    assert judged.newly_held == 60


def test_nineteen_listings_never_trip(pg, tmp_path):
    hub = Guarded(pg, tmp_path, 19)
    hub.shows(**hub.every(40))
    assert bad_import(hub, 19).newly_held == 0
    assert set(hub.shown().values()) == {0}


def test_exactly_the_share_passes_and_one_more_does_not(pg, tmp_path):
    hub = Guarded(pg, tmp_path, 200)
    hub.shows(**hub.every(40))
    assert bad_import(hub, 40).newly_held == 0
    hub.want(S199=0)
    assert hub.push().newly_held == 1


def test_exactly_the_percentage_is_no_great_move(hub):
    assert bad_import(hub, 60, 20).newly_held == 0
    assert bad_import(hub, 60, 9).newly_held == 60


def test_a_rise_is_a_move_as_well_but_not_one_from_zero(hub):
    assert bad_import(hub, 60, 61).newly_held == 60


def test_a_first_fill_passes(pg, tmp_path):
    hub = Guarded(pg, tmp_path, 100)
    hub.shows(**hub.every(0))
    assert bad_import(hub, 100, 40).newly_held == 0
    assert set(hub.shown().values()) == {40}


def test_a_first_fill_that_would_empty_a_full_shop_is_held(pg, tmp_path):
    hub = Guarded(pg, tmp_path, 100)
    hub.shows(**hub.every(12))
    with hub.ctx.pg.connection() as connection:
        connection.execute("UPDATE hub.outbox SET right_upto = NULL")
    assert bad_import(hub, 100, 0).newly_held == 100


def test_a_slow_trickle_trips_as_well(hub):
    passed = 0
    for step in range(12):
        hub.imported()
        hub.want(**dict.fromkeys(hub.skus[step * 2 : step * 2 + 2], 0))
        passed += len(hub.push().send)
        hub.pass_(seconds=60)
    assert passed == 20
    assert len(hub.held()) == 4


def test_a_trickle_of_small_steps_trips_as_well(hub):
    for number in (30, 22, 18):
        judged = bad_import(hub, 60, number)
        hub.pass_(seconds=60)
    assert judged.newly_held == 60


def test_a_trickle_is_seen_by_a_process_that_begins_in_the_middle_of_it(hub):
    bad_import(hub, 20)
    hub.again()
    hub.want(S50=0, S51=0)
    assert hub.push().newly_held == 2


def test_what_was_sent_before_the_window_does_not_count(hub):
    bad_import(hub, 20)
    hub.pass_(minutes=16)
    hub.want(S50=0, S51=0)
    assert hub.push().newly_held == 0


def test_what_went_and_came_back_within_the_window_does_not_count(hub):
    bad_import(hub, 20)
    bad_import(hub, 20, 40)
    hub.want(**dict.fromkeys(hub.skus[50:70], 0))
    assert hub.push().newly_held == 0


def test_listings_that_wait_for_another_batch_count(hub):
    hub.imported()
    hub.want(**hub.every(0, 60))
    assert hub.push(hub.planned()[:5]).newly_held == 5


def test_an_import_between_two_batches_is_counted_though_the_last_count_was_low(hub):
    hub.imported()
    hub.want(S0=0)
    assert hub.push().newly_held == 0
    hub.want(**hub.every(0, 60))
    assert hub.push(hub.planned()[:1]).newly_held == 1


def test_sales_pass_while_an_import_is_held(hub):
    hub.imported()
    for number, sku in enumerate(hub.skus[60:]):
        hub.sold(sku, 40, number)
    hub.want(**hub.every(0))
    judged = hub.push()
    assert {write.row.sku for write in judged.send} == set(hub.skus[60:])
    assert judged.newly_held == 60


def test_a_flash_sale_is_never_held(hub):
    for number, sku in enumerate(hub.skus):
        hub.sold(sku, 40, number)
    hub.want(**hub.every(0))
    assert hub.push().newly_held == 0


def test_a_rule_that_makes_an_order_count_for_more_is_still_an_order(hub):
    """min_display shows 0 below 5: four units sold, forty taken away."""
    for number, sku in enumerate(hub.skus):
        hub.sold(sku, 4, number)
    hub.want(**hub.every(0))
    assert hub.push().newly_held == 0


def test_a_few_orders_do_not_excuse_an_import(hub):
    hub.imported()
    for number, sku in enumerate(hub.skus):
        hub.sold(sku, 4, number)
    hub.want(**hub.every(0))
    assert hub.push().newly_held == 100


def test_what_the_channel_sold_itself_does_not_excuse_an_import(hub):
    """It shows 20 by its own sales; that it would show 0 is the import's doing."""
    hub.imported()
    for number, sku in enumerate(hub.skus):
        hub.sold(sku, 20, number, system="shop", channel=CHANNEL)
    hub.want(**hub.every(0))
    judged = hub.push()
    assert (judged.send, judged.newly_held) == ([], 100)
    assert {row.from_milli for row in hub.held()} == {20_000}


def test_orders_from_before_the_last_settled_number_do_not_excuse_an_import(hub):
    """A capped number stayed as it was while these were sold."""
    for number, sku in enumerate(hub.skus):
        hub.sold(sku, 40, number)
    hub.want(**hub.every(40))
    hub.push()
    assert bad_import(hub).newly_held == 60


def test_cancelled_orders_bring_their_units_back(pg, tmp_path):
    hub = Guarded(pg, tmp_path, 50)
    hub.shows(**hub.every(2))
    for number, sku in enumerate(hub.skus):
        hub.sold(sku, 10, number)
    hub.want(**hub.every(2))
    hub.push()
    hub.imported()
    for number in range(50):
        hub.cancelled(number)
    hub.want(**hub.every(12))
    assert hub.push().newly_held == 0


def test_a_held_listing_still_falls_by_its_orders(hub):
    bad_import(hub)
    hub.sold("S0", 3, 1)
    with hub.ctx.pg.connection() as connection:
        connection.execute("UPDATE hub.outbox SET look = true, looks = looks + 1 WHERE sku = 'S0'")
    hub.want()
    [write] = hub.push().send
    assert (write.row.sku, write.quantity_milli, write.compare_milli) == ("S0", 37_000, 40_000)
    assert hub.push().send == [], "once"
    assert hub.shown()["S0"] == 37
    assert len(hub.held()) == 60


def test_a_sale_that_the_channel_took_itself_is_not_taken_again(hub):
    bad_import(hub)
    hub.pass_(minutes=1)
    hub.sold("S0", 3, 1, system="shop", channel=CHANNEL)
    with hub.ctx.pg.connection() as connection:
        connection.execute("UPDATE hub.outbox SET look = true, looks = looks + 1 WHERE sku = 'S0'")
    hub.want()
    assert hub.push().send == []


def test_a_channel_that_takes_nothing_itself_is_lowered_by_its_own_orders(pg, tmp_path):
    hub = Guarded(pg, tmp_path, 100, moves_at=MovesAt.NONE)
    hub.shows(**hub.every(40))
    bad_import(hub)
    hub.pass_(minutes=1)
    hub.sold("S0", 3, 1, system="shop", channel=CHANNEL)
    hub.want(S0=1)
    assert [write.quantity_milli for write in hub.push().send] == [37_000]


def test_orders_that_came_with_the_import_lower_what_is_held(hub):
    hub.imported()
    hub.sold("S0", 3, 1)
    hub.want(**hub.every(0, 60))
    judged = hub.push()
    assert [(w.row.sku, w.quantity_milli) for w in judged.send] == [("S0", 37_000)]
    assert judged.newly_held == 60


def test_orders_of_a_bundle_lower_its_components(pg, tmp_path):
    part = BundlePart(bundle_sku="KIT", component_sku="S0", quantity=Decimal(2))
    hub = Guarded(pg, tmp_path, 100, parts=[part])
    hub.shows(**hub.every(40))
    bad_import(hub)
    hub.sold("KIT", 3, 1)
    hub.want(S0=1)
    assert [write.quantity_milli for write in hub.push().send] == [34_000]


def test_a_newer_number_is_held_too_and_shown(hub):
    bad_import(hub)
    hub.want(S0=3)
    assert hub.push().held == 1
    assert [row.desired_milli for row in hub.held(sku="S0")] == [3_000]


def test_a_hold_ends_when_the_number_comes_back(hub):
    bad_import(hub)
    hub.want(**hub.every(40, 60))
    with hub.ctx.pg.connection() as connection:
        connection.execute("UPDATE hub.outbox SET look = false, failure = NULL")  # settled
        assert guard_state(connection, CHANNEL).held == 0
    assert hub.held() == []
    hub.want(S0=0, S70=0)
    assert hub.push().newly_held == 0


def test_a_release_sends_what_is_desired_now_and_trips_nothing(hub):
    bad_import(hub)
    hub.want(S0=3)
    hub.push()
    assert hub.decide(guard.release, *hub.skus[:60]) == 60
    judged = hub.push()
    assert len(judged.send) == 60
    assert hub.shown()["S0"] == 3
    assert hub.shown()["S1"] == 0
    assert hub.held() == []
    hub.again()
    hub.want(S70=0)
    assert hub.push().newly_held == 0, "what a person let pass is no trickle"


def test_a_release_is_for_one_number_and_once(hub):
    bad_import(hub)
    hub.decide(guard.release, "S0")
    assert [write.row.sku for write in hub.push().send] == ["S0"]
    hub.want(S0=40)
    hub.push()
    hub.pass_(minutes=16)
    hub.want(S0=1)
    assert hub.push().newly_held == 1


def test_a_release_does_not_let_another_great_move_pass(hub):
    bad_import(hub, number=10)
    hub.decide(guard.release, "S0")
    hub.want(S0=0)
    assert hub.push().newly_held == 1


def test_a_release_that_was_used_counts_for_no_later_step(hub):
    bad_import(hub, number=10)
    hub.decide(guard.release, "S0")
    for number, newly_held in ((10, 0), (6, 0), (4, 1)):
        hub.pass_(minutes=1)
        hub.want(S0=number)
        assert hub.push().newly_held == newly_held


def test_a_release_that_nobody_could_use_ends_after_a_while(hub):
    bad_import(hub)
    hub.decide(guard.release, "S0")
    hub.pass_(hours=25)
    assert hub.push().newly_held == 1


def test_what_was_released_begins_anew_in_the_window(hub):
    bad_import(hub, number=25)
    bad_import(hub, number=5)
    assert hub.decide(guard.release, *hub.skus[:60]) == 60
    assert len(hub.push().send) == 60
    hub.imported()
    hub.want(**hub.every(4, 60))
    assert hub.push().newly_held == 0


def test_a_release_survives_a_channel_that_does_not_answer(hub):
    bad_import(hub)
    hub.decide(guard.release, "S0")
    for _ in range(2):
        judged = judge(hub.ctx, hub.channel, hub.planned(), now=hub.clock.pass_(minutes=5))
        assert [write.row.sku for write in judged.send] == ["S0"]


def test_a_rejected_listing_stays_until_another_number_comes(hub):
    bad_import(hub)
    assert hub.decide(guard.reject, *hub.skus[:60]) == 60
    assert hub.push().send == []
    assert (hub.planned(), hub.held()) == ([], [])
    assert set(hub.shown().values()) == {40}
    hub.sold("S0", 3, 1)
    with hub.ctx.pg.connection() as connection:
        connection.execute("UPDATE hub.outbox SET look = true, looks = looks + 1 WHERE sku = 'S0'")
    hub.want()
    assert [write.quantity_milli for write in hub.push().send] == [37_000], "orders lower it"
    hub.want(S1=39)
    assert [write.quantity_milli for write in hub.push().send] == [39_000]


def test_decisions_are_recorded_with_who_and_why(hub):
    bad_import(hub)
    hub.decide(guard.release, "S0", "S1", "S99")
    hub.decide(guard.reject, "S2")
    with hub.ctx.pg.connection() as connection:
        [rejected, released] = audit.recent(connection)
    assert (released.action, released.by, released.subject) == ("guard.release", "ops", CHANNEL)
    assert released.detail["reason"] == "looked at it"
    assert sorted(row[1] for row in released.detail["rows"]) == ["S0", "S1"]
    assert rejected.action == "guard.reject"


def test_the_state_for_checks_names_the_worst(hub):
    bad_import(hub)
    with hub.ctx.pg.connection() as connection:
        state = guard_state(connection, CHANNEL)
    assert (state.held, state.since, len(state.worst)) == (60, hub.clock(), 20)


def test_nothing_is_sent_when_another_mode_counts_by_now(hub):
    hub.want(S0=39)
    with hub.ctx.pg.connection() as connection:
        modes.set_override(
            connection, CHANNEL, Mode.SHADOW, by="ops", reason="stop", at=hub.clock()
        )
    assert hub.push().send == []
    assert len(hub.planned()) == 1, "it waits for whoever knows the new mode"


def test_a_canary_counts_the_listings_that_it_sends(pg, tmp_path):
    """S1 and S10 to S19 are eleven of a hundred; the guard is about these eleven."""
    hub = Guarded(pg, tmp_path, 100, mode=Mode.CANARY, guard=replace(Guard(), min_listings=3))
    hub.shows(**hub.every(40))
    hub.imported()
    hub.want(S1=0, S10=0)
    assert hub.push().newly_held == 0
    hub.want(S11=0)
    assert hub.push().newly_held == 1
