"""A simulated seller on Amazon as a real server, with a clock that a test can move."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.amazon import AmazonConnector
from inventory_pipeline.core.ports import LevelWrite, ListingRef, Opening
from inventory_pipeline.simulate import amazon
from inventory_pipeline.simulate.amazon_queue import PATH, REGION
from inventory_pipeline_tests.connectors.servers import serving

CATALOG = (
    "id,sku,title,price,available,fulfilment,product_type\n"
    + "".join(f"{n},SKU-{n},Thing {n},1.00,{10 * n},,LUGGAGE\n" for n in range(1, 8))
    + "50,FBA-1,At Amazon,1.00,9,AMAZON,\n"
)


@dataclass
class Clock:
    """The time, as a test says."""

    now: datetime = field(default_factory=lambda: datetime(2026, 10, 5, 9, 0, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class RealClock(Clock):
    """The real time: for a hub that has a clock of its own."""

    def __call__(self) -> datetime:
        return datetime.now(UTC)


@dataclass
class Seller:
    """A running seller: its storefront and its levers."""

    url: str
    clock: Clock
    client: httpx.Client

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        answer = self.client.post(path, json=body)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def order(self, order_id: str, **quantities: int) -> dict[str, Any]:
        lines = [{"sku": sku.replace("_", "-"), "quantity": q} for sku, q in quantities.items()]
        return self.post("/storefront/orders", order_id=order_id, lines=lines)

    def shown(self) -> dict[str, int]:
        state = self.client.get("/control/state").json()
        return {row["sku"]: row["available"] for row in state["levels"]}

    def calls(self) -> dict[str, int]:
        found: dict[str, int] = self.client.get("/control/calls").json()
        return found


@contextlib.contextmanager
def seller(
    folder: Path,
    *,
    catalog: str = CATALOG,
    duplicates: int = 0,
    clock: Clock | None = None,
    **pace: float,
) -> Iterator[Seller]:
    """A seller with generous rates, whose patches are applied after 5 s of its clock."""
    (folder / "items.csv").write_text(catalog)
    clock = clock or Clock()
    given = {"apply_s": 5, "feed_queue_s": 20, "feed_work_s": 10, "generous": 1000} | pace
    app = amazon.build_seller(
        state=folder / "amazon.sqlite",
        catalog=folder / "items.csv",
        client_id="app",
        client_secret="hush",
        refresh_token="refresh",
        clock=clock,
        pace=amazon.Pace(**given),
        duplicate_percent=duplicates,
    )
    with serving(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield Seller(url=url, clock=clock, client=client)


def opened(
    address: str, *, clock: Clock | None = None, transport: Any = None, **options: Any
) -> AmazonConnector:
    """A connector to a seller at this address."""
    given = {
        "url": address,
        "token_url": address,
        "seller_id": amazon.SELLER,
        "marketplace_id": amazon.MARKETPLACE,
        "client_id": "app",
        "client_secret": Secret("hush"),
        "refresh_token": Secret("refresh"),
        "timeout_s": 5,
        "max_wait_s": 1,
    }
    opening = Opening(system="amazon", options=given | options, hub_folder=".")
    more = {"clock": clock} if clock else {}
    return AmazonConnector(opening, transport=transport, **more)


def queue_options(url: str) -> dict[str, Any]:
    return {
        "queue_url": url + PATH,
        "aws_region": REGION,
        "aws_access_key_id": "AKIDEXAMPLE",
        "aws_secret_access_key": Secret("secret"),
        "queue_wait_s": 0,
    }


def listing(name: str, code: str = "") -> ListingRef:
    return ListingRef(bucket="main", bucket_external=code, external_id=name)


def write(name: str, units: float, code: str = "") -> LevelWrite:
    return LevelWrite(
        listing=listing(name, code), quantity_milli=int(units * 1000), compare_milli=None
    )
