"""What really happened in a replay, read from its own file: the hub has no part in it.

Physical stock by location, goods on the way, what every shop sold, and what customers did not get.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """Units of one sku at one location; damaged and quality_control are parts of on_hand."""

    on_hand: int
    damaged: int
    quality_control: int

    @property
    def good(self) -> int:
        return self.on_hand - self.damaged - self.quality_control


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLine:
    """Sold by a shop, neither shipped nor cancelled: the goods are still on the shelf."""

    shop: str
    order_id: str
    line_id: int
    sku: str
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The end of a replay, or a moment of it; all quantities are whole units.

    `lost` counts units by reason: `empty_shelf`, `sold_out` (the shop refused) and `unshippable`
    (the shop sold what no place had). `told` counts what was told: lines of event files and whole
    files by folder (`pos`, `wms`), calls by shop.
    """

    stock: Mapping[tuple[str, str], Stock]  # (location, sku)
    coming: Mapping[tuple[str, str], int]  # (location, sku): sent or ordered, not yet there
    open_lines: tuple[OpenLine, ...]
    sold: Mapping[tuple[str, str], int]  # (shop, sku): accepted and not cancelled
    lost: Mapping[str, int]
    told: Mapping[str, int]
    finished: bool


def truth(state: Path) -> Truth:
    """Reads a replay's SQLite file, running or ended."""
    with closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True, timeout=10)) as connection:
        connection.row_factory = sqlite3.Row
        return _truth(connection)


def summary_of(connection: sqlite3.Connection) -> dict[str, object]:
    """A few numbers for people: what was told, sold and lost."""
    found = _truth(connection)
    orders = connection.execute(
        "SELECT shop, status, count(*) AS n FROM orders GROUP BY shop, status ORDER BY shop, status"
    ).fetchall()
    return {
        "told": dict(found.told),
        "orders": {f"{row['shop']}/{row['status']}": row["n"] for row in orders},
        "units_sold": sum(found.sold.values()),
        "open_lines": len(found.open_lines),
        "lost_units": dict(found.lost),
    }


def _truth(connection: sqlite3.Connection) -> Truth:
    select = connection.execute
    finished = select("SELECT 1 FROM meta WHERE name = 'counted'").fetchone()
    waiting = select("SELECT 1 FROM emissions WHERE delivered_at IS NULL").fetchone()
    return Truth(
        stock={
            (row["location"], row["sku"]): Stock(
                on_hand=row["on_hand"],
                damaged=row["damaged"],
                quality_control=row["quality_control"],
            )
            for row in select("SELECT * FROM stock")
        },
        coming={
            (row["location"], row["sku"]): row["units"]
            for row in select(
                "SELECT location, sku, sum(units) AS units FROM coming GROUP BY location, sku"
            )
        },
        open_lines=tuple(
            OpenLine(
                shop=row["shop"],
                order_id=row["order_id"],
                line_id=row["line_id"],
                sku=row["sku"],
                units=row["quantity"] - row["shipped"] - row["cancelled"],
            )
            for row in select(
                "SELECT * FROM lines WHERE quantity > shipped + cancelled ORDER BY shop, line_id"
            )
        ),
        sold={
            (row["shop"], row["sku"]): row["units"]
            for row in select(
                "SELECT shop, sku, sum(quantity - cancelled) AS units FROM lines GROUP BY shop, sku"
            )
        },
        lost={
            row["why"]: row["units"]
            for row in select("SELECT why, sum(units) AS units FROM lost GROUP BY why ORDER BY why")
        },
        told={
            row["what"]: row["n"]
            for row in select(
                "SELECT CASE way "
                "WHEN 'post' THEN 'calls ' || substr(target, 1, instr(target, ' ') - 1) "
                "WHEN 'line' THEN 'events ' || substr(target, 9, 3) "
                "ELSE 'counts ' || substr(target, 9, 3) END AS what, count(*) AS n "
                "FROM emissions GROUP BY what ORDER BY what"
            )
        },
        finished=finished is not None and waiting is None,
    )
