"""Release from quarantine: checked again with today's mapping, applied with its own time."""

import threading

import pytest

from inventory_pipeline_tests.flow.worlds import World, moment, order, sale


@pytest.fixture
def world(tmp_path, pg_url):
    made = World(tmp_path, pg_url)
    made.open()
    yield made
    made.close()


def test_an_event_is_applied_with_its_own_time_once_its_item_is_mapped(world):
    world.snapshot("s", "1,A,10,0", hours=-2)
    world.events("wms", "e", sale(1, "X1", 2), sale(2, "A"))
    world.cycle()
    assert world.available()["A"] == 9
    world.identifiers("wms,X1,A,3")
    world.open()
    assert world.held() == [("unknown_item", "event")]
    world.clock.pass_(minutes=1)
    [outcome] = world.release()
    assert outcome.released, outcome.message
    world.cycle()
    assert world.available()["A"] == 3
    assert world.available() == world.by_the_files()
    [(occurred, received)] = world.rows(
        "SELECT occurred_at, received_at FROM hub.ledger WHERE ledger_offset = %s",
        outcome.ledger_offset,
    )
    assert (occurred.isoformat(), received) == (moment(-0.5), world.clock())
    assert world.rows("SELECT released_at, released_offset FROM hub.quarantine") == [
        (world.clock(), outcome.ledger_offset)
    ]


def test_a_release_of_what_a_newer_snapshot_contains_changes_nothing(world):
    world.events("wms", "e", sale(1, "X1", 2))
    world.snapshot("s", "1,A,10,0", hours=-0.25)
    world.identifiers("wms,X1,A,1")
    world.open()
    assert [o.released for o in world.release()] == [True]
    world.cycle()
    assert world.available()["A"] == 10


def test_what_is_still_bad_stays_and_says_why_now(world):
    world.events("wms", "e", sale(1, "X1", "1.5"))
    world.identifiers("wms,X1,A,1")
    world.open()
    [outcome] = world.release()
    assert not outcome.released
    assert "fraction_of_indivisible" in outcome.message
    assert world.held() == [("unknown_item", "event")]
    assert world.rows("SELECT count(*) FROM hub.ledger WHERE kind = 'event'") == [(0,)]


def test_a_dry_run_says_what_would_happen_and_stores_nothing(world):
    world.snapshot("s", "1,X1,10,0")
    world.events("wms", "e", sale(1, "X1", 2))
    world.identifiers("wms,X1,A,1")
    world.open()
    before = world.rows("SELECT ledger_offset FROM hub.counter")
    outcomes = world.release(dry_run=True)
    assert [(o.released, o.ledger_offset) for o in outcomes] == [(True, None)] * 2
    assert world.rows("SELECT ledger_offset FROM hub.counter") == before
    assert len(world.held()) == 2


def test_a_conflicting_duplicate_cannot_be_released(world):
    world.events("wms", "e", sale(1, "A", 1), sale(1, "A", 2))
    [outcome] = world.release()
    assert not outcome.released
    assert "e1 of wms" in outcome.message
    assert "`adjusted` event" in outcome.message


def test_an_event_that_came_in_again_meanwhile_is_not_applied_twice(world):
    world.snapshot("s", "1,A,10,0", hours=-2)
    world.events("wms", "e", sale(1, "X1", 2))
    world.identifiers("wms,X1,A,1")
    world.open()
    world.events("wms", "again", sale(1, "X1", 2))
    [outcome] = world.release()
    assert outcome.released
    assert "meanwhile" in outcome.message
    world.cycle()
    assert world.available()["A"] == 8
    assert world.held() == []


def test_a_released_event_is_known_when_it_comes_again(world):
    world.events("wms", "e", sale(1, "X1", 2))
    world.identifiers("wms,X1,A,1")
    world.open()
    world.release()
    count = world.events("wms", "again", sale(1, "X1", 2))
    assert (count.accepted, count.duplicates, count.conflicting) == (0, 1, 0)


def test_a_released_event_is_known_again_by_its_decimals_too(world):
    body = sale(1, "X1", 2, price=12.50, lines=[{"tax": 0.7}])
    world.events("wms", "e", body)
    world.identifiers("wms,X1,A,1")
    world.open()
    world.release()
    count = world.events("wms", "again", body)
    assert (count.accepted, count.duplicates, count.conflicting) == (0, 1, 0)


