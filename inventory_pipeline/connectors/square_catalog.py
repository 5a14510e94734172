"""What Square calls our items: item variations, by their id or by their sku.

By sku, the merchant's catalogue is read once, when it is first needed, and again when a variation
turns up that it did not have.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from inventory_pipeline.connectors.http import Purpose, understood
from inventory_pipeline.connectors.square_api import SquareApi

LIST = "/v2/catalog/list"
RETRIEVE = "/v2/catalog/batch-retrieve"
CALL = "read catalog"
VARIATION = "ITEM_VARIATION"
AT_ONCE = 500
RELOAD_AFTER_S = 60.0


class Catalog:
    """Translates between variation ids and the identifiers that the hub knows."""

    def __init__(
        self,
        api: SquareApi,
        *,
        by_sku: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._by_sku = by_sku
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._skus: dict[str, str] = {}  # variation id → sku
        self._ids: dict[str, str] = {}  # sku → variation id
        self._read_at: float | None = None

    def external_of(self, variation: str, purpose: Purpose) -> str:
        """The identifier that the hub uses; the id where the variation has no sku."""
        if not self._by_sku:
            return variation
        with self._lock:
            if variation not in self._skus:
                self._reload(purpose)
            return self._skus.get(variation, variation)

    def ids_of(self, externals: Iterable[str], purpose: Purpose) -> dict[str, str]:
        """External id → variation id; what the catalogue does not have is left out (by sku)."""
        wanted = set(externals)
        if not self._by_sku:
            return {name: name for name in wanted}
        with self._lock:
            if not wanted <= self._ids.keys():
                self._reload(purpose)
            return {name: self._ids[name] for name in wanted if name in self._ids}

    def existing(self, variations: Iterable[str], purpose: Purpose) -> set[str]:
        """Those of these variations that the catalogue has."""
        wanted = sorted(set(variations))
        found: set[str] = set()
        for start in range(0, len(wanted), AT_ONCE):
            body = self._api.ask(
                "POST",
                RETRIEVE,
                purpose=purpose,
                call=CALL,
                json={"object_ids": wanted[start : start + AT_ONCE]},
            )
            with understood(purpose, system=self._api.system, call=CALL):
                found |= {
                    str(one["id"])
                    for one in body.get("objects") or []
                    if one["type"] == VARIATION and not one.get("is_deleted")
                }
        return found

    def _reload(self, purpose: Purpose) -> None:
        now = self._monotonic()
        if self._read_at is not None and now - self._read_at < RELOAD_AFTER_S:
            return
        skus: dict[str, str] = {}
        for one in self._api.entries(
            "GET", LIST, purpose=purpose, call=CALL, query={"types": VARIATION}, items="objects"
        ):
            with understood(purpose, system=self._api.system, call=CALL):
                sku = _sku(one)
                if sku:
                    skus[str(one["id"])] = sku
        ids: dict[str, str] = {}
        for variation in sorted(skus):  # of two with one sku always the same one counts
            ids.setdefault(skus[variation], variation)
        self._skus, self._ids, self._read_at = skus, ids, now


def _sku(one: dict[str, Any]) -> str:
    return str((one.get("item_variation_data") or {}).get("sku") or "")
