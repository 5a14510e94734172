"""What the grocer's channels must show at the end, from the truth alone.

The rules of examples/grocer/hub.yaml in plain arithmetic, on purpose apart from the hub's own
calculation: it tests that one. All quantities are whole units.
"""

from collections import defaultdict
from collections.abc import Mapping

from inventory_pipeline.simulate.grocer_data import Product
from inventory_pipeline.simulate.grocer_stock import SHIPS_FROM
from inventory_pipeline.simulate.truth import Truth

CHANNEL_OF = {"shop": "web", "market": "marketplace"}
KEPT_BACK = 2  # dc-safety at the warehouse, shelf at every store
KEPT_FOR_WEB = 6  # dairy-for-web
BUFFER_TENTH = 10  # market-buffer: one unit of ten, rounded up
MOST_ON_MARKET = 60  # market-cap
LEAST_FRESH = 3  # market-fresh


def expected_shown(found: Truth, products: tuple[Product, ...]) -> Mapping[tuple[str, str], int]:
    """(channel, sku) → units. Holds once every event has arrived and every count is read."""
    still_promised: defaultdict[str, int] = defaultdict(int)
    for line in found.open_lines:
        # No order names a place, and both channels are fed by the warehouse: each pool owes it all.
        still_promised[line.sku] += line.units
    shown = {}
    for product in products:
        for shop, channel in CHANNEL_OF.items():
            pool = _pool(found, shop, product.sku) - still_promised[product.sku]
            units = pool if shop == "shop" else _on_market(pool, product.tag)
            shown[channel, product.sku] = max(0, units)
    return shown


def _pool(found: Truth, shop: str, sku: str) -> int:
    return sum(found.stock[place, sku].good - KEPT_BACK for place in SHIPS_FROM[shop])


def _on_market(pool: int, tag: str) -> int:
    kept = min(KEPT_FOR_WEB, max(0, pool)) if tag == "dairy" else 0
    left = pool - kept
    buffer = -(-max(0, left) // BUFFER_TENTH)
    units = min(left - buffer, MOST_ON_MARKET)
    return 0 if tag == "produce" and units < LEAST_FRESH else units
