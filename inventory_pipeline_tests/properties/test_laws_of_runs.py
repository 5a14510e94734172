"""What must not matter: in which order things arrive and in how many runs; and what time does."""

import itertools
from datetime import timedelta

import pytest
from hypothesis import strategies as st

from inventory_pipeline.compute.engine import open_engine
from inventory_pipeline_tests.compute import hubs
from inventory_pipeline_tests.compute.hubs import History
from inventory_pipeline_tests.properties import trials
from inventory_pipeline_tests.properties.worlds import LATER, MICROSECOND, worlds

pytestmark = pytest.mark.timeout(900)
CUTS = st.lists(st.integers(0, 60), max_size=3)
MOMENTS = st.lists(LATER, min_size=4, max_size=4).map(sorted)


def batches(entries, cuts):
    bounds = [0, *sorted(min(cut, len(entries)) for cut in cuts), len(entries)]
    return list(itertools.pairwise(bounds))


@trials.portions(share=8)
def test_incremental_runs_end_where_one_full_run_ends(bench, portion, record_property):
    @trials.tried(portion, record_property, world=worlds(), cuts=CUTS, moments=MOMENTS)
    def agrees(world, cuts, moments):
        entries = world.history.numbered()
        with bench.engine.transaction():
            bench.empty(world.hub)
            bench.engine.compute(at=moments[0], ledger_offset=0, full=True)
            for (start, end), at in zip(batches(entries, cuts), moments, strict=False):
                hubs.append(bench.engine, entries[start:end], bench.folder)
                hubs.run(bench.engine, at, end)
            hubs.run(bench.engine, moments[-1], len(entries))
        step_by_step = bench.state()
        assert changed(step_by_step, bench.full(world.hub, entries, moments[-1])) == []


@trials.portions(share=40)
def test_a_store_that_is_made_again_is_as_the_one_that_grew(
    bench, portion, record_property, tmp_path
):
    stores = (tmp_path / f"{number}.duckdb" for number in itertools.count())

    @trials.tried(portion, record_property, world=worlds(), cuts=CUTS, moments=MOMENTS)
    def agrees(world, cuts, moments):
        """Opened anew for each batch, as every run does."""
        entries, path = world.history.numbered(), next(stores)
        for (start, end), at in zip(batches(entries, cuts), moments, strict=False):
            with open_engine(path) as engine, engine.transaction():
                fresh = engine.load_policy(world.hub, policy_version=1, mapping_version=1)
                hubs.append(engine, entries[start:end], bench.folder)
                engine.touched(at)
                engine.compute(at=at, ledger_offset=end, full=fresh)
        with open_engine(path) as engine:
            with engine.transaction():
                hubs.run(engine, moments[-1], len(entries))
            grown = hubs.Bench(engine, bench.folder).state()
        path.unlink()
        assert changed(grown, bench.full(world.hub, entries, moments[-1])) == []


@trials.portions(share=10)
def test_any_order_of_arrival_gives_the_same_numbers(bench, portion, record_property):
    @trials.tried(portion, record_property, world=worlds(), data=st.data())
    def agrees(world, data):
        first = bench.full(world.hub, world.history.numbered(), world.at)
        shuffled = History(entries=data.draw(st.permutations(world.history.entries)))
        assert changed(first, bench.full(world.hub, shuffled.numbered(), world.at)) == []


@trials.portions(share=15)
def test_time_alone_changes_numbers_at_the_next_wakeup_and_not_before(
    bench, portion, record_property
):
    @trials.tried(portion, record_property, world=worlds())
    def agrees(world):
        entries = world.history.numbered()
        before = bench.full(world.hub, entries, world.at)
        due = bench.engine.next_wakeup()
        if due is None:
            later = bench.full(world.hub, entries, world.at + timedelta(days=30))
            assert changed(before, later) == []
            return
        assert due > world.at
        with bench.engine.transaction():
            hubs.run(bench.engine, due, len(entries))
        after = bench.state()
        assert changed(after, bench.full(world.hub, entries, due)) == []
        assert changed(before, bench.full(world.hub, entries, due - MICROSECOND)) == []


def changed(one, other):
    """Each column of each row in which two states differ."""
    keys = {
        "positions": ("sku", "location"),
        "ats": ("channel", "bucket", "sku"),
        "desired": ("channel", "bucket", "external_id"),
    }
    found = []
    for table, key in keys.items():
        rows = [{tuple(row[k] for k in key): row for row in state[table]} for state in (one, other)]
        for place in sorted({*rows[0], *rows[1]}):
            first, second = rows[0].get(place, {}), rows[1].get(place, {})
            found += [
                f"{table} {' '.join(place)}: {column} {first.get(column)} and {second.get(column)}"
                for column in {**first, **second}
                if first.get(column) != second.get(column)
            ]
    return found
