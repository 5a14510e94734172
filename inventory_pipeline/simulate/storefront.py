"""What both simulated shops offer beside their own API: a storefront, and levers for tests.

```
POST /storefront/orders              {"order_id", "lines": [{"sku", "quantity"}], "allow_oversell"?}
POST /storefront/orders/{id}/fulfil  {"name"?, "lines"?}      no lines: all that is left
POST /storefront/orders/{id}/edit    {"lines"}                what is added to it later
POST /storefront/orders/{id}/cancel
GET  /control/ready                  200 once it serves
GET  /control/state                  levels, orders, counts; ?orders=0 leaves the orders out
POST /control/set                    {"sku", "available", "location"?}: an edit in the admin
POST /control/faults                 {"mode", "count", "only"?, "seconds"?}: see Faults
```
"""

import argparse
import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from inventory_pipeline.simulate.shop import OrderedLine, ShopLedger, ShopRefuses
from inventory_pipeline.simulate.webhooks import WebhookQueue, WebhookSender

HOST = "127.0.0.1"
ACCEPT_QUEUE = 1024
MODES = ("throttle", "fail", "timeout_after_apply", "off")


@dataclass(slots=True)
class Faults:
    """What the next `count` calls of the API meet. `only`: reads, writes, or "" for both.

    `mode` is throttle, fail (nothing applied), timeout_after_apply (a write is applied, and its
    answer comes after `seconds`, as a gateway's timeout) or off.
    """

    mode: str = "off"
    count: int = 0
    only: str = ""
    seconds: float = 60.0
    met: dict[str, int] = field(default_factory=dict)

    def next(self, *, write: bool) -> str:
        """The fault for this call, used up by asking; "" for none."""
        if self.mode == "off" or self.count <= 0:
            return ""
        if (self.only == "writes" and not write) or (self.only == "reads" and write):
            return ""
        if self.mode == "timeout_after_apply" and not write:
            return ""
        self.count -= 1
        self.met[self.mode] = self.met.get(self.mode, 0) + 1
        return self.mode


class Storefront:
    """The routes that sell and that let tests look and meddle."""

    def __init__(self, shop: ShopLedger, faults: Faults, queue: WebhookQueue | None) -> None:
        self.shop = shop
        self.faults = faults
        self.queue = queue

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/storefront/orders", _answered(self.place), methods=["POST"]),
            Route("/storefront/orders/{order_id}/fulfil", _answered(self.fulfil), methods=["POST"]),
            Route("/storefront/orders/{order_id}/cancel", _answered(self.cancel), methods=["POST"]),
            Route("/storefront/orders/{order_id}/edit", _answered(self.edit), methods=["POST"]),
            Route("/control/ready", _answered(self.ready), methods=["GET"]),
            Route("/control/state", _answered(self.state), methods=["GET"]),
            Route("/control/set", _answered(self.set), methods=["POST"]),
            Route("/control/faults", _answered(self.set_faults), methods=["POST"]),
        ]

    async def place(self, request: Request) -> dict[str, Any]:
        body = await _body(request)
        order_id = str(body["order_id"])
        oversell = bool(body.get("allow_oversell", False))
        try:
            return self.shop.place_order(order_id, _lines(body["lines"]), allow_oversell=oversell)
        except ShopRefuses as refusal:
            self.shop.note_refusal(order_id, refusal)
            raise

    async def fulfil(self, request: Request) -> dict[str, Any]:
        body = await _body(request)
        lines = _lines(body["lines"]) if "lines" in body else None
        name = str(body.get("name", "all"))
        return self.shop.fulfil(request.path_params["order_id"], name=name, lines=lines)

    async def cancel(self, request: Request) -> dict[str, Any]:
        return self.shop.cancel(request.path_params["order_id"])

    async def edit(self, request: Request) -> dict[str, Any]:
        body = await _body(request)
        return self.shop.edit(request.path_params["order_id"], _lines(body["lines"]))

    async def ready(self, _request: Request) -> dict[str, Any]:
        return {"ready": True}

    async def state(self, request: Request) -> dict[str, Any]:
        """Everything: also what it was written and what it could not sell."""
        select = self.shop.connection.execute
        levels = select(
            "SELECT i.sku, l.item_id, l.location, l.available, l.committed, l.updated_at "
            "FROM levels l JOIN items i USING (item_id) ORDER BY i.sku, l.location"
        ).fetchall()
        orders: list[dict[str, Any]] = []
        if request.query_params.get("orders") != "0":
            ids = select("SELECT order_id FROM orders ORDER BY number").fetchall()
            orders = [self.shop.order(row["order_id"]) for row in ids]
        return {
            "levels": [dict(row) for row in levels],
            "orders": orders,
            "counts": self.counts(),
        }

    def counts(self) -> dict[str, Any]:
        select = self.shop.connection.execute
        orders = select(
            "SELECT count(*) AS orders, count(cancelled_at) AS cancelled, "
            "count(fulfilled_at) AS fulfilled FROM orders"
        ).fetchone()
        sold = select(
            "SELECT coalesce(sum(quantity - cancelled), 0) AS units_sold FROM order_lines"
        ).fetchone()
        lost = select(
            "SELECT count(*) AS refusals, coalesce(sum(asked), 0) AS units_refused FROM refusals"
        ).fetchone()
        writes = select(
            "SELECT coalesce(sum(source = 'api'), 0) AS api_writes, "
            "coalesce(sum(source = 'admin'), 0) AS edits FROM writes"
        ).fetchone()
        webhooks = self.queue.counts() if self.queue is not None else {}
        faults = {f"fault_{name}": count for name, count in self.faults.met.items()}
        return {**orders, **sold, **lost, **writes, **webhooks, **faults}

    async def set(self, request: Request) -> dict[str, Any]:
        body = await _body(request)
        item = self.shop.item_by_sku(str(body["sku"]))
        if item is None:
            raise ShopRefuses(404, {"error": "unknown_sku", "sku": body["sku"]})
        location = str(body.get("location", self.shop.locations[0]))
        try:
            self.shop.set_available(
                item["item_id"], location, int(body["available"]), source="admin"
            )
        except KeyError:
            raise ShopRefuses(404, {"error": "unknown_location", "location": location}) from None
        return dict(self.shop.level(item["item_id"], location))

    async def set_faults(self, request: Request) -> dict[str, Any]:
        body = await _body(request)
        mode = str(body["mode"])
        if mode not in MODES:
            raise ShopRefuses(422, {"error": "unknown_mode", "modes": list(MODES)})
        self.faults.mode = mode
        self.faults.count = int(body.get("count", 1))
        self.faults.only = str(body.get("only", ""))
        self.faults.seconds = float(body.get("seconds", 60))
        return {"mode": mode, "count": self.faults.count}


