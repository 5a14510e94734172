"""A Shopify order as events: the same from a webhook, from its repetition and from the poll.

Both ways of learning about an order are brought to one shape (`Order`) first; events are derived
from that alone, with times that belong to the order, never to the delivery.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from inventory_pipeline.connectors.http import utc_time

GID = "gid://shopify/"
# Shopify touches an order once or twice while it makes it; a person or an app takes longer.
UNCHANGED = timedelta(seconds=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    id: str  # number, without the gid's beginning
    quantity: int
    variant: str | None  # gid
    sku: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A fulfilment or a refund: what happened to how much of which line."""

    id: str  # number
    status: str  # lower case; of a fulfilment
    created_at: str
    updated_at: str
    location: str | None  # gid
    lines: tuple[
        tuple[str, int, str], ...
    ]  # line id, quantity, restock type (lower case; of a refund)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What an edit of the order, or an exchange, added: to lines that were there, or as new ones.

    What an edit takes away is a refund.
    """

    id: str  # number of its agreement
    happened_at: str
    added: tuple[tuple[str, int], ...]  # line id, quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    id: str  # number
    created_at: str
    cancelled_at: str | None
    lines: tuple[Line, ...]
    fulfilments: tuple[Part, ...]
    refunds: tuple[Part, ...]
    edits: tuple[Edit, ...] = ()

    @property
    def about(self) -> str:
        return gid("Order", self.id)


def number_of(identifier: object) -> str:
    """The number at the end of a gid, or the number itself; query parts of a gid are cut off."""
    return str(identifier).rsplit("/", 1)[-1].split("?", 1)[0]


def gid(kind: str, identifier: object) -> str:
    return f"{GID}{kind}/{number_of(identifier)}"


def variants_of(order: Order) -> set[str]:
    return {line.variant for line in order.lines if line.variant}


def from_webhook(payload: dict[str, Any]) -> Order:
    """An order as webhooks carry it. Raises KeyError, TypeError or ValueError if it is not one."""
    return Order(
        id=number_of(payload["id"]),
        created_at=utc_time(payload["created_at"]),
        cancelled_at=_time(payload.get("cancelled_at")),
        lines=tuple(
            Line(
                id=number_of(line["id"]),
                quantity=int(line["quantity"]),
                variant=gid("ProductVariant", line["variant_id"])
                if line.get("variant_id")
                else None,
                sku=str(line.get("sku") or ""),
            )
            for line in payload["line_items"]
        ),
        fulfilments=tuple(
            Part(
                id=number_of(part["id"]),
                status=str(part.get("status") or "").lower(),
                created_at=utc_time(part["created_at"]),
                updated_at=utc_time(part.get("updated_at") or part["created_at"]),
                location=gid("Location", part["location_id"]) if part.get("location_id") else None,
                lines=tuple(
                    (number_of(line["id"]), int(line["quantity"]), "")
                    for line in part.get("line_items") or []
                ),
            )
            for part in payload.get("fulfillments") or []
        ),
        refunds=tuple(_refund_of_webhook(part) for part in payload.get("refunds") or []),
    )


def seen_whole(payload: dict[str, Any]) -> bool:
    """Whether an order's webhook is about the order as it was placed, before anybody edited it.

    A payload says of a line what it has now, not what it had at first, so that is known only where
    the order has not changed since it was made. Raises KeyError or ValueError.
    """
    if not payload.get("updated_at"):
        return False
    made, changed = (
        datetime.fromisoformat(utc_time(payload[name])) for name in ("created_at", "updated_at")
    )
    return changed - made <= UNCHANGED


def edited_order(payload: dict[str, Any]) -> str:
    """The gid of the order that an orders/edited webhook is about. Raises KeyError, TypeError."""
    return gid("Order", payload["order_edit"]["order_id"])


def refund_order(payload: dict[str, Any]) -> Order:
    """The order of a refunds/create webhook, with that refund and the lines that it names only."""
    refund = _refund_of_webhook(payload)
    lines = {
        number_of(part["line_item_id"]): part["line_item"]
        for part in payload.get("refund_line_items") or []
        if isinstance(part.get("line_item"), dict)
    }
    return Order(
        id=number_of(payload["order_id"]),
        created_at="",
        cancelled_at=None,
        lines=tuple(
            Line(
                id=number,
                quantity=0,
                variant=gid("ProductVariant", line["variant_id"])
                if line.get("variant_id")
                else None,
                sku=str(line.get("sku") or ""),
            )
            for number, line in lines.items()
        ),
        fulfilments=(),
        refunds=(refund,),
    )


def from_graphql(
    order: dict[str, Any],
    lines: Iterable[dict[str, Any]],
    fulfilments: Iterable[tuple[dict[str, Any], list[dict[str, Any]]]],
    refunds: Iterable[tuple[dict[str, Any], list[dict[str, Any]]]],
    agreements: Iterable[tuple[dict[str, Any], list[dict[str, Any]]]] = (),
) -> Order:
    """An order as the poll gets it: its node, its lines, and each part with its lines.

    `agreements`, of an edited order, each with its sales.
    """
    return Order(
        id=number_of(order["id"]),
        created_at=utc_time(order["createdAt"]),
        cancelled_at=_time(order.get("cancelledAt")),
        lines=tuple(
            Line(
                id=number_of(line["id"]),
                quantity=int(line["quantity"]),
                variant=gid("ProductVariant", line["variant"]["id"])
                if line.get("variant")
                else None,
                sku=str(line.get("sku") or ""),
            )
            for line in lines
        ),
        fulfilments=tuple(_part_of_graphql(part, of_it) for part, of_it in fulfilments),
        refunds=tuple(_part_of_graphql(part, of_it) for part, of_it in refunds),
        edits=tuple(
            sorted(
                (
                    _edit(agreement, sales)
                    for agreement, sales in agreements
                    # What the first agreement sold is what was placed.
                    if agreement["__typename"] != "OrderAgreement"
                ),
                key=lambda edit: (edit.happened_at, edit.id),
            )
        ),
    )


def order_events(
    order: Order, items: dict[str, str], *, placed: bool = True
) -> list[dict[str, Any]]:
    """Events of SEMANTICS §1. `items`: line id → the item as the hub knows it; other lines have no
    stock.
    """
    about = gid("Order", order.id)
    events: list[dict[str, Any]] = []
    if placed:
        for line in order.lines:
            if line.id in items and line.quantity > 0:
                events += _ordered(order, line, items[line.id])
    # Of a cancelled order all that is not shipped is cancelled already.
    for part in () if order.cancelled_at else order.refunds:
        events += [
            _of_line(order, line, f"refund/{part.id}:cancelled")
            | _what("order_cancelled", part.created_at)
            | {"item": items[line], "quantity": quantity}
            for line, quantity in _summed(part, only="cancel").items()
            if line in items
        ]
    for part in order.fulfilments:
        events += _shipped(order, part, items)
    if order.cancelled_at:
        cancelled = {"event_id": f"{about}:cancelled", "order_id": about}
        events.append(cancelled | _what("order_cancelled", order.cancelled_at))
    return events


def _ordered(order: Order, line: Line, item: str) -> Iterator[dict[str, Any]]:
    """What was ordered at first, and what edits added; a line that an edit made is placed by it.

    `quantity` holds all of it, so the first quantity is what the edits leave of that.
    """
    added = [
        (f"edit/{edit.id}:added", edit.happened_at, quantity)
        for edit in order.edits
        for number, quantity in edit.added
        if number == line.id
    ]
    first = line.quantity - sum(quantity for _, _, quantity in added)
    steps = [("", order.created_at, first), *added] if first > 0 else added
    for place, (by, at, quantity) in enumerate(steps):
        what, type_ = (by, "order_adjusted") if place else ("placed", "order_placed")
        about = _of_line(order, line.id, what)
        yield about | _what(type_, at) | {"item": item, "quantity": quantity}


def _shipped(order: Order, part: Part, items: dict[str, str]) -> list[dict[str, Any]]:
    """What a fulfilment says; without a location it says nothing, for whose stock would it be?"""
    if part.status not in {"success", "cancelled"} or part.location is None:
        return []
    steps = [("fulfilled", "order_fulfilled", part.created_at)]
    if part.status == "cancelled":
        steps.append(("fulfilment_cancelled", "fulfilment_cancelled", part.updated_at))
    return [
        _of_line(order, line, f"fulfilment/{part.id}:{what}")
        | _what(type_, at)
        | {"item": items[line], "quantity": quantity, "location": part.location}
        for what, type_, at in steps
        for line, quantity in _summed(part).items()
        if line in items
    ]


def _of_line(order: Order, line: str, what: str) -> dict[str, Any]:
    about = gid("Order", order.id)
    return {
        "event_id": f"{about}:line/{line}:{what}",
        "order_id": about,
        "line_id": gid("LineItem", line),
    }


def _what(type_: str, at: str) -> dict[str, Any]:
    return {"type": type_, "occurred_at": at}


def _summed(part: Part, *, only: str | None = None) -> dict[str, int]:
    """Quantity per line; a part may name a line more than once."""
    found: dict[str, int] = {}
    for line, quantity, restock in part.lines:
        if quantity > 0 and only in {None, restock}:
            found[line] = found.get(line, 0) + quantity
    return found


def _refund_of_webhook(part: dict[str, Any]) -> Part:
    return Part(
        id=number_of(part["id"]),
        status="",
        created_at=utc_time(part["created_at"]),
        updated_at="",
        location=None,
        lines=tuple(
            (
                number_of(line["line_item_id"]),
                int(line["quantity"]),
                str(line.get("restock_type") or ""),
            )
            for line in part.get("refund_line_items") or []
        ),
    )


def _part_of_graphql(part: dict[str, Any], lines: list[dict[str, Any]]) -> Part:
    location = part.get("location")
    return Part(
        id=number_of(part["id"]),
        status=str(part.get("status") or "").lower(),
        created_at=utc_time(part["createdAt"]),
        updated_at=utc_time(part.get("updatedAt") or part["createdAt"]),
        location=gid("Location", location["id"]) if location else None,
        lines=tuple(
            (
                number_of(line["lineItem"]["id"]),
                int(line["quantity"] or 0),
                str(line.get("restockType") or "").lower(),
            )
            for line in lines
        ),
    )


def _edit(agreement: dict[str, Any], sales: list[dict[str, Any]]) -> Edit:
    added: dict[str, int] = {}
    for sale in sales:
        quantity = int(sale.get("quantity") or 0)
        if sale["actionType"] == "ORDER" and sale.get("lineItem") and quantity > 0:
            line = number_of(sale["lineItem"]["id"])
            added[line] = added.get(line, 0) + quantity
    return Edit(
        id=number_of(agreement["id"]),
        happened_at=utc_time(agreement["happenedAt"]),
        added=tuple(added.items()),
    )


def _time(text: object) -> str | None:
    return utc_time(text) if text else None
