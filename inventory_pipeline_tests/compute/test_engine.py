"""What the engine keeps, hands on and forgets, run by run."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import duckdb
import pytest

from inventory_pipeline.compute.engine import DerivedOutdated, open_engine
from inventory_pipeline.config.policy import Identifier
from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline_tests.compute import hubs
from inventory_pipeline_tests.compute.hubs import History, channel, clock, hub, item, rules

TWO_ITEMS = hub(items=(item("A"), item("B")))


def start(engine, of_hub, history, folder, *, at="08:30"):
    """Loads the policy and runs everything; pending is then taken away."""
    entries = history.numbered()
    with engine.transaction():
        engine.load_policy(of_hub, policy_version=1, mapping_version=1)
        hubs.append(engine, entries, folder)
        engine.compute(at=clock(at), ledger_offset=len(entries), full=True)
    pending = engine.pending().to_pylist()
    with engine.transaction():
        engine.clear_pending()
    return pending


def follow(engine, history, folder, at):
    """Appends what the history has beyond the engine's offset, and runs what that touched."""
    entries = history.numbered()
    with engine.transaction():
        hubs.append(engine, entries[engine.ledger_offset() :], folder)
        return hubs.run(engine, clock(at), len(entries))


@pytest.fixture
def engine():
    with open_engine(None) as opened:
        yield opened


def fail_midway(engine, entries, folder):
    with engine.transaction():
        hubs.append(engine, entries, folder)
        hubs.run(engine, clock("08:45"), 2)
        (folder / "not-there").read_bytes()


def levels(a, b):
    return {("A", "dc"): {"on_hand": a}, ("B", "dc"): {"on_hand": b}}


def pending(engine):
    return engine.pending().to_pylist()


def shown(pending):
    return {(row["channel"], row["external_id"]): row["desired_milli"] for row in pending}


def test_after_a_first_full_run_every_listing_is_pending(engine, tmp_path):
    pending = start(engine, TWO_ITEMS, History().snapshot("wms", "08:00", levels(5, 0)), tmp_path)
    assert shown(pending) == {("web", "A"): 5_000, ("web", "B"): 0}
    assert all(row["listed"] and row["ledger_offset"] == 1 for row in pending)


def test_only_listings_whose_quantity_changed_are_pending(engine, tmp_path):
    history = History().snapshot("wms", "08:00", levels(5, 3))
    start(engine, TWO_ITEMS, history, tmp_path)
    history.event("wms", "pos_sale", "08:40", "A", 1, location="dc")
    history.event("wms", "adjusted", "08:41", "B", 0, location="dc", reason="recount")
    computed = follow(engine, history, tmp_path, "08:45")
    assert (computed.skus, computed.changed) == (2, {"web": 1})
    [row] = engine.pending().to_pylist()
    assert (row["sku"], row["desired_milli"], row["ledger_offset"]) == ("A", 4_000, 3)
    assert row["occurred_at"] == clock("08:40")


def test_a_change_names_the_newest_entry_that_moved_it(engine, tmp_path):
    history = History().snapshot("wms", "08:00", levels(5, 3))
    [first, _] = start(engine, TWO_ITEMS, history, tmp_path)
    assert first["caused_by"] is None
    history.event("wms", "pos_sale", "08:40", "A", 1, location="dc")
    history.event("wms", "pos_sale", "08:39", "A", 1, location="dc")
    history.event("wms", "pos_sale", "08:41", "B", 1, location="dc")
    follow(engine, history, tmp_path, "08:45")
    caused = {row["sku"]: (row["caused_by"], row["occurred_at"]) for row in pending(engine)}
    assert caused == {"A": (3, clock("08:39")), "B": (4, clock("08:41"))}


def test_a_change_that_a_snapshot_made_names_the_snapshot(engine, tmp_path):
    history = History().snapshot("wms", "08:00", levels(5, 3))
    start(engine, TWO_ITEMS, history, tmp_path)
    history.snapshot("wms", "08:50", {("A", "dc"): {"on_hand": 9}}, complete=True)
    follow(engine, history, tmp_path, "09:00")
    caused = {row["sku"]: (row["caused_by"], row["occurred_at"]) for row in pending(engine)}
    assert caused == {"A": (2, None), "B": (2, None)}