def build_app(
    routes: list[BaseRoute], front: Storefront, sender: WebhookSender | None
) -> Starlette:
    """The shop's application: its own API, the storefront, and its webhooks on their way."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        sending = asyncio.create_task(sender.run()) if sender is not None else None
        yield
        if sending is not None:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    return Starlette(routes=[*routes, *front.routes()], lifespan=lifespan)


def serve(app: Starlette, port: int) -> None:
    """Serves on this machine until it is told to stop."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    uvicorn.run(
        app,
        host=HOST,
        port=port,
        log_level="warning",
        access_log=False,
        backlog=ACCEPT_QUEUE,
        timeout_graceful_shutdown=1,
    )


def shop_arguments(description: str) -> argparse.ArgumentParser:
    """The command line that every simulated shop takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", required=True, help="SQLite file; created if absent")
    parser.add_argument("--catalog", required=True, help="CSV: sku, title[, id, price, available]")
    parser.add_argument(
        "--webhook-url", default="", help="where order webhooks go; none: no webhooks"
    )
    parser.add_argument("--webhook-secret", default="")
    parser.add_argument(
        "--level-webhooks", action="store_true", help="webhooks of changed quantities, too"
    )
    parser.add_argument("--duplicate-percent", type=int, default=0)
    parser.add_argument("--late-percent", type=int, default=0)
    parser.add_argument("--late-s", type=float, default=0.0)
    return parser


def _answered(
    work: Callable[[Request], Awaitable[dict[str, Any]]],
) -> Callable[[Request], Awaitable[Response]]:
    """Runs `work`; a refusal becomes its HTTP answer, an odd field a 422 that names it."""

    async def answer(request: Request) -> Response:
        try:
            return JSONResponse(await work(request))
        except ShopRefuses as refusal:
            return JSONResponse(refusal.body, status_code=refusal.status)
        except (KeyError, ValueError, TypeError) as error:
            return JSONResponse({"error": "bad_request", "message": repr(error)}, status_code=422)

    return answer


async def _body(request: Request) -> dict[str, Any]:
    raw = await request.body()
    body = json.loads(raw) if raw else {}
    if not isinstance(body, dict):
        raise TypeError("the body must be a JSON object")
    return body


def _lines(written: list[dict[str, Any]]) -> list[OrderedLine]:
    return [OrderedLine(sku=str(line["sku"]), quantity=int(line["quantity"])) for line in written]
