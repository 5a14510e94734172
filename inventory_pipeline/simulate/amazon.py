"""A seller on Amazon that speaks the Selling Partner API, and sells by itself.

`python -m inventory_pipeline.simulate.amazon --port 9003 --state amazon.sqlite
 --catalog items.csv --client-id ID --client-secret SECRET --refresh-token TOKEN`

The catalogue may have the columns `product_type` and `fulfilment` (AMAZON: its stock lies with
Amazon). Tokens end, quantities are accepted now and shown later, feeds queue, and every operation
has its usage plan; the seller's notifications go into a queue on the same port.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from inventory_pipeline.core.ports import Clock
from inventory_pipeline.simulate.amazon_door import Door, Rates
from inventory_pipeline.simulate.amazon_fba import FbaApi
from inventory_pipeline.simulate.amazon_feeds import FeedsApi
from inventory_pipeline.simulate.amazon_listings import OWN, ListingsApi
from inventory_pipeline.simulate.amazon_orders import OrdersApi
from inventory_pipeline.simulate.amazon_queue import QueueApi
from inventory_pipeline.simulate.shop import ShopLedger, open_database, read_catalog
from inventory_pipeline.simulate.storefront import (
    Faults,
    Storefront,
    build_app,
    serve,
    shop_arguments,
)

SELLER = "A1SELLER"
MARKETPLACE = "ATVPDKIKX0DER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How slow Amazon is, in seconds; `generous` multiplies every rate and burst."""

    token_s: float = 3600
    apply_s: float = 2
    feed_queue_s: float = 5
    feed_work_s: float = 2
    order_lag_s: float = 0
    pending_s: float = 0
    generous: float = 1


class SellerFront(Storefront):
    """A storefront whose shown quantities are those of this moment."""

    listings: ListingsApi
    feeds: FeedsApi

    async def state(self, request: Request) -> dict[str, Any]:
        self._now()
        return await super().state(request)

    async def place(self, request: Request) -> dict[str, Any]:
        self._now()
        return await super().place(request)

    def _now(self) -> None:
        self.feeds.advance()
        self.listings.advance()


def build_seller(
    *,
    state: Path,
    catalog: Path,
    client_id: str,
    client_secret: str,
    refresh_token: str,
    clock: Clock,
    pace: Pace,
    aws_key_id: str = "AKIDEXAMPLE",
    aws_secret: str = "secret",  # noqa: S107 - of a simulation
    duplicate_percent: int = 0,
) -> Starlette:
    """The whole seller as an application."""
    connection = open_database(state)
    shop = ShopLedger(connection, clock=clock, locations=[OWN])
    rows = read_catalog(catalog)
    shop.list_items(rows)
    faults = Faults()
    door = Door(
        connection,
        client_id=client_id,
        client_secret=client_secret,
        refresh_token=refresh_token,
        token_s=pace.token_s,
        rates=Rates(clock=clock, generous=pace.generous),
        faults=faults,
        clock=clock,
    )
    listings = ListingsApi(shop, seller_id=SELLER, marketplace_id=MARKETPLACE, apply_s=pace.apply_s)
    listings.list_items(rows)
    feeds = FeedsApi(shop, listings, queue_s=pace.feed_queue_s, work_s=pace.feed_work_s)
    orders = OrdersApi(
        shop, marketplace_id=MARKETPLACE, lag_s=pace.order_lag_s, pending_s=pace.pending_s
    )
    fba = FbaApi(shop, marketplace_id=MARKETPLACE)
    for row in rows:
        if row.get("fulfilment") == "AMAZON" and not fba.knows(row["sku"]):
            fba.put(row["sku"], fulfillable=int(row.get("available") or 0))
    queue = QueueApi(
        connection,
        seller_id=SELLER,
        marketplace_id=MARKETPLACE,
        key_id=aws_key_id,
        secret=aws_secret,
        duplicate_percent=duplicate_percent,
        clock=clock,
    )
    shop.on_order = lambda _topic, order: queue.order_changed(order)
    shop.on_level = lambda item_id, _location: _tell_level(queue, shop, item_id)
    front = SellerFront(shop, faults, None)
    front.listings, front.feeds = listings, feeds
    routes: list[BaseRoute] = [
        *_api_routes(door, listings, feeds, orders, fba),
        Route("/documents/{name}", feeds.upload, methods=["PUT"]),
        Route("/documents/{name}", feeds.download, methods=["GET"]),
        Route("/control/fba", fba.control, methods=["POST"]),
        *door.routes(),
        *queue.routes(),
    ]
    return build_app(routes, front, None)