@pytest.mark.parametrize("kind", ["event", "snapshot_row"])
def test_a_row_is_released_once_however_many_try(world, kind):
    if kind == "event":
        world.events("wms", "e", sale(1, "X1", 2))
    else:
        world.snapshot("s", "1,X1,7,0")
    world.identifiers("wms,X1,A,1")
    world.open()
    [number] = world.open_ids()
    outcomes = []
    ready = threading.Barrier(4)

    def release():
        ready.wait()
        outcomes.extend(world.release(number))

    threads = [threading.Thread(target=release) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(o.released for o in outcomes) == [False, False, False, True]
    (late, *_) = (o for o in outcomes if not o.released)
    assert "already" in late.message
    assert world.rows("SELECT count(*) FROM hub.ledger WHERE kind IN ('event', 'release')") == [
        (1,)
    ]


def test_an_unknown_number_is_refused_with_what_to_do(world):
    [outcome] = world.release(77)
    assert not outcome.released
    assert "quarantine list" in outcome.message


def test_a_listener_is_told_of_a_release(world):
    world.events("wms", "e", sale(1, "X1"))
    world.identifiers("wms,X1,A,1")
    world.open()
    with world.ctx.pg.dedicated() as listener:
        listener.execute("LISTEN hub_ledger")
        world.release()
        assert [n.channel for n in listener.notifies(timeout=5, stop_after=1)] == ["hub_ledger"]


# -- rows of snapshots ----------------------------------------------------------------------------


@pytest.mark.parametrize("complete", ["true", "false"])
def test_a_snapshot_row_counts_as_if_it_had_been_good(world, complete):
    world.policy(complete=complete)
    world.open()
    world.snapshot("s", "1,X1,7,1", "1,B,3,0")
    world.cycle()
    assert world.available() == {"A": 0, "B": 3, "C": 0}
    world.identifiers("wms,X1,A,2")
    world.open()
    world.cycle()
    [outcome] = world.release()
    assert outcome.released, outcome.message
    world.cycle()
    assert world.available() == {"A": 12, "B": 3, "C": 0} == world.by_the_files()
    assert world.rebuilt() == world.numbers()


def test_identifiers_of_one_sku_add_up_with_what_landed_at_first(world):
    world.snapshot("s", "1,A,5,0", "1,X1,7,0", "1,X2,1,0")
    world.cycle()
    assert world.available()["A"] == 5
    world.identifiers("wms,X1,A,1", "wms,X2,A,1")
    world.open()
    first, second = world.open_ids()
    [outcome] = world.release(first)
    assert outcome.released
    assert f"until row {second}" in outcome.message
    world.cycle()
    assert world.available()["A"] == 5  # a row of it is held: it stays as it was
    world.release(second)
    world.cycle()
    assert world.available()["A"] == 13 == world.by_the_files()["A"]
    assert world.rebuilt() == world.numbers()


def test_a_held_cell_gets_its_value_when_its_last_row_is_let_in(world):
    world.snapshot("old", "1,A,2,0", hours=-3)
    world.identifiers("wms,X1,A,1")
    world.open()
    world.snapshot("s", "1,A,5,0", "1,X1,1.5,0")
    world.cycle()
    assert world.available()["A"] == 2
    world.items("A:1", "B", "C")
    world.open()
    assert [o.released for o in world.release()] == [True]
    world.cycle()
    with_half = world.numbers()["positions"]["A", "dc"]["on_hand_milli"]
    assert with_half == 6_500
    assert world.available() == world.by_the_files()
    assert world.rebuilt() == world.numbers()


def test_rows_of_one_cell_that_are_let_in_together_do_not_wait_for_each_other(world):
    world.snapshot("s", "1,A,5,0", "1,X1,7,0", "1,X2,1,0", "1,X3,2,0", "1,NO,4,0")
    world.identifiers("wms,X1,A,1", "wms,X2,A,1", "wms,X3,B,1")
    world.open()
    outcomes = world.release()
    assert [o.released for o in outcomes] == [True, True, True, False]
    assert not any("until" in o.message for o in outcomes)
    world.cycle()
    assert world.available() == {"A": 13, "B": 2, "C": 0} == world.by_the_files()
    assert world.rebuilt() == world.numbers()


def test_a_released_row_does_not_undo_a_newer_snapshot(world):
    world.snapshot("old", "1,X1,7,0", hours=-2)
    world.identifiers("wms,X1,A,1")
    world.open()
    world.snapshot("new", "1,X1,4,0", hours=-1)
    world.release()
    world.cycle()
    assert world.available()["A"] == 4
    assert world.rebuilt() == world.numbers()


def test_a_location_that_is_mapped_now_lets_its_rows_in(world):
    world.snapshot("s", "2,A,7,0", "1,A,1,0")
    world.policy(locations=', "2": nyc')
    world.open()
    assert [o.released for o in world.release()] == [True]
    world.cycle()
    assert world.available()["A"] == 8 == world.by_the_files()["A"]


def test_a_row_whose_time_cannot_be_read_is_refused(world):
    path = world.folder / "in/wms/s.csv"
    path.write_text(f"as_of,location,item,on_hand\n{moment(-1)},1,A,5\nyesterday,1,B,5\n")
    from inventory_pipeline.flow.land import land_snapshots

    land_snapshots(world.ctx, "wms")
    [outcome] = world.release()
    assert not outcome.released
    assert "correct the file" in outcome.message


def test_nothing_of_a_release_is_left_when_it_fails_halfway(world, monkeypatch):
    from inventory_pipeline.memory import quarantine

    world.snapshot("s", "1,X1,7,0")
    world.identifiers("wms,X1,A,1")
    world.open()

    def dies(*_args, **_more):
        raise RuntimeError("killed")

    monkeypatch.setattr(quarantine, "release", dies)
    with pytest.raises(RuntimeError):
        world.release()
    monkeypatch.undo()
    assert world.rows("SELECT count(*) FROM hub.amendments") == [(0,)]
    assert [o.released for o in world.release()] == [True]
    world.cycle()
    assert world.available()["A"] == 7


def test_orders_that_are_let_in_are_promised(world):
    world.snapshot("s", "1,A,7,0")
    world.events("shop", "o", order(1, "P1", 2))
    world.identifiers("shop,P1,A,1")
    world.open()
    world.release()
    world.cycle()
    assert world.available()["A"] == 5 == world.by_the_files()["A"]
