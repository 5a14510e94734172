"""A shop that speaks WooCommerce's REST v3 for products and orders, and sells by itself.

`python -m inventory_pipeline.simulate.woocommerce --port 9002 --state market.sqlite
 --catalog items.csv --consumer-key CK --consumer-secret CS [--webhook-url URL ...]`

Its writes are absolute, without compare-and-swap and without keys; a batch goes item by item, and
what fails stands inline in a 200. Webhooks, where wanted, are sent once and never again.
"""

import asyncio
import base64
import hmac
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from inventory_pipeline.core.ports import Clock
from inventory_pipeline.simulate.shop import ShopLedger, open_database, read_catalog
from inventory_pipeline.simulate.storefront import (
    Faults,
    Storefront,
    build_app,
    serve,
    shop_arguments,
)
from inventory_pipeline.simulate.webhooks import (
    DeliveryFaults,
    Queued,
    WebhookQueue,
    WebhookSender,
    sign,
)
from inventory_pipeline.simulate.woocommerce_shapes import (
    PRODUCT_TOPIC,
    STATUS,
    TOPICS,
    gmt,
    order_body,
    product_body,
)

BASE = "/wp-json/wc/v3"
PLACE = "main"  # products have one quantity
MAX_BATCH = 100
MAX_PER_PAGE = 100
PRODUCTS = (
    "SELECT i.*, l.available FROM items i JOIN levels l ON l.item_id = i.item_id AND l.location = ?"
)
Node = dict[str, Any]


