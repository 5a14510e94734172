"""A changed catalogue maps again what it touches; what was stays readable as it was."""

import logging

import pytest

from inventory_pipeline.flow.kept_rows import LandingGone
from inventory_pipeline.memory import ledger
from inventory_pipeline_tests.flow.worlds import World, order, sale


@pytest.fixture
def world(tmp_path, pg_url):
    made = World(tmp_path, pg_url)
    yield made
    made.close()


def agrees(world):
    """The incremental way, a rebuild, and a fresh look at the files end in the same numbers."""
    world.cycle()
    incremental = world.numbers()
    assert world.rebuilt() == incremental
    available = world.available(incremental)
    assert available == world.by_the_files()
    return available


@pytest.mark.parametrize("complete", ["true", "false"])
def test_an_identifier_that_moves_takes_its_snapshot_rows_and_events_along(world, complete):
    world.policy(complete=complete)
    world.identifiers("wms,X1,A,1", "wms,X2,B,1")
    world.open()
    world.snapshot("old", "1,X1,4,0", "1,C,1,0", hours=-3)
    world.snapshot("new", "1,X1,9,2", "1,X2,5,0", "1,C,2,0", hours=-2)
    world.events("wms", "e", sale(1, "X1", 2), sale(2, "X2", 1))
    world.cycle()
    assert world.available() == {"A": 5, "B": 4, "C": 2}
    world.identifiers("wms,X1,B,1", "wms,X2,B,1")
    world.open()
    assert agrees(world) == {"A": 0, "B": 9, "C": 2}


def test_units_that_change_are_applied_to_what_came_before(world):
    world.identifiers("wms,CASE,A,6", "shop,P,A,6")
    world.open()
    world.snapshot("s", "1,CASE,10,1")
    world.events("wms", "e", sale(1, "CASE", 2))
    world.events("shop", "o", order(1, "P", 1))
    world.cycle()
    assert world.available()["A"] == 60 - 6 - 12 - 6
    world.identifiers("wms,CASE,A,12", "shop,P,A,6")
    world.open()
    assert agrees(world)["A"] == 120 - 12 - 24 - 6


def test_an_older_snapshot_counts_again_where_the_newer_one_speaks_of_another_sku(world):
    """The derived store has forgotten the older value by then."""
    world.identifiers("wms,X1,A,1")
    world.open()
    world.snapshot("first", "1,A,3,0", hours=-5)
    world.snapshot("second", "1,X1,8,0", hours=-4)
    world.cycle()
    assert world.available()["A"] == 8
    world.identifiers("wms,X1,B,1")
    world.open()
    assert agrees(world) == {"A": 3, "B": 8, "C": 0}


def test_what_the_new_catalogue_does_not_accept_leaves_the_numbers_and_is_kept(world, caplog):
    world.identifiers("wms,X1,A,1", "wms,X2,A,1")
    world.open()
    world.snapshot("old", "1,X1,1,0", "1,X2,1,0", hours=-4)
    world.snapshot("new", "1,X1,9,0", "1,X2,5,0", hours=-3)
    world.events("wms", "e", sale(1, "X1", 2), sale(2, "X2", 1))
    world.cycle()
    before = world.numbers()
    assert world.available()["A"] == 11
    world.identifiers("wms,X2,A,1")
    with caplog.at_level(logging.WARNING):
        world.open()
    assert "3 rows that were in the numbers" in caplog.text
    assert agrees(world)["A"] == 4
    assert world.held() == [("unknown_item", "event"), *[("unknown_item", "snapshot_row")] * 2]
    [event, *rows] = world.release()
    assert not event.released
    assert "comes back by itself" in event.message
    assert not any(row.released for row in rows)
    # Changed back, everything is as it was.
    world.identifiers("wms,X1,A,1", "wms,X2,A,1")
    world.open()
    agrees(world)
    assert world.numbers() == before
    assert world.held() == []
    # And once more: a row that was put out twice is one row.
    world.identifiers("wms,X2,A,1")
    world.open()
    assert agrees(world)["A"] == 4
    assert len(world.held()) == 3


