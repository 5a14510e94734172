"""A flash sale behind a rate limit: when does the shop show that something is sold out?

The same events and the same backlog go to two shops with the same limit at the same time: to one by
a sync run, to the other by a sender that is no slower but works in order of arrival, a write an
event, as simple integrations do.
"""

import itertools
import random
import statistics
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness.figures import Figure, at_least
from benchmarks.made.merchant import (
    LOCATION,
    STOCK,
    Shop,
    count_stock,
    item_of,
    merchant,
    postgres,
    shop,
    show_everything,
)
from benchmarks.made.sales import at_pace, sell
from benchmarks.warm import draining
from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors import build
from inventory_pipeline.core.errors import ChannelBusy
from inventory_pipeline.core.ports import LevelWrite, ListingRef, Opening
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.cycle import run_cycle

HOT = 50
BACKLOG = 20_000
EVENTS_PER_S = 200
SECONDS = 60
GROUP = 10  # events of one commit
BATCH = 100
POINTS_PER_S = 100.0  # of Shopify's standard plan
BUCKET = 2000.0
AFTERWARDS_S = 20.0
SEED = 4

Writes = deque[tuple[int, int]]  # item, quantity: in order of arrival


def run(scratch: Path) -> Iterator[Figure]:
    with (
        shop() as ours,
        shop() as theirs,
        postgres(scratch) as url,
        merchant(scratch, url, HOT + BACKLOG, url=ours.url, batch=BATCH) as ctx,
    ):
        queue = _backlog(ctx)
        for one in (ours, theirs):
            # Empty: the backlog has been at work before.
            levels = {number + 1: units for number, units in hot_stock().items()}
            one.set(stock=STOCK, levels=levels, maximum=BUCKET, restore=POINTS_PER_S, points=0)
        with draining(ctx), first_in_first_out(theirs.url, queue):
            sold_out = _sale(ctx, queue)
            time.sleep(AFTERWARDS_S)
            end = time.monotonic()
            ours_s = _until_zero(ours, sold_out, end)
            theirs_s = _until_zero(theirs, sold_out, end)
            late = sum(
                end - at - s < 0.001 for at, s in zip(sold_out.values(), theirs_s, strict=True)
            )
    yield Figure(
        name="flash_sale_zero_speedup",
        value=round(statistics.mean(theirs_s) / statistics.mean(ours_s), 1),
        unit="times",
        against=(
            f"first in, first out: {statistics.mean(theirs_s):.1f} s on average until a sold-out "
            f"item shows 0 (longest {max(theirs_s):.1f} s)"
        ),
        note=(
            f"ours {statistics.mean(ours_s):.2f} s (longest {max(ours_s):.2f} s); {EVENTS_PER_S} "
            f"sales a second for {SECONDS} s on {HOT} items, {len(sold_out)} of which sell out, "
            f"after a recount of {BACKLOG:,} others; {POINTS_PER_S:.0f} points a second for each, "
            f"batches of up to {BATCH}; {late} items had not come to 0 there when it ended, and "
            "count as if they had"
        ),
        target=at_least(5),
    )


def hot_stock() -> dict[int, int]:
    """Units of each hot item: the first sells out after seconds, the last one at the end."""
    return {number: 20 + 9 * number for number in range(HOT)}


def _backlog(ctx: HubContext) -> Writes:
    """Hot items are stocked and shown; of the others a recount has changed every number."""
    count_stock(ctx, ctx.hub.folder, "1", hot_stock())
    run_cycle(ctx)
    show_everything(ctx)
    others = range(HOT, HOT + BACKLOG)
    recounted = {number: STOCK + (1 if number % 5 else -1) for number in others}
    count_stock(ctx, ctx.hub.folder, "2", recounted)
    run_cycle(ctx)
    return deque(recounted.items())


def _sale(ctx: HubContext, queue: Writes) -> dict[int, float]:
    """Item → when the sale of its last unit was committed."""
    chance = random.Random(SEED)
    left = hot_stock()
    sold_out: dict[int, float] = {}
    numbers = itertools.count(step=GROUP)
    for _ in at_pace(EVENTS_PER_S * SECONDS // GROUP, EVENTS_PER_S / GROUP):
        group = []
        for _ in range(GROUP):
            if not left:
                break
            item = chance.choice(list(left))
            left[item] -= 1
            group.append((item, left[item]))
            if not left[item]:
                del left[item]
        if group:
            at = sell(ctx, next(numbers), *(item for item, _ in group))
            queue.extend(group)
            sold_out |= {item: at for item, units in group if not units}
    return sold_out


def _until_zero(there: Shop, sold_out: Mapping[int, float], end: float) -> list[float]:
    """Seconds from an item's last sale until the shop showed 0, at least until `end`."""
    zero: dict[int, float] = {}
    for at, number, quantity in there.said()["taken"]:
        if quantity == 0:
            zero.setdefault(number - 1, at)
    return [zero.get(item, end) - at for item, at in sold_out.items()]


@contextmanager
def first_in_first_out(url: str, queue: Writes) -> Iterator[None]:
    """Sends what is in the queue, in its order, as fast as the shop lets it."""
    options = {"url": url, "access_token": Secret("token"), "batch_size": BATCH, "max_wait_s": 30}
    connector = build(Opening(system="shop", options=options, hub_folder="."), "shopify")
    done = threading.Event()

    def work() -> None:
        for number in itertools.count():
            batch = _next(queue)
            while batch and not done.is_set():
                try:
                    connector.write_levels(batch, key=f"{number:032d}")
                    break
                except ChannelBusy as busy:
                    time.sleep(busy.retry_after_s)
            if done.is_set():
                return
            if not batch:
                time.sleep(0.005)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        connector.close()


def _next(queue: Writes) -> list[LevelWrite]:
    """As many as go into one request: an item may be in it once, and none is overtaken."""
    batch: dict[int, int] = {}
    while queue and len(batch) < BATCH and queue[0][0] not in batch:
        item, units = queue.popleft()
        batch[item] = units
    return [
        LevelWrite(
            listing=ListingRef(bucket="main", bucket_external=LOCATION, external_id=item_of(item)),
            quantity_milli=units * 1000,
            compare_milli=None,
        )
        for item, units in batch.items()
    ]
