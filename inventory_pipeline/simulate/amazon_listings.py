"""Listings of the simulated seller: read, searched, and patched, which takes effect later.

A patch is accepted at once and applied `apply_s` seconds after that, whatever was sold meanwhile:
its number is absolute. A sku that Amazon fills has a channel code of Amazon's and no number that a
seller could set.
"""

import json
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from inventory_pipeline.simulate.amazon_door import (
    NAMES,
    Node,
    SpError,
    asked,
    bad_input,
    body_of,
    whole,
)
from inventory_pipeline.simulate.shop import ShopLedger, to_second, transaction

OWN = "DEFAULT"
AMAZONS = "AMAZON_NA"
PAGEABLE = 1_000
OPERATIONS = frozenset({"add", "replace", "merge", "delete"})
AVAILABILITY = "/attributes/fulfillment_availability"
TABLES = """
CREATE TABLE IF NOT EXISTS amazon_listings (
    item_id INTEGER PRIMARY KEY, product_type TEXT NOT NULL, by_amazon INTEGER NOT NULL,
    issue TEXT);
CREATE TABLE IF NOT EXISTS amazon_submissions (
    number INTEGER PRIMARY KEY, item_id INTEGER NOT NULL, quantity INTEGER NOT NULL,
    due_at TEXT NOT NULL, applied INTEGER NOT NULL DEFAULT 0);
"""
INCLUDED = {
    "summaries",
    "attributes",
    "issues",
    "offers",
    "fulfillmentAvailability",
    "productTypes",
}


