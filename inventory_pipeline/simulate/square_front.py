"""The till of the simulated merchant, and the levers for tests.

An order is sold and handed over in one moment; a cancel brings its goods back into stock.
`POST /control/adjust` {"sku", "from_state", "to_state", "quantity", "location"?} moves goods.
"""

import json
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from inventory_pipeline.simulate.shop import ShopRefuses, transaction
from inventory_pipeline.simulate.square_ledger import (
    IN_STOCK,
    Change,
    SquareLedger,
    parts_of,
    text_of,
)
from inventory_pipeline.simulate.storefront import Faults, Storefront
from inventory_pipeline.simulate.webhooks import WebhookQueue


class Till(Storefront):
    """The routes that sell and that let tests look and meddle."""

    def __init__(self, ledger: SquareLedger, faults: Faults, queue: WebhookQueue | None) -> None:
        self.ledger = ledger
        self.faults = faults
        self.queue = queue

    async def place(self, request: Request) -> dict[str, Any]:
        body = json.loads(await request.body())
        order_id, location = str(body["order_id"]), self._location(body)
        with transaction(self.ledger.connection):
            if self._sold(order_id):
                return self._order(order_id)
            if not body["lines"]:
                raise ShopRefuses(422, {"error": "empty_order", "message": "an order has lines"})
            lines = [
                (self._variation(one["sku"]), parts_of(one["quantity"]), one["sku"])
                for one in body["lines"]
            ]
            short = [
                {"sku": sku, "asked": text_of(parts)}
                for variation, parts, sku in lines
                if parts > self.ledger.in_stock(variation, location)
            ]
            if short and not body.get("allow_oversell"):
                raise ShopRefuses(409, {"error": "sold_out", "sold_out": short})
            self.ledger.write(
                [
                    Change(
                        variation=variation,
                        location=location,
                        parts=parts,
                        from_state=IN_STOCK,
                        to_state="SOLD",
                        occurred_at=self.ledger.clock(),
                        sale=order_id,
                    )
                    for variation, parts, _ in lines
                ]
            )
            return self._order(order_id)

    async def fulfil(self, request: Request) -> dict[str, Any]:
        """Nothing is left to do: goods leave a till at once."""
        return self._order(request.path_params["order_id"])

    async def cancel(self, request: Request) -> dict[str, Any]:
        """A refund that puts everything back into stock. Repeatable."""
        order_id = request.path_params["order_id"]
        with transaction(self.ledger.connection):
            rows = self._sold(order_id)
            if not rows:
                raise ShopRefuses(404, {"error": "unknown_order", "order_id": order_id})
            if not self._order(order_id)["cancelled"]:
                self.ledger.write(
                    [
                        Change(
                            variation=row["variation"],
                            location=row["location"],
                            parts=row["parts"],
                            from_state="SOLD",
                            to_state=IN_STOCK,
                            occurred_at=self.ledger.clock(),
                            sale=order_id,
                            refund=f"refund-{order_id}",
                        )
                        for row in rows
                    ]
                )
            return self._order(order_id)

    async def state(self, _request: Request) -> dict[str, Any]:
        rows = self.ledger.connection.execute(
            "SELECT sku, id, location, parts FROM square_variations JOIN square_counts "
            "ON variation = id WHERE state = ? ORDER BY sku, location",
            (IN_STOCK,),
        ).fetchall()
        levels = [
            {
                "sku": row["sku"],
                "item_id": row["id"],
                "location": row["location"],
                "available": _number(row["parts"]),
            }
            for row in rows
        ]
        return {"levels": levels, "orders": [], "counts": self.counts()}

    def counts(self) -> dict[str, Any]:
        written = self.ledger.connection.execute(
            "SELECT coalesce(sum(product = 'EXTERNAL_API'), 0) AS api_writes, "
            "count(DISTINCT CASE WHEN to_state = 'SOLD' THEN sale END) AS orders "
            "FROM square_changes"
        ).fetchone()
        webhooks = self.queue.counts() if self.queue is not None else {}
        faults = {f"fault_{name}": count for name, count in self.faults.met.items()}
        return {**written, **webhooks, **faults}

    async def set(self, request: Request) -> dict[str, Any]:
        """Staff counts again."""
        body = json.loads(await request.body())
        variation, location = self._variation(body["sku"]), self._location(body)
        one = Change(
            variation=variation,
            location=location,
            parts=parts_of(body["available"]),
            occurred_at=self.ledger.clock(),
        )
        self.ledger.write([one])
        return {"sku": body["sku"], "available": _number(self.ledger.in_stock(variation, location))}

    async def adjust(self, request: Request) -> Response:
        body = json.loads(await request.body())
        try:
            one = Change(
                variation=self._variation(body["sku"]),
                location=self._location(body),
                parts=parts_of(body["quantity"]),
                from_state=str(body["from_state"]),
                to_state=str(body["to_state"]),
                occurred_at=self.ledger.clock(),
            )
        except ShopRefuses as refusal:
            return JSONResponse(refusal.body, status_code=refusal.status)
        self.ledger.write([one])
        return JSONResponse({"adjusted": True})

    def _location(self, body: dict[str, Any]) -> str:
        location = str(body.get("location", self.ledger.locations[0]))
        if location not in self.ledger.locations:
            raise ShopRefuses(404, {"error": "unknown_location", "location": location})
        return location

    def _variation(self, sku: object) -> str:
        found = self.ledger.variation(str(sku))
        if found is None:
            raise ShopRefuses(404, {"error": "unknown_sku", "sku": sku})
        return found

    def _sold(self, order_id: str) -> list[Any]:
        return self.ledger.connection.execute(
            "SELECT * FROM square_changes WHERE sale = ? AND to_state = 'SOLD' ORDER BY number",
            (order_id,),
        ).fetchall()

    def _order(self, order_id: str) -> dict[str, Any]:
        rows = self._sold(order_id)
        if not rows:
            raise ShopRefuses(404, {"error": "unknown_order", "order_id": order_id})
        (back,) = self.ledger.connection.execute(
            "SELECT count(*) FROM square_changes WHERE sale = ? AND from_state = 'SOLD'",
            (order_id,),
        ).fetchone()
        lines = [{"item_id": row["variation"], "quantity": text_of(row["parts"])} for row in rows]
        return {"order_id": order_id, "lines": lines, "cancelled": back > 0}


def _number(parts: int) -> int | str:
    """A whole number where it is one, else a decimal text."""
    value = Decimal(text_of(parts))
    return int(value) if value == value.to_integral_value() else str(value)
