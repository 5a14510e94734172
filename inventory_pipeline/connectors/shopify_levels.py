"""What a Shopify shop shows: `available` of inventory items at locations."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from inventory_pipeline.connectors import shopify_documents as documents
from inventory_pipeline.connectors.http import Purpose, understood
from inventory_pipeline.connectors.shopify_graphql import Graphql
from inventory_pipeline.connectors.shopify_index import ItemIndex
from inventory_pipeline.connectors.shopify_orders import gid, number_of
from inventory_pipeline.core.errors import ChannelBusy
from inventory_pipeline.core.ports import Level, LevelPage, ListingRef
from inventory_pipeline.core.quantities import MILLI

CALL = "read levels"
MAX_PAGES = 20_000


class LevelReader:
    def __init__(
        self, graphql: Graphql, index: ItemIndex, *, system: str, clock: Callable[[], datetime]
    ) -> None:
        self._graphql = graphql
        self._index = index
        self._system = system
        self._clock = clock

    def all(self) -> Iterator[Level]:
        """Every level of every item; `bucket` is "" and the external id the one that the hub
        knows.
        """
        for page in self.pages():
            yield from page.levels

    def pages(self, after: str | None = None) -> Iterator[LevelPage]:
        """The same in the shop's pages, from its cursor `after` on; `resume` is the next one's."""
        for _ in range(MAX_PAGES):
            variables = {
                "first": documents.ITEMS_PER_PAGE,
                "after": after,
                "levels": documents.LEVELS_PER_ITEM,
            }
            data, asked_at, answered_at = self._ask(documents.INVENTORY_ITEMS, variables)
            with self._understood():
                page = data["inventoryItems"]
                levels = [
                    level
                    for item in page["nodes"]
                    for level in self._levels_of(item, asked_at, answered_at)
                ]
                after = page["pageInfo"]["endCursor"] if page["pageInfo"]["hasNextPage"] else None
            yield LevelPage(levels=levels, resume=after)
            if after is None:
                return
        raise ChannelBusy(
            f"more than {MAX_PAGES} pages", system=self._system, call=CALL, retry_after_s=60
        )

    def some(self, listings: Sequence[ListingRef]) -> Iterator[Level]:
        """`available` of these listings; one that the shop does not have is left out."""
        items = self._index.items_of({listing.external_id for listing in listings})
        by_location: dict[str, dict[str, list[ListingRef]]] = {}
        for listing in listings:
            item = items.get(listing.external_id)
            if item is not None and listing.bucket_external:
                places = by_location.setdefault(listing.bucket_external, {})
                places.setdefault(item, []).append(listing)
        for location, wanted in by_location.items():
            names = list(wanted)
            for start in range(0, len(names), documents.ITEMS_PER_LOOK):
                batch = names[start : start + documents.ITEMS_PER_LOOK]
                yield from self._at(location, batch, wanted)

    def _at(
        self, location: str, items: Sequence[str], wanted: dict[str, list[ListingRef]]
    ) -> Iterator[Level]:
        variables = {
            "first": len(items),
            "query": " OR ".join(f"id:{number_of(item)}" for item in items),
            "location": gid("Location", location),
        }
        data, asked_at, answered_at = self._ask(documents.LEVELS_AT_LOCATION, variables)
        with self._understood():
            for node in data["inventoryItems"]["nodes"]:
                level = node["inventoryLevel"]
                for listing in wanted.get(gid("InventoryItem", node["id"]), ()):
                    if level is not None:
                        yield level_of(listing, level, asked_at, answered_at)

    def _levels_of(
        self, item: dict[str, Any], asked_at: datetime, answered_at: datetime
    ) -> Iterator[Level]:
        external = external_id_of(item, self._index)
        levels = item["inventoryLevels"]
        for level in levels["nodes"]:
            yield level_of(place_of(level, external), level, asked_at, answered_at)
        if levels["pageInfo"]["hasNextPage"]:
            asked_at = self._clock()
            for level in self._graphql.nodes(
                documents.ITEM_LEVELS,
                {"id": item["id"], "first": documents.LINES_PER_PAGE},
                at=("inventoryItem", "inventoryLevels"),
                call=CALL,
                purpose=Purpose.LEVELS,
                after=levels["pageInfo"]["endCursor"],
            ):
                yield level_of(place_of(level, external), level, asked_at, self._clock())

    def _understood(self) -> AbstractContextManager[None]:
        return understood(Purpose.LEVELS, system=self._system, call=CALL)

    def _ask(self, document: str, variables: dict[str, Any]) -> tuple[Any, datetime, datetime]:
        asked_at = self._clock()
        data = self._graphql.run(document, variables, call=CALL, purpose=Purpose.LEVELS)
        return data, asked_at, self._clock()


def external_id_of(item: Mapping[str, Any], index: ItemIndex) -> str:
    """The identifier that the hub uses for an inventory item as the shop lists it."""
    name = gid("InventoryItem", item["id"])
    variant = item.get("variant")
    return index.external_of(
        item=name,
        variant=gid("ProductVariant", variant["id"]) if variant else None,
        sku=str(item.get("sku") or ""),
        otherwise=name,
    )


def place_of(level: Mapping[str, Any], external_id: str) -> ListingRef:
    """Where a level is: the shop knows a bucket by its location only."""
    location = gid("Location", level["location"]["id"])
    return ListingRef(bucket="", bucket_external=location, external_id=external_id)


def level_of(
    listing: ListingRef, level: Mapping[str, Any], asked_at: datetime, answered_at: datetime
) -> Level:
    """What an InventoryLevel says is available."""
    available = {q["name"]: q for q in level["quantities"]}["available"]
    changed = available.get("updatedAt")
    return Level(
        listing=listing,
        quantity_milli=int(available["quantity"]) * MILLI,
        asked_at=asked_at,
        answered_at=answered_at,
        changed_at=datetime.fromisoformat(changed) if changed else None,
    )
