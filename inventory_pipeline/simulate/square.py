"""A merchant that speaks Square's Inventory API, and sells at its till.

`python -m inventory_pipeline.simulate.square --port 9004 --state square.sqlite
 --catalog items.csv --token TOKEN --location LMAIN [--webhook-url URL --webhook-secret KEY]`

Counts and sales are ordered by when they happened; a request is taken whole or not at all, under a
key that goes with one content.
"""

import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route

from inventory_pipeline.core.ports import Clock
from inventory_pipeline.simulate.shop import open_database, read_catalog
from inventory_pipeline.simulate.square_api import MERCHANT, ReadApi, count_shape
from inventory_pipeline.simulate.square_door import Door
from inventory_pipeline.simulate.square_front import Till
from inventory_pipeline.simulate.square_ledger import NAMES, SquareLedger
from inventory_pipeline.simulate.square_writes import WriteApi
from inventory_pipeline.simulate.storefront import Faults, build_app, serve, shop_arguments
from inventory_pipeline.simulate.webhooks import (
    DeliveryFaults,
    Queued,
    WebhookQueue,
    WebhookSender,
    sign,
)

TOPIC = "inventory.count.updated"
SCOPES = frozenset({"INVENTORY_READ", "INVENTORY_WRITE", "ITEMS_READ", "MERCHANT_PROFILE_READ"})


def webhook_headers(secret: str, url: str, queued: Queued) -> Mapping[str, str]:
    """What Square sends with a delivery: the signature is over the address and the body."""
    headers = {
        "x-square-hmacsha256-signature": sign(secret, url.encode() + queued.body),
        "square-environment": "Production",
    }
    if queued.attempts:
        headers["square-retry-number"] = str(queued.attempts)
        headers["square-retry-reason"] = "http_error"
    return headers


def count_event(counts: Sequence[sqlite3.Row], now: datetime) -> dict[str, object]:
    """The body of an inventory.count.updated."""
    parts = "/".join(f"{row['variation']}{row['location']}{row['state']}" for row in counts)
    name = str(uuid.uuid5(NAMES, f"{now.isoformat()}/{parts}"))
    return {
        "merchant_id": MERCHANT,
        "type": TOPIC,
        "event_id": name,
        "created_at": now.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "data": {
            "type": "inventory_counts",
            "id": str(uuid.uuid5(NAMES, f"data/{name}")),
            "object": {"inventory_counts": [count_shape(row) for row in counts]},
        },
    }


def build_merchant(
    *,
    state: Path,
    catalog: Path,
    token: str,
    locations: list[str],
    webhook_url: str,
    webhook_secret: str,
    delivery: DeliveryFaults,
    clock: Clock,
    scopes: frozenset[str] = SCOPES,
) -> Starlette:
    """The whole merchant as an application."""
    connection = open_database(state)
    ledger = SquareLedger(connection, clock=clock, locations=locations)
    ledger.list_variations(read_catalog(catalog))
    queue = WebhookQueue(connection, clock=clock, faults=delivery)
    sender = None
    if webhook_url:

        def tell(counts: Sequence[sqlite3.Row]) -> None:
            queue.put(TOPIC, counts[0]["variation"], count_event(counts, clock()))

        ledger.on_counts = tell
        sender = WebhookSender(
            queue,
            url=webhook_url,
            headers=lambda queued: webhook_headers(webhook_secret, webhook_url, queued),
        )
    faults = Faults()
    door = Door(token=token, scopes=scopes, faults=faults)
    till = Till(ledger, faults, queue)
    routes: list[BaseRoute] = [
        *_api_routes(door, ReadApi(ledger), WriteApi(ledger)),
        Route("/control/adjust", till.adjust, methods=["POST"]),
    ]
    return build_app(routes, till, sender)


def _api_routes(door: Door, reads: ReadApi, writes: WriteApi) -> list[Route]:
    inventory, catalog = "/v2/inventory", "/v2/catalog"
    plan = [
        ("INVENTORY_READ", "POST", f"{inventory}/counts/batch-retrieve", reads.counts),
        ("INVENTORY_READ", "POST", f"{inventory}/changes/batch-retrieve", reads.changes),
        ("INVENTORY_WRITE", "POST", f"{inventory}/changes/batch-create", writes.create),
        ("ITEMS_READ", "GET", f"{catalog}/list", reads.catalog),
        ("ITEMS_READ", "POST", f"{catalog}/batch-retrieve", reads.retrieve),
        ("MERCHANT_PROFILE_READ", "GET", "/v2/locations", reads.locations),
    ]
    return [
        Route(path, door.guarded(scope, work, write=scope == "INVENTORY_WRITE"), methods=[method])
        for scope, method, path, work in plan
    ]


def shop_of(argv: list[str] | None = None) -> tuple[Starlette, int]:
    """The application and the port that a command line asks for."""
    parser = shop_arguments("A simulated Square merchant.")
    parser.add_argument("--token", required=True, help="what the bearer token must be")
    parser.add_argument("--location", action="append", required=True, help="a location's id")
    given = parser.parse_args(argv)
    app = build_merchant(
        state=Path(given.state),
        catalog=Path(given.catalog),
        token=given.token,
        locations=given.location,
        webhook_url=given.webhook_url,
        webhook_secret=given.webhook_secret,
        delivery=DeliveryFaults(
            duplicate_percent=given.duplicate_percent,
            late_percent=given.late_percent,
            late_s=given.late_s,
        ),
        clock=lambda: datetime.now(UTC),
    )
    return app, given.port


def main() -> None:
    serve(*shop_of())


if __name__ == "__main__":
    main()
