"""How many quantities a second reach a channel that does not limit anything.

Listings that differ are read from the outbox, their intents stored, sent in batches, their answers
stored; beside it httpx alone sends the same bodies to the same server, one after the other.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from benchmarks.harness.figures import Figure, Sample, at_least, timed
from benchmarks.made.merchant import STOCK, Shop, count_stock, item_of, merchant, postgres, shop
from inventory_pipeline.connectors.shopify_documents import API_VERSION, SET_QUANTITIES
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.cycle import run_cycle
from inventory_pipeline.flow.push import push_channel
from inventory_pipeline.memory import outbox, sync

ITEMS = 50_000
BATCH = 250
TIMES = 3
MOST_PASSES = 50


def run(scratch: Path) -> Iterator[Figure]:
    ours, alone, spent = [], [], []
    with (
        shop() as there,
        postgres(scratch) as url,
        merchant(scratch, url, ITEMS, url=there.url, batch=BATCH) as ctx,
    ):
        for turn in range(TIMES):
            there.set(blind=True)
            everything_changes(ctx, turn)
            before = time.process_time()
            ours.append(timed(lambda: _push(ctx)))
            spent.append(time.process_time() - before)
            _check(ctx, there)
            alone.append(timed(lambda: _only_send(there.url)))
    rate, peer_rate = Sample(tuple(ours)).per_second(ITEMS), Sample(tuple(alone)).per_second(ITEMS)
    yield Figure(
        name="push_quantities_per_s",
        value=round(rate.median),
        unit="quantities/s",
        against=(
            f"httpx alone, the same bodies to the same server: {peer_rate.median:,.0f} quantities/s"
        ),
        note=(
            f"{ITEMS:,} listings that differ, from the outbox to their answers stored, batches of "
            f"{BATCH}, nothing limiting; of it the sender's own processor time is "
            f"{Sample(tuple(spent)).median / ITEMS * 1e6:.1f} µs a quantity; {rate.spread}"
        ),
        target=at_least(50_000),
    )


def everything_changes(ctx: HubContext, turn: int) -> None:
    """A new count of everything: each listing's number falls by one."""
    units = dict.fromkeys(range(ITEMS), STOCK - 1 - turn)
    count_stock(ctx, ctx.hub.folder, str(turn + 1), units)
    run_cycle(ctx)
    with ctx.pg.dedicated() as connection:
        connection.execute("VACUUM (ANALYZE) hub.outbox, hub.attempts")
        connection.execute("CHECKPOINT")


def _push(ctx: HubContext) -> None:
    with sync.drain_lock(ctx.pg, holder="benchmark", wait=True) as epoch:
        assert epoch is not None
        for _ in range(MOST_PASSES):
            push_channel(ctx, "web", epoch)
            with ctx.pg.connection() as connection:
                if not outbox.channels_due(connection, now=ctx.clock()):
                    return
    raise AssertionError("the channel does not come to rest")


def _check(ctx: HubContext, there: Shop) -> None:
    """What was measured was the real thing."""
    with ctx.pg.connection() as connection:
        row = connection.execute(
            "SELECT count(*) FILTER (WHERE base_milli = desired_milli AND base_kind = 'write'),"
            " count(*) FILTER (WHERE look) FROM hub.outbox"
        ).fetchone()
    assert row == (ITEMS, 0), row
    requests = there.said()["counts"]["requests"]
    assert ITEMS // BATCH <= requests <= ITEMS // BATCH + 2, requests


def _only_send(url: str) -> None:
    bodies = [_body(start) for start in range(0, ITEMS, BATCH)]
    with httpx.Client(base_url=url, trust_env=False) as client:
        for body in bodies:
            answer = client.post(
                f"/admin/api/{API_VERSION}/graphql.json",
                content=json.dumps(body),
                headers={"Content-Type": "application/json"},
            )
            assert not answer.json()["data"]["inventorySetQuantities"]["userErrors"]


def _body(start: int) -> dict[str, object]:
    quantities = [
        {
            "inventoryItemId": item_of(number),
            "locationId": "gid://shopify/Location/1",
            "quantity": STOCK - 1,
            "changeFromQuantity": STOCK,
        }
        for number in range(start, start + BATCH)
    ]
    wanted = {"name": "available", "reason": "correction", "quantities": quantities}
    key = f"{start:032d}"
    return {"query": SET_QUANTITIES, "variables": {"input": wanted, "key": key}}
