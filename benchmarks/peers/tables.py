"""What the floor and the peers start from: a store's stock as a long table, and its rules resolved.

Both come from the store that the product computes from, so all have the same numbers to work with.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

LOST = ("damaged_milli", "quality_control_milli", "committed_milli", "reserved_milli")
STATES = ("on_hand_milli", *LOST)
NET = " - ".join(STATES)
THREADS = 2
NO_CAP = 2**62
WHOLE = 1_000_000  # a percent is a number of millionths
_UNKNOWN = (  # kinds of rules that the peers do not know
    "contract_milli <> 0 OR exclusive_contract_milli IS NOT NULL OR exclude_rule IS NOT NULL"
    " OR buffer_auto_factor_millionths IS NOT NULL OR backorder_limit_milli IS NOT NULL"
    " OR preorder_limit_milli IS NOT NULL"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Arrow tables with numbers for names; every quantity in thousandths of the base unit.

    stock: item_no, location_no and five states, sorted by item; no row for a bundle.
    items: item_no, profile, step_milli, bundle. parts: bundle_no, part_no, quantity_milli.
    rules: one row a profile and bucket, what no rule says filled with what changes nothing;
    protects[n] is the column of its n-th protection. kept_at: profile, view_no, location_no,
    kept_milli: what rules keep back at a location.
    """

    stock: pa.Table
    items: pa.Table
    parts: pa.Table
    rules: pa.Table
    kept_at: pa.Table
    protects: tuple[str, ...]
    groups: dict[int, tuple[int, ...]]  # group_no: the locations that feed the same buckets
    groups_of: dict[int, tuple[int, ...]]  # bucket_no: its groups
    places_of: dict[int, tuple[int, ...]]  # bucket_no: its locations
    views: dict[int, int]  # bucket_no: how it sees what is kept back at locations


def connect(path: Path | str, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(str(path), read_only=read_only)
    connection.execute(f"SET threads = {THREADS}")
    connection.execute("SET enable_progress_bar = false")
    return connection


def write_long_stock(store: Path, path: Path) -> int:
    """A made store's positions as a long table in a file of its own; its number of rows.

    They are what its only snapshot said: no event came after it.
    """
    with connect(path) as connection:
        connection.execute(f"ATTACH '{store}' AS store (READ_ONLY)")
        found = connection.execute(
            "CREATE TABLE long_stock AS"
            f" SELECT item_no, location_no::UTINYINT AS location_no, {', '.join(STATES)}"
            " FROM store.cells JOIN store.locations USING (location) ORDER BY item_no, location_no"
        ).fetchone()
    assert found is not None
    return int(found[0])


def read_tables(store: Path, long_stock: Path) -> Tables:
    """Everything that a peer needs, in memory. Raises ValueError for rules that it has not."""
    with connect(long_stock, read_only=True) as connection:
        stock = connection.sql("SELECT * FROM long_stock").to_arrow_table()
    with connect(store, read_only=True) as connection:
        return _with_rules(connection, stock)


def _with_rules(connection: duckdb.DuckDBPyConnection, stock: pa.Table) -> Tables:
    def rows(sql: str) -> list[tuple[Any, ...]]:
        return connection.execute(sql).fetchall()

    [(unknown,)] = rows(f"SELECT count(*) FROM rulebook WHERE {_UNKNOWN}")
    if unknown:
        raise ValueError(f"{unknown} rows of the rulebook have rules that the peers do not know")
    [(most,)] = rows("SELECT coalesce(max(len(protects_milli)), 0) FROM rulebook")
    protects = tuple(f"protect_{n}_milli" for n in range(1, most + 1))
    listed = "".join(
        f", coalesce(protects_milli[{n}], 0) AS {name}" for n, name in enumerate(protects, 1)
    )
    places = "SELECT bucket_no, group_nos, location_nos, view_no FROM bucket_places"
    return Tables(
        stock=stock,
        items=connection.sql(
            "SELECT item_no, profile, step_milli, kind = 'bundle' AS bundle FROM items"
            " ORDER BY item_no"
        ).to_arrow_table(),
        parts=connection.sql(
            "SELECT b.item_no AS bundle_no, c.item_no AS part_no, quantity_milli"
            " FROM components x JOIN items b ON b.sku = x.sku JOIN items c ON c.sku = x.component"
            " ORDER BY bundle_no"
        ).to_arrow_table(),
        rules=connection.sql(
            "SELECT profile, bucket_no, safety_stock_milli + location_reserve_milli"
            " + network_safety_stock_milli AS kept_milli,"
            " coalesce(buffer_units_milli, 0) AS buffer_milli,"
            " coalesce(buffer_percent_millionths, 0) AS buffer_millionths,"
            f" coalesce(share_millionths, {WHOLE}) AS share_millionths,"
            f" coalesce(cap_milli, {NO_CAP}) AS cap_milli,"
            " coalesce(min_display_milli, 0) AS min_display_milli, fulfilment = 'split' AS split"
            f" {listed} FROM rulebook ORDER BY bucket_no, profile"
        ).to_arrow_table(),
        kept_at=connection.sql(
            "SELECT profile, bucket_no AS view_no, location_no::UTINYINT AS location_no,"
            " safety_stock_milli + location_reserve_milli AS kept_milli FROM location_terms"
            " WHERE bucket_no IN (SELECT view_no FROM bucket_places)"
        ).to_arrow_table(),
        protects=protects,
        groups={
            n: tuple(nos) for n, nos in rows("SELECT group_no, location_nos FROM location_groups")
        },
        groups_of={bucket: tuple(nos) for bucket, nos, _, _ in rows(places)},
        places_of={bucket: tuple(nos) for bucket, _, nos, _ in rows(places)},
        views={bucket: view for bucket, _, _, view in rows(places)},
    )