def test_a_change_that_time_made_names_no_entry(engine, tmp_path):
    history = History().snapshot("wms", "08:00", levels(5, 3))
    history.event("wms", "pos_sale", "09:00", "A", 2, location="dc")
    start(engine, TWO_ITEMS, history, tmp_path)
    follow(engine, history, tmp_path, "09:00")
    [row] = pending(engine)
    assert (row["sku"], row["caused_by"]) == ("A", None)


def test_a_quantity_that_changes_twice_is_pending_once(engine, tmp_path):
    history = History().snapshot("wms", "08:00", levels(5, 3))
    start(engine, TWO_ITEMS, history, tmp_path)
    for minute in (40, 50):
        history.event("wms", "pos_sale", f"08:{minute}", "A", 1, location="dc")
        follow(engine, history, tmp_path, f"08:{minute}")
    [row] = engine.pending().to_pylist()
    assert row["desired_milli"] == 3_000


def test_an_event_dated_ahead_counts_when_its_time_comes_without_another_event(engine, tmp_path):
    history = History().snapshot("wms", "08:00", levels(5, 3))
    start(engine, TWO_ITEMS, history, tmp_path)
    history.event("wms", "pos_sale", "09:00", "A", 2, location="dc")
    assert follow(engine, history, tmp_path, "08:45").changed == {}
    assert engine.next_wakeup() == clock("09:00")
    follow(engine, history, tmp_path, "09:00")
    assert shown(engine.pending().to_pylist()) == {("web", "A"): 3_000}
    assert engine.next_wakeup() is None


def test_a_reservation_gives_its_units_back_when_it_expires(engine, tmp_path):
    history = History().snapshot("wms", "08:00", levels(5, 3))
    history.event("shop", "reserved", "08:10", "A", 2, reservation_id="cart", expires_at="08:40")
    assert shown(start(engine, TWO_ITEMS, history, tmp_path))["web", "A"] == 3_000
    assert engine.next_wakeup() == clock("08:40")
    follow(engine, history, tmp_path, "08:40")
    assert shown(engine.pending().to_pylist()) == {("web", "A"): 5_000}


def test_a_rule_begins_at_its_time(engine, tmp_path):
    ruled = hub(rules=rules({"kind": "cap", "units": 1, "from_at": clock("10:00")}))
    history = History().snapshot("wms", "08:00", {("A", "dc"): {"on_hand": 5}})
    assert shown(start(engine, ruled, history, tmp_path))["web", "A"] == 5_000
    assert engine.next_wakeup() == clock("10:00")
    follow(engine, history, tmp_path, "10:00")
    assert shown(engine.pending().to_pylist()) == {("web", "A"): 1_000}


def test_an_event_without_an_item_touches_the_items_of_its_order(engine, tmp_path):
    history = History().snapshot("wms", "08:00", levels(5, 3))
    history.event("shop", "order_placed", "08:05", "A", 2, order_id="1", line_id="1")
    start(engine, TWO_ITEMS, history, tmp_path)
    history.event("shop", "payment_failed", "08:35", None, order_id="1")
    assert follow(engine, history, tmp_path, "08:40").skus == 1
    assert shown(engine.pending().to_pylist()) == {("web", "A"): 5_000}


def test_a_component_touches_the_bundles_that_contain_it(engine, tmp_path):
    bundled = hub(items=(item("A"), item("B"), item("KIT", "bundle")), parts=(("KIT", "A", 1),))
    history = History().snapshot("wms", "08:00", levels(5, 3))
    start(engine, bundled, history, tmp_path)
    history.event("wms", "pos_sale", "08:40", "A", 1, location="dc")
    follow(engine, history, tmp_path, "08:45")
    assert shown(engine.pending().to_pylist()) == {("web", "A"): 4_000, ("web", "KIT"): 4_000}