def test_fewer_decimals_put_out_what_they_cannot_hold(world):
    world.items("A:1", "B", "C")
    world.open()
    world.snapshot("whole", "1,A,7,0", hours=-4)
    world.snapshot("half", "1,A,5.5,0", hours=-3)
    world.events("wms", "e", sale(1, "A", "0.5"), sale(2, "A", 2))
    world.cycle()
    assert world.numbers()["positions"]["A", "dc"]["on_hand_milli"] == 3_000
    world.items("A", "B", "C")
    world.open()
    # The half snapshot holds the cell: the last value stays.
    assert agrees(world)["A"] == 5
    assert sorted(world.held()) == [
        ("fraction_of_indivisible", "event"), ("fraction_of_indivisible", "snapshot_row"),
    ]  # fmt: skip
    world.items("A:1", "B", "C")
    world.open()
    agrees(world)
    assert world.numbers()["positions"]["A", "dc"]["on_hand_milli"] == 3_000
    assert world.held() == []


def test_an_item_that_becomes_a_bundle_keeps_its_orders_and_loses_its_stock(world):
    world.open()
    world.snapshot("s", "1,A,9,0", "1,B,5,0")
    world.events("shop", "o", order(1, "A", 2))
    world.cycle()
    world.items("A:bundle", "B", "C")
    world.bundle("A,B,2")
    world.open()
    assert agrees(world)["B"] == 1
    assert world.held() == [("bundle_has_no_stock", "snapshot_row")]


def test_a_new_item_makes_rows_releasable_and_releases_none(world, caplog):
    world.open()
    world.snapshot("s", "1,D,9,0", "1,A,1,0")
    world.events("wms", "e", sale(1, "D", 2), sale(2, "NO", 2))
    world.cycle()
    world.items("A", "B", "C", "D")
    with caplog.at_level(logging.WARNING):
        world.open()
    assert "the items of 2 rows in quarantine" in caplog.text
    assert "--reason unknown_item" in caplog.text
    world.cycle()
    assert world.available() == {"A": 1, "B": 0, "C": 0, "D": 0}
    assert len(world.held()) == 3
    assert [outcome.released for outcome in world.release()] == [True, True, False]
    assert agrees(world)["D"] == 7


def test_a_released_row_is_mapped_again_like_any_other(world):
    world.policy(complete="true")
    world.open()
    world.snapshot("s", "1,X1,9,0", "1,B,5,0")
    world.events("wms", "e", sale(1, "X1", 2))
    world.identifiers("wms,X1,A,1")
    world.open()
    world.release()
    assert agrees(world) == {"A": 7, "B": 5, "C": 0}
    world.identifiers("wms,X1,B,2")
    world.open()
    assert agrees(world) == {"A": 0, "B": 5 + 18 - 4, "C": 0}
    world.identifiers()
    world.open()
    assert agrees(world) == {"A": 0, "B": 5, "C": 0}
    assert len(world.held()) == 2
    world.identifiers("wms,X1,A,1")
    world.open()
    assert agrees(world) == {"A": 7, "B": 5, "C": 0}
    assert world.held() == []


def test_a_release_after_a_change_builds_on_the_changed_snapshot(world):
    world.identifiers("wms,X1,A,1")
    world.open()
    world.snapshot("s", "1,X1,4,0", "1,X2,3,0")
    world.cycle()
    world.identifiers("wms,X1,B,1", "wms,X2,B,1")
    world.open()
    assert [o.released for o in world.release()] == [True]
    assert agrees(world) == {"A": 0, "B": 7, "C": 0}
    world.identifiers("wms,X1,C,1", "wms,X2,B,1")
    world.open()
    assert agrees(world) == {"A": 0, "B": 3, "C": 4}


