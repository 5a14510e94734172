"""Where the grocer's goods lie before the first basket: made up from what the window will sell.

Most products are well stocked. A dozen that the web likes are scarce: the shelves run empty, the
shops refuse what they show as sold out, and half of them come back when a delivery arrives.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from inventory_pipeline.simulate.grocer_data import ORDERS_OF_STORE, TILL_STORES, Slice

DC = "dc"
# The warehouse's number of each place; the stores' numbers are real.
CODE_OF = {DC: "1"} | {f"store-{store}": str(store) for store in TILL_STORES}
STORES = tuple(place for place in CODE_OF if place != DC)
# Where a channel's orders may be shipped from, first choice first.
NORTH = ("store-367", "store-406")
SHIPS_FROM = {"shop": (DC, *STORES), "market": (DC, *NORTH)}
SCARCE = 12
CASE = 12  # deliveries to the warehouse come in cases


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Units on hand by (location, sku), and the scarce skus that a delivery brings back."""

    on_hand: Mapping[tuple[str, str], int]
    scarce: tuple[str, ...]

    @property
    def restocked(self) -> tuple[str, ...]:
        return self.scarce[::2]


def opening(slice_: Slice) -> Opening:
    """Always the same for the same slice."""
    demand = slice_.demand()
    online = {
        product.sku: sum(demand.get((store, product.sku), 0) for store in ORDERS_OF_STORE)
        for product in slice_.products
    }
    tills = {
        product.sku: sum(demand.get((store, product.sku), 0) for store in TILL_STORES)
        for product in slice_.products
    }
    # Liked on the web more than at the tills: it is the shops that must say no.
    wanted = sorted(online, key=lambda sku: (tills[sku] - 2 * online[sku], sku))
    scarce = tuple(wanted[:SCARCE])
    on_hand: dict[tuple[str, str], int] = {}
    for product in slice_.products:
        sku = product.sku
        if sku in scarce:
            on_hand[DC, sku] = 6 + len(on_hand) % 4
        else:
            on_hand[DC, sku] = 12 + online[sku] * 7 // 10 + tills[sku] // 4
        for store in TILL_STORES:
            sold = demand.get((store, sku), 0)
            stocked = min(3, 2 + sold % 2) if sku in scarce else 6 + sold * 8 // 10
            on_hand[f"store-{store}", sku] = stocked
    return Opening(on_hand=on_hand, scarce=scarce)


def shown_before(stock: Opening, shop: str, sku: str) -> int:
    """What a shop shows before the hub's first push: a number typed in, on the careful side."""
    units = sum(stock.on_hand[place, sku] for place in SHIPS_FROM[shop])
    return max(0, units - 4 * len(SHIPS_FROM[shop]))
