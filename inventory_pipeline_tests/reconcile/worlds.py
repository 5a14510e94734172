"""A live channel of a simulated shop, driven by hand: numbers, pushes, polls, comparisons."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from inventory_pipeline.config.policy import Bucket, Catalog, Item
from inventory_pipeline.connectors.shopify import ShopifyConnector
from inventory_pipeline.connectors.woocommerce import WooCommerceConnector
from inventory_pipeline.core.ports import Clock
from inventory_pipeline.core.vocabulary import Cause
from inventory_pipeline.flow import reconcile as reconcile_module
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.heal import heal
from inventory_pipeline.flow.land import land_changes
from inventory_pipeline.flow.push import push_channel
from inventory_pipeline.flow.reconcile import reconcile_channel
from inventory_pipeline.flow.times import utc_now
from inventory_pipeline.memory import ledger, outbox, sync
from inventory_pipeline.memory import variance_views as views
from inventory_pipeline_tests.connectors import amazon_sellers
from inventory_pipeline_tests.connectors.shops import (
    LOCATION,
    opening,
    shopify_shop,
    woocommerce_shop,
)
from inventory_pipeline_tests.fakes import small_hub

SKUS = [f"SKU-{number}" for number in range(1, 8)]
SOON = timedelta(milliseconds=20)
SKEW = timedelta(seconds=1)  # these shops date their orders in whole seconds
CALM_S = 2.1  # after so long nothing is near anything


class World:
    """A hub beside one shop. Numbers are units."""

    def __init__(
        self, pg, state: Path, shop: Any, connector: Any, *, bucket: str, clock: Clock = utc_now
    ) -> None:
        hub = small_hub()
        items = {
            sku: Item(sku=sku, title=sku, kind="simple", decimals=0, price=Decimal(2))
            for sku in (*SKUS, "SKU-99")
        }
        channel = replace(
            hub.channels["web"],
            skew=SKEW,
            buckets=(Bucket(id="main", external=bucket, locations=("dc",)),),
        )
        systems = {**hub.systems, "shop": replace(hub.systems["shop"], poll=SOON)}
        hub = replace(hub, channels={"web": channel}, systems=systems, catalog=Catalog(items=items))
        self.shop = shop
        self.bucket = bucket
        self.connector = connector
        self.ctx = HubContext(
            hub=hub, pg=pg, state=state, clock=clock, connectors={"shop": connector},
            policy_version=1, mapping_version=1,
        )  # fmt: skip
        with sync.drain_lock(pg, holder="test", wait=True) as epoch:
            self.epoch = epoch

    def want(self, listed: bool = True, *, of: str = "", each: int = 1, **desired: int) -> None:
        """The numbers to show. `of`: the sku that these listings sell, `each` units of it."""
        now = self.ctx.clock()
        rows = [
            {
                "channel": "web", "bucket": "main", "bucket_external": self.bucket,
                "external_id": name.replace("_", "-"), "sku": of or name.replace("_", "-"),
                "units_milli": each * 1000, "desired_milli": units * 1000,
                "ledger_offset": self._head(), "occurred_at": now, "received_at": now,
                "listed": listed,
            }
            for name, units in desired.items()
        ]  # fmt: skip
        with self.ctx.pg.connection() as connection:
            outbox.store_desired(
                connection, rows, policy_version=1, mapping_version=1, computed_at=now
            )

    def _head(self) -> int:
        with self.ctx.pg.connection() as connection:
            return ledger.head(connection)

    def push(self) -> Any:
        return push_channel(self.ctx, "web", self.epoch)

    def busy(self) -> bool:
        """Whether a listing is to be looked at, or waits for an answer."""
        with self.ctx.pg.connection() as connection:
            [(open_,)] = connection.execute(
                "SELECT count(*) FROM hub.outbox WHERE look OR open_key IS NOT NULL"
            ).fetchall()
        return bool(open_)

    def poll(self) -> None:
        """Reads the shop's orders, and lets the numbers catch up."""
        land_changes(self.ctx, "shop")
        self.computed()

    def computed(self) -> None:
        with self.ctx.pg.connection() as connection:
            before = sync.state(connection).ledger_offset
            head = ledger.head(connection)
            outbox.look_at_own_events(connection, {"shop": ["web"]}, after=before, upto=head)
            sync.move(
                connection, ledger_offset=head, computed_at=self.ctx.clock(), next_wakeup_at=None
            )

    def edit(self, sku: str, available: int) -> None:
        self.shop.post("/control/set", sku=sku, available=available)

    def causes(self, **options: Any) -> dict[str, Cause]:
        report = reconcile_channel(self.ctx, "web", **options)
        return {variance.external_id: variance.cause for variance in report.variances}

    def heal(self) -> dict[str, int]:
        return heal(self.ctx)

    def open(self) -> list[views.VarianceRow]:
        with self.ctx.pg.connection() as connection:
            return views.open_variances(connection)

    def closed(self) -> dict[str, tuple[str, str | None]]:
        """Listing → cause and what was done, of variances that are over."""
        with self.ctx.pg.connection() as connection:
            rows = views.history(connection)
        return {row.external_id or "": (row.cause, row.heal) for row in rows if row.closed_at}


@contextlib.contextmanager
def shopify_world(pg, folder: Path, *, levels: bool = False, **options: Any) -> Iterator[World]:
    with shopify_shop(folder, levels=levels) as shop:
        known = {"access_token": "token", "webhook_secret": "hush", "overlap_s": 0}
        connector = ShopifyConnector(opening(shop.url, known | options, set(SKUS)))
        yield World(pg, folder, shop, connector, bucket=LOCATION)
        connector.close()


@contextlib.contextmanager
def woocommerce_world(pg, folder: Path, *, levels: bool = False, **options: Any) -> Iterator[World]:
    with woocommerce_shop(folder, levels=levels) as shop:
        known = {"consumer_key": "ck", "consumer_secret": "cs", "webhook_secret": "hush"}
        connector = WooCommerceConnector(opening(shop.url, known | options, set(SKUS)))
        yield World(pg, folder, shop, connector, bucket="")
        connector.close()


@contextlib.contextmanager
def amazon_world(pg, folder: Path, *, feed_from: int, **pace: float) -> Iterator[World]:
    """A seller and a hub with one clock, `world.shop.clock`, that a test moves."""
    with amazon_sellers.seller(folder, **pace) as shop:
        connector = amazon_sellers.opened(shop.url, clock=shop.clock, feed_from=feed_from)
        yield World(pg, folder, shop, connector, bucket="", clock=shop.clock)
        connector.close()


def patiently(monkeypatch) -> None:
    """Pauses between readings are as short as these shops are quick."""
    monkeypatch.setattr(reconcile_module, "LONGEST_PAUSE", timedelta(milliseconds=50))


def calm() -> None:
    """Until nothing is near anything any more."""
    time.sleep(CALM_S)


def until_settled(world: World) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        world.push()
        if not world.busy():
            time.sleep(0.1)
            return
        time.sleep(0.1)
    raise AssertionError("the channel does not come to rest")
