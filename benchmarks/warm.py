"""From an event's commit to the channel's answer, while a sync run is warm."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness.figures import Figure, at_most, timed
from benchmarks.harness.process import ROOT
from benchmarks.made.merchant import STOCK, Shop, merchant, postgres, shop
from benchmarks.made.sales import at_pace, sell
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.memory import sync

ITEMS = 100_000
PER_SECOND = 50
SECONDS = 30
BATCH = 250
COMMITS = 50
PATIENCE_S = 60.0
LONGEST_S = 300


def run(scratch: Path) -> Iterator[Figure]:
    with (
        shop() as there,
        postgres(scratch) as url,
        merchant(scratch, url, ITEMS, url=there.url, batch=BATCH) as ctx,
    ):
        there.set(stock=STOCK)
        alone = [timed(partial(sell, ctx, ITEMS + n, ITEMS - n)) for n in range(2, COMMITS)]
        with draining(ctx) as spent:
            _wait_for(there, {ITEMS - 1: sell(ctx, ITEMS, ITEMS - 1)})
            committed = {
                number: sell(ctx, number, number)
                for number in at_pace(PER_SECOND * SECONDS, PER_SECOND)
            }
            latencies = _wait_for(there, committed)
    note = (
        f"{ITEMS:,} items, {PER_SECOND} sales a second for {SECONDS} s, each on another item; from "
        f"its commit to the answer of the channel, which answers at once; {len(latencies):,} "
        f"events in {spent['cycles']} cycles, {spent['cpu_s'] / max(1, spent['cycles']):.3f} s of "
        f"processor time each; the median cycle computes and stores for {spent['cycle_s']:.3f} s; "
        f"longest {max(latencies):.2f} s"
    )
    floor = f"the event's own commit, nothing else at work: {statistics.median(alone):.4f} s"
    for name, share, bound in (("warm_p50_s", 50, 0.25), ("warm_p95_s", 95, 1.0)):
        yield Figure(
            name=name,
            value=round(percentile(latencies, share), 3),
            unit="s",
            against=floor,
            note=note,
            target=at_most(bound),
        )


@contextmanager
def draining(ctx: HubContext) -> Iterator[dict[str, Any]]:
    """A sync run in a process of its own; afterwards the dict says what it spent."""
    arguments = [str(ctx.hub.folder), str(ctx.state), ctx.pg.url, str(LONGEST_S)]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.made.drainer", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    spent: dict[str, Any] = {}
    try:
        yield spent
        sync.end_drain(ctx.pg, patience_s=PATIENCE_S)
        said, _ = process.communicate(timeout=PATIENCE_S)
        spent |= json.loads(said.splitlines()[-1])
    finally:
        process.kill()
        process.wait()


def _wait_for(there: Shop, committed: dict[int, float]) -> list[float]:
    """Seconds from each item's commit to the answer that set it; raises if one never came."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        answered = {item - 1: at for at, item, _ in reversed(there.said()["taken"])}
        if committed.keys() <= answered.keys():
            return [answered[item] - at for item, at in committed.items()]
        missing = len(committed.keys() - answered.keys())
        assert time.monotonic() < deadline, f"{missing} of {len(committed)} were never sent"
        time.sleep(0.5)


def percentile(values: list[float], share: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[share - 1]
