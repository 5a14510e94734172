"""Products and orders as WooCommerce's REST v3 prints them.

Times have whole seconds and no offset; the `_gmt` ones are UTC, and so is this shop's own time.
A product's date_modified does not change when only its stock does.
"""

from decimal import Decimal
from typing import Any

from inventory_pipeline.simulate.shop import parse_time

STATUS = {
    "open": "processing",
    "fulfilled": "completed",
    "cancelled": "cancelled",
}
TOPICS = {
    "created": "order.created",
    "partially_fulfilled": "order.updated",
    "fulfilled": "order.updated",
    "cancelled": "order.updated",
    "edited": "order.updated",
}
PRODUCT_TOPIC = "product.updated"
Node = dict[str, Any]


def gmt(text: str) -> str:
    """A stored time as WordPress prints it."""
    return parse_time(text).strftime("%Y-%m-%dT%H:%M:%S")


def product_body(row: Any) -> Node:
    """A simple product; `row` has an item's and its level's columns."""
    return {
        "id": row["item_id"],
        "name": row["title"],
        "sku": row["sku"],
        "type": "simple",
        "status": "publish",
        "price": row["price"],
        "regular_price": row["price"],
        "manage_stock": True,
        "stock_quantity": row["available"],
        "stock_status": "instock" if row["available"] > 0 else "outofstock",
        "backorders": "no",
        "backorders_allowed": False,
        "variations": [],
        "parent_id": 0,
        "date_created": gmt(row["created_at"]),
        "date_created_gmt": gmt(row["created_at"]),
        "date_modified": gmt(row["modified_at"]),
        "date_modified_gmt": gmt(row["modified_at"]),
    }


def order_body(order: Node) -> Node:
    """An order; `order` as the shop's ledger gives it."""
    total = sum((Decimal(one["price"]) * one["quantity"] for one in order["lines"]), Decimal(0))
    completed = order["fulfilled_at"]
    body = {
        "id": order["number"],
        "parent_id": 0,
        "number": str(order["number"]),
        "status": STATUS[order["status"]],
        "currency": "USD",
        "version": "10.3.0",
        "prices_include_tax": False,
        "total": str(total),
        "customer_id": 0,
        "payment_method": "card",
        "line_items": [_line(one) for one in order["lines"]],
        "refunds": [],
    }
    times = {
        "date_created": order["created_at"],
        "date_modified": order["updated_at"],
        "date_paid": order["created_at"],
        "date_completed": completed,
    }
    for name, text in times.items():
        body[name] = body[f"{name}_gmt"] = gmt(text) if text else None
    return body


def _line(line: Node) -> Node:
    price = Decimal(line["price"])
    return {
        "id": line["line_id"],
        "name": line["title"],
        "product_id": line["item_id"],
        "variation_id": 0,
        "quantity": line["quantity"],
        "tax_class": "",
        "subtotal": str(price * line["quantity"]),
        "total": str(price * line["quantity"]),
        "sku": line["sku"],
        "price": float(price),
    }
