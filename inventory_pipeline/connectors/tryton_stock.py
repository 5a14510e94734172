"""What Tryton's warehouses hold now, as one snapshot of text cells."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from inventory_pipeline.connectors.tryton_moves import SIX, below, quantity_text
from inventory_pipeline.connectors.tryton_places import Places
from inventory_pipeline.connectors.tryton_rpc import Rpc

PAGE = 1000
MAX_PAGES = 10_000
ON_HAND, INCOMING, COMMITTED = STATES = ("on_hand", "incoming", "committed")
OPEN = ["draft", "assigned"]
# State → the end of an open move that is in the warehouse, and the kind of place at its other end.
OPEN_MOVES = {
    INCOMING: ("to_location", "from_location", "supplier"),
    COMMITTED: ("from_location", "to_location", "customer"),
}

Cells = dict[tuple[str, str], dict[str, str]]  # (warehouse, item) → state → quantity


def read_stock(rpc: Rpc, places: Places, states: tuple[str, ...], now: datetime) -> Cells:
    """Every product with a code in every warehouse. Raises Trouble."""
    cells: Cells = {}
    for name, number in places.warehouses.items():
        for row in _quantities(rpc, number, now):
            item = str(below(row, "product.code"))
            cells[name, item] = {ON_HAND: quantity_text(row["quantity"])}
    for state in states:
        if state in OPEN_MOVES:
            _add_open_moves(rpc, places, state, cells)
    return cells


def frame_of(cells: Cells, states: tuple[str, ...], as_of: datetime) -> Any:
    """A DataFrame of text in the shape of SEMANTICS §1."""
    import pandas as pd

    at = as_of.isoformat().replace("+00:00", "Z")
    rows = [
        {"as_of": at, "location": place, "item": item}
        | {state: values.get(state, "0") for state in states}
        for (place, item), values in cells.items()
    ]
    return pd.DataFrame(rows, columns=["as_of", "location", "item", *states], dtype="str")


def _quantities(rpc: Rpc, warehouse: int, now: datetime) -> Iterator[dict[str, Any]]:
    context = {
        "locations": [warehouse],
        "with_childs": True,
        # "Today" is the company's own day there; a later day means today for what is on hand.
        "stock_date_end": (now + timedelta(days=1)).date(),
    }
    for page in range(MAX_PAGES):
        rows = rpc.search_read(
            "stock.products_by_locations",
            [["product.code", "!=", None], ["product.type", "in", ["goods", "assets"]]],
            ["product.code", "quantity"],
            order=[["id", "ASC"]],
            limit=PAGE,
            offset=page * PAGE,
            context=context,
        )
        yield from rows
        if len(rows) < PAGE:
            return


def _add_open_moves(rpc: Rpc, places: Places, state: str, cells: Cells) -> None:
    ours, theirs, kind = OPEN_MOVES[state]
    after = 0
    for _ in range(MAX_PAGES):
        rows = rpc.search_read(
            "stock.move",
            [["state", "in", OPEN], [f"{theirs}.type", "=", kind], ["id", ">", after]],
            ["product.code", "internal_quantity", ours],
            order=[["id", "ASC"]],
            limit=PAGE,
        )
        for row in rows:
            place = places.inside.get(int(row[ours]))
            key = (place or "", str(below(row, "product.code")))
            if place and key in cells:
                sum_ = Decimal(cells[key].get(state, "0")) + Decimal(str(row["internal_quantity"]))
                cells[key][state] = quantity_text(sum_.quantize(SIX))
            after = int(row["id"])
        if len(rows) < PAGE:
            return
