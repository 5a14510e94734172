"""Which variant is which inventory item is which sku: read once, when it is first needed."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator

from inventory_pipeline.connectors.http import Purpose
from inventory_pipeline.connectors.shopify_orders import GID, gid

ITEM_PREFIX = f"{GID}InventoryItem/"
VARIANT_PREFIX = f"{GID}ProductVariant/"
# A variant that is not known yet may be new; a shop full of such is not read through again and
# again.
RELOAD_AFTER_S = 60.0


class ItemIndex:
    """Translates between the shop's identifiers and the one that the hub knows.

    `pages` reads all variants, for a purpose: (variant gid, inventory item gid, sku). Several
    threads may ask.
    """

    def __init__(
        self,
        pages: Callable[[Purpose], Iterator[tuple[str, str, str]]],
        *,
        external_ids: frozenset[str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pages = pages
        self._known = external_ids
        self._by_item = any(name.startswith(ITEM_PREFIX) for name in external_ids)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._loaded_at: float | None = None
        self._item_of_variant: dict[str, str] = {}
        self._item_of_sku: dict[str, str] = {}
        self._names: dict[str, list[str]] = {}  # item → variant and sku

    def external_of(
        self, *, item: str | None, variant: str | None, sku: str, otherwise: str
    ) -> str:
        """The identifier that the hub uses, or `otherwise` where it knows none.

        Inventory item before variant before sku: those can only come from a row of identifiers.csv,
        and where there is a row, the row counts.
        """
        for name in (item, variant, sku):
            if name and name in self._known:
                return name
        return otherwise

    def external_of_line(self, *, variant: str | None, sku: str) -> str | None:
        """The same for an order line; None for one that was typed in by hand and has no stock."""
        if not variant and not sku:
            return None
        item = self.item_of_variant(variant) if self._by_item and variant else None
        return self.external_of(item=item, variant=variant, sku=sku, otherwise=sku or variant or "")

    def known_names_of(self, item: str) -> list[str]:
        """The identifiers of an inventory item that the hub uses; none for an item it does not
        know, for which the shop is not read through again.
        """
        if item in self._known:
            return [item]
        if self._loaded_at is None and not all(
            name.startswith(ITEM_PREFIX) for name in self._known
        ):
            self._load(Purpose.SOURCE)
        return [name for name in self._names.get(item, ()) if name in self._known][:1]

    def item_of_variant(self, variant: str) -> str | None:
        if variant not in self._item_of_variant:
            self._load(Purpose.SOURCE)
        return self._item_of_variant.get(variant)

    def items_of(self, external_ids: Iterable[str]) -> dict[str, str]:
        """External id → inventory item gid, for those that the shop has."""
        wanted = list(external_ids)
        if any(self._look_up(name) is None for name in wanted):
            self._load(Purpose.LEVELS)
        found = {name: self._look_up(name) for name in wanted}
        return {name: item for name, item in found.items() if item is not None}

    def _look_up(self, name: str) -> str | None:
        if name.startswith(ITEM_PREFIX):
            return gid("InventoryItem", name)
        if name.startswith(VARIANT_PREFIX):
            return self._item_of_variant.get(gid("ProductVariant", name))
        return self._item_of_sku.get(name)

    def _load(self, purpose: Purpose) -> None:
        with self._lock:
            now = self._monotonic()
            if self._loaded_at is not None and now - self._loaded_at < RELOAD_AFTER_S:
                return
            of_variant: dict[str, str] = {}
            of_sku: dict[str, str] = {}
            names: dict[str, list[str]] = {}
            for variant, item, sku in self._pages(purpose):
                of_variant[variant] = item
                names[item] = [variant, sku]
                if sku:
                    # Two variants may carry one sku: the first one listed is meant.
                    of_sku.setdefault(sku, item)
            self._item_of_variant, self._item_of_sku = of_variant, of_sku
            self._names = names
            self._loaded_at = self._monotonic()
