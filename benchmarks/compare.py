"""How long comparing a million listings takes, once both sides are in memory.

What a channel shows, in its own order, beside what it must be showing; a thousand differ, a hundred
are missing on each side. Beside it datacompy's Polars backend and a plain DuckDB join, which have
to find the same rows.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.harness.figures import Figure, at_least, side_by_side
from inventory_pipeline.config.policy import Tolerances

LISTINGS = 1_000_000
DIFFERING = 1_000
MISSING = 100
TIMES = 7
THREADS = 2
KEYS = ["bucket", "external_id"]


def run(scratch: Path) -> Iterator[Figure]:  # noqa: ARG001 - everything is in memory
    expected, shown = tables()
    found = {name: function() for name, function in contenders(expected, shown).items()}
    assert set(found.values()) == {DIFFERING + 2 * MISSING}, found
    taken = side_by_side(TIMES, **contenders(expected, shown))
    ours, datacompy, join = (taken[name] for name in ("ours", "datacompy", "join"))
    yield Figure(
        name="compare_1m_vs_datacompy",
        value=round(datacompy.median / ours.median, 1),
        unit="times as fast",
        against=f"datacompy with its Polars backend, the same rows found: {datacompy.median:.2f} s",
        note=(
            f"{LISTINGS:,} listings, {DIFFERING:,} differ, {MISSING} missing on each side; ours "
            f"{ours.median:.3f} s, from two tables in memory to what differs as objects; "
            f"{ours.spread}"
        ),
        target=at_least(6),
    )
    yield Figure(
        name="compare_1m_vs_floor",
        value=round(ours.median / join.median, 2),
        unit="times as long",
        against=f"DuckDB joining both tables by their keys: {join.median:.3f} s",
        note=f"{join.spread}",
    )


def tables() -> tuple[pa.Table, pa.Table]:
    """`expected` as memory/showing.py gives it, `shown` as flow/reconcile_compare.py does."""
    source = random.Random(6)
    names = [f"gid://shopify/InventoryItem/{43_000_000_000 + 7 * n}" for n in range(LISTINGS)]
    units = {name: source.randrange(500) * 1000 for name in names}
    shuffled = source.sample(names, LISTINGS)
    differ = frozenset(shuffled[:DIFFERING])
    shows = shuffled[DIFFERING:-MISSING] + list(differ) + [f"{n}-new" for n in range(MISSING)]
    source.shuffle(shows)
    return _expected(names, units), _shown(shows, units, differ)


def _expected(names: list[str], units: dict[str, int]) -> pa.Table:
    return pa.table(
        {
            "bucket": ["main"] * len(names),
            "external_id": names,
            "expected_milli": pa.array([units[name] for name in names], pa.int64()),
        }
    )


def _shown(names: list[str], units: dict[str, int], differ: frozenset[str]) -> pa.Table:
    from inventory_pipeline.flow.reconcile_compare import SHOWN

    numbers = [units.get(name, 0) + (1000 if name in differ else 0) for name in names]
    zeros = [0] * len(names)
    return pa.table(
        [["main"] * len(names), names, numbers, zeros, zeros, [None] * len(names), zeros],
        schema=SHOWN,
    )


def contenders(expected: pa.Table, shown: pa.Table) -> dict[str, Any]:
    """By name: a function that returns how many rows differ or are missing."""
    import polars as pl

    from inventory_pipeline.flow.reconcile_compare import compare, differences

    first = pl.from_arrow(expected).rename({"expected_milli": "units"})
    second = pl.from_arrow(shown.select([*KEYS, "shown_milli"])).rename({"shown_milli": "units"})

    def ours() -> int:
        found = compare(expected, shown, Tolerances(), one_bucket=True)
        return len(differences(found, shown, {"main": ""}))

    def datacompy() -> int:
        from datacompy import PolarsCompare

        found = PolarsCompare(first, second, join_columns=KEYS)
        return len(found.all_mismatch()) + len(found.df1_unq_rows) + len(found.df2_unq_rows)

    def join() -> int:
        import duckdb

        with duckdb.connect() as db:
            db.execute(f"SET threads = {THREADS}")
            db.register("e", expected)
            db.register("s", shown)
            return len(db.execute(_JOIN).fetchall())

    return {"ours": ours, "datacompy": datacompy, "join": join}


_JOIN = """
SELECT coalesce(e.external_id, s.external_id) FROM e
FULL JOIN s ON e.bucket = s.bucket AND e.external_id = s.external_id
WHERE e.expected_milli IS DISTINCT FROM s.shown_milli
"""