def _tell_level(queue: QueueApi, shop: ShopLedger, item_id: int) -> None:
    item = shop.item(item_id)
    if item is not None:
        shown = shop.level(item_id, OWN)["available"]
        queue.quantity_changed(item["sku"], max(0, shown))


def _api_routes(
    door: Door, listings: ListingsApi, feeds: FeedsApi, orders: OrdersApi, fba: FbaApi
) -> list[Route]:
    items, feed = "/listings/2021-08-01/items/{seller_id}", "/feeds/2021-06-30"
    order = "/orders/2026-01-01/orders"
    plan = [
        ("searchListingsItems", "GET", items, listings.search),
        ("getListingsItem", "GET", f"{items}/{{sku:path}}", listings.get),
        ("patchListingsItem", "PATCH", f"{items}/{{sku:path}}", listings.patch),
        ("createFeedDocument", "POST", f"{feed}/documents", feeds.create_document),
        ("getFeedDocument", "GET", f"{feed}/documents/{{name}}", feeds.document),
        ("createFeed", "POST", f"{feed}/feeds", feeds.create_feed),
        ("getFeeds", "GET", f"{feed}/feeds", feeds.feeds),
        ("getFeed", "GET", f"{feed}/feeds/{{feed_id}}", feeds.feed),
        ("getFeed", "DELETE", f"{feed}/feeds/{{feed_id}}", feeds.cancel),
        ("searchOrders", "GET", order, orders.search),
        ("getOrder", "GET", f"{order}/{{order_id}}", orders.one),
        ("getInventorySummaries", "GET", "/fba/inventory/v1/summaries", fba.summaries),
    ]
    return [
        Route(path, door.guarded(name, work, write=method != "GET"), methods=[method])
        for name, method, path, work in plan
    ]


def shop_of(argv: list[str] | None = None) -> tuple[Starlette, int]:
    """The application and the port that a command line asks for."""
    parser = shop_arguments("A simulated seller on Amazon.")
    parser.add_argument("--client-id", required=True)
    parser.add_argument("--client-secret", required=True)
    parser.add_argument("--refresh-token", required=True)
    parser.add_argument("--aws-key-id", default="AKIDEXAMPLE")
    parser.add_argument("--aws-secret", default="secret")
    for name, default in (
        ("token-s", 3600.0), ("apply-s", 2.0), ("feed-queue-s", 5.0), ("feed-work-s", 2.0),
        ("order-lag-s", 0.0), ("pending-s", 0.0), ("generous", 1.0),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=float, default=default)
    given = parser.parse_args(argv)
    app = build_seller(
        state=Path(given.state),
        catalog=Path(given.catalog),
        client_id=given.client_id,
        client_secret=given.client_secret,
        refresh_token=given.refresh_token,
        clock=lambda: datetime.now(UTC),
        pace=Pace(
            token_s=given.token_s,
            apply_s=given.apply_s,
            feed_queue_s=given.feed_queue_s,
            feed_work_s=given.feed_work_s,
            order_lag_s=given.order_lag_s,
            pending_s=given.pending_s,
            generous=given.generous,
        ),
        aws_key_id=given.aws_key_id,
        aws_secret=given.aws_secret,
        duplicate_percent=given.duplicate_percent,
    )
    return app, given.port


def main() -> None:
    serve(*shop_of())


if __name__ == "__main__":
    main()
