"""Tryton's finished stock moves as events.

A move that is done never changes its product, quantity or places. When it was done is asked of its
document's log, because a later change of its costs moves the move's own write_date: the same fact
must have the same time whenever it is told.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from inventory_pipeline.connectors.events import events_of_each
from inventory_pipeline.connectors.http import UNEXPECTED
from inventory_pipeline.connectors.tryton_places import Places
from inventory_pipeline.connectors.tryton_rpc import Row, Rpc
from inventory_pipeline.core.ports import RawEvent

FIELDS = (
    "product.code", "internal_quantity", "from_location", "to_location", "create_date",
    "write_date", "shipment", "origin",
)  # fmt: skip
SOURCE = "poll moves"
INVENTORY_LINE = "stock.inventory.line"
INTERNAL = "stock.shipment.internal"
# A document's states at which its moves with the outside are done, the first that it went through.
DONE_AT = {
    "stock.shipment.in": ("received", "done"),
    "stock.shipment.in.return": ("done",),
    "stock.shipment.out": ("done",),
    "stock.shipment.out.return": ("received", "done"),
    INTERNAL: ("done",),
    "stock.inventory": ("done",),
}
LEAVES_AT = ("shipped", "done")  # an internal shipment's moves into transit
SIX = Decimal("0.000001")  # quantities are floats there: what is smaller is their noise

Body = dict[str, Any]


class Reader:
    """Reads moves; `order_field` and `line_field` are the move's fields that name an order line of
    a shop, "" for none.
    """

    def __init__(self, rpc: Rpc, *, order_field: str, line_field: str) -> None:
        self._rpc = rpc
        self._order_field = order_field
        self._line_field = line_field

    @property
    def fields(self) -> tuple[str, ...]:
        """What has to be read of a move."""
        return tuple(dict.fromkeys((*FIELDS, *filter(None, (self._order_field, self._line_field)))))

    def events(self, moves: Sequence[Row], places: Places) -> list[RawEvent]:
        """Events of SEMANTICS §1; a move that cannot be read goes to quarantine. Raises Trouble,
        and KeyError or the like where none is a move.
        """
        documents = self._documents([move for move in moves if _is_readable(move, places)])
        times = self._times({document for document in documents.values() if document})
        ways = self._ways({d for d in documents.values() if d.startswith(INTERNAL + ",")})

        def told(move: Row) -> Iterable[Body]:
            if not _counts(move, places):
                return ()
            return self._of_move(move, places, documents[int(move["id"])], times, ways)

        return events_of_each(
            moves,
            told,
            source=SOURCE,
            named="id",
            sure=lambda move: isinstance(move, dict) and isinstance(move.get("id"), int),
        )

    def _of_move(
        self,
        move: Row,
        places: Places,
        document: str,
        times: dict[str, dict[str, datetime]],
        ways: dict[str, tuple[str, int, int]],
    ) -> Iterator[Body]:
        number = int(move["id"])
        start, end = int(move["from_location"]), int(move["to_location"])
        leaves, arrives = places.inside.get(start), places.inside.get(end)
        model = document.partition(",")[0]
        states = LEAVES_AT if model == INTERNAL and not arrives else DONE_AT.get(model, ())
        at = _done_at(move, times.get(document, {}), states)
        base = {
            "occurred_at": at.isoformat().replace("+00:00", "Z"),
            "item": str(below(move, "product.code")),
            "quantity": quantity_text(move["internal_quantity"]),
        }
        called, origin, target = ways.get(document, (document, 0, 0))
        if leaves and (arrives or places.inside.get(target, leaves) != leaves):
            yield _event(number, "shipped", "transfer_shipped", base) | {
                "reference": called or f"move/{number}",
                "location": leaves,
                "to_location": arrives or places.inside[target],
            }
        if arrives and (leaves or (model == INTERNAL and places.kinds.get(start) == "storage")):
            yield _event(number, "received", "transfer_received", base) | {
                "reference": called or f"move/{number}",
                "location": leaves or places.inside.get(origin, arrives),
                "to_location": arrives,
            }
        elif arrives:
            yield _arrival(number, base, arrives, places.kinds.get(start, ""))
        elif leaves and places.inside.get(target, leaves) == leaves:
            yield self._departure(move, base, leaves, places.kinds.get(end, ""))

    def _departure(self, move: Row, base: Body, location: str, kind: str) -> Body:
        number = int(move["id"])
        if kind != "customer":
            less = base | {"quantity": f"-{base['quantity']}"}
            return _event(number, "done", "adjusted", less) | {
                "location": location,
                "reason": kind or "elsewhere",
            }
        issued = _event(number, "done", "goods_issued", base) | {"location": location}
        order, line = below(move, self._order_field), below(move, self._line_field)
        if order and line:
            issued |= {"order_id": str(order), "line_id": str(line)}
        return issued

    def _documents(self, moves: Sequence[Row]) -> dict[int, str]:
        """Move → "model,id" of the shipment or inventory that it belongs to, "" for none."""
        origins = {int(m["id"]): str(m["origin"] or "") for m in moves}
        prefix = INVENTORY_LINE + ","
        numbers = [int(o.removeprefix(prefix)) for o in origins.values() if o.startswith(prefix)]
        inventories: dict[str, str] = {}
        if numbers:
            rows = self._rpc.search_read(INVENTORY_LINE, [["id", "in", numbers]], ["inventory"])
            inventories = {
                f"{prefix}{row['id']}": f"stock.inventory,{row['inventory']}" for row in rows
            }
        return {
            int(m["id"]): str(m["shipment"] or "") or inventories.get(origins[int(m["id"])], "")
            for m in moves
        }

    def _times(self, documents: Iterable[str]) -> dict[str, dict[str, datetime]]:
        """Document → state → when it first went there, as its log tells."""
        chosen = sorted(documents)
        if not chosen:
            return {}
        rows = self._rpc.search_read(
            "ir.model.log",
            [["resource", "in", chosen], ["event", "=", "transition"]],
            ["resource", "target", "create_date"],
            order=[["id", "ASC"]],
        )
        found: dict[str, dict[str, datetime]] = {}
        for row in rows:
            state = str(row["target"] or "").rpartition(":")[2]
            found.setdefault(str(row["resource"]), {}).setdefault(state, row["create_date"])
        return found

    def _ways(self, shipments: Iterable[str]) -> dict[str, tuple[str, int, int]]:
        """Internal shipment → its number, and the locations where it begins and ends."""
        numbers = sorted(int(shipment.partition(",")[2]) for shipment in shipments)
        if not numbers:
            return {}
        rows = self._rpc.search_read(
            INTERNAL, [["id", "in", numbers]], ["number", "from_location", "to_location"]
        )
        return {
            f"{INTERNAL},{row['id']}": (
                str(row["number"] or f"{INTERNAL},{row['id']}"),
                int(row["from_location"]),
                int(row["to_location"]),
            )
            for row in rows
        }


def _is_readable(move: Row, places: Places) -> bool:
    """Whether a move counts; of one that does not say so `_counts` tells why."""
    try:
        return _counts(move, places)
    except UNEXPECTED:
        return False


def _counts(move: Row, places: Places) -> bool:
    """Whether a move is of goods that come or go. Raises ValueError or the like for one that names
    its document in another way than by a number.
    """
    int(move["id"])
    if not _crosses(move, places) or not below(move, "product.code"):
        return False
    for name in ("shipment", "origin"):
        model, _, number = str(move[name] or "").partition(",")
        if model in {INTERNAL, INVENTORY_LINE}:
            int(number)
    return True


def _crosses(move: Row, places: Places) -> bool:
    """Whether a move changes what a warehouse holds; picking within one does not."""
    leaves = places.inside.get(int(move["from_location"]))
    arrives = places.inside.get(int(move["to_location"]))
    return leaves != arrives


def _done_at(move: Row, times: dict[str, datetime], states: Sequence[str]) -> datetime:
    for state in states:
        if state in times:
            return times[state]
    found: datetime = move["write_date"] or move["create_date"]
    return found


def _arrival(number: int, base: Body, location: str, kind: str) -> Body:
    if kind == "supplier":
        return _event(number, "done", "goods_received", base) | {"location": location}
    if kind == "customer":
        returned = _event(number, "done", "returned", base)
        return returned | {"location": location, "disposition": "restock"}
    adjusted = _event(number, "done", "adjusted", base)
    return adjusted | {"location": location, "reason": kind or "elsewhere"}


def _event(number: int, what: str, type_: str, base: Body) -> Body:
    return {"event_id": f"move/{number}:{what}", "type": type_} | base


def below(row: Row, field: str) -> Any:
    """The value of `product.code`: Tryton puts it at row["product."]["code"]."""
    first, dot, rest = field.partition(".")
    if not dot:
        return row.get(first) if first else None
    inner = row.get(first + ".")
    return below(inner, rest) if isinstance(inner, dict) else None


def quantity_text(value: Any) -> str:
    """Exact to six decimals, without the noise of floats and without an exponent."""
    number = Decimal(str(value or 0)).quantize(SIX).normalize()
    return f"{number:f}"
