"""What the simulated Shopify answers to queries: its ledger as values for graphql-core to resolve.

Fields with arguments are callables, the others plain values. Times are cut to whole seconds, as
Shopify's are, in answers and in searches alike.
"""

from collections.abc import Callable
from typing import Any

from graphql import GraphQLError

from inventory_pipeline.simulate.shop import ShopLedger, to_second
from inventory_pipeline.simulate.shopify_agreements import agreement, agreements
from inventory_pipeline.simulate.shopify_connections import after_id, connection, given_cursor
from inventory_pipeline.simulate.shopify_search import parse_search

ITEM = "gid://shopify/InventoryItem/"
VARIANT = "gid://shopify/ProductVariant/"
LEVEL = "gid://shopify/InventoryLevel/"
ORDER = "gid://shopify/Order/"
LINE = "gid://shopify/LineItem/"
FULFILMENT = "gid://shopify/Fulfillment/"
Node = dict[str, Any]

# name → (is part of, is made of), as inventoryProperties tells it.
QUANTITY_NAMES: dict[str, tuple[list[str], list[str]]] = {
    "available": (["on_hand"], []),
    "committed": (["on_hand"], []),
    "damaged": (["on_hand"], []),
    "incoming": ([], []),
    "on_hand": ([], ["available", "committed", "damaged", "quality_control", "reserved"]),
    "quality_control": (["on_hand"], []),
    "reserved": (["on_hand"], []),
    "safety_stock": (["on_hand"], []),
}


def number_of(gid: str, prefix: str) -> int | None:
    """The number in a global id of this kind, or None."""
    number = gid.removeprefix(prefix).partition("?")[0]
    return int(number) if gid.startswith(prefix) and number.isdigit() else None


