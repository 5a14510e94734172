"""An order as Shopify's webhooks tell it: REST's names, numeric ids beside global ones."""

from decimal import Decimal
from typing import Any

from inventory_pipeline.simulate.shop import to_second
from inventory_pipeline.simulate.shopify_reads import FULFILMENT, LINE, ORDER

# What happens in the shop → the webhook's topic.
TOPICS = {
    "created": "orders/create",
    "cancelled": "orders/cancelled",
    "partially_fulfilled": "orders/partially_fulfilled",
    "fulfilled": "orders/fulfilled",
    "edited": "orders/edited",
}
Node = dict[str, Any]


LEVEL_TOPIC = "inventory_levels/update"


def level_payload(level: Any) -> Node:
    """The body of a level's webhook; `level` is a row of the shop's levels."""
    location = level["location"].rsplit("/", 1)[-1]
    item_id = level["item_id"]
    return {
        "inventory_item_id": item_id,
        "location_id": int(location) if location.isdigit() else location,
        "available": level["available"],
        "updated_at": _offset(level["updated_at"]),
        "admin_graphql_api_id": f"gid://shopify/InventoryLevel/{location}?inventory_item_id={item_id}",
    }


def payload_of(topic: str, order: Node) -> Node:
    """The body of the webhook about what happened in the shop (a key of TOPICS)."""
    return edit_payload(order) if topic == "edited" else order_payload(order)


def order_payload(order: Node) -> Node:
    """The body of an order webhook; `order` as the shop's ledger gives it."""
    number = order["number"]
    lines = order["lines"]
    left = sum(_left(line) for line in lines)
    shipped = sum(line["fulfilled"] for line in lines)
    cancelled = order["cancelled_at"]
    total = sum((Decimal(line["price"]) * line["quantity"] for line in lines), Decimal(0))
    return {
        "id": number,
        "admin_graphql_api_id": f"{ORDER}{number}",
        "name": f"#{number}",
        "number": number,
        "order_number": number,
        "confirmed": True,
        "test": False,
        "source_name": "web",
        "currency": "USD",
        "created_at": _offset(order["created_at"]),
        "processed_at": _offset(order["created_at"]),
        "updated_at": _offset(order["updated_at"]),
        "cancelled_at": _offset(cancelled) if cancelled else None,
        "cancel_reason": "customer" if cancelled else None,
        "closed_at": None,
        "location_id": None,
        "financial_status": "refunded" if cancelled else "paid",
        "fulfillment_status": _status(left, shipped),
        "total_price": str(total),
        "current_total_price": "0.00" if cancelled else str(total),
        "line_items": [_line(line) for line in lines],
        "fulfillments": [_fulfilment(order, one) for one in order["fulfilments"]],
        "refunds": [],
    }


def edit_payload(order: Node) -> Node:
    """The body of orders/edited: the newest edit's additions, and nothing of the order itself."""
    edit = order["edits"][-1]
    nothing: Node = {"additions": [], "removals": []}
    return {
        "order_edit": {
            "id": edit["number"],
            "app_id": None,
            "order_id": order["number"],
            "notify_customer": False,
            "reason": None,
            "staff_note": None,
            "user_id": None,
            "created_at": _offset(edit["created_at"]),
            "committed_at": _offset(edit["created_at"]),
            "line_items": {
                "additions": [{"id": line, "delta": delta} for line, delta in edit["lines"]],
                "removals": [],
            },
            "discounts": {"line_item": nothing},
            "shipping_lines": nothing,
        }
    }


def _line(line: Node) -> Node:
    left = _left(line)
    return {
        "id": line["line_id"],
        "admin_graphql_api_id": f"{LINE}{line['line_id']}",
        "variant_id": line["item_id"],
        "product_id": line["item_id"],
        "product_exists": True,
        "sku": line["sku"],
        "title": line["title"],
        "name": line["title"],
        "variant_title": None,
        "variant_inventory_management": "shopify",
        "fulfillment_service": "manual",
        "quantity": line["quantity"],
        "current_quantity": line["quantity"] - line["cancelled"],
        "fulfillable_quantity": left,
        "fulfillment_status": _status(left, line["fulfilled"]),
        "price": line["price"],
        "grams": 0,
        "gift_card": False,
        "requires_shipping": True,
        "taxable": False,
    }


def _fulfilment(order: Node, one: Node) -> Node:
    by_id = {line["line_id"]: line for line in order["lines"]}
    location = order["lines"][0]["location"].rpartition("/")[2]
    return {
        "id": one["number"],
        "admin_graphql_api_id": f"{FULFILMENT}{one['number']}",
        "order_id": order["number"],
        "name": f"#{order['number']}.{one['number']}",
        "status": "success",
        "service": "manual",
        "shipment_status": None,
        "created_at": _offset(one["created_at"]),
        "updated_at": _offset(one["created_at"]),
        "location_id": int(location) if location.isdigit() else None,
        "tracking_company": None,
        "tracking_number": None,
        "tracking_numbers": [],
        # Of a line in a fulfilment, `quantity` is what this fulfilment ships.
        "line_items": [
            _line(by_id[line_id]) | {"quantity": quantity} for line_id, quantity in one["lines"]
        ],
    }


def _left(line: Node) -> int:
    return int(line["quantity"] - line["fulfilled"] - line["cancelled"])


def _status(left: int, shipped: int) -> str | None:
    if not shipped:
        return None
    return "partial" if left else "fulfilled"


def _offset(text: str) -> str:
    return to_second(text).replace("Z", "+00:00")
