"""How long a snapshot of a million rows takes from its CSV file to durable Parquet."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet

from benchmarks.harness.figures import Figure, at_most, side_by_side, timed
from benchmarks.made.hub import LOCATIONS, make_hub
from benchmarks.made.stock import write_stock
from inventory_pipeline.config.policy import Hub
from inventory_pipeline.connectors.tables import read_csv
from inventory_pipeline.contracts.schemas import landing_problems
from inventory_pipeline.contracts.snapshots import check_snapshot
from inventory_pipeline.core.ledger import CheckedSnapshot
from inventory_pipeline.core.ports import RawSnapshot
from inventory_pipeline.flow.landing_files import write_parquet

ROWS = 1_000_000
TIMES = 5
BAD_TIMES = 3


def run(scratch: Path) -> Iterator[Figure]:
    hub = make_hub(ROWS // LOCATIONS)
    good, bad = scratch / "good.csv", scratch / "bad.csv"
    write_stock(good, ROWS, seed=1)
    write_stock(bad, ROWS, seed=1, bad=True)
    _land(hub, good, scratch)
    _floor(good, scratch)
    taken = side_by_side(
        TIMES, ours=lambda: _land(hub, good, scratch), floor=lambda: _floor(good, scratch)
    )
    yield Figure(
        name="land_1m_rows_s",
        value=round(taken["ours"].median, 3),
        unit="s",
        against=f"pyarrow reads the CSV and writes Parquet, nothing checked: "
        f"{taken['floor'].median:.2f} s",
        note=(
            f"{ROWS:,} rows of CSV: read, mapped, checked with pandera, Parquet durable; the rows' "
            f"contract alone {_contract_s(hub, good):.2f} s; {taken['ours'].spread}"
        ),
        target=at_most(2),
    )
    taken = side_by_side(
        BAD_TIMES, ours=lambda: _land(hub, bad, scratch), floor=lambda: _floor(bad, scratch)
    )
    yield Figure(
        name="land_1m_bad_rows_s",
        value=round(taken["ours"].median, 3),
        unit="s",
        against=f"pyarrow reads the CSV and writes Parquet, nothing checked: "
        f"{taken['floor'].median:.2f} s",
        note=(
            f"as land_1m_rows_s, and all {ROWS:,} rows are bad: each becomes a row for quarantine, "
            f"with its message and as it was read; {taken['ours'].spread}"
        ),
    )


def _land(hub: Hub, path: Path, state: Path) -> None:
    write_parquet(state, _checked(hub, path))


def _checked(hub: Hub, path: Path) -> CheckedSnapshot:
    raw = RawSnapshot(source=path.name, key=path.name, frame=read_csv(path))
    (checked,) = check_snapshot(hub, "wms", raw, last_rows=lambda _feed: None)
    assert isinstance(checked, CheckedSnapshot), checked
    assert checked.data_rows == ROWS
    return checked


def _floor(path: Path, state: Path) -> None:
    table = pyarrow.csv.read_csv(path)
    pyarrow.parquet.write_table(table, state / "floor.parquet", compression="zstd")


def _contract_s(hub: Hub, path: Path) -> float:
    """Seconds of pandera alone, on the rows as they land."""
    from inventory_pipeline.contracts.snapshots import _for_contract

    frame: Any = _for_contract(_checked(hub, path).rows)
    return min(timed(lambda: landing_problems(frame)) for _ in range(2))