def test_the_old_mapping_stays_readable(world):
    world.identifiers("wms,X1,A,1")
    world.open()
    world.snapshot("s", "1,X1,4,0")
    world.events("wms", "e", sale(1, "X1", 2))
    world.identifiers("wms,X1,B,3")
    world.open()
    with world.ctx.pg.connection() as connection:
        head = ledger.head(connection)
        [(changed,)] = connection.execute(
            "SELECT ledger_offset FROM hub.mapping_versions WHERE version = 2"
        ).fetchall()
        then = ledger.read_events(connection, 0, head, mapped_upto=changed - 1)
        now = ledger.read_events(connection, 0, head)
        [old] = ledger.read_snapshots(connection, 0, head, mapped_upto=changed - 1)
        [new] = ledger.read_snapshots(connection, 0, head)
    assert [(r["sku"], r["quantity_milli"]) for r in then.to_pylist()] == [("A", 2_000)]
    assert [(r["sku"], r["quantity_milli"]) for r in now.to_pylist()] == [("B", 6_000)]
    assert old.ledger_offset == new.ledger_offset
    assert old.path != new.path
    assert (world.state / old.path).exists()


def test_a_landed_file_that_is_gone_stops_the_change_with_what_to_do(world):
    world.identifiers("wms,X1,A,1")
    world.open()
    world.snapshot("s", "1,X1,4,0")
    [(path,)] = world.rows("SELECT path FROM hub.snapshots")
    kept = (world.state / path).rename(world.state / "elsewhere")
    world.identifiers("wms,X1,B,1")
    with pytest.raises(LandingGone, match="restore landing/"):
        world.open()
    kept.rename(world.state / path)
    world.open()
    assert world.ctx.mapping_version == 2
    assert agrees(world) == {"A": 0, "B": 4, "C": 0}


def test_a_title_or_a_tag_maps_nothing_again(world):
    world.open()
    world.snapshot("s", "1,A,4,0")
    world.events("wms", "e", sale(1, "A"))
    path = world.folder / "catalog" / "items.csv"
    path.write_text(path.read_text().replace("A,A,", "A,A new title,"))
    world.open()
    assert world.ctx.mapping_version == 2
    assert world.rows("SELECT count(*) FROM hub.remaps") == [(0,)]
    assert world.rows("SELECT count(*) FROM hub.amendments") == [(0,)]


def test_a_change_while_nobody_computes_is_caught_up_with_in_one_go(world):
    world.identifiers("wms,X1,A,1")
    world.open()
    world.snapshot("s", "1,X1,4,0")
    world.cycle()
    world.events("wms", "e", sale(1, "X1", 1))
    world.identifiers("wms,X1,B,1")
    world.open()
    world.events("wms", "f", sale(2, "X1", 1))
    world.identifiers("wms,X1,C,1")
    world.open()
    assert agrees(world) == {"A": 0, "B": 0, "C": 2}


def test_events_of_a_sku_come_with_their_orders_and_reservations(world):
    world.identifiers("shop,P,A,1")
    world.open()
    world.events(
        "shop",
        "o",
        order(1, "P"),
        order(2, "B"),
        {
            "event_id": "c1",
            "type": "order_cancelled",
            "order_id": "1",
            "occurred_at": sale(1, "A")["occurred_at"],
        },
        {
            "event_id": "c2",
            "type": "order_cancelled",
            "order_id": "2",
            "occurred_at": sale(1, "A")["occurred_at"],
        },
        order(3, "B", order_id="1", line_id="2"),
    )
    world.events("wms", "w", sale(7, "B", type="goods_issued", order_id="1", line_id="1"))
    world.identifiers("shop,P,C,1")
    world.open()

    def ids(*skus):
        with world.ctx.pg.connection() as connection:
            head = ledger.head(connection)
            table = ledger.read_events(connection, 0, head, skus=skus)
        return table["event_id"].to_pylist()

    assert ids("C") == ["o1", "c1", "o3", "e7"]
    assert ids("A") == []
    assert ids("B") == ["o1", "o2", "c1", "c2", "o3", "e7"]
