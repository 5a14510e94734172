"""A snapshot's cells beside positions: cases, held rows, tolerances."""

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inventory_pipeline.config.policy import Tolerances
from inventory_pipeline.core.causes import SourceFacts, source_cause
from inventory_pipeline.core.vocabulary import OWNED_STATES, Cause
from inventory_pipeline.flow.reconcile_cells import differing_cells
from inventory_pipeline.flow.reconcile_source_causes import _step
from inventory_pipeline_tests.fakes import SNAPSHOT_ROWS, small_hub

AT = datetime(2026, 3, 2, 8, tzinfo=UTC)
DC = [("on_hand", "dc")]


@pytest.fixture
def landed(tmp_path):
    def land(*rows):
        path = tmp_path / "snapshot.parquet"
        full = [
            {"as_of": AT, "location": "dc", "units_milli": 1000, "held": False, **row}
            for row in rows
        ]
        pq.write_table(pa.Table.from_pylist(full, schema=SNAPSHOT_ROWS), path)
        return path

    return land


def positions(**on_hand):
    return pa.Table.from_pylist(
        [
            {
                "sku": sku, "location": "dc",
                **{f"{s}_milli": units * 1000 if s == "on_hand" else 0 for s in OWNED_STATES},
                **{f"{s}_taken_at": AT if s == "on_hand" else None for s in OWNED_STATES},
            }
            for sku, units in on_hand.items()
        ]
    )  # fmt: skip


def differing(path, now, **options):
    given = {"then": None, "complete": False, "tolerances": Tolerances(), **options}
    compared, found = differing_cells(path, ["on_hand"], DC, now=now, **given)
    return compared, {one.sku: (one.now_milli, one.found_milli) for one in found}


def test_rows_of_one_cell_add_up(landed):
    path = landed({"sku": "A", "on_hand": 4000}, {"sku": "A", "on_hand": 6000})
    assert differing(path, positions(A=10)) == (1, {})


def test_a_cell_with_a_row_in_quarantine_says_nothing(landed):
    path = landed({"sku": "A", "on_hand": 4000}, {"sku": "A", "held": True})
    assert differing(path, positions(A=10), complete=True) == (0, {})


def test_what_is_left_out_of_a_complete_snapshot_is_zero(landed):
    path = landed({"sku": "A", "on_hand": 10_000})
    assert differing(path, positions(A=10, B=5), complete=True) == (2, {"B": (5000, 0)})


def test_cases_that_cannot_say_single_units_are_rounding(landed):
    path = landed({"sku": "A", "on_hand": 24_000, "units_milli": 12_000})
    _, [one] = differing_cells(
        path, ["on_hand"], DC, now=positions(A=30), then=None, complete=False,
        tolerances=Tolerances(),
    )  # fmt: skip
    step = _step(small_hub(), one, one.now_milli)
    facts = SourceFacts(expected_milli=30_000, found_milli=24_000, step_milli=step)
    assert source_cause(facts) is Cause.ROUNDING


def test_a_whole_case_that_is_missing_is_not_rounding(landed):
    path = landed({"sku": "A", "on_hand": 24_000, "units_milli": 12_000})
    _, [one] = differing_cells(
        path, ["on_hand"], DC, now=positions(A=36), then=None, complete=False,
        tolerances=Tolerances(),
    )  # fmt: skip
    step = _step(small_hub(), one, one.now_milli)
    facts = SourceFacts(expected_milli=36_000, found_milli=24_000, step_milli=step)
    assert source_cause(facts) is Cause.UNEXPLAINED
