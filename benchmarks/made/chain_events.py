"""What happens in the chain of made/chain.py: orders, sales in stores, counts that were off."""

import random
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from benchmarks.made.chain import BUNDLES, LOCATIONS, TEMPLATES
from inventory_pipeline.compute.tables import EVENTS_SCHEMA

ONLINE = ("web", "app", "wholesale", "b2b", "east", "west")


def chain_events(
    items: int, count: int, *, seed: int, ledger_offset: int, at: datetime
) -> pa.Table:
    """`count` events on as many items, all after `at`, as the ledger hands them to the engine.

    Of ten, six are order lines (one of them without a location), two sales in stores, one a
    damaged unit and one a correction.
    """
    chosen = random.Random(seed)
    simple = [n for n in range(items) if n % TEMPLATES < TEMPLATES - BUNDLES]
    rows = []
    for n, item in enumerate(chosen.sample(simple, count)):
        sku = f"T{item % TEMPLATES:03d}-{item // TEMPLATES}"
        event = {
            "ledger_offset": ledger_offset,
            "system": "wms",
            "event_id": f"{seed}-{n}",
            "occurred_at": at + timedelta(seconds=1),
            "received_at": at + timedelta(seconds=2),
            "item": sku,
            "sku": sku,
            **_what(n, chosen, f"{seed}-{n}"),
        }
        rows.append({name: event.get(name) for name in EVENTS_SCHEMA.names})
    return pa.Table.from_pylist(rows, schema=EVENTS_SCHEMA)


def _what(n: int, chosen: random.Random, order: str) -> dict[str, Any]:
    units = 1000 * chosen.randint(1, 3)
    place = chosen.choice(LOCATIONS)
    match n % 10:
        case 0:
            line = {"order_id": order, "line_id": "1", "channel": chosen.choice(ONLINE)}
            return {"type": "order_placed", "quantity_milli": units, **line}
        case 1 | 2 | 3 | 4 | 5:
            line = {"order_id": order, "line_id": "1", "channel": chosen.choice(ONLINE)}
            return {"type": "order_placed", "quantity_milli": units, "location": place, **line}
        case 6 | 7:
            return {"type": "pos_sale", "quantity_milli": units, "location": place}
        case 8:
            return {"type": "damaged", "quantity_milli": 1000, "location": place}
        case _:
            return {
                "type": "adjusted",
                "quantity_milli": -units,
                "location": place,
                "reason": "count",
            }
