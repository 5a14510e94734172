"""Events as systems send them: orders from a shop, movements from a warehouse."""

import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.made.hub import LOCATIONS, sku_of

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
PER_SECOND = 50  # events of one second, so that times look like a busy shop's


def bodies(
    count: int, *, items: int, first: int, seed: int, random_ids: bool = False
) -> Iterator[dict[str, Any]]:
    """`count` events, numbered from `first`: half of them order lines, the rest movements.

    Ids ascend as shops and databases number them, or are random (UUIDs) with `random_ids`.
    """
    source = random.Random(seed)
    for number in range(first, first + count):
        at = BEGIN + timedelta(seconds=number // PER_SECOND, milliseconds=number % 1000)
        event_id = str(uuid.UUID(int=source.getrandbits(128))) if random_ids else f"evt-{number}"
        common = {
            "event_id": event_id,
            "occurred_at": at.isoformat(),
            "item": sku_of(source.randrange(items)),
        }
        place = f"L{source.randrange(LOCATIONS)}"
        quantity = source.randrange(1, 9)
        if number % 2:
            yield {
                **common,
                "type": "order_placed",
                "quantity": quantity,
                "order_id": f"ord-{number // 4}",
                "line_id": str(number % 4),
                "price": "19.90",
            }
        elif number % 4:
            yield {**common, "type": "goods_issued", "quantity": quantity, "location": place}
        else:
            yield {
                **common,
                "type": "adjusted",
                "quantity": quantity - 4,
                "location": place,
                "reason": "recount",
                "user": "anna",
            }
