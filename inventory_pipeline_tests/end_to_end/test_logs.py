"""One id from a shop's webhook to another shop's answer, in the lines of every process."""

import json
import logging
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal

import httpx
import pytest
import structlog

from inventory_pipeline.config.logs import configure_logs
from inventory_pipeline.config.policy import Bucket, Catalog, Item
from inventory_pipeline.connectors.shopify import ShopifyConnector
from inventory_pipeline.connectors.woocommerce import WooCommerceConnector
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.cycle import run_cycle
from inventory_pipeline.flow.land import land_inbox
from inventory_pipeline.flow.push import push_channel
from inventory_pipeline.flow.times import utc_now
from inventory_pipeline.flow.trace import trace
from inventory_pipeline.memory import sync
from inventory_pipeline.server.app import create_app
from inventory_pipeline_tests.connectors.servers import serving
from inventory_pipeline_tests.connectors.shops import (
    LOCATION,
    opening,
    shopify_shop,
    woocommerce_shop,
)
from inventory_pipeline_tests.fakes import land, small_hub

SKUS = [f"SKU-{number}" for number in range(1, 8)]


class Lines:
    """What was written to the error output, as JSON."""

    def __init__(self, capsys):
        self._capsys = capsys
        self._written = ""

    def all(self):
        self._written += self._capsys.readouterr().err
        return [json.loads(line) for line in self._written.splitlines()]

    def of(self, name):
        """Event → lines that carry this id."""
        found = defaultdict(list)
        for line in self.all():
            if name in line.get("correlation_ids", ()):
                found[line["event"]].append(line)
        return found


@pytest.fixture
def lines(capsys):
    before = logging.getLogger().handlers[:], logging.getLogger().level
    ours = logging.getLogger("inventory_pipeline").level
    configure_logs(json=True, environ={})
    yield Lines(capsys)
    structlog.reset_defaults()
    logging.getLogger().handlers[:], logging.getLogger().level = before
    logging.getLogger("inventory_pipeline").setLevel(ours)


@pytest.fixture
def world(pg, tmp_path):
    """A hub with two shops: what one sells is to be told to the other."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    hub = small_hub()
    items = {
        sku: Item(sku=sku, title=sku, kind="simple", decimals=0, price=Decimal(2)) for sku in SKUS
    }
    web = replace(
        hub.channels["web"], buckets=(Bucket(id="main", external=LOCATION, locations=("dc",)),)
    )
    market = replace(
        web, id="market", system="woo",
        buckets=(Bucket(id="main", external="", locations=("dc",)),),
    )  # fmt: skip
    hub = replace(
        hub,
        channels={"web": web, "market": market},
        systems={**hub.systems, "woo": replace(hub.systems["shop"], id="woo")},
        catalog=Catalog(items=items),
    )
    with shopify_shop(tmp_path / "first") as first, woocommerce_shop(tmp_path / "second") as second:
        known = set(SKUS)
        connectors = {
            "shop": ShopifyConnector(
                opening(first.url, {"access_token": "token", "webhook_secret": "hush"}, known)
            ),
            "woo": WooCommerceConnector(
                replace(
                    opening(second.url, {"consumer_key": "ck", "consumer_secret": "cs"}, known),
                    system="woo",
                )
            ),
        }
        ctx = HubContext(
            hub=hub, pg=pg, state=tmp_path, clock=utc_now, connectors=connectors,
            policy_version=1, mapping_version=1,
        )  # fmt: skip
        yield ctx, first, second
        for connector in connectors.values():
            connector.close()


def synced(ctx):
    with sync.drain_lock(ctx.pg, holder="test", wait=True) as epoch:
        run_cycle(ctx, epoch)
        for channel in ctx.hub.channels:
            push_channel(ctx, channel, epoch)


def sell_one(ctx, first):
    """An order in the first shop, whose webhook reaches the receiver; the answer's id."""
    first.order("31", SKU_3=2)
    heard = first.wait_for(1)[0]
    with serving(create_app(ctx, intake=False)) as url:
        answer = httpx.post(f"{url}/hooks/shop", content=heard.body, headers=dict(heard.headers))
    assert answer.status_code == 200
    return heard, answer.headers["x-correlation-id"]


def test_one_id_leads_from_a_webhook_to_the_answer_of_another_shop(world, lines):
    ctx, first, second = world
    land(ctx, **{f"SKU-{n}": 10 * n for n in range(1, 8)})
    synced(ctx)
    heard, name = sell_one(ctx, first)
    assert heard.headers["x-shopify-webhook-id"] in name
    assert land_inbox(ctx).accepted == 1
    synced(ctx)
    assert second.shown()["SKU-3"] == 28

    told = lines.of(name)
    assert list(told) == ["accepted", "recorded", "computed", "sent", "acked"]
    assert told["recorded"][0]["first_offset"] == told["computed"][0]["last_offset"]
    assert [line["channel"] for line in told["acked"]] == ["market"]
    assert told["sent"][0]["key"] == told["acked"][0]["key"]
    # Nothing else is said to have been moved by it, and the snapshot has an id of its own.
    assert told["sent"][0]["correlation_ids"] == [name]
    assert list(lines.of("wms/snapshot-1")) == ["computed"]


def test_the_same_id_is_followed_in_postgres(world, lines):
    ctx, first, _ = world
    land(ctx, **{f"SKU-{n}": 10 * n for n in range(1, 8)})
    synced(ctx)
    _, name = sell_one(ctx, first)
    land_inbox(ctx)
    synced(ctx)
    with ctx.pg.connection() as connection:
        found = trace(connection, name)
    assert [step.what for step in found.steps if step.channel in {"", "market"}] == [
        "happened", "accepted", "recorded", "computed", "sent", "acked",
    ]  # fmt: skip
    times = [step.at for step in found.steps[1:]]
    assert times == sorted(times)
    # The event's own id, its offset and its order lead to the same steps.
    with ctx.pg.connection() as connection:
        (entry,) = found.entries
        for other in (f"shop/{entry.event_id}", str(entry.ledger_offset), f"shop/{entry.order_id}"):
            assert trace(connection, other).steps == found.steps


def test_a_delivery_that_brings_nothing_new_says_so_under_its_id(world, lines):
    ctx, first, _ = world
    _, name = sell_one(ctx, first)
    land_inbox(ctx)
    heard = first.deliveries[0]
    with serving(create_app(ctx, intake=False)) as url:
        httpx.post(f"{url}/hooks/shop", content=heard.body, headers=dict(heard.headers))
    land_inbox(ctx)
    assert list(lines.of(name)) == ["accepted", "recorded", "nothing new"]


def test_a_channel_that_fails_is_told_with_the_ids_that_wait_for_it(world, lines):
    ctx, first, second = world
    land(ctx, **{f"SKU-{n}": 10 * n for n in range(1, 8)})
    synced(ctx)
    _, name = sell_one(ctx, first)
    land_inbox(ctx)
    second.post("/control/faults", mode="fail", count=1_000, only="writes")
    synced(ctx)
    told = lines.of(name)
    assert "acked" not in told
    assert told["failed"][0]["level"] == "warning"
    assert "woo" in told["failed"][0]["why"]