class Reads:
    """The query root."""

    def __init__(self, shop: ShopLedger) -> None:
        self.shop = shop
        self.warnings: list[str] = []

    def root(self) -> Node:
        self.warnings = []
        return {
            "fulfillment": lambda _info, id: self._fulfilment_by_gid(id),  # noqa: A006
            "refund": lambda _info, id: None,  # noqa: A006, ARG005
            "inventoryItem": lambda _info, id: self._item_by_gid(id, ITEM, self.item),  # noqa: A006
            "productVariant": lambda _info, id: self._item_by_gid(id, VARIANT, self.variant),  # noqa: A006
            "inventoryItems": lambda _info, **asked: self._items(asked, self.item),
            "productVariants": lambda _info, **asked: self._items(asked, self.variant),
            "inventoryLevel": lambda _info, id: self._level_by_gid(id),  # noqa: A006
            "inventoryProperties": {"quantityNames": [_quantity_name(n) for n in QUANTITY_NAMES]},
            "location": lambda _info, id=None: self.location(id or self.shop.locations[0]),  # noqa: A006
            "order": lambda _info, id: self._order_by_gid(id),  # noqa: A006
            "orders": lambda _info, **asked: self._orders(asked),
        }

    # -- stock --------------------------------------------------------------------------------

    def item(self, row: Any) -> Node:
        item_id = row["item_id"]
        return {
            "id": f"{ITEM}{item_id}",
            "legacyResourceId": str(item_id),
            "sku": row["sku"],
            "tracked": True,
            "createdAt": to_second(row["created_at"]),
            "updatedAt": to_second(row["modified_at"]),
            "variant": lambda _info: self.variant(row),
            "inventoryLevel": lambda _info, locationId, includeInactive=False: (  # noqa: ARG005, N803
                self._level(item_id, locationId)
            ),
            "inventoryLevels": lambda _info, **asked: self._levels_of_item(item_id, asked),
        }

    def variant(self, row: Any) -> Node:
        item_id = row["item_id"]
        return {
            "id": f"{VARIANT}{item_id}",
            "legacyResourceId": str(item_id),
            "sku": row["sku"],
            "title": row["title"],
            "price": row["price"],
            "inventoryQuantity": lambda _info: self._shown_everywhere(item_id),
            "fulfillment": lambda _info, id: self._fulfilment_by_gid(id),  # noqa: A006
            "refund": lambda _info, id: None,  # noqa: A006, ARG005
            "inventoryItem": lambda _info: self.item(row),
        }

    def location(self, gid: str) -> Node | None:
        if gid not in self.shop.locations:
            return None
        return {
            "id": gid,
            "name": f"Location {gid.rpartition('/')[2]}",
            "inventoryLevels": lambda _info, **asked: self._levels_of_location(gid, asked),
        }

    def level(self, row: Any) -> Node:
        item_id, location = row["item_id"], row["location"]
        gid = f"{LEVEL}{location.rpartition('/')[2]}?inventory_item_id={item_id}"
        return {
            "id": gid,
            "isActive": True,
            "createdAt": to_second(row["updated_at"]),
            "updatedAt": to_second(row["updated_at"]),
            "item": lambda _info: self.item(self.shop.item(item_id)),
            "location": lambda _info: self.location(location),
            "quantities": lambda _info, names: [_quantity(gid, row, name) for name in names],
        }

    def _item_by_gid(self, gid: str, prefix: str, shape: Callable[[Any], Node]) -> Node | None:
        number = number_of(gid, prefix)
        row = self.shop.item(number) if number is not None else None
        return shape(row) if row is not None else None

    def _items(self, asked: Node, shape: Callable[[Any], Node]) -> Node:
        search = parse_search(
            asked.get("query"),
            {"id": _id, "sku": str, "created_at": to_second, "updated_at": to_second},
        )
        self.warnings += search.warnings
        # A question about many items by name is the usual one: SQLite finds those by itself.
        names = search.named("id") or search.named("sku") or []
        column = "item_id" if search.named("id") else "sku"
        where = f"AND {column} IN ({', '.join('?' for _ in names)})" if names else ""
        rows = self.shop.connection.execute(
            f"SELECT * FROM items WHERE item_id > ? {where} ORDER BY item_id",
            (after_id(asked), *names),
        )
        found = (
            row
            for row in rows
            if search.matches(
                {
                    "id": row["item_id"],
                    "sku": row["sku"],
                    "created_at": to_second(row["created_at"]),
                    "updated_at": to_second(row["modified_at"]),
                }
            )
        )
        return connection(found, asked, shape, lambda row: row["item_id"])

    def _level(self, item_id: int, location: str) -> Node | None:
        try:
            return self.level(self.shop.level(item_id, location))
        except KeyError:
            return None

    def _level_by_gid(self, gid: str) -> Node | None:
        place, _, item = gid.removeprefix(LEVEL).partition("?inventory_item_id=")
        known = [one for one in self.shop.locations if one.rpartition("/")[2] == place]
        return self._level(int(item), known[0]) if known and item.isdigit() else None

    def _levels_of_item(self, item_id: int, asked: Node) -> Node:
        rows = self.shop.connection.execute(
            "SELECT * FROM levels WHERE item_id = ? ORDER BY location", (item_id,)
        ).fetchall()
        after = given_cursor(asked)
        left = [row for row in rows if after is None or row["location"] > after]
        return connection(left, asked, self.level, lambda row: row["location"])

    def _levels_of_location(self, location: str, asked: Node) -> Node:
        rows = self.shop.connection.execute(
            "SELECT * FROM levels WHERE location = ? AND item_id > ? ORDER BY item_id",
            (location, after_id(asked)),
        )
        return connection(rows, asked, self.level, lambda row: row["item_id"])

    def _shown_everywhere(self, item_id: int) -> int:
        (total,) = self.shop.connection.execute(
            "SELECT sum(available) FROM levels WHERE item_id = ?", (item_id,)
        ).fetchone()
        return int(total or 0)

    # -- orders -------------------------------------------------------------------------------

    def order(self, order: Node) -> Node:
        number = order["number"]
        lines = order["lines"]
        left = sum(line["quantity"] - line["fulfilled"] - line["cancelled"] for line in lines)
        shipped = sum(line["fulfilled"] for line in lines)
        cancelled = order["cancelled_at"]
        status = "FULFILLED" if not left and shipped else "UNFULFILLED"
        return {
            "id": f"{ORDER}{number}",
            "legacyResourceId": str(number),
            "name": f"#{number}",
            "createdAt": to_second(order["created_at"]),
            "processedAt": to_second(order["created_at"]),
            "updatedAt": to_second(order["updated_at"]),
            "cancelledAt": to_second(cancelled) if cancelled else None,
            "cancelReason": "CUSTOMER" if cancelled else None,
            "displayFinancialStatus": "REFUNDED" if cancelled else "PAID",
            "displayFulfillmentStatus": "PARTIALLY_FULFILLED" if left and shipped else status,
            "lineItems": lambda _info, **asked: self._lines(lines, asked),
            "fulfillments": lambda _info, first=None, query=None: [  # noqa: ARG005
                self._fulfilment(order, one) for one in order["fulfilments"][:first]
            ],
            "edited": bool(order["edits"]),
            "agreements": lambda _info, **asked: self._agreements(order, asked),
            # A cancelled order is paid back, but this shop keeps no refunds of their own.
            "refunds": [],
        }

    def _agreements(self, order: Node, asked: Node) -> Node:
        """What was sold at first, and what each edit added."""
        by_id = {line["line_id"]: line for line in order["lines"]}
        return connection(
            [row for row in agreements(order) if row["number"] > after_id(asked)],
            asked,
            lambda row: agreement(row, lambda line_id: self._line(by_id[line_id])),
            lambda row: row["number"],
        )

    def _lines(self, lines: list[Node], asked: Node) -> Node:
        left = [line for line in lines if line["line_id"] > after_id(asked)]
        return connection(left, asked, self._line, lambda line: line["line_id"])

    def _line(self, line: Node) -> Node:
        left = line["quantity"] - line["fulfilled"] - line["cancelled"]
        return {
            "id": f"{LINE}{line['line_id']}",
            "title": line["title"],
            "name": line["title"],
            "sku": line["sku"],
            "variant": lambda _info: self.variant(self.shop.item(line["item_id"])),
            "quantity": line["quantity"],
            "currentQuantity": line["quantity"] - line["cancelled"],
            "unfulfilledQuantity": left,
            "fulfillableQuantity": left,
        }

    def _fulfilment(self, order: Node, one: Node) -> Node:
        by_id = {line["line_id"]: line for line in order["lines"]}
        shipped = [
            {
                "id": f"gid://shopify/FulfillmentLineItem/{line_id}",
                "number": line_id,
                "lineItem": self._line(by_id[line_id]),
                "quantity": quantity,
            }
            for line_id, quantity in one["lines"]
        ]
        return {
            "id": f"{FULFILMENT}{one['number']}",
            "legacyResourceId": str(one["number"]),
            "name": f"#{order['number']}.{one['number']}",
            "status": "SUCCESS",
            "createdAt": to_second(one["created_at"]),
            "updatedAt": to_second(one["created_at"]),
            "totalQuantity": sum(quantity for _, quantity in one["lines"]),
            "location": lambda _info: self.location(order["lines"][0]["location"]),
            "fulfillmentLineItems": lambda _info, **asked: connection(
                [row for row in shipped if row["number"] > after_id(asked)],
                asked,
                lambda row: row,
                lambda row: row["number"],
            ),
        }

    def _fulfilment_by_gid(self, gid: str) -> Node | None:
        row = self.shop.connection.execute(
            "SELECT number, order_id FROM fulfilments WHERE number = ?",
            (number_of(gid, FULFILMENT),),
        ).fetchone()
        if row is None:
            return None
        order = self.shop.order(row["order_id"])
        (one,) = [one for one in order["fulfilments"] if one["number"] == row["number"]]
        return self._fulfilment(order, one)

    def _order_by_gid(self, gid: str) -> Node | None:
        number = number_of(gid, ORDER)
        row = self.shop.connection.execute(
            "SELECT order_id FROM orders WHERE number = ?", (number,)
        ).fetchone()
        return self.order(self.shop.order(row["order_id"])) if row is not None else None

    def _orders(self, asked: Node) -> Node:
        fields = {
            "id": _id,
            "created_at": to_second,
            "updated_at": to_second,
            "processed_at": to_second,
        }
        search = parse_search(asked.get("query"), {**fields, "name": str, "status": str})
        self.warnings += search.warnings
        column = {"UPDATED_AT": "updated_at", "ID": "number"}.get(
            asked.get("sortKey", "PROCESSED_AT"), "created_at"
        )
        direction, beyond = ("DESC", "<") if asked.get("reverse") else ("ASC", ">")
        after = given_cursor(asked)
        where = f"WHERE ({column}, number) {beyond} (?, ?)" if after is not None else ""
        rows = self.shop.connection.execute(
            f"SELECT * FROM orders {where} ORDER BY {column} {direction}, number {direction}",
            after or [],
        )
        found = (row for row in rows if search.matches(_searchable(row)))
        return connection(
            found,
            asked,
            lambda row: self.order(self.shop.order(row["order_id"])),
            lambda row: [row[column], row["number"]],
        )


