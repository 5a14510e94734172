"""Fills the grocer's working hub folder: catalogue, shops' listings and opening counts.

`prepare` may run again at any time: hub.yaml and the catalogue follow the example, opening counts
that are there stay, because their time is part of what they say.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inventory_pipeline.core.ports import Clock
from inventory_pipeline.simulate.grocer_data import Slice, read_slice
from inventory_pipeline.simulate.grocer_stock import (
    CASE,
    CODE_OF,
    DC,
    STORES,
    Opening,
    opening,
    shown_before,
)

SNAPSHOT_HEADER = ("as_of", "location", "item", "on_hand", "damaged", "quality_control")
ITEM_GID = "gid://shopify/InventoryItem/"
Counts = Mapping[tuple[str, str], tuple[int, int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What `prepare` made: the hub folder to run, and how much is in it."""

    hub: Path
    products: int
    baskets: int
    locations: int


def _now() -> datetime:
    return datetime.now(UTC)


def prepare(example: Path, working: Path, *, clock: Clock = _now) -> Prepared:
    """Writes the working hub folder from the example's hub.yaml and the data package."""
    slice_ = read_slice()
    stock = opening(slice_)
    write(working / "hub.yaml", (example / "hub.yaml").read_text(encoding="utf-8"))
    write(working / "catalog" / "items.csv", _items(slice_))
    write(working / "catalog" / "identifiers.csv", _identifiers(slice_))
    for shop in ("shop", "market"):
        write(working / "shops" / f"{shop}.csv", _listings(slice_, stock, shop))
    for system in ("wms", "pos"):
        (working / "landing" / system).mkdir(parents=True, exist_ok=True)
    as_of = clock()
    counts = {key: (units, 0, 0) for key, units in stock.on_hand.items()}
    for place in CODE_OF:
        path = working / snapshot_path(place, 1)
        if not path.exists():
            write(path, snapshot_text(place, as_of, counts))
    return Prepared(
        hub=working,
        products=len(slice_.products),
        baskets=len(slice_.baskets),
        locations=1 + len(STORES),
    )


def snapshot_path(place: str, number: int) -> str:
    """Where the n-th count of a location lies in the hub folder; later counts sort behind."""
    folder, name = ("wms", "stock") if place == DC else ("pos", place)
    return f"landing/{folder}/{name}-{number:04d}.csv"


def snapshot_text(place: str, as_of: datetime, counts: Counts) -> str:
    """A full count of one location as CSV; `counts` are (on_hand, damaged, quality_control)."""
    rows = [
        (as_of.isoformat(), CODE_OF[place], item_name(place, sku), *count)
        for (where, sku), count in sorted(counts.items())
        if where == place
    ]
    return csv_text(SNAPSHOT_HEADER, rows)


def item_name(place: str, sku: str) -> str:
    """How the system of this location calls an item: the warehouse has numbers of its own."""
    return f"W{sku}" if place == DC else sku


def case_name(sku: str) -> str:
    """How the warehouse calls a whole case of an item."""
    return f"CASE-{sku}"


def csv_text(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def write(path: Path, text: str) -> None:
    """Puts a file in place whole; one with the same content is left alone, its time too."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _items(slice_: Slice) -> str:
    rows = [(p.sku, p.title, "simple", 0, p.tag, p.price) for p in slice_.products]
    return csv_text(("sku", "title", "kind", "decimals", "tags", "price"), rows)


def _identifiers(slice_: Slice) -> str:
    """The warehouse's numbers and cases, and the web shop's inventory items.

    Tills and the marketplace call a product by its sku and need no row.
    """
    names: list[tuple[str, Callable[[str], str], int]] = [
        ("wms", lambda sku: item_name(DC, sku), 1),
        ("wms", case_name, CASE),
        ("shop", lambda sku: f"{ITEM_GID}{sku}", 1),
    ]
    rows = [
        (system, name(product.sku), product.sku, units)
        for system, name, units in names
        for product in slice_.products
    ]
    return csv_text(("system", "external_id", "sku", "units"), rows)


def _listings(slice_: Slice, stock: Opening, shop: str) -> str:
    rows = [
        (p.sku, p.sku, p.title, p.price, shown_before(stock, shop, p.sku)) for p in slice_.products
    ]
    return csv_text(("id", "sku", "title", "price", "available"), rows)
