"""A shop that speaks Shopify's Admin GraphQL inventory calls, sells, and sends signed webhooks.

`python -m inventory_pipeline.simulate.shopify --port 9001 --state shop.sqlite --token T
 --catalog items.csv --location gid://shopify/Location/1 --webhook-url URL --webhook-secret S`

Its state is one SQLite file: killed and started again, it goes on where it was.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    execute_sync,
    get_operation_ast,
    parse,
    validate,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from inventory_pipeline.core.ports import Clock
from inventory_pipeline.simulate.shop import ShopLedger, open_database, read_catalog
from inventory_pipeline.simulate.shopify_bulk import Bulk
from inventory_pipeline.simulate.shopify_cost import MAX_COST, Bucket, query_cost
from inventory_pipeline.simulate.shopify_orders import (
    LEVEL_TOPIC,
    TOPICS,
    level_payload,
    payload_of,
)
from inventory_pipeline.simulate.shopify_reads import Reads
from inventory_pipeline.simulate.shopify_writes import Writes
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

VERSIONS = ("2026-04", "2026-07", "2026-10")
DOMAIN = "simulated.myshopify.example"


@lru_cache(maxsize=1)
def schema() -> GraphQLSchema:
    """The schema that this server offers: a part of Shopify's, under the same names and types."""
    text = resources.files(__package__).joinpath("shopify_schema.graphql").read_text("utf-8")
    return build_schema(text)


@lru_cache(maxsize=256)
def _checked(query: str) -> tuple[DocumentNode | None, tuple[GraphQLError, ...]]:
    try:
        document = parse(query)
    except GraphQLError as error:
        return None, (error,)
    return document, tuple(validate(schema(), document))


class AdminApi:
    """POST /admin/api/{version}/graphql.json."""

    def __init__(self, shop: ShopLedger, *, token: str, bucket: Bucket, faults: Faults) -> None:
        self.token = token
        self.bucket = bucket
        self.faults = faults
        self.reads = Reads(shop)
        self.writes = Writes(shop, self.reads)
        self.bulk = Bulk(shop, self.reads)

    async def answer(self, request: Request) -> Response:
        if request.path_params["version"] not in VERSIONS:
            return JSONResponse({"errors": "Not Found"}, status_code=404)
        if request.headers.get("x-shopify-access-token") != self.token:
            message = "[API] Invalid API key or access token (unrecognized login or wrong password)"
            return JSONResponse({"errors": message}, status_code=401)
        try:
            body = json.loads(await request.body())
            query = str(body["query"])
        except (ValueError, KeyError, TypeError):
            return JSONResponse(
                {"errors": {"query": "Required parameter missing"}}, status_code=400
            )
        self.bulk.address = str(request.base_url)
        return await self._run(query, body.get("variables") or {}, body.get("operationName"))

    async def _run(self, query: str, variables: dict[str, Any], name: str | None) -> Response:
        document, problems = _checked(query)
        operation = get_operation_ast(document, name) if document is not None else None
        if document is None or problems or operation is None:
            found = list(problems) or [GraphQLError("No operation with that name.")]
            return JSONResponse({"errors": [error.formatted for error in found]})
        fault = self.faults.next(write=operation.operation.value == "mutation")
        if fault == "fail":
            return JSONResponse({"errors": "Internal Server Error"}, status_code=500)
        cost = query_cost(document, operation, variables)
        if cost > MAX_COST:
            message = f"Query cost is {cost}, which exceeds the single query max cost limit."
            code = {"code": "MAX_COST_EXCEEDED", "cost": cost, "maxCost": MAX_COST}
            return JSONResponse({"errors": [{"message": message, "extensions": code}]})
        if fault == "throttle" or not self.bucket.take(cost):
            return JSONResponse(
                {
                    "errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}],
                    "extensions": {"cost": self._cost(cost, None)},
                }
            )
        answer = self._execute(document, operation, variables, name, cost)
        if fault == "timeout_after_apply":
            await asyncio.sleep(self.faults.seconds)
            return JSONResponse({"errors": "Gateway Timeout"}, status_code=504)
        return JSONResponse(answer)

    def _execute(
        self,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        variables: dict[str, Any],
        name: str | None,
        cost: int,
    ) -> dict[str, Any]:
        write = operation.operation.value == "mutation"
        root = (
            self.writes.root() | self.bulk.mutations()
            if write
            else self.reads.root() | self.bulk.queries()
        )
        result = execute_sync(
            schema(), document, root, variable_values=variables, operation_name=name
        )
        answer: dict[str, Any] = {}
        if result.errors:
            answer["errors"] = [_formatted(error) for error in result.errors]
        if result.data is not None or not result.errors:
            answer["data"] = result.data
        answer["extensions"] = {"cost": self._cost(cost, cost)}
        if self.reads.warnings and not write:
            answer["extensions"]["search"] = [{"warnings": self.reads.warnings}]
        return answer

    def _cost(self, requested: int, actual: int | None) -> dict[str, Any]:
        return {
            "requestedQueryCost": requested,
            "actualQueryCost": actual,
            "throttleStatus": self.bucket.status(),
        }


