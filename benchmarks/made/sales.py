"""Sales of the merchant (made/merchant.py) elsewhere than in its shop, committed as they happen."""

import time
from collections.abc import Iterable
from datetime import datetime

from benchmarks.made.merchant import sku_of
from inventory_pipeline.core.ledger import LedgerEvent
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.memory import ledger


def sell(ctx: HubContext, number: int, *items: int) -> float:
    """One unit of each of these items in one commit, as a receiver groups what comes in; the
    monotonic time right after it. Events count from `number` on.
    """
    now = ctx.clock()
    events = [_sold(now, number + place, item) for place, item in enumerate(items)]
    with ctx.pg.connection() as connection:
        ledger.append_events(
            connection, events, [], received_at=now, mapping_version=ctx.mapping_version
        )
    return time.monotonic()


def _sold(now: datetime, number: int, item: int) -> LedgerEvent:
    return LedgerEvent(
        system="wms",
        event_id=f"sale-{number}",
        type="pos_sale",
        occurred_at=now,
        received_at=now,
        content_hash=str(number).encode(),
        raw="{}",
        source="benchmark",
        position=str(number),
        item=sku_of(item),
        sku=sku_of(item),
        quantity_milli=1000,
        external_location="dc",
        location="dc",
    )


def at_pace(count: int, per_second: float) -> Iterable[int]:
    """Numbers from 0, each at its time; late ones follow at once."""
    begin = time.monotonic()
    for number in range(count):
        pause = begin + number / per_second - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        yield number