class ListingsApi:
    """The Listings Items API of one seller."""

    def __init__(
        self, shop: ShopLedger, *, seller_id: str, marketplace_id: str, apply_s: float
    ) -> None:
        self.shop = shop
        self.seller_id = seller_id
        self.marketplace_id = marketplace_id
        self.apply_s = apply_s
        shop.connection.executescript(TABLES)

    def list_items(self, rows: Sequence[Mapping[str, str]]) -> None:
        """What the catalogue says of product types and of who fills a listing. Repeatable."""
        for row in rows:
            item = self.shop.item_by_sku(row["sku"])
            assert item is not None
            self.shop.connection.execute(
                "INSERT OR IGNORE INTO amazon_listings VALUES (?, ?, ?, NULL)",
                (
                    item["item_id"],
                    row.get("product_type") or "HOME",
                    row.get("fulfilment") == "AMAZON",
                ),
            )

    # -- the API ------------------------------------------------------------------------------

    async def get(self, request: Request) -> Response:
        self._known_seller(request)
        self._marketplaces(request)
        row = self._row(request.path_params["sku"])
        return JSONResponse(self._item(row, self._included(request)))

    async def search(self, request: Request) -> Response:
        self._known_seller(request)
        self._marketplaces(request)
        given = request.query_params
        identifiers = asked(request, "identifiers")
        if bool(identifiers) != ("identifiersType" in given):
            raise bad_input("identifiers and identifiersType belong together")
        if len(identifiers) > 20:
            raise bad_input("more than 20 identifiers")
        size, start = whole(request, "pageSize", 10, 20), self._start(given.get("pageToken"))
        rows = self._found(given, identifiers)
        if start >= PAGEABLE:
            raise bad_input(f"only {PAGEABLE} results can be paged through")
        page = rows[start : start + size]
        body: Node = {
            "numberOfResults": len(rows),
            "items": [self._item(row, self._included(request)) for row in page],
        }
        if start + size < min(len(rows), PAGEABLE):
            body["pagination"] = {"nextToken": f"at-{start + size}"}
        return JSONResponse(body)

    async def patch(self, request: Request) -> Response:
        self._known_seller(request)
        self._marketplaces(request)
        body = await body_of(request)
        row = self._row(request.path_params["sku"])
        issue = self.problem(row, body)
        preview = request.query_params.get("mode") == "VALIDATION_PREVIEW"
        submission = uuid.uuid5(NAMES, f"{row['sku']}/{self.shop.now()}").hex
        answer: Node = {"sku": row["sku"], "submissionId": submission, "issues": []}
        if issue is not None:
            return JSONResponse(answer | {"status": "INVALID", "issues": [issue]})
        if preview:
            return JSONResponse(answer | {"status": "VALID"})
        self.submit(row, wanted_units(body), delay_s=self.apply_s)
        return JSONResponse(answer | {"status": "ACCEPTED"})

    # -- what feeds do too --------------------------------------------------------------------

    def row(self, sku: str) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self.shop.connection.execute(
            "SELECT * FROM items JOIN amazon_listings USING (item_id) WHERE sku = ?", (sku,)
        ).fetchone()
        return found

    def problem(self, row: sqlite3.Row, body: Mapping[str, Any]) -> Node | None:
        """The issue for which a patch is not taken."""
        if body.get("productType") != row["product_type"]:
            return _issue("90000900", f"product type is {row['product_type']}", "product_type")
        patches = body.get("patches")
        if not isinstance(patches, list) or not patches:
            return _issue("4000000", "'patches' is required", "patches")
        for patch in patches:
            if patch.get("op") not in OPERATIONS or patch.get("path") != AVAILABILITY:
                said = f"{patch.get('op')!r} of {patch.get('path')!r} is not possible"
                return _issue("4000003", said, "patches")
        try:
            wanted_units(body)
            if row["by_amazon"] or _code(body) != OWN:
                raise ValueError("not a fulfilment channel of the seller")  # noqa: TRY301
        except (KeyError, TypeError, ValueError, IndexError) as error:
            return _issue("90220", str(error), "fulfillment_availability")
        return None

    def submit(self, row: sqlite3.Row, units: int, *, delay_s: float) -> None:
        due = self.shop.clock() + timedelta(seconds=delay_s)
        self.shop.connection.execute(
            "INSERT INTO amazon_submissions (item_id, quantity, due_at) VALUES (?, ?, ?)",
            (row["item_id"], units, due.isoformat(timespec="microseconds")),
        )
        self.advance()

    def advance(self) -> None:
        """Applies what is due, in the order in which it is due."""
        with transaction(self.shop.connection):
            for one in self.shop.connection.execute(
                "SELECT * FROM amazon_submissions WHERE applied = 0 AND due_at <= ? "
                "ORDER BY due_at, number",
                (self.shop.now(),),
            ).fetchall():
                self.shop.set_available(one["item_id"], OWN, one["quantity"], source="api")
                self.shop.connection.execute(
                    "UPDATE amazon_submissions SET applied = 1 WHERE number = ?", (one["number"],)
                )

    # -- inside -------------------------------------------------------------------------------

    def _known_seller(self, request: Request) -> None:
        self.advance()
        if request.path_params["seller_id"] != self.seller_id:
            raise SpError(403, "Forbidden", "Access to requested resource is denied.")

    def _marketplaces(self, request: Request) -> None:
        if asked(request, "marketplaceIds") != [self.marketplace_id]:
            raise bad_input("marketplaceIds")

    def _included(self, request: Request) -> set[str]:
        wanted = set(asked(request, "includedData")) or {"summaries"}
        if unknown := wanted - INCLUDED - {"procurement", "relationships"}:
            raise bad_input(f"includedData {sorted(unknown)}")
        return wanted

    def _start(self, token: str | None) -> int:
        if token is None:
            return 0
        if not token.startswith("at-") or not token[3:].isdigit():
            raise bad_input("pageToken")
        return int(token[3:])

    def _found(self, given: Mapping[str, str], identifiers: list[str]) -> list[sqlite3.Row]:
        where, values = ["1 = 1"], []
        if identifiers:
            where.append(f"sku IN ({', '.join('?' for _ in identifiers)})")
            values += identifiers
        if "createdAfter" in given:
            where.append("substr(created_at, 1, 19) >= ?")
            values.append(to_second(given["createdAfter"])[:19])
        columns = {"sku": "sku", "createdDate": "created_at", "lastUpdatedDate": "modified_at"}
        column = columns.get(given.get("sortBy", "lastUpdatedDate"))
        order = {"ASC": "ASC", "DESC": "DESC"}.get(given.get("sortOrder", "DESC"))
        if column is None or order is None:
            raise bad_input("sortBy or sortOrder")
        return self.shop.connection.execute(
            "SELECT * FROM items JOIN amazon_listings USING (item_id) "
            f"WHERE {' AND '.join(where)} ORDER BY {column} {order}, item_id {order}",
            values,
        ).fetchall()

    def _row(self, sku: str) -> sqlite3.Row:
        row = self.row(sku)
        if row is None:
            raise SpError(404, "NOT_FOUND", f"SKU '{sku}' not found in marketplace")
        return row

    def _item(self, row: sqlite3.Row, included: set[str]) -> Node:
        item: Node = {"sku": row["sku"]}
        availability = self._availability(row)
        if "summaries" in included:
            item["summaries"] = [self._summary(row)]
        if "attributes" in included:
            item["attributes"] = {
                "fulfillment_availability": [
                    {
                        "fulfillment_channel_code": one["fulfillmentChannelCode"],
                        **({"quantity": one["quantity"]} if "quantity" in one else {}),
                    }
                    for one in availability
                ]
            }
        if "issues" in included:
            item["issues"] = [json.loads(row["issue"])] if row["issue"] else []
        if "offers" in included:
            price = {"currencyCode": "USD", "amount": row["price"]}
            item["offers"] = [
                {"marketplaceId": self.marketplace_id, "offerType": "B2C", "price": price}
            ]
        if "fulfillmentAvailability" in included:
            item["fulfillmentAvailability"] = availability
        if "productTypes" in included:
            kind = {"marketplaceId": self.marketplace_id, "productType": row["product_type"]}
            item["productTypes"] = [kind]
        return item

    def _availability(self, row: sqlite3.Row) -> list[Node]:
        if row["by_amazon"]:
            return [{"fulfillmentChannelCode": AMAZONS}]
        shown = max(0, self.shop.level(row["item_id"], OWN)["available"])
        return [{"fulfillmentChannelCode": OWN, "quantity": shown}]

    def _summary(self, row: sqlite3.Row) -> Node:
        return {
            "marketplaceId": self.marketplace_id,
            "asin": asin(row["item_id"]),
            "productType": row["product_type"],
            "conditionType": "new_new",
            "status": ["BUYABLE", "DISCOVERABLE"],
            "itemName": row["title"],
            "createdDate": to_second(row["created_at"]),
            "lastUpdatedDate": to_second(row["modified_at"]),
        }


def asin(item_id: int) -> str:
    """Amazon's own number of an item."""
    return f"B{item_id:09d}"


def wanted_units(body: Mapping[str, Any]) -> int:
    """The quantity that a patch sets. Raises KeyError, TypeError or ValueError."""
    value = body["patches"][-1]["value"][0]
    quantity = value["quantity"]
    if isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 0:
        raise ValueError(f"'quantity' must be a whole number of at least 0, not {quantity!r}")
    return quantity


def _code(body: Mapping[str, Any]) -> object:
    return body["patches"][-1]["value"][0].get("fulfillment_channel_code")


def _issue(code: str, message: str, attribute: str) -> Node:
    return {
        "code": code,
        "message": message,
        "severity": "ERROR",
        "attributeNames": [attribute],
        "categories": ["INVALID_ATTRIBUTE"],
    }
