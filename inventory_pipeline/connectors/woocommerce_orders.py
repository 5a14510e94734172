"""A WooCommerce order as events: the same from a webhook, from its repetition and from the poll."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from inventory_pipeline.connectors.http import utc_time

HOLDING = frozenset({"processing", "on-hold", "completed"})
GIVEN_UP = frozenset({"cancelled", "refunded"})

# product id, variation id (0: none), sku → the item as the hub knows it; "" has no stock
ItemOf = Callable[[int, int, str], str]


def order_events(
    order: dict[str, Any], item_of: ItemOf, *, ships_from: str = ""
) -> list[dict[str, Any]]:
    """Events of SEMANTICS §1. Raises KeyError, TypeError or ValueError if it is no order.

    An order's lines are placed when it holds stock (processing, on-hold, completed), dated at its
    creation: the one time of an order that never changes. Repeated changes of a cancelled or failed
    order repeat the cancel or the failure with the time of the change, which posts nothing more.
    """
    number = str(int(order["id"]))
    status = str(order["status"])
    created_at = utc_time(order["date_created_gmt"])
    modified_at = utc_time(order["date_modified_gmt"])
    events: list[dict[str, Any]] = []
    lines = _lines(order, item_of)
    if status in HOLDING:
        events += [
            _of_line(number, line, "placed", lines) | _what("order_placed", created_at)
            for line in lines
        ]
        paid_at = utc_time(order["date_paid_gmt"]) if order.get("date_paid_gmt") else ""
        if _later(paid_at, created_at):
            # It may have failed before; where it did not, this changes nothing.
            events.append(_of_order(number, "paid", "payment_recovered", paid_at))
    elif status in GIVEN_UP:
        events.append(_of_order(number, f"cancelled:{modified_at}", "order_cancelled", modified_at))
    elif status == "failed":
        events.append(_of_order(number, f"failed:{modified_at}", "payment_failed", modified_at))
    if status == "completed" and ships_from and order.get("date_completed_gmt"):
        shipped_at = utc_time(order["date_completed_gmt"])
        events += [
            _of_line(number, line, "fulfilled", lines)
            | _what("order_fulfilled", shipped_at)
            | {"location": ships_from}
            for line in lines
        ]
    return events


def _lines(order: dict[str, Any], item_of: ItemOf) -> dict[str, tuple[str, int]]:
    """Line id → item and quantity, for lines of goods."""
    found = {}
    for line in order["line_items"]:
        item = item_of(
            int(line["product_id"]), int(line.get("variation_id") or 0), str(line.get("sku") or "")
        )
        quantity = int(line["quantity"])
        if item and quantity > 0:
            found[str(int(line["id"]))] = (item, quantity)
    return found


def _of_line(
    number: str, line: str, what: str, lines: dict[str, tuple[str, int]]
) -> dict[str, Any]:
    item, quantity = lines[line]
    return {
        "event_id": f"order/{number}:line/{line}:{what}",
        "order_id": number,
        "line_id": line,
        "item": item,
        "quantity": quantity,
    }


def _of_order(number: str, what: str, type_: str, at: str) -> dict[str, Any]:
    return {"event_id": f"order/{number}:{what}", "order_id": number} | _what(type_, at)


def _what(type_: str, at: str) -> dict[str, Any]:
    return {"type": type_, "occurred_at": at}


def _later(paid_at: str, created_at: str) -> bool:
    try:
        return datetime.fromisoformat(paid_at) > datetime.fromisoformat(created_at)
    except (ValueError, TypeError):
        return False
