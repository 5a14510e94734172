"""A Vendure order as events: the same from the plugin's webhook, its repetition and the poll.

The order's own records carry the ids and the times, because they never change: what was placed
(`orderPlacedQuantity` at `orderPlacedAt`), its cancellations (history), what was added to it later
(modifications) and its fulfilments. A quantity lowered by a modification is a cancellation too.
"""

from collections.abc import Callable, Iterator
from typing import Any

from inventory_pipeline.connectors.http import utc_time

ORDER = """
  id code state updatedAt orderPlacedAt
  lines { id orderPlacedQuantity productVariant { id sku } }
  fulfillments { id state createdAt updatedAt lines { orderLineId quantity } }
  modifications { id createdAt lines { orderLineId quantity } }
  history(options: { take: 500, filter: { type: { eq: "ORDER_CANCELLATION" } } }) {
    items { id createdAt data }
  }
"""
UNDONE = "Cancelled"  # the one state of a fulfilment that takes it back

# variant id, sku → the item as the hub knows it
ItemOf = Callable[[str, str], str]
Body = dict[str, Any]


class Reader:
    """Reads orders. `line_by_sku`: a line is named by its sku, as the warehouse can name it too.

    `ships_from` is the location that fulfilments left from; "" where the warehouse itself says what
    it shipped.
    """

    def __init__(self, item_of: ItemOf, *, ships_from: str, line_by_sku: bool) -> None:
        self._item_of = item_of
        self._ships_from = ships_from
        self._line_by_sku = line_by_sku

    def events(self, order: Body) -> list[Body]:
        """Events of SEMANTICS §1; none before the order is placed. Raises KeyError, TypeError or
        ValueError if it is no order.
        """
        placed_at = order["orderPlacedAt"]
        if not placed_at:
            return []
        lines = {str(line["id"]): self._line(line) for line in order["lines"]}
        found = [*self._placed(order, lines, utc_time(placed_at)), *self._modified(order, lines)]
        found += [*self._cancelled(order, lines), *self._fulfilled(order, lines)]
        return found

    def _line(self, line: Body) -> tuple[str, str, int]:
        """(name, item, placed quantity) of a line."""
        variant = line["productVariant"]
        sku = str(variant["sku"])
        name = sku if self._line_by_sku and sku else str(line["id"])
        return name, self._item_of(str(variant["id"]), sku), int(line["orderPlacedQuantity"])

    def _placed(self, order: Body, lines: dict[str, Any], at: str) -> Iterator[Body]:
        for number, (_, _, quantity) in lines.items():
            if quantity > 0:
                yield self._of(order, lines, number, quantity, what=("order_placed", at, "placed"))

    def _modified(self, order: Body, lines: dict[str, Any]) -> Iterator[Body]:
        """What was added after the order was placed; a new line is placed by its first addition."""
        new = {number for number, (_, _, placed) in lines.items() if placed <= 0}
        for change in sorted(order["modifications"], key=lambda c: (c["createdAt"], c["id"])):
            for line in change["lines"]:
                number, quantity = str(line["orderLineId"]), int(line["quantity"])
                if quantity <= 0 or number not in lines:
                    continue
                kind = "order_placed" if number in new else "order_adjusted"
                new.discard(number)
                at, what = utc_time(change["createdAt"]), f"modified:{change['id']}"
                yield self._of(order, lines, number, quantity, what=(kind, at, what))

    def _cancelled(self, order: Body, lines: dict[str, Any]) -> Iterator[Body]:
        for entry in order["history"]["items"]:
            at, what = utc_time(entry["createdAt"]), f"cancelled:{entry['id']}"
            for line in entry["data"]["lines"]:
                number, quantity = str(line["orderLineId"]), int(line["quantity"])
                if quantity > 0 and number in lines:
                    yield self._of(
                        order, lines, number, quantity, what=("order_cancelled", at, what)
                    )

    def _fulfilled(self, order: Body, lines: dict[str, Any]) -> Iterator[Body]:
        if not self._ships_from:
            return
        for one in order["fulfillments"] or []:
            for line in one["lines"]:
                number, quantity = str(line["orderLineId"]), int(line["quantity"])
                if number not in lines or quantity <= 0:
                    continue
                at, what = utc_time(one["createdAt"]), f"fulfilled:{one['id']}"
                yield self._of(
                    order, lines, number, quantity, what=("order_fulfilled", at, what)
                ) | {"location": self._ships_from}
                if one["state"] == UNDONE:
                    at, what = utc_time(one["updatedAt"]), f"unfulfilled:{one['id']}"
                    yield self._of(
                        order, lines, number, quantity, what=("fulfilment_cancelled", at, what)
                    ) | {"location": self._ships_from}

    @staticmethod
    def _of(
        order: Body,
        lines: dict[str, Any],
        number: str,
        quantity: int,
        *,
        what: tuple[str, str, str],
    ) -> Body:
        """`what`: the event's type, when it happened, and what it is called within its line."""
        type_, at, called = what
        name, item, _ = lines[number]
        code = str(order["code"])
        return {
            "event_id": f"order/{code}:line/{number}:{called}",
            "type": type_,
            "occurred_at": at,
            "order_id": code,
            "line_id": name,
            "item": item,
            "quantity": quantity,
        }
