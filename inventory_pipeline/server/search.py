"""Finds skus by a part of their name, their title, or another system's name for them."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from inventory_pipeline.config.policy import Hub

MAX_FOUND = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    sku: str
    title: str


class Search:
    """Over the catalogue of the hub that counts now.

    The catalogue is one text in lower case, a line an item: a million items are looked through in
    a few hundredths of a second.
    """

    def __init__(self, current_hub: Callable[[], Hub]) -> None:
        self._current_hub = current_hub
        self._of: Hub | None = None
        self._text = ""
        self._skus: list[str] = []
        self._begins: list[int] = []
        self._names: dict[str, list[str]] = {}

    def find(self, wanted: str, *, limit: int = MAX_FOUND) -> list[Hit]:
        """Items whose sku begins so, then those that have it anywhere; in the catalogue's order."""
        hub = self._prepared()
        part = wanted.strip().lower().replace("\n", " ")
        if not part:
            return []
        named = dict.fromkeys(self._names.get(wanted.strip(), []))
        begin = dict.fromkeys(self._lines("\n" + part, limit))
        anywhere = dict.fromkeys(self._lines(part, limit))
        items = hub.catalog.items
        found = [sku for sku in {**named, **begin, **anywhere} if sku in items]
        return [Hit(sku=sku, title=items[sku].title) for sku in found[:limit]]

    def _prepared(self) -> Hub:
        hub = self._current_hub()
        if hub is self._of:
            return hub
        lines = [f"\n{item.sku}\t{item.title}".lower() for item in hub.catalog.items.values()]
        names: dict[str, list[str]] = {}
        for row in hub.catalog.identifiers:
            if row.external_id != row.sku:
                names.setdefault(row.external_id, []).append(row.sku)
        self._text = "".join(lines)
        self._skus = list(hub.catalog.items)
        self._begins = list(accumulate((len(line) for line in lines), initial=0))[:-1]
        self._names = names
        self._of = hub
        return hub

    def _lines(self, part: str, limit: int) -> list[str]:
        found: list[str] = []
        at = self._text.find(part)
        while at != -1 and len(found) < limit:
            line = bisect_right(self._begins, at) - 1
            found.append(self._skus[line])
            end = self._begins[line + 1] if line + 1 < len(self._begins) else len(self._text)
            at = self._text.find(part, end)
        return found