def test_a_complete_snapshot_touches_what_it_leaves_out(engine, tmp_path):
    history = History().snapshot("wms", "08:00", levels(5, 3))
    start(engine, TWO_ITEMS, history, tmp_path)
    history.snapshot("wms", "08:40", {("B", "dc"): {"on_hand": 3}}, complete=True)
    follow(engine, history, tmp_path, "08:45")
    assert shown(engine.pending().to_pylist()) == {("web", "A"): 0}


def test_a_snapshot_that_comes_later_moves_what_it_speaks_of(engine, tmp_path):
    history = History().snapshot("wms", "08:00", levels(5, 3))
    start(engine, TWO_ITEMS, history, tmp_path)
    history.snapshot("wms", "08:40", {("A", "dc"): {"on_hand": 9}})
    follow(engine, history, tmp_path, "08:45")
    assert shown(engine.pending().to_pylist()) == {("web", "A"): 9_000}


def test_several_protections_take_no_more_than_there_is_each(engine, tmp_path):
    both = {"main": ["dc"]}
    guarded = hub(
        channels=(channel("web", both), channel("b2b", both), channel("vip", both)),
        rules=rules(
            {"kind": "protect", "for_channel": "b2b", "units": 2},
            {"kind": "protect", "for_channel": "vip", "units": 20},
        ),
    )
    history = History().snapshot("wms", "08:00", {("A", "dc"): {"on_hand": 5}})
    start(engine, guarded, history, tmp_path)
    [row] = engine.explain("A", "web")
    assert row["protected_for_others_milli"] == 7_000  # 2, and of 20 the 5 that there are


def test_a_channel_that_is_off_has_no_rows_and_gives_up_its_listings(engine, tmp_path):
    history = History().snapshot("wms", "08:00", {("A", "dc"): {"on_hand": 5}})
    start(engine, hub(), history, tmp_path)
    off = replace(
        hub(channels=(channel("web", {"main": ["dc", "nyc"]}, mode=Mode.OFF),)), policy_hash="q"
    )
    [row] = start(engine, off, History(), tmp_path)
    assert (row["external_id"], row["listed"], row["desired_milli"]) == ("A", False, 0)
    assert engine.ats().num_rows == 0


def test_a_listing_that_leaves_the_catalogue_is_no_longer_listed(engine, tmp_path):
    history = History().snapshot("wms", "08:00", levels(5, 3))
    start(engine, TWO_ITEMS, history, tmp_path)
    fewer = replace(hub(items=(item("A"),)), catalog_hash="d")
    pending = start(engine, fewer, History(), tmp_path)
    assert [(row["sku"], row["listed"]) for row in pending] == [("B", False)]


def test_every_identifier_is_a_listing_with_its_own_units(engine, tmp_path):
    listed = hub(
        identifiers=(
            Identifier(system="shop", external_id="CASE", sku="A", units=Decimal(12)),
            Identifier(system="shop", external_id="EACH", sku="A", units=Decimal(1)),
        )
    )
    history = History().snapshot("wms", "08:00", {("A", "dc"): {"on_hand": 30}})
    pending = start(engine, listed, history, tmp_path)
    assert shown(pending) == {("web", "CASE"): 2_000, ("web", "EACH"): 30_000}


def test_a_sku_whose_name_is_another_items_identifier_is_not_listed_under_it(engine, tmp_path):
    crossed = hub(
        items=(item("A"), item("B")),
        identifiers=(Identifier(system="shop", external_id="A", sku="B", units=Decimal(1)),),
    )
    pending = start(engine, crossed, History().snapshot("wms", "08:00", levels(5, 3)), tmp_path)
    assert [(row["external_id"], row["sku"]) for row in pending] == [("A", "B")]


def test_a_failed_transaction_leaves_everything_as_it_was(engine, tmp_path):
    history = History().snapshot("wms", "08:00", levels(5, 3))
    start(engine, TWO_ITEMS, history, tmp_path)
    before = engine.ats()
    history.event("wms", "pos_sale", "08:40", "A", 1, location="dc")
    with pytest.raises(FileNotFoundError):
        fail_midway(engine, history.numbered()[1:], tmp_path)
    assert engine.ats() == before
    assert engine.ledger_offset() == 1
    assert follow(engine, history, tmp_path, "08:45").changed == {"web": 1}


