"""Rows of a whole calculation, each told by its places, its components and its open orders."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inventory_pipeline.compute.engine import Engine
from inventory_pipeline.config.policy import Hub
from inventory_pipeline.flow.closure import closure
from inventory_pipeline.flow.why import BucketWhy, OpenLine, bucket_why, open_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One row: its waterfall, and the lines that still promise it or one of its components."""

    sku: str
    title: str
    bucket: BucketWhy
    order_lines: tuple[OpenLine, ...]


def tell_rows(engine: Engine, hub: Hub, rows: Sequence[Mapping[str, Any]]) -> Iterator[Told]:
    """Each of these rows of Engine.ats, in their order."""
    positions = _by_sku(engine.positions().to_pylist())
    lines = _by_sku(line for line in engine.order_lines().to_pylist() if line["open_milli"])
    ats = {(row["channel"], row["bucket"], row["sku"]): row for row in engine.ats().to_pylist()}
    for row in rows:
        part = closure(hub, row["sku"])

        def of(sku: str, row: Mapping[str, Any] = row) -> dict[str, Any]:
            found = ats[row["channel"], row["bucket"], sku]
            return {**found, "locations": positions.get(sku, [])}

        yield Told(
            sku=part.sku,
            title=hub.catalog.items[part.sku].title,
            bucket=bucket_why(part, of(part.sku), of, listings=()),
            order_lines=tuple(open_line(one) for sku in part.parts for one in lines.get(sku, ())),
        )


def _by_sku(rows: Any) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["sku"], []).append(row)
    return found
