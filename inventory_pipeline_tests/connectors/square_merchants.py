"""A simulated Square merchant as a real server, with a receiver for its webhooks."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.square import SquareConnector
from inventory_pipeline.core.ports import Delivery, LevelWrite, ListingRef, Opening
from inventory_pipeline.simulate import square
from inventory_pipeline.simulate.square_ledger import variation_id
from inventory_pipeline.simulate.webhooks import DeliveryFaults
from inventory_pipeline_tests.connectors.servers import serving

CATALOG = "sku,title,price,available\n" + "".join(
    f"SKU-{n},Thing {n},1.00,{10 * n}\n" for n in range(1, 8)
)
MAIN, SECOND = "LMAIN", "LSECOND"


@dataclass
class Clock:
    """The real time, moved forward as a test says."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def forward(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


@dataclass
class Merchant:
    """A running merchant: the till, the levers, and what its webhooks brought."""

    url: str
    hook: str
    clock: Clock
    client: httpx.Client
    deliveries: list[Delivery] = field(default_factory=list)

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        answer = self.client.post(path, json=body)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def sell(self, order_id: str, quantity: object = 1, sku: str = "SKU-1", **more: Any) -> None:
        lines = [{"sku": sku, "quantity": quantity}]
        self.post("/storefront/orders", order_id=order_id, lines=lines, **more)

    def shown(self, location: str = MAIN) -> dict[str, Any]:
        levels = self.client.get("/control/state").json()["levels"]
        return {row["sku"]: row["available"] for row in levels if row["location"] == location}

    def wait_for(self, count: int) -> list[Delivery]:
        deadline = time.monotonic() + 20
        while len(self.deliveries) < count:
            assert time.monotonic() < deadline, f"{len(self.deliveries)} of {count} webhooks came"
            time.sleep(0.02)
        return list(self.deliveries)


@contextlib.contextmanager
def merchant(
    folder: Path, *, catalog: str = CATALOG, scopes: frozenset[str] = square.SCOPES
) -> Iterator[Merchant]:
    """Delivers every webhook twice."""
    (folder / "items.csv").write_text(catalog)
    clock = Clock()
    deliveries: list[Delivery] = []

    async def receive(request: Request) -> Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        delivery = Delivery(
            headers=headers, body=await request.body(), received_at=datetime.now(UTC),
            url=str(request.url),
        )  # fmt: skip
        deliveries.append(delivery)
        return Response()

    receiver = Starlette(routes=[Route("/hook", receive, methods=["POST"])])
    with serving(receiver) as hooks:
        app = square.build_merchant(
            state=folder / "square.sqlite",
            catalog=folder / "items.csv",
            token="token",
            locations=[MAIN, SECOND],
            webhook_url=f"{hooks}/hook",
            webhook_secret="hush",
            delivery=DeliveryFaults(duplicate_percent=100),
            clock=clock,
            scopes=scopes,
        )
        with serving(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
            yield Merchant(
                url=url, hook=f"{hooks}/hook", clock=clock, client=client, deliveries=deliveries
            )


def opened(
    address: str, *, transport: Any = None, clock: Any = None, **options: Any
) -> SquareConnector:
    given = {"url": address, "access_token": Secret("token"), "timeout_s": 5, "max_wait_s": 1}
    opening = Opening(system="square", options=given | options, hub_folder=".")
    more = {"clock": clock} if clock else {}
    return SquareConnector(opening, transport=transport, **more)


def listing(sku: str, location: str = MAIN) -> ListingRef:
    return ListingRef(bucket="main", bucket_external=location, external_id=variation_id(sku))


def named(name: str, location: str = MAIN) -> ListingRef:
    return ListingRef(bucket="main", bucket_external=location, external_id=name)


def write(sku: str, milli: int, location: str = MAIN) -> LevelWrite:
    return LevelWrite(listing=listing(sku, location), quantity_milli=milli, compare_milli=None)