def test_the_same_policy_is_loaded_once(engine):
    assert engine.load_policy(TWO_ITEMS, policy_version=1, mapping_version=1)
    assert not engine.load_policy(TWO_ITEMS, policy_version=1, mapping_version=1)
    assert engine.load_policy(TWO_ITEMS, policy_version=2, mapping_version=1)


def test_a_file_remembers_and_one_of_another_version_is_refused(tmp_path):
    path = tmp_path / "hub.duckdb"
    history = History().snapshot("wms", "08:00", levels(5, 3))
    with open_engine(path) as engine:
        start(engine, TWO_ITEMS, history, tmp_path)
    with open_engine(path) as engine:
        assert engine.ledger_offset() == 1
        assert engine.desired().num_rows == 2
        assert not engine.load_policy(TWO_ITEMS, policy_version=1, mapping_version=1)
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE meta SET fingerprint = 'older'")
    with pytest.raises(DerivedOutdated, match="rebuild"), open_engine(path):
        pass


def test_times_come_out_with_their_zone(engine, tmp_path):
    eastern = datetime(2026, 3, 2, 10, tzinfo=UTC).astimezone()
    history = History().event("wms", "pos_sale", eastern, "A", 1, location="dc")
    with engine.transaction():
        engine.load_policy(TWO_ITEMS, policy_version=1, mapping_version=1)
        hubs.append(engine, history.numbered(), tmp_path)
        engine.touched(eastern + timedelta(hours=1))
        engine.compute(at=eastern + timedelta(hours=1), ledger_offset=1, full=False)
    [row] = engine.pending().filter(engine.pending()["sku"].to_numpy() == "A").to_pylist()
    assert row["occurred_at"] == eastern
    assert row["occurred_at"].utcoffset() == timedelta(0)


def test_explain_gives_the_waterfall_and_its_locations(engine, tmp_path):
    ruled = hub(rules=rules({"kind": "buffer", "units": 1}, {"kind": "cap", "units": 3}))
    history = History().snapshot("wms", "08:00", {("A", "dc"): {"on_hand": 5}})
    start(engine, ruled, history, tmp_path)
    [row] = engine.explain("A", "web")
    assert (row["pool_milli"], row["buffer_rule"], row["cap_rule"]) == (5_000, "r1", "r2")
    assert [place["location"] for place in row["locations"]] == ["dc"]
    assert (row["policy_version"], row["ledger_offset"]) == (1, 1)


def test_what_newer_snapshots_say_again_is_forgotten_after_an_hour(engine, tmp_path):
    history = History().snapshot("wms", "06:00", levels(1, 1), complete=True)
    history.snapshot("wms", "06:30", {("A", "dc"): {"on_hand": 2}}, complete=True)
    history.snapshot("wms", "07:00", {("A", "dc"): {"on_hand": 3}})
    history.snapshot("wms", "08:00", {("A", "dc"): {"on_hand": 4}})
    start(engine, TWO_ITEMS, history, tmp_path, at="08:10")
    cells = engine._db.rows(
        "SELECT sku, as_of::VARCHAR FROM cells JOIN item_numbers USING (item_no) ORDER BY ALL"
    )
    assert [(sku, as_of[11:16]) for sku, as_of in cells] == [
        ("A", "07:00"),
        ("A", "08:00"),
        ("B", "06:00"),
    ]
    sweeps = engine._db.rows("SELECT as_of::VARCHAR FROM sweeps")
    assert [as_of[11:16] for (as_of,) in sweeps] == ["06:30"]
    history.event("wms", "adjusted", "08:20", "B", 1, location="dc")
    follow(engine, history, tmp_path, "08:30")
    assert shown(engine.pending().to_pylist()) == {("web", "B"): 1_000}
