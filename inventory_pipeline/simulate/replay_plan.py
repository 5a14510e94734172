"""The replay's script: which basket when, what else a warehouse's month brings, and mishaps.

It depends on the data package and on the number of days alone. What follows from what happens
(parcels, deliveries, cancellations) is planned on the way, because it depends on what shops answer.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from inventory_pipeline.simulate.grocer_data import FIRST_DAY, ORDERS_OF_STORE, Basket, Slice
from inventory_pipeline.simulate.grocer_stock import DC, STORES, Opening
from inventory_pipeline.simulate.replay_state import ReplayState

# Baskets fill this part of the time: the first and the last moments belong to counts.
FIRST, LAST = 0.01, 0.99
COUNT_EVERY_DAYS = 7
Todo = tuple[float, str, dict[str, Any]]


def write_plan(state: ReplayState, slice_: Slice, stock: Opening, *, days: int) -> None:
    """Puts the opening stock and the whole script into an empty state; one transaction."""
    if state.get("planned"):
        return
    with state.together():
        for (place, sku), units in stock.on_hand.items():
            state.connection.execute(
                "INSERT INTO stock (location, sku, on_hand) VALUES (?, ?, ?)", (place, sku, units)
            )
        total = 0
        for due, kind, payload in [*_baskets(slice_, days), *_mishaps(slice_, stock)]:
            state.plan(due, kind, payload)
            total += 1
        state.put("total", total)
        state.put("planned", True)


def _baskets(slice_: Slice, days: int) -> Iterator[Todo]:
    """Baskets at an even pace, and what is done each night and each week."""
    last = FIRST_DAY + timedelta(days=days)
    baskets = [basket for basket in slice_.baskets if basket.sold_at.date() < last]
    day = FIRST_DAY
    for index, basket in enumerate(baskets):
        due = FIRST + (LAST - FIRST) * index / len(baskets)
        while day < basket.sold_at.date():
            day += timedelta(days=1)
            number = (day - FIRST_DAY).days
            yield due, "night", {"day": number}
            if number % COUNT_EVERY_DAYS == 0:
                yield from ((due, "count", {"place": place}) for place in (DC, *STORES))
        yield due, *_what(basket)


def _what(basket: Basket) -> tuple[str, dict[str, Any]]:
    lines = [list(line) for line in basket.lines]
    shop = ORDERS_OF_STORE.get(basket.store)
    if shop is None:
        return "sale", {
            "basket": basket.basket_id,
            "place": f"store-{basket.store}",
            "lines": lines,
        }
    return "order", {"shop": shop, "order_id": basket.basket_id, "lines": lines}


def _mishaps(slice_: Slice, stock: Opening) -> Iterator[Todo]:
    """Breakage, corrections, counts, a delivery that ends a shortage, and three broken inputs."""
    skus = [product.sku for product in slice_.products if product.sku not in stock.scarce]
    for step in range(12):
        sku = skus[step * 23 % len(skus)]
        due = 0.05 + step * 0.07
        yield due, "damage", {"sku": sku, "units": 1 + step % 2}
        yield due + 0.02, "shrink", {"sku": skus[step * 31 % len(skus)], "units": 1}
        place = STORES[step % len(STORES)]
        yield due + 0.03, "count_one", {"place": place, "sku": skus[step * 17 % len(skus)]}
        if step % 3 == 0:
            yield due + 0.01, "hold", {"sku": skus[step * 41 % len(skus)], "units": 2}
    for number, sku in enumerate(stock.restocked):
        yield 0.35, "buy", {"sku": sku, "cases": 2, "reference": f"PO-SHORT-{number}"}
    yield 0.30, "broken_line", {}
    yield 0.45, "unknown_item", {"place": STORES[0]}
    yield 0.60, "broken_count", {}
