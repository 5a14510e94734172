"""An Amazon order as events: the same from the poll, from its repetition and after a notification.

Only orders that the seller ships count here: what Amazon ships leaves Amazon's warehouses, and
their snapshots say so.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from inventory_pipeline.connectors.http import utc_time

# A parcel that was handed over; PENDING is packed at most.
ON_ITS_WAY = frozenset({"SHIPPED", "IN_TRANSIT", "DELIVERED", "UNDELIVERABLE"})
Event = dict[str, Any]


def order_events(order: Mapping[str, Any], *, ships_from: str = "") -> list[Event]:
    """Events of SEMANTICS §1. Raises KeyError, TypeError or ValueError if it is no order.

    Lines are placed from the first moment on, while the payment is pending too: Amazon lowers its
    own number then. They are dated at the order's creation, the one time that never changes. A
    cancelled order repeats its cancel with every later change, which posts nothing more.
    """
    about = str(order["orderId"])
    if is_amazons(order):
        return []
    created_at = utc_time(order["createdTime"])
    changed_at = utc_time(order["lastUpdatedTime"])
    status = str((order.get("fulfillment") or {}).get("fulfillmentStatus") or "")
    items = {str(line["orderItemId"]): _item(line) for line in order["orderItems"]}
    events: list[Event] = [
        _of_line(about, line, "placed")
        | {"type": "order_placed", "occurred_at": created_at, "item": item, "quantity": quantity}
        for line, (item, quantity) in items.items()
        if quantity > 0  # a cancelled line may say 0: what it was is not told any more
    ]
    if ships_from:
        for package in order.get("packages") or []:
            events += _shipped(about, package, items, ships_from)
    if status == "CANCELLED":
        events.append(
            {
                "event_id": f"order/{about}:cancelled:{changed_at}",
                "type": "order_cancelled",
                "occurred_at": changed_at,
                "order_id": about,
            }
        )
    else:
        events += _cancelled_lines(about, order["orderItems"], changed_at)
    return events


def is_amazons(order: Mapping[str, Any]) -> bool:
    """Whether Amazon ships it, out of its own warehouses."""
    return str((order.get("fulfillment") or {}).get("fulfilledBy") or "") == "AMAZON"


def _item(line: Mapping[str, Any]) -> tuple[str, int]:
    """The seller's sku and the units; Amazon's own number where it names no sku."""
    product = line["product"]
    quantity = line["quantityOrdered"]
    if isinstance(quantity, bool) or not isinstance(quantity, int):
        raise ValueError(f"quantityOrdered {quantity!r} is no whole number")  # noqa: TRY004
    return str(product.get("sellerSku") or product.get("asin") or ""), quantity


def _cancelled_lines(about: str, lines: list[Mapping[str, Any]], at: str) -> Iterator[Event]:
    """Lines of a living order that were cancelled on their own."""
    for line in lines:
        if (line.get("cancellation") or {}).get("cancellationExecution"):
            number = str(line["orderItemId"])
            yield _of_line(about, number, f"cancelled:{at}") | {
                "type": "order_cancelled",
                "occurred_at": at,
            }


def _shipped(
    about: str,
    package: Mapping[str, Any],
    items: Mapping[str, tuple[str, int]],
    ships_from: str,
) -> Iterator[Event]:
    status = str((package.get("packageStatus") or {}).get("status") or "")
    at = package.get("shipTime") or package.get("createdTime")
    was_sent = status in ON_ITS_WAY or (status == "CANCELLED" and package.get("shipTime"))
    if not at or not was_sent:
        return
    steps = [("fulfilled", "order_fulfilled")]
    if status == "CANCELLED":
        steps.append(("fulfilment_cancelled", "fulfilment_cancelled"))
    reference = str(package["packageReferenceId"])
    for what, type_ in steps:
        for line, quantity in _summed(package).items():
            if line in items and quantity > 0:
                yield _of_line(about, line, f"package/{reference}:{what}") | {
                    "type": type_,
                    "occurred_at": utc_time(at),
                    "item": items[line][0],
                    "quantity": quantity,
                    "location": ships_from,
                }


def _summed(package: Mapping[str, Any]) -> dict[str, int]:
    """Units by line; a parcel may name a line more than once."""
    found: dict[str, int] = {}
    for part in package.get("packageItems") or []:
        line = str(part["orderItemId"])
        found[line] = found.get(line, 0) + int(part["quantity"])
    return found


def _of_line(about: str, line: str, what: str) -> Event:
    return {
        "event_id": f"order/{about}:item/{line}:{what}",
        "order_id": about,
        "line_id": line,
    }
