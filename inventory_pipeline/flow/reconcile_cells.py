"""A system's snapshot beside the positions, as tables: only cells that differ become objects.

A cell is (sku, location, state); quantities in thousandths of the base unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from inventory_pipeline.config.policy import Tolerances
from inventory_pipeline.core.vocabulary import OWNED_STATES, State

Cell = tuple[str, str, State]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellDifference:
    """One cell that differs now, or did when the snapshot came.

    `now_milli` is the position by all that the ledger has, `then_milli` by what it had when the
    snapshot came. `since` is when the position's own last snapshot was taken, `unit_milli` the
    system's unit of the item.
    """

    sku: str
    location: str
    state: State
    found_milli: int
    now_milli: int
    then_milli: int
    since: datetime
    unit_milli: int


# A row in quarantine says nothing of its cell, and that something is there.
_CELLS = """
CREATE TEMP TABLE cells AS
WITH landed AS (
    SELECT sku, location, coalesce(held, false) AS held, units_milli, {states}
    FROM read_parquet($path) WHERE sku IS NOT NULL AND location IS NOT NULL
), long AS ({long})
SELECT sku, location, state, sum(milli)::BIGINT AS found_milli, max(units_milli) AS unit_milli
FROM long
ANTI JOIN (SELECT sku, location FROM landed WHERE held) h USING (sku, location)
SEMI JOIN pairs USING (state, location)
WHERE milli IS NOT NULL
GROUP BY sku, location, state
"""
# What a complete snapshot leaves out is 0 there, at the locations that it speaks of.
_LEFT_OUT = """
INSERT INTO cells
SELECT n.sku, n.location, n.state, 0, 1000 FROM now n
SEMI JOIN pairs USING (state, location)
SEMI JOIN (SELECT location FROM read_parquet($path)) l USING (location)
ANTI JOIN (SELECT sku, location FROM read_parquet($path)) r USING (sku, location)
WHERE n.state IN (SELECT unnest($states::VARCHAR[])) AND n.milli <> 0
"""
_COMPARED = "SELECT count(*) FROM cells c JOIN now n USING (sku, location, state)"
_BEYOND = (
    "(abs(c.found_milli - {0}) > $units_milli AND"
    " abs(c.found_milli - {0})::HUGEINT * 100000 > $percent_milli::HUGEINT * abs({0}))"
)
_DIFFERING = f"""
SELECT c.sku, c.location, c.state, c.found_milli, n.milli AS now_milli,
       coalesce(t.milli, n.milli) AS then_milli, n.taken_at, c.unit_milli
FROM cells c JOIN now n USING (sku, location, state)
LEFT JOIN then_ t USING (sku, location, state)
WHERE {_BEYOND.format("n.milli")} OR {_BEYOND.format("coalesce(t.milli, n.milli)")}
ORDER BY c.sku, c.location, c.state
"""


def differing_cells(
    path: Path,
    states: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    *,
    now: pa.Table,
    then: pa.Table | None,
    complete: bool,
    tolerances: Tolerances,
) -> tuple[int, list[CellDifference]]:
    """How many cells were compared, and those that differ beyond tolerance from either position.

    `pairs` are the (state, location) that count; positions without a snapshot have no start and are
    not compared. `now` and `then` are Engine.positions; `then` None: the same.
    """
    import duckdb

    counted = [state for state in OWNED_STATES if state in states]
    if not counted or not pairs:
        return 0, []
    with duckdb.connect() as db:
        db.execute("SET autoinstall_known_extensions = false")
        db.register("now_positions", now)
        db.register("then_positions", now if then is None else then)
        db.register("pairs", pa.table({"state": [s for s, _ in pairs],
                                       "location": [p for _, p in pairs]}))  # fmt: skip
        for name in ("now", "then_"):
            db.execute(f"CREATE TEMP TABLE {name} AS {_positions(name.rstrip('_'))}")
        long = " UNION ALL ".join(
            f"SELECT sku, location, units_milli, '{s}' AS state, {s} AS milli FROM landed"
            for s in counted
        )
        named = {"path": str(path)}
        db.execute(_CELLS.format(states=", ".join(counted), long=long), named)
        if complete:
            db.execute(_LEFT_OUT, {**named, "states": [str(s) for s in counted]})
        (compared,) = _one(db.execute(_COMPARED).fetchone())
        values = {
            "units_milli": int(tolerances.units * 1000),
            "percent_milli": int(tolerances.percent * 1000),
        }
        rows = db.execute(_DIFFERING, values).fetchall()
    return compared, [_difference(row) for row in rows]


def _positions(name: str) -> str:
    return " UNION ALL ".join(
        f"SELECT sku, location, '{s}' AS state, {s}_milli AS milli, {s}_taken_at AS taken_at"
        f" FROM {name}_positions WHERE {s}_taken_at IS NOT NULL"
        for s in OWNED_STATES
    )


def _difference(row: tuple[Any, ...]) -> CellDifference:
    since: datetime = row[6]
    return CellDifference(
        sku=row[0], location=row[1], state=State(row[2]), found_milli=row[3], now_milli=row[4],
        then_milli=row[5], since=since if since.tzinfo else since.replace(tzinfo=UTC),
        unit_milli=row[7] or 1000,
    )  # fmt: skip


def _one(row: tuple[Any, ...] | None) -> tuple[Any, ...]:
    assert row is not None, "a count without a row"
    return row