def _id(value: str) -> int:
    number = value.rpartition("/")[2]
    return int(number) if number.isdigit() else -1


def _searchable(row: Any) -> Node:
    return {
        "id": row["number"],
        "name": f"#{row['number']}",
        "status": "cancelled" if row["cancelled_at"] else "open",
        "created_at": to_second(row["created_at"]),
        "processed_at": to_second(row["created_at"]),
        "updated_at": to_second(row["updated_at"]),
    }


def _quantity(level_gid: str, row: Any, name: str) -> Node:
    values = {
        "available": row["available"],
        "committed": row["committed"],
        "on_hand": row["available"] + row["committed"],
    }
    if name not in QUANTITY_NAMES:
        raise GraphQLError(f"Invalid quantity name: {name}")
    return {
        "id": level_gid.replace("InventoryLevel", "InventoryQuantity") + f"&name={name}",
        "name": name,
        "quantity": values.get(name, 0),
        "updatedAt": to_second(row["updated_at"]),
    }


def _quantity_name(name: str) -> Node:
    belongs, comprises = QUANTITY_NAMES[name]
    return {
        "name": name,
        "displayName": name.replace("_", " ").capitalize(),
        "isInUse": name in {"available", "committed", "on_hand"},
        "belongsTo": belongs,
        "comprises": comprises,
    }
