"""Orders of the simulated seller in the shapes of Orders 2026-01-01.

The search lags: an order that changed within the last `lag_s` seconds is not in it yet. An order is
PENDING for its first `pending_s` seconds.
"""

from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from inventory_pipeline.simulate.amazon_door import (
    Node,
    SpError,
    asked,
    bad_input,
    whole,
)
from inventory_pipeline.simulate.amazon_listings import asin
from inventory_pipeline.simulate.shop import ShopLedger, parse_time, to_second

STATUS = {
    "open": "UNSHIPPED",
    "partially_fulfilled": "PARTIALLY_SHIPPED",
    "fulfilled": "SHIPPED",
    "cancelled": "CANCELLED",
}
DATASETS = {
    "BUYER", "RECIPIENT", "PROCEEDS", "EXPENSE", "PROMOTION", "CANCELLATION", "FULFILLMENT",
    "PACKAGES", "TAX", "PAYMENT", "FULFILLMENT_ORDERS",
}  # fmt: skip


class OrdersApi:
    """Orders of one marketplace; all are shipped by the seller."""

    def __init__(
        self, shop: ShopLedger, *, marketplace_id: str, lag_s: float, pending_s: float
    ) -> None:
        self.shop = shop
        self.marketplace_id = marketplace_id
        self.lag_s = lag_s
        self.pending_s = pending_s

    async def search(self, request: Request) -> Response:
        given = request.query_params
        if ("createdAfter" in given) == ("lastUpdatedAfter" in given):
            raise bad_input("exactly one of createdAfter and lastUpdatedAfter")
        included = self._included(request)
        column = "created_at" if "createdAfter" in given else "updated_at"
        after = self._moment(given.get("createdAfter") or given["lastUpdatedAfter"])
        before = self.shop.clock() - timedelta(seconds=self.lag_s)
        size = whole(request, "maxResultsPerPage", 100, 100)
        start = self._start(given.get("paginationToken"))
        if marketplaces := asked(request, "marketplaceIds"):
            if len(marketplaces) > 50:
                raise bad_input("more than 50 marketplaceIds")
            if self.marketplace_id not in marketplaces:
                return JSONResponse({"orders": []})
        nobody = asked(request, "fulfilledBy") == ["AMAZON"]
        rows = self.shop.connection.execute(
            f"SELECT order_id FROM orders WHERE {column} >= ? AND {column} <= ? AND ? = 0 "
            f"ORDER BY {column}, number LIMIT ? OFFSET ?",
            (after, before.isoformat(timespec="microseconds"), nobody, size + 1, start),
        ).fetchall()
        found = [self.shape(self.shop.order(row["order_id"]), included) for row in rows[:size]]
        wanted = set(asked(request, "fulfillmentStatuses"))
        if wanted:
            found = [o for o in found if self._status_of(o["orderId"]) in wanted]
        body: Node = {"orders": found}
        border = "createdBefore" if column == "created_at" else "lastUpdatedBefore"
        body[border] = to_second(before.isoformat())
        if len(rows) > size:
            body["pagination"] = {"nextToken": f"at-{start + size}"}
        return JSONResponse(body)

    async def one(self, request: Request) -> Response:
        row = self.shop.connection.execute(
            "SELECT order_id FROM orders WHERE number = ?",
            (number_of(request.path_params["order_id"]),),
        ).fetchone()
        if row is None:
            raise SpError(404, "NotFound", "The requested order does not exist.")
        shape = self.shape(self.shop.order(row["order_id"]), self._included(request))
        return JSONResponse({"order": shape})

    def shape(self, order: Node, included: set[str]) -> Node:
        """One order with the datasets that are asked for."""
        body: Node = {
            "orderId": order_id(order["number"]),
            "createdTime": to_second(order["created_at"]),
            "lastUpdatedTime": to_second(order["updated_at"]),
            "salesChannel": {
                "channelName": "AMAZON",
                "marketplaceId": self.marketplace_id,
                "marketplaceName": "Amazon.com",
            },
            "orderItems": [self._item(line, included) for line in order["lines"]],
        }
        if "FULFILLMENT" in included:
            body["fulfillment"] = {
                "fulfillmentStatus": self.status(order),
                "fulfilledBy": "MERCHANT",
                "fulfillmentServiceLevel": "STANDARD",
            }
        if "PACKAGES" in included:
            body["packages"] = [_package(one) for one in order["fulfilments"]]
        return body

    def status(self, order: Node) -> str:
        age = (self.shop.clock() - parse_time(order["created_at"])).total_seconds()
        if order["status"] == "open" and age < self.pending_s:
            return "PENDING"
        return STATUS[order["status"]]

    def _status_of(self, name: str) -> str:
        row = self.shop.connection.execute(
            "SELECT order_id FROM orders WHERE number = ?", (number_of(name),)
        ).fetchone()
        return self.status(self.shop.order(row["order_id"]))

    def _item(self, line: Node, included: set[str]) -> Node:
        left = line["quantity"] - line["fulfilled"] - line["cancelled"]
        item: Node = {
            "orderItemId": str(line["line_id"]),
            "quantityOrdered": line["quantity"],
            "product": {
                "asin": asin(line["item_id"]),
                "sellerSku": line["sku"],
                "condition": {"conditionType": "NEW", "conditionSubtype": "NEW"},
            },
        }
        if "FULFILLMENT" in included:
            item["fulfillment"] = {
                "quantityFulfilled": line["fulfilled"],
                "quantityUnfulfilled": left,
            }
        if "CANCELLATION" in included and line["cancelled"]:
            item["cancellation"] = {
                "cancellationExecution": {
                    "cancelledBy": "BUYER",
                    "cancelReason": "BUYER_CANCELED",
                }
            }
        return item

    def _included(self, request: Request) -> set[str]:
        wanted = set(asked(request, "includedData"))
        if unknown := wanted - DATASETS:
            raise bad_input(f"includedData {sorted(unknown)}")
        return wanted

    def _moment(self, text: str) -> str:
        try:
            moment = parse_time(text)
            if moment.tzinfo is None:
                raise ValueError("no offset")  # noqa: TRY301
        except ValueError:
            raise bad_input(f"{text!r} is no ISO 8601 time") from None
        if moment > self.shop.clock():
            raise bad_input("a time in the future")
        return moment.isoformat(timespec="microseconds")

    def _start(self, token: str | None) -> int:
        if token is None:
            return 0
        if not token.startswith("at-") or not token[3:].isdigit():
            raise bad_input("paginationToken")
        return int(token[3:])


def order_id(number: int) -> str:
    """Amazon's name of an order: 701-0000001-0000001."""
    return f"701-{number // 10_000_000:07d}-{number % 10_000_000:07d}"


def number_of(name: str) -> int:
    """The number behind an order's name, -1 for no such name."""
    parts = name.split("-")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        return -1
    return int(parts[1]) * 10_000_000 + int(parts[2])


def _package(one: Any) -> Node:
    return {
        "packageReferenceId": str(one["number"]),
        "createdTime": to_second(one["created_at"]),
        "shipTime": to_second(one["created_at"]),
        "packageStatus": {"status": "SHIPPED"},
        "carrier": "UPS",
        "packageItems": [
            {"orderItemId": str(line_id), "quantity": quantity}
            for line_id, quantity in one["lines"]
        ],
    }
