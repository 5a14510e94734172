"""Tryton's locations: which warehouse one is in, and what kind of place the others are."""

from dataclasses import dataclass
from typing import Any

from inventory_pipeline.connectors.tryton_rpc import Rpc

MAX_LOCATIONS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Every location by its number. A warehouse's name is its code, or its name without one."""

    kinds: dict[int, str]  # storage | warehouse | customer | supplier | lost_found | …
    inside: dict[int, str]  # location → the warehouse that it is in
    warehouses: dict[str, int]

    @classmethod
    def read(cls, rpc: Rpc, only: tuple[str, ...]) -> "Places":
        """Raises Trouble; `only` are the codes of warehouses that count, all where it is empty."""
        rows = rpc.search_read(
            "stock.location",
            [["active", "in", [True, False]]],
            ["code", "name", "type", "parent"],
            limit=MAX_LOCATIONS,
        )
        by_id = {int(row["id"]): row for row in rows}
        names = {number: str(row["code"] or row["name"]) for number, row in by_id.items()}
        warehouses = {
            names[number]: number
            for number, row in by_id.items()
            if row["type"] == "warehouse" and (not only or names[number] in only)
        }
        wanted = set(warehouses.values())
        inside = {}
        for number in by_id:
            home = _home(by_id, number)
            if home in wanted:
                inside[number] = names[home]
        kinds = {number: str(row["type"]) for number, row in by_id.items()}
        return cls(kinds=kinds, inside=inside, warehouses=warehouses)


def _home(by_id: dict[int, dict[str, Any]], number: int) -> int:
    """The warehouse above a location, or 0; a circle of parents ends the walk."""
    for _ in range(len(by_id)):
        row = by_id.get(number)
        if row is None:
            return 0
        if row["type"] == "warehouse":
            return number
        number = int(row["parent"] or 0)
    return 0
