"""Processes that ask a shop as much as they may, for tests of what they do together."""

import threading
import time
from multiprocessing.synchronize import Barrier, Event

from inventory_pipeline.connectors.http import Caller, Purpose
from inventory_pipeline.connectors.shopify_graphql import Graphql
from inventory_pipeline.core.limits import TokenBucket
from inventory_pipeline.memory.limits import SharedLimits

ITEMS = "query($first: Int!) { inventoryItems(first: $first) { nodes { id sku } } }"
PATH = "/admin/api/2026-10/graphql.json"


def shop_of(url: str, pg_url: str) -> tuple[Graphql, Caller]:
    caller = Caller(
        system="shop",
        base_url=url,
        timeout_s=10,
        headers={"X-Shopify-Access-Token": "token"},
        limiter=SharedLimits(pg_url).of("shop"),
    )
    return Graphql(caller, path=PATH, max_wait_s=10), caller


def ask_for(url: str, pg_url: str, seconds: float, threads: int, start: Barrier) -> None:
    """Asks in several threads until the time is over; the first question waits for the others."""
    shop, caller = shop_of(url, pg_url)
    start.wait(60)
    end = time.monotonic() + seconds

    def work() -> None:
        while time.monotonic() < end:
            shop.run(ITEMS, {"first": 250}, call="ask", purpose=Purpose.LEVELS)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    caller.close()


def take_for_ever(pg_url: str, limit: TokenBucket, busy: Event) -> None:
    limiter = SharedLimits(pg_url).of("shop")
    while True:
        limiter.take(limit, 0.001, patience_s=60)
        busy.set()
