"""One change of Square's inventory as events: the same from the feed and after a webhook.

on_hand is Square's IN_STOCK. A source tells every move into or out of it and every count. A channel
tells its sales, as orders, and what came back: its other moves are not the hub's stock.
"""

from collections.abc import Callable, Mapping
from typing import Any

from inventory_pipeline.connectors.http import utc_time

IN_STOCK = "IN_STOCK"
SOLD = frozenset({"SOLD", "SOLD_ONLINE"})
CAME_BACK = frozenset({"SOLD", "SOLD_ONLINE", "UNLINKED_RETURN", "RETURNED_BY_CUSTOMER"})
BOUGHT = frozenset({"NONE", "ORDERED_FROM_VENDOR", "RECEIVED_FROM_VENDOR"})
OWN_REFERENCE = "inventory-pipeline/"  # begins the reference_id of the hub's own counts
Event = dict[str, Any]
# catalogue object id → the item as the hub knows it
ItemOf = Callable[[str], str]


def change_events(change: Mapping[str, Any], item_of: ItemOf, *, as_orders: bool) -> list[Event]:
    """Events of SEMANTICS §1. Raises KeyError, TypeError or ValueError if it is no change.

    Quantities stay the decimal text that Square sent.
    """
    match change["type"]:
        case "PHYSICAL_COUNT":
            return [] if as_orders else _counted(change["physical_count"], item_of)
        case "ADJUSTMENT":
            return _adjusted(change["adjustment"], item_of, as_orders=as_orders)
        case "TRANSFER":
            return [] if as_orders else _transferred(change["transfer"], item_of)
        case other:
            raise ValueError(f"type {other!r}")


def change_time(change: Mapping[str, Any]) -> str:
    """When Square received the change, as ISO 8601 in UTC. Raises KeyError or TypeError."""
    return utc_time(change[str(change["type"]).lower()]["created_at"])


def _counted(count: Mapping[str, Any], item_of: ItemOf) -> list[Event]:
    if count["state"] != IN_STOCK or str(count.get("reference_id") or "").startswith(OWN_REFERENCE):
        return []
    about = f"physical_count/{count['id']}"
    return [_event(about, "counted", count, item_of, str(count["location_id"]))]


def _adjusted(one: Mapping[str, Any], item_of: ItemOf, *, as_orders: bool) -> list[Event]:
    before, after = str(one.get("from_state") or ""), str(one.get("to_state") or "")
    # A count makes an adjustment of its own in newer versions; the count itself says more.
    if one.get("physical_count_id") or IN_STOCK not in {before, after}:
        return []
    about = f"adjustment/{one['id']}"
    left, came = _places(one)
    if before == after:
        return [] if as_orders or left == came else _moved(about, one, item_of, left, came)
    if after == IN_STOCK:
        found = _came_in(about, one, item_of, before, came)
        return found if not as_orders or before in CAME_BACK else []
    if after in SOLD:
        return _sold(about, one, item_of, left, as_orders=as_orders)
    lowered = _event(about, "adjusted", one, item_of, left) | {"reason": _reason(after)}
    return [] if as_orders else [lowered | {"quantity": _negative(one["quantity"])}]


def _came_in(
    about: str, one: Mapping[str, Any], item_of: ItemOf, before: str, location: str
) -> list[Event]:
    """Goods that are in stock now and were not before."""
    if before in CAME_BACK:
        return [_event(about, "returned", one, item_of, location) | {"disposition": "restock"}]
    if before in BOUGHT:
        reference = one.get("purchase_order_id")
        received = _event(about, "goods_received", one, item_of, location)
        return [received | ({"reference": str(reference)} if reference else {})]
    return [_event(about, "adjusted", one, item_of, location) | {"reason": _reason(before)}]


def _sold(
    about: str, one: Mapping[str, Any], item_of: ItemOf, location: str, *, as_orders: bool
) -> list[Event]:
    """A sale at the till: goods leave at once, so an order of it is shipped when it is placed."""
    if not as_orders:
        return [_event(about, "pos_sale", one, item_of, location)]
    order = {
        "order_id": str(one.get("transaction_id") or one["id"]),
        "line_id": str(one["id"]),
    }
    placed = _event(f"{about}:placed", "order_placed", one, item_of, location)
    fulfilled = _event(f"{about}:fulfilled", "order_fulfilled", one, item_of, location)
    return [placed | order, fulfilled | order]


def _transferred(one: Mapping[str, Any], item_of: ItemOf) -> list[Event]:
    if one.get("state") != IN_STOCK:
        return []
    places = str(one["from_location_id"]), str(one["to_location_id"])
    return _moved(f"transfer/{one['id']}", one, item_of, *places)


def _moved(
    about: str, one: Mapping[str, Any], item_of: ItemOf, left: str, came: str
) -> list[Event]:
    """Goods that left one place and are in stock at another in the same moment."""
    gone = _event(f"{about}:from", "adjusted", one, item_of, left)
    there = _event(f"{about}:to", "adjusted", one, item_of, came)
    reason = {"reason": "transfer"}
    return [gone | reason | {"quantity": _negative(one["quantity"])}, there | reason]


def _places(one: Mapping[str, Any]) -> tuple[str, str]:
    """Where it left and where it came; older versions name one place for both."""
    both = one.get("location_id")
    left = one.get("from_location_id") or both
    came = one.get("to_location_id") or both
    return str(left or came or ""), str(came or left or "")


def _event(about: str, type_: str, one: Mapping[str, Any], item_of: ItemOf, location: str) -> Event:
    return {
        "event_id": about,
        "type": type_,
        "occurred_at": utc_time(one.get("occurred_at") or one["created_at"]),
        "item": item_of(str(one["catalog_object_id"])),
        "location": location,
        "quantity": _text(one["quantity"]),
    }


def _text(quantity: object) -> str:
    if not isinstance(quantity, str):
        raise ValueError(f"quantity {quantity!r} is no text")  # noqa: TRY004
    return quantity


def _negative(quantity: object) -> str:
    text = _text(quantity)
    return text[1:] if text.startswith("-") else f"-{text}"


def _reason(state: str) -> str:
    return state.lower() or "unknown"
