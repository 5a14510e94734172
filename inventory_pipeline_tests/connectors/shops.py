"""The simulated shops as real servers, with a receiver for their webhooks."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from inventory_pipeline.core.ports import Delivery, Opening, RawEvent
from inventory_pipeline.simulate import shopify, woocommerce
from inventory_pipeline.simulate.shopify_cost import Bucket
from inventory_pipeline.simulate.webhooks import DeliveryFaults
from inventory_pipeline_tests.connectors.servers import serving

LOCATION = "gid://shopify/Location/1"
CATALOG = "id,sku,title,price,available\n" + "".join(
    f"{n},SKU-{n},Thing {n},1.00,{10 * n}\n" for n in range(1, 8)
)


@dataclass
class Shop:
    """A running shop: its storefront, its levers, and what its webhooks brought."""

    url: str
    deliveries: list[Delivery] = field(default_factory=list)
    forward_to: str = ""  # a hub's own receiver

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        answer = httpx.post(self.url + path, json=body, trust_env=False)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def order(self, order_id: str, **quantities: int) -> dict[str, Any]:
        lines = [{"sku": sku.replace("_", "-"), "quantity": q} for sku, q in quantities.items()]
        return self.post("/storefront/orders", order_id=order_id, lines=lines)

    def shown(self) -> dict[str, int]:
        state = httpx.get(self.url + "/control/state", trust_env=False).json()
        return {row["sku"]: row["available"] for row in state["levels"]}

    def wait_for(self, count: int) -> list[Delivery]:
        deadline = time.monotonic() + 20
        while len(self.deliveries) < count:
            assert time.monotonic() < deadline, f"{len(self.deliveries)} of {count} webhooks came"
            time.sleep(0.02)
        return list(self.deliveries)


@contextlib.contextmanager
def _shop(build: Callable[[str], Starlette]) -> Iterator[Shop]:
    shop = Shop(url="")

    async def receive(request: Request) -> Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.body()
        shop.deliveries.append(Delivery(headers=headers, body=body, received_at=datetime.now(UTC)))
        if not shop.forward_to:
            return Response()
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(shop.forward_to, content=body, headers=headers)
        return Response(status_code=answer.status_code)

    receiver = Starlette(routes=[Route("/hook", receive, methods=["POST"])])
    with serving(receiver) as hooks, serving(build(f"{hooks}/hook")) as url:
        shop.url = url
        yield shop


@contextlib.contextmanager
def shopify_shop(folder: Path, *, levels: bool = False, **bucket: float) -> Iterator[Shop]:
    """Delivers every webhook twice."""
    (folder / "items.csv").write_text(CATALOG)

    def build(hook: str) -> Starlette:
        return shopify.build_shop(
            state=folder / "shop.sqlite",
            catalog=folder / "items.csv",
            token="token",
            locations=[LOCATION],
            bucket=Bucket(timer=time.monotonic, **{"maximum": 2000, "restore": 1000} | bucket),
            webhook_url=hook,
            webhook_secret="hush",
            delivery=DeliveryFaults(duplicate_percent=100),
            clock=lambda: datetime.now(UTC),
            level_webhooks=levels,
        )

    with _shop(build) as shop:
        yield shop


@contextlib.contextmanager
def woocommerce_shop(folder: Path, *, levels: bool = False) -> Iterator[Shop]:
    """Delivers every webhook twice."""
    (folder / "items.csv").write_text(CATALOG)

    def build(hook: str) -> Starlette:
        return woocommerce.build_shop(
            state=folder / "shop.sqlite",
            catalog=folder / "items.csv",
            key="ck",
            secret="cs",
            webhook_url=hook,
            webhook_secret="hush",
            delivery=DeliveryFaults(duplicate_percent=100),
            clock=lambda: datetime.now(UTC),
            level_webhooks=levels,
        )

    with _shop(build) as shop:
        yield shop


def opening(url: str, options: dict[str, Any], known: set[str]) -> Opening:
    return Opening(
        system="shop", options={"url": url} | options, hub_folder=".", external_ids=frozenset(known)
    )


def polled(connector: Any, cursor: dict[str, Any] | None = None) -> tuple[list[RawEvent], Any]:
    """The change feed to its end."""
    events, place = [], cursor or {}
    for _ in range(200):
        page = connector.changes(place)
        events += page.events
        place = page.cursor
        if not page.more:
            return events, place
    raise AssertionError("the feed does not end")


def bodies(events: list[RawEvent]) -> dict[str, dict[str, Any]]:
    """Event id → body; the same id with another body fails."""
    found: dict[str, dict[str, Any]] = {}
    for event in events:
        assert event.body is not None
        assert found.setdefault(event.body["event_id"], event.body) == event.body
    return found
