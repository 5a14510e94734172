"""What `make bench` compares is one calculation over believable data: shown on a small chain."""

import shutil

import duckdb
import pytest

from benchmarks import ats
from benchmarks.made.chain import AT, LOCATIONS, make_store
from benchmarks.peers import contenders
from benchmarks.peers.tables import read_tables, write_long_stock
from inventory_pipeline.compute.engine import open_engine

ITEMS, BUNDLES, CHANNELS = 2000, 100, 10


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("chain"), ITEMS)


@pytest.fixture(scope="module")
def long_stock(made):
    path = made.with_suffix(".long")
    assert write_long_stock(made, path) == (ITEMS - BUNDLES) * len(LOCATIONS)
    return path


@pytest.fixture
def store(made, tmp_path):
    """A copy that a test may change."""
    return shutil.copy(made, tmp_path / "store.duckdb")


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_a_peer_gives_exactly_the_offers_of_the_engine(store, long_stock, library):
    pytest.importorskip(library, reason="it comes with the extra `bench`")
    frame = contenders.contender(library, read_tables(store, long_stock)).offers()
    offered = frame if library == "pandas" else frame.to_arrow()
    with open_engine(store) as engine:
        columns = ("channel", "bucket", "sku", "available_milli")
        ours = engine.ats().select(columns).to_pylist()
    with duckdb.connect(str(store)) as connection:
        connection.register("offered", offered)
        theirs = connection.execute(
            "SELECT channel, bucket, sku, o.available_milli FROM offered o"
            " JOIN items USING (item_no) JOIN buckets USING (bucket_no)"
            " ORDER BY channel, bucket, sku"
        ).fetchall()
    assert len(ours) == ITEMS * CHANNELS
    assert [tuple(row.values()) for row in ours] == theirs


def test_the_chain_needs_every_rule_that_is_said_to_be_measured(store):
    with open_engine(store) as engine:
        rows = engine.ats().to_pylist()
    waterfalls = {
        "kept at locations": [r["location_reserve_milli"] for r in rows],
        "safety stock": [r["safety_stock_milli"] for r in rows],
        "network safety stock": [r["network_safety_stock_milli"] for r in rows],
        "protect": [r["protected_for_others_milli"] for r in rows],
        "buffer": [r["buffer_milli"] for r in rows],
        "share": [r["after_buffer_milli"] - r["after_share_milli"] for r in rows],
        "cap": [r["after_preorder_milli"] - r["after_cap_milli"] for r in rows],
        "min display": [r["after_cap_milli"] - r["after_min_display_milli"] for r in rows],
    }
    for rule, moved in waterfalls.items():
        assert any(moved), f"{rule} changes no number in this chain"
    bundles = [r for r in rows if r["kind"] == "bundle"]
    assert {r["fulfilment"] for r in bundles} == {"split", "same_location"}
    assert any(r["available_milli"] for r in bundles)


def test_the_made_stock_is_what_the_engine_computes_from_the_made_snapshot(store):
    with open_engine(store) as engine:
        made = engine.positions()
        engine._positions_old = True
        with engine.transaction():
            done = engine.compute(at=AT, ledger_offset=3, full=True)
        assert done.positions == made.num_rows == (ITEMS - BUNDLES) * len(LOCATIONS)
        assert engine.positions().to_pylist() == made.to_pylist()
        assert not done.changed


def test_batches_of_events_end_in_the_offers_of_a_full_run(store):
    with open_engine(store) as engine:
        before = engine.desired().to_pylist()
        for seed in range(1, 4):
            assert contenders.batch(engine, ITEMS, 200, seed=seed) > 0
        after = engine.desired().to_pylist()
        engine._positions_old = True
        with engine.transaction():
            done = engine.compute(at=contenders.moment(3), ledger_offset=99, full=True)
        assert not done.changed
        assert engine.desired().to_pylist() == after != before


def test_other_offers_stop_the_benchmark():
    with pytest.raises(AssertionError, match="not the same offers"):
        ats._agree({"ours": {"3 rows, 17"}, "polars": {"3 rows, 18"}})