class RestError(Exception):
    """An answer in WordPress' shape of errors."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "message": message, "data": {"status": status}}


class RestApi:
    """The routes under /wp-json/wc/v3."""

    def __init__(self, shop: ShopLedger, *, key: str, secret: str, faults: Faults) -> None:
        self.shop = shop
        self.key = key
        self.secret = secret
        self.faults = faults

    def routes(self) -> list[Route]:
        def route(
            path: str, work: Callable[[Request], Awaitable[Response]], *methods: str
        ) -> Route:
            return Route(BASE + path, self._guarded(work), methods=list(methods))

        return [
            route("/products", self.products, "GET"),
            route("/products/batch", self.batch, "POST", "PUT", "PATCH"),
            route("/products/{item_id:int}", self.product, "GET"),
            route("/products/{item_id:int}", self.update, "PUT", "POST", "PATCH"),
            route("/orders", self.orders, "GET"),
            route("/orders/{number:int}", self.order, "GET"),
        ]

    # -- products -----------------------------------------------------------------------------

    async def products(self, request: Request) -> Response:
        asked = request.query_params
        where, values = ["1 = 1"], [PLACE]
        if sku := asked.get("sku"):
            names = sku.split(",")
            where.append(f"i.sku IN ({_marks(names)})")
            values += names
        if include := asked.get("include"):
            ids = include.split(",")
            where.append(f"i.item_id IN ({_marks(ids)})")
            values += ids
        order = _choice(asked.get("order", "desc"), {"asc": "ASC", "desc": "DESC"}, "order")
        by = {"date": "i.created_at", "id": "i.item_id", "title": "i.title"}
        column = _choice(asked.get("orderby", "date"), by, "orderby")
        sql = f"{PRODUCTS} WHERE {' AND '.join(where)} ORDER BY {column} {order}, i.item_id {order}"
        return self._page(request, sql, values, product_body)

    async def product(self, request: Request) -> Response:
        return JSONResponse(product_body(self._row(request.path_params["item_id"])))

    async def update(self, request: Request) -> Response:
        body = await _json(request)
        return JSONResponse(self._set(request.path_params["item_id"], body))

    async def batch(self, request: Request) -> Response:
        body = await _json(request)
        parts = {name: body.get(name) or [] for name in ("create", "update", "delete")}
        if sum(len(part) for part in parts.values()) > MAX_BATCH:
            message = f"Unable to accept more than {MAX_BATCH} items for this request."
            raise RestError(413, "woocommerce_rest_request_entity_too_large", message)
        if parts["create"] or parts["delete"]:
            raise RestError(400, "rest_not_offered", "This server only updates products.")
        answers = []
        for one in parts["update"]:
            try:
                answers.append(self._set(one.get("id"), one))
            except RestError as error:
                inline = {key: error.body[key] for key in ("code", "message", "data")}
                answers.append({"id": one.get("id"), "error": inline})
        return JSONResponse({"update": answers})

    def _row(self, item_id: Any) -> Any:
        row = product_row(self.shop, item_id)
        if row is None:
            raise RestError(400, "woocommerce_rest_product_invalid_id", "Invalid ID.")
        return row

    def _set(self, item_id: Any, wanted: Node) -> Node:
        row = self._row(item_id)
        quantity = wanted.get("stock_quantity")
        if quantity is not None:
            if isinstance(quantity, bool) or not isinstance(quantity, int):
                message = "Invalid parameter(s): stock_quantity"
                raise RestError(400, "rest_invalid_param", message)
            self.shop.set_available(row["item_id"], PLACE, quantity, source="api")
        return product_body(self._row(item_id))

    # -- orders -------------------------------------------------------------------------------

    async def orders(self, request: Request) -> Response:
        asked = request.query_params
        bounds = {
            "after": ("created_at", ">"),
            "before": ("created_at", "<"),
            "modified_after": ("updated_at", ">"),
            "modified_before": ("updated_at", "<"),
        }
        where, values = ["1 = 1"], []
        for name, (column, beyond) in bounds.items():
            if name in asked:
                # Whole seconds: what happened within the named one is not after it.
                where.append(f"substr({column}, 1, 19) {beyond} ?")
                values.append(_moment(asked[name], name))
        statuses = asked.get("status", "any").split(",")
        if "any" not in statuses:
            inner = [ours for ours, theirs in STATUS.items() if theirs in statuses]
            where.append(f"status IN ({_marks(inner)})")
            values += inner
        order = _choice(asked.get("order", "desc"), {"asc": "ASC", "desc": "DESC"}, "order")
        by = {"date": "created_at", "modified": "updated_at", "id": "number"}
        column = f"substr({_choice(asked.get('orderby', 'date'), by, 'orderby')}, 1, 19)"
        sql = (
            f"SELECT order_id FROM orders WHERE {' AND '.join(where)} "
            f"ORDER BY {column} {order}, number {order}"
        )
        return self._page(
            request, sql, values, lambda row: order_body(self.shop.order(row["order_id"]))
        )

    async def order(self, request: Request) -> Response:
        row = self.shop.connection.execute(
            "SELECT order_id FROM orders WHERE number = ?", (request.path_params["number"],)
        ).fetchone()
        if row is None:
            raise RestError(404, "woocommerce_rest_shop_order_invalid_id", "Invalid ID.")
        return JSONResponse(order_body(self.shop.order(row["order_id"])))

    # -- around -------------------------------------------------------------------------------

    def _page(
        self, request: Request, sql: str, values: list[Any], shape: Callable[[Any], Node]
    ) -> Response:
        """One page of rows, with WordPress' totals and links in the headers."""
        per_page = _number(request, "per_page", 10)
        page = _number(request, "page", 1)
        if not 1 <= per_page <= MAX_PER_PAGE:
            raise RestError(400, "rest_invalid_param", "Invalid parameter(s): per_page")
        (total,) = self.shop.connection.execute(f"SELECT count(*) FROM ({sql})", values).fetchone()
        rows = self.shop.connection.execute(
            f"{sql} LIMIT ? OFFSET ?", [*values, per_page, (page - 1) * per_page]
        ).fetchall()
        pages = -(-total // per_page)
        headers = {"X-WP-Total": str(total), "X-WP-TotalPages": str(pages)}
        links = []
        for name, number in (("prev", page - 1), ("next", page + 1)):
            if 1 <= number <= pages:
                query = urlencode({**request.query_params, "page": number})
                links.append(f'<{request.url.replace(query=query)}>; rel="{name}"')
        if links:
            headers["Link"] = ", ".join(links)
        return JSONResponse([shape(row) for row in rows], headers=headers)

    def _guarded(
        self, work: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Checks the credentials, meets the fault that is due, and shapes errors."""

        async def answer(request: Request) -> Response:
            if not self._may(request):
                message = "Sorry, you cannot list resources."
                error = RestError(401, "woocommerce_rest_cannot_view", message)
                return JSONResponse(error.body, status_code=401)
            fault = self.faults.next(write=request.method != "GET")
            if fault == "throttle":
                body = {
                    "code": "too_many_requests",
                    "message": "Slow down.",
                    "data": {"status": 429},
                }
                return JSONResponse(body, status_code=429, headers={"Retry-After": "1"})
            if fault == "fail":
                return Response("<html>Error establishing a database connection</html>", 500)
            try:
                done = await work(request)
            except RestError as error:
                done = JSONResponse(error.body, status_code=error.status)
            if fault == "timeout_after_apply":
                await asyncio.sleep(self.faults.seconds)
                return Response("<html>Gateway Timeout</html>", 504)
            return done

        return answer

    def _may(self, request: Request) -> bool:
        given = request.headers.get("authorization", "")
        asked = request.query_params
        if "consumer_key" in asked:
            pair = f"{asked['consumer_key']}:{asked.get('consumer_secret', '')}"
            given = "Basic " + base64.b64encode(pair.encode()).decode()
        right = base64.b64encode(f"{self.key}:{self.secret}".encode()).decode()
        return hmac.compare_digest(given.encode(), f"Basic {right}".encode())


def product_row(shop: ShopLedger, item_id: Any) -> Any:
    """An item with what is shown of it; None where there is none."""
    return shop.connection.execute(f"{PRODUCTS} WHERE i.item_id = ?", (PLACE, item_id)).fetchone()


def webhook_headers(secret: str, queued: Queued) -> dict[str, str]:
    """What WooCommerce sends with a delivery."""
    resource, _, event = queued.topic.partition(".")
    return {
        "X-WC-Webhook-Source": "http://127.0.0.1/",
        "X-WC-Webhook-Topic": queued.topic,
        "X-WC-Webhook-Resource": resource,
        "X-WC-Webhook-Event": event,
        "X-WC-Webhook-Signature": sign(secret, queued.body),
        "X-WC-Webhook-ID": "1",
        "X-WC-Webhook-Delivery-ID": queued.event_id,
    }


def build_shop(
    *,
    state: Path,
    catalog: Path,
    key: str,
    secret: str,
    webhook_url: str,
    webhook_secret: str,
    delivery: DeliveryFaults,
    clock: Clock,
    level_webhooks: bool = False,
) -> Starlette:
    """The whole shop as an application."""
    connection = open_database(state)
    shop = ShopLedger(connection, clock=clock, locations=[PLACE])
    shop.list_items(read_catalog(catalog))
    queue = WebhookQueue(connection, clock=clock, faults=delivery)
    sender = None
    if webhook_url:
        shop.on_order = lambda topic, order: queue.put(
            TOPICS[topic], str(order["number"]), order_body(order)
        )
        if level_webhooks:
            shop.on_level = lambda item_id, _location: queue.put(
                PRODUCT_TOPIC, str(item_id), product_body(product_row(shop, item_id))
            )
        sender = WebhookSender(
            queue,
            url=webhook_url,
            headers=lambda queued: webhook_headers(webhook_secret, queued),
            retries=False,
        )
    faults = Faults()
    api = RestApi(shop, key=key, secret=secret, faults=faults)
    return build_app([*api.routes()], Storefront(shop, faults, queue), sender)


def shop_of(argv: list[str] | None = None) -> tuple[Starlette, int]:
    """The application and the port that a command line asks for."""
    parser = shop_arguments("A simulated WooCommerce shop.")
    parser.add_argument("--consumer-key", required=True)
    parser.add_argument("--consumer-secret", required=True)
    given = parser.parse_args(argv)
    app = build_shop(
        state=Path(given.state),
        catalog=Path(given.catalog),
        key=given.consumer_key,
        secret=given.consumer_secret,
        webhook_url=given.webhook_url,
        webhook_secret=given.webhook_secret,
        delivery=DeliveryFaults(
            duplicate_percent=given.duplicate_percent,
            late_percent=given.late_percent,
            late_s=given.late_s,
        ),
        clock=lambda: datetime.now(UTC),
        level_webhooks=given.level_webhooks,
    )
    return app, given.port


def main() -> None:
    serve(*shop_of())


def _marks(values: list[Any]) -> str:
    return ", ".join("?" for _ in values)


def _choice(value: str, known: dict[str, str], name: str) -> str:
    if value not in known:
        raise RestError(400, "rest_invalid_param", f"Invalid parameter(s): {name}")
    return known[value]


def _number(request: Request, name: str, default: int) -> int:
    try:
        number = int(request.query_params.get(name, default))
    except ValueError:
        number = 0
    if number < 1:
        raise RestError(400, "rest_invalid_param", f"Invalid parameter(s): {name}")
    return number


def _moment(text: str, name: str) -> str:
    """An ISO 8601 time as whole seconds of UTC; one without an offset is UTC already."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise RestError(400, "rest_invalid_param", f"Invalid parameter(s): {name}") from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return gmt(moment.astimezone(UTC).isoformat())


async def _json(request: Request) -> Node:
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RestError(400, "rest_invalid_json", "Invalid JSON body passed.")
    return body


if __name__ == "__main__":
    main()
