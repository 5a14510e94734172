"""What was agreed of an order of the simulated Shopify: when it was placed, and by each edit."""

from collections.abc import Callable
from typing import Any

from inventory_pipeline.simulate.shop import to_second
from inventory_pipeline.simulate.shopify_connections import after_id, connection

Node = dict[str, Any]


def agreements(order: Node) -> list[Node]:
    """The first agreement, number 0, and the edits; each with [line id, quantity] that it sold."""
    first = {line["line_id"]: line["quantity"] for line in order["lines"]}
    for edit in order["edits"]:
        for line_id, quantity in edit["lines"]:
            first[line_id] -= quantity
    sold = [[line_id, quantity] for line_id, quantity in first.items() if quantity > 0]
    return [{"number": 0, "created_at": order["created_at"], "lines": sold}, *order["edits"]]


def agreement(row: Node, line_of: Callable[[int], Node]) -> Node:
    """One agreement as GraphQL tells it."""
    kind = "OrderEditAgreement" if row["number"] else "OrderAgreement"
    return {
        "__typename": kind,
        "id": f"gid://shopify/{kind}/{row['number']}",
        "happenedAt": to_second(row["created_at"]),
        "reason": "ORDER_EDIT" if row["number"] else "ORDER",
        "sales": lambda _info, **asked: connection(
            [sold for sold in row["lines"] if sold[0] > after_id(asked)],
            asked,
            lambda sold: {
                "__typename": "ProductSale",
                "id": f"gid://shopify/ProductSale/{sold[0]}{row['number']}",
                "actionType": "ORDER",
                "lineType": "PRODUCT",
                "quantity": sold[1],
                "lineItem": line_of(sold[0]),
            },
            lambda sold: sold[0],
        ),
    }
