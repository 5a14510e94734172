"""SQL and a literal reference agree on made-up hubs and histories; so do partial and full runs.

`HUB_EXAMPLES` sets how many histories are tried (default 100).
"""

import itertools
import os
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from inventory_pipeline_tests.compute import hubs
from inventory_pipeline_tests.properties import generated
from inventory_pipeline_tests.properties.reference_channels import Reference
from inventory_pipeline_tests.properties.reference_stock import STATES

EXAMPLES = int(os.environ.get("HUB_EXAMPLES", "100"))
pytestmark = pytest.mark.timeout(300 + 5 * EXAMPLES)
MOMENTS = st.integers(4, 20).map(lambda n: generated.DAY + n * generated.STEP / 2)
TERMS = {
    "pool_milli": "pool",
    "protected_for_others_milli": "protected_for_others",
    "after_protect_milli": "after_protect",
    "buffer_milli": "buffer",
    "after_share_milli": "after_share",
    "after_contract_milli": "after_contract",
    "after_preorder_milli": "after_preorder",
    "available_milli": "available",
    "desired_milli": "shown",
}


def examples(share: int = 1):
    return settings(
        max_examples=max(5, EXAMPLES // share),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with hubs.open_bench(tmp_path_factory.mktemp("landing")) as opened:
        yield opened


def sql_positions(state):
    return {
        (s, row["sku"], row["location"]): Fraction(row[f"{s}_milli"], 1000)
        for row in state["positions"]
        for s in STATES
        if row[f"{s}_milli"]
    }


@examples()
@given(world=generated.worlds(), at=MOMENTS)
def test_every_position_and_every_term_equals_the_reference(bench, world, at):
    hub, history = world
    entries = history.numbered()
    state = bench.full(hub, entries, at)
    reference = Reference(hub, *generated.split(entries), at)
    assert sql_positions(state) == reference.positions()
    expected = reference.channels()
    assert {(r["channel"], r["bucket"], r["sku"]) for r in state["ats"]} == set(expected)
    for row in state["ats"]:
        waterfall = expected[row["channel"], row["bucket"], row["sku"]]
        note(f"{row['channel']}/{row['bucket']} {row['sku']}: {waterfall}")
        assert {term: Fraction(row[column], 1000) for column, term in TERMS.items()} == {
            term: getattr(waterfall, term) for term in TERMS.values()
        }


@examples(share=6)
@given(
    world=generated.worlds(),
    cuts=st.lists(st.integers(0, 32), max_size=3),
    ats=st.lists(MOMENTS, min_size=4, max_size=4).map(sorted),
)
def test_incremental_runs_end_where_one_full_run_ends(bench, world, cuts, ats):
    hub, history = world
    entries = history.numbered()
    bounds = [0, *sorted(min(cut, len(entries)) for cut in cuts), len(entries)]
    with bench.engine.transaction():
        bench.empty(hub)
        bench.engine.compute(at=ats[0], ledger_offset=0, full=True)
        for (start, end), at in zip(itertools.pairwise(bounds), ats, strict=False):
            hubs.append(bench.engine, entries[start:end], bench.folder)
            hubs.run(bench.engine, at, end)
        hubs.run(bench.engine, ats[-1], len(entries))
    step_by_step = bench.state()
    assert step_by_step == bench.full(hub, entries, ats[-1])


@examples(share=15)
@given(world=generated.worlds(), at=MOMENTS, data=st.data())
def test_any_order_of_arrival_gives_the_same_numbers(bench, world, at, data):
    hub, history = world
    first = bench.full(hub, history.numbered(), at)
    shuffled = generated.History(entries=data.draw(st.permutations(history.entries)))
    assert bench.full(hub, shuffled.numbered(), at) == first


@examples(share=15)
@given(world=generated.worlds(), at=MOMENTS)
def test_the_terms_of_every_waterfall_add_up(bench, world, at):
    hub, history = world
    for r in bench.full(hub, history.numbered(), at)["ats"]:
        if r["kind"] == "simple":
            assert r["sellable_milli"] == (
                r["on_hand_milli"] - r["damaged_milli"] - r["quality_control_milli"]
                - r["committed_milli"] - r["reserved_milli"] - r["safety_stock_milli"]
                - r["location_reserve_milli"]
            )  # fmt: skip
            assert r["pool_milli"] == (
                r["sellable_milli"] - r["unassigned_milli"] - r["network_safety_stock_milli"]
            )
        assert r["after_protect_milli"] == r["pool_milli"] - r["protected_for_others_milli"]
        assert r["after_buffer_milli"] == r["after_protect_milli"] - r["buffer_milli"]
        assert r["after_backorder_milli"] == r["after_contract_milli"] + r["backorder_milli"]
        assert r["available_milli"] == max(0, r["after_exclude_milli"])
        promised = r["backorder_rule"] or r["preorder_rule"]
        assert promised or r["available_milli"] <= max(0, r["pool_milli"])
