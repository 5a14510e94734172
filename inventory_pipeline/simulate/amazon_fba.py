"""Stock in Amazon's own warehouses: FBA inventory summaries, 50 a page.

The token of the next page lives 30 seconds. `POST /control/fba` sets what lies there:
{"sku", "fulfillable"?, "pending_orders"?, "transfer"?, "processing"?, "unfulfillable"?,
"researching"?, "announced"?, "shipped"?, "receiving"?}.
"""

import json
import sqlite3
import uuid
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from inventory_pipeline.simulate.amazon_door import NAMES, Node, asked, bad_input
from inventory_pipeline.simulate.amazon_listings import asin
from inventory_pipeline.simulate.shop import ShopLedger, parse_time, to_second

PER_PAGE = 50
TOKEN_S = 30
PARTS = (
    "fulfillable", "pending_orders", "transfer", "processing", "unfulfillable", "researching",
    "announced", "shipped", "receiving",
)  # fmt: skip
TABLES = f"""
CREATE TABLE IF NOT EXISTS amazon_fba (
    sku TEXT PRIMARY KEY, changed_at TEXT NOT NULL,
    {", ".join(f"{part} INTEGER NOT NULL DEFAULT 0" for part in PARTS)});
CREATE TABLE IF NOT EXISTS amazon_fba_tokens (
    token TEXT PRIMARY KEY, start INTEGER NOT NULL, until TEXT NOT NULL);
"""


class FbaApi:
    """Inventory summaries of one marketplace."""

    def __init__(self, shop: ShopLedger, *, marketplace_id: str) -> None:
        self.shop = shop
        self.marketplace_id = marketplace_id
        shop.connection.executescript(TABLES)

    def put(self, sku: str, **parts: int) -> None:
        """What lies with Amazon of one sku; parts that are not named are 0."""
        unknown = set(parts) - set(PARTS)
        if unknown:
            raise ValueError(f"unknown: {sorted(unknown)}")
        self.shop.connection.execute(
            f"INSERT OR REPLACE INTO amazon_fba (sku, changed_at, {', '.join(PARTS)}) "
            f"VALUES (?, ?, {', '.join('?' for _ in PARTS)})",
            (sku, self.shop.now(), *(int(parts.get(part, 0)) for part in PARTS)),
        )

    def knows(self, sku: str) -> bool:
        return (
            self.shop.connection.execute(
                "SELECT 1 FROM amazon_fba WHERE sku = ?", (sku,)
            ).fetchone()
            is not None
        )

    async def control(self, request: Request) -> Response:
        body = json.loads(await request.body())
        try:
            self.put(str(body.pop("sku")), **body)
        except (KeyError, TypeError, ValueError) as error:
            return JSONResponse({"error": repr(error)}, status_code=422)
        return JSONResponse({"set": True})

    async def summaries(self, request: Request) -> Response:
        given = request.query_params
        if given.get("granularityType") != "Marketplace":
            raise bad_input("granularityType")
        if given.get("granularityId") != self.marketplace_id or asked(
            request, "marketplaceIds"
        ) != [self.marketplace_id]:
            raise bad_input("marketplaceIds takes one marketplace, the granularityId's")
        skus = asked(request, "sellerSkus")
        if len(skus) > 50:
            raise bad_input("more than 50 sellerSkus")
        start = self._start(given.get("nextToken"))
        named = f"WHERE sku IN ({', '.join('?' for _ in skus)})" if skus else ""
        rows = self.shop.connection.execute(
            f"SELECT * FROM amazon_fba {named} ORDER BY sku LIMIT ? OFFSET ?",
            (*skus, PER_PAGE + 1, start),
        ).fetchall()
        details = given.get("details") == "true"
        body: Node = {
            "payload": {
                "granularity": {
                    "granularityType": "Marketplace",
                    "granularityId": self.marketplace_id,
                },
                "inventorySummaries": [self._summary(row, details) for row in rows[:PER_PAGE]],
            }
        }
        if len(rows) > PER_PAGE:
            body["pagination"] = {"nextToken": self._token(start + PER_PAGE)}
        return JSONResponse(body)

    def _token(self, start: int) -> str:
        (count,) = self.shop.connection.execute("SELECT count(*) FROM amazon_fba_tokens").fetchone()
        token = uuid.uuid5(NAMES, f"fba/{count}").hex
        until = self.shop.clock() + timedelta(seconds=TOKEN_S)
        self.shop.connection.execute(
            "INSERT INTO amazon_fba_tokens VALUES (?, ?, ?)", (token, start, until.isoformat())
        )
        return token

    def _start(self, token: str | None) -> int:
        if token is None:
            return 0
        row = self.shop.connection.execute(
            "SELECT * FROM amazon_fba_tokens WHERE token = ?", (token,)
        ).fetchone()
        if row is None or self.shop.clock() > parse_time(row["until"]):
            raise bad_input("nextToken is invalid or has expired")
        return int(row["start"])

    def _summary(self, row: sqlite3.Row, details: bool) -> Node:
        reserved = row["pending_orders"] + row["transfer"] + row["processing"]
        coming = row["announced"] + row["shipped"] + row["receiving"]
        item = self.shop.item_by_sku(row["sku"])
        summary: Node = {
            "asin": asin(item["item_id"] if item is not None else 0),
            "fnSku": f"X{row['sku']}",
            "sellerSku": row["sku"],
            "condition": "NewItem",
            "lastUpdatedTime": to_second(row["changed_at"]),
            "productName": item["title"] if item is not None else row["sku"],
            "totalQuantity": row["fulfillable"] + reserved + row["unfulfillable"] + coming,
            "stores": [],
        }
        if details:
            summary["inventoryDetails"] = {
                "fulfillableQuantity": row["fulfillable"],
                "inboundWorkingQuantity": row["announced"],
                "inboundShippedQuantity": row["shipped"],
                "inboundReceivingQuantity": row["receiving"],
                "reservedQuantity": {
                    "totalReservedQuantity": reserved,
                    "pendingCustomerOrderQuantity": row["pending_orders"],
                    "pendingTransshipmentQuantity": row["transfer"],
                    "fcProcessingQuantity": row["processing"],
                },
                "researchingQuantity": {
                    "totalResearchingQuantity": row["researching"],
                    "researchingQuantityBreakdown": [],
                },
                "unfulfillableQuantity": {
                    "totalUnfulfillableQuantity": row["unfulfillable"],
                    "customerDamagedQuantity": 0,
                    "warehouseDamagedQuantity": row["unfulfillable"],
                    "distributorDamagedQuantity": 0,
                    "carrierDamagedQuantity": 0,
                    "defectiveQuantity": 0,
                    "expiredQuantity": 0,
                },
            }
        return summary
