"""How much of a channel's rate limit is used while there is always more to send than it allows."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness.figures import Figure, at_least
from benchmarks.made.merchant import STOCK, Shop, merchant, postgres, shop
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.push import push_channel
from inventory_pipeline.memory import sync

ITEMS = 40_000
BATCH = 100  # the connector's default: 11 points
PLUS_POINTS_PER_S = 1000.0
PLUS_BUCKET = 20_000.0
WARM_UP_S = 4.0
SECONDS = 30.0
LOW = ITEMS // 2


def run(scratch: Path) -> Iterator[Figure]:
    with (
        shop() as there,
        postgres(scratch) as url,
        merchant(scratch, url, ITEMS, url=there.url, batch=BATCH) as ctx,
    ):
        # Empty at the beginning: what was saved up before is not what is measured.
        there.set(stock=STOCK, maximum=PLUS_BUCKET, restore=PLUS_POINTS_PER_S, points=0)
        before, after = _measured(ctx, there)
    seconds = after["at"] - before["at"]
    used = after["counts"]["points"] - before["counts"]["points"]
    allowed = PLUS_POINTS_PER_S * seconds + max(0.0, before["left"] - after["left"])
    quantities = len(after["taken"]) - len(before["taken"])
    throttled = after["counts"]["throttled"] - before["counts"]["throttled"]
    yield Figure(
        name="limit_use_percent",
        value=round(100 * used / allowed, 1),
        unit="%",
        against=f"allowed in {seconds:.0f} s: {allowed:,.0f} points; used: {used:,.0f}",
        note=(
            f"a simulated Shopify Plus bucket ({PLUS_POINTS_PER_S:,.0f} points a second), batches "
            f"of {BATCH}, {ITEMS:,} listings that keep changing; {quantities / seconds:,.0f} "
            f"quantities a second were set, {throttled} requests were throttled"
        ),
        target=at_least(95),
    )


def _measured(ctx: HubContext, there: Shop) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the shop said at the beginning and at the end of the time that counts."""
    said: list[dict[str, Any]] = []
    done = threading.Event()

    def watch() -> None:
        time.sleep(WARM_UP_S)
        said.append(there.said())
        time.sleep(SECONDS)
        said.append(there.said())
        done.set()
        sync.end_drain(ctx.pg, patience_s=SECONDS)

    threads = [
        threading.Thread(target=watch),
        threading.Thread(target=_keep_changing, args=(ctx, done)),
    ]
    for thread in threads:
        thread.start()
    _push_until_ended(ctx, done)
    for thread in threads:
        thread.join()
    return said[0], said[1]


def _push_until_ended(ctx: HubContext, done: threading.Event) -> None:
    with sync.drain_lock(ctx.pg, holder="benchmark", wait=True) as epoch:
        assert epoch is not None
        try:
            while not done.is_set():
                report = push_channel(ctx, "web", epoch)
                if not report.acked:
                    time.sleep(0.01)
        except sync.Superseded:
            return


def _keep_changing(ctx: HubContext, done: threading.Event) -> None:
    """As a cycle would: another number for what is settled, as soon as little is left to send."""
    with ctx.pg.dedicated() as connection:
        while not done.is_set():
            row = connection.execute("SELECT count(*) FROM hub.outbox WHERE look").fetchone()
            if row is not None and row[0] < LOW:
                connection.execute(
                    "UPDATE hub.outbox SET look = true, looks = looks + 1, desired_milli ="
                    " CASE desired_milli WHEN %(a)s THEN %(b)s ELSE %(a)s END WHERE NOT look",
                    {"a": STOCK * 1000, "b": (STOCK - 1) * 1000},
                )
            time.sleep(0.2)