def _formatted(error: GraphQLError) -> Mapping[str, Any]:
    """The error as sent; one about variables carries Shopify's code for it."""
    formatted = dict(error.formatted)
    if "extensions" not in formatted and error.message.startswith("Variable "):
        formatted["extensions"] = {"code": "INVALID_VARIABLE"}
    return formatted


def webhook_headers(secret: str, queued: Queued) -> dict[str, str]:
    """What Shopify sends with a delivery; both ids are the event's, so that copies look alike."""
    return {
        "X-Shopify-Topic": queued.topic,
        "X-Shopify-Hmac-SHA256": sign(secret, queued.body),
        "X-Shopify-Shop-Domain": DOMAIN,
        "X-Shopify-API-Version": VERSIONS[-1],
        "X-Shopify-Webhook-Id": queued.event_id,
        "X-Shopify-Event-Id": queued.event_id,
        "X-Shopify-Triggered-At": queued.triggered_at,
    }


def build_shop(
    *,
    state: Path,
    catalog: Path,
    token: str,
    locations: list[str],
    bucket: Bucket,
    webhook_url: str,
    webhook_secret: str,
    delivery: DeliveryFaults,
    clock: Clock,
    level_webhooks: bool = False,
) -> Starlette:
    """The whole shop as an application."""
    connection = open_database(state)
    shop = ShopLedger(connection, clock=clock, locations=locations)
    shop.list_items(read_catalog(catalog))
    queue = WebhookQueue(connection, clock=clock, faults=delivery)
    sender = None
    if webhook_url:
        shop.on_order = lambda topic, order: queue.put(
            TOPICS[topic], str(order["number"]), payload_of(topic, order)
        )
        if level_webhooks:
            shop.on_level = lambda item_id, location: queue.put(
                LEVEL_TOPIC, f"{item_id}/{location}", level_payload(shop.level(item_id, location))
            )
        sender = WebhookSender(
            queue, url=webhook_url, headers=lambda queued: webhook_headers(webhook_secret, queued)
        )
    faults = Faults()
    api = AdminApi(shop, token=token, bucket=bucket, faults=faults)
    path = "/admin/api/{version}/graphql.json"
    return build_app(
        [Route(path, api.answer, methods=["POST"]), *api.bulk.routes()],
        Storefront(shop, faults, queue),
        sender,
    )


def shop_of(argv: list[str] | None = None) -> tuple[Starlette, int]:
    """The application and the port that a command line asks for."""
    parser = shop_arguments("A simulated Shopify shop.")
    parser.add_argument("--token", required=True, help="what X-Shopify-Access-Token must be")
    parser.add_argument("--location", action="append", required=True, help="a location's global id")
    parser.add_argument(
        "--bucket", type=float, default=2000, help="points of the query cost bucket"
    )
    parser.add_argument("--restore", type=float, default=100, help="points restored a second")
    given = parser.parse_args(argv)
    app = build_shop(
        state=Path(given.state),
        catalog=Path(given.catalog),
        token=given.token,
        locations=given.location,
        bucket=Bucket(maximum=given.bucket, restore=given.restore, timer=time.monotonic),
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


if __name__ == "__main__":
    main()
