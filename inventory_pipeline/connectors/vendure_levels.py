"""What a Vendure shop holds at its stock locations, and how that is set.

`stockOnHand` is physical. What the shop offers is `stockOnHand - stockAllocated`, so a level is
read with what is allocated as reserved, and written as on_hand. An item is a sku, or `variant:12`
where skus are not unique.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from inventory_pipeline.connectors.http import (
    Caller,
    Kind,
    Purpose,
    Trouble,
    as_error,
    understood,
    utc_time,
)
from inventory_pipeline.connectors.vendure_graphql import Admin
from inventory_pipeline.core.errors import ChannelError, ChannelRefused, SystemFailure
from inventory_pipeline.core.ports import Level, LevelPage, LevelWrite, ListingRef, WriteOutcome
from inventory_pipeline.core.quantities import MILLI

TAKE = 100
MAX_PAGES = 10_000
MAX_BATCH = 100
BY_ID = "variant:"
READ = "productVariants"
WRITE = "updateProductVariants"
VARIANTS = """
query Levels($options: ProductVariantListOptions) {
  productVariants(options: $options) {
    items {
      id sku trackInventory
      stockLevels { stockLocationId stockOnHand stockAllocated updatedAt }
    }
  }
}
"""
SETTINGS = """
query Settings {
  globalSettings { trackInventory }
  stockLocations(options: { take: 100 }) { items { id name } }
}
"""
SET = """
mutation SetLevels($input: [UpdateProductVariantInput!]!) {
  updateProductVariants(input: $input) { id }
}
"""
Variant = dict[str, Any]
Page = tuple[list[Variant], datetime, datetime]


class Stock:
    """The stock of one shop, at all of its locations."""

    def __init__(
        self,
        admin: Admin,
        caller: Caller,
        *,
        known: frozenset[str],
        clock: Callable[[], datetime],
    ) -> None:
        self._admin = admin
        self._system = caller.system
        self._known = known
        self._clock = clock
        self._locations: dict[str, str] = {}  # id → name
        self._tracks = True

    def item_of(self, variant: str, sku: str) -> str:
        """What the hub calls a variant: its own identifier where it has one, else the sku."""
        by_id = BY_ID + variant
        return by_id if by_id in self._known or not sku else sku

    def pages(self, resume: str | None = None) -> Iterator[LevelPage]:
        """Everything with tracked stock; `bucket` is "", the place is the location's id. `resume`
        is a page of its variants.
        """
        # A second location may have come since: then no place goes without its id.
        self._settle(fresh=True)
        lone = len(self._locations) == 1
        first = int(resume or 0)
        everything = self._pages({"sort": {"id": "ASC"}}, first)
        for number, (variants, asked, answered) in enumerate(everything, first + 1):
            levels = []
            for variant in filter(self._tracked, variants):
                external = self.item_of(str(variant["id"]), str(variant["sku"] or ""))
                for level in variant["stockLevels"]:
                    place = "" if lone else str(level["stockLocationId"])
                    ref = ListingRef(bucket="", bucket_external=place, external_id=external)
                    levels.append(_level(ref, level, asked, answered))
            yield LevelPage(levels=levels, resume=str(number) if len(variants) == TAKE else None)

    def some(self, listings: Sequence[ListingRef]) -> Iterator[Level]:
        """These listings; one that the shop does not have or does not track is left out.

        A variant that was never stocked at a location has 0 there.
        """
        self._settle()
        places = {ref.bucket_external: self._place(ref.bucket_external) for ref in listings}
        for variants, asked, answered in self._wanted({ref.external_id for ref in listings}):
            by_name: dict[str, Variant] = {}
            for variant in variants:
                if self._tracked(variant):
                    by_name[BY_ID + str(variant["id"])] = variant
                    by_name[str(variant["sku"])] = variant
            for ref in listings:
                if ref.external_id in by_name:
                    level = _at(by_name[ref.external_id], places[ref.bucket_external])
                    yield _level(ref, level, asked, answered)

    def write(self, writes: Sequence[LevelWrite]) -> list[WriteOutcome]:
        """Sets on_hand quantities in one request; where the shop refuses it, each by itself."""
        if len(writes) > MAX_BATCH:
            raise self._refused(f"{len(writes)} quantities in one batch, {MAX_BATCH} are allowed")
        with _troubles(Purpose.LEVELS, self._system, READ):
            self._settle()
            ids, twice = self._ids({write.listing.external_id for write in writes})
        inputs: dict[int, dict[str, Any]] = {}
        errors: dict[int, ChannelError | None] = {}
        for number, write in enumerate(writes):
            item = write.listing.external_id
            problem = self._impossible(write, item in ids, item in twice)
            if problem is not None:
                errors[number] = problem
                continue
            place = self._place(write.listing.bucket_external)
            on_hand = {"stockLocationId": place, "stockOnHand": write.quantity_milli // MILLI}
            inputs[number] = {"id": ids[item], "stockLevels": [on_hand]}
        errors.update(self._sent(inputs, writes))
        return [WriteOutcome(write=w, error=errors[number]) for number, w in enumerate(writes)]

    def _sent(
        self, inputs: dict[int, dict[str, Any]], writes: Sequence[LevelWrite]
    ) -> dict[int, ChannelError | None]:
        if not inputs:
            return {}
        try:
            self._admin.write(SET, input=list(inputs.values()))
        except Trouble as trouble:
            if trouble.kind is not Kind.REFUSED:
                raise self._channel_error(trouble) from trouble
            # Nothing of it was applied: one bad item must not stop the others.
            if len(inputs) == 1:
                (number,) = inputs
                item = writes[number].listing.external_id
                return {number: self._refused(trouble.message, item, trouble.hint)}
            return {
                number: error
                for one, value in inputs.items()
                for number, error in self._alone(one, value, writes).items()
            }
        return dict.fromkeys(inputs)

    def _alone(
        self, number: int, value: dict[str, Any], writes: Sequence[LevelWrite]
    ) -> dict[int, ChannelError | None]:
        try:
            return self._sent({number: value}, writes)
        except ChannelError as error:
            return {number: error}

    def _impossible(self, write: LevelWrite, found: bool, twice: bool) -> ChannelRefused | None:
        item = write.listing.external_id
        if twice:
            return self._refused(
                "several variants have this sku", item,
                "name the one as variant:ID in catalog/identifiers.csv.",
            )  # fmt: skip
        if not found:
            return self._refused(
                "the shop has no such variant, or does not track its inventory", item,
                "correct catalog/identifiers.csv, or track the inventory there.",
            )  # fmt: skip
        if write.quantity_milli % MILLI or write.quantity_milli < 0:
            return self._refused(
                "the shop counts whole units of at least 0", item,
                "set the channel's `decimals` in hub.yaml to 0.",
            )  # fmt: skip
        return None

    def _ids(self, items: set[str]) -> tuple[dict[str, str], set[str]]:
        """Item → variant id, and the skus that several variants have."""
        ids: dict[str, str] = {}
        twice: set[str] = set()
        for variants, _, _ in self._wanted(items):
            for variant in variants:
                if not self._tracked(variant):
                    continue
                number, sku = str(variant["id"]), str(variant["sku"])
                if sku in ids and ids[sku] != number:
                    twice.add(sku)
                ids[sku] = ids[BY_ID + number] = number
        return ids, twice

    def _wanted(self, items: set[str]) -> Iterator[Page]:
        by_id = sorted(item.removeprefix(BY_ID) for item in items if item.startswith(BY_ID))
        by_sku = sorted(item for item in items if not item.startswith(BY_ID))
        for field, names in (("id", by_id), ("sku", by_sku)):
            for start in range(0, len(names), TAKE):
                chosen = {field: {"in": names[start : start + TAKE]}}
                yield from self._pages({"filter": chosen, "sort": {"id": "ASC"}})

    def _pages(self, options: dict[str, Any], first: int = 0) -> Iterator[Page]:
        for number in range(first, MAX_PAGES):
            asked = self._clock()
            with _troubles(Purpose.LEVELS, self._system, READ):
                page = {**options, "take": TAKE, "skip": number * TAKE}
                found = self._admin.read(VARIANTS, options=page)["productVariants"]["items"]
            yield found, asked, self._clock()
            if len(found) < TAKE:
                return
        raise self._refused(f"more than {MAX_PAGES} pages of variants")

    def _settle(self, *, fresh: bool = False) -> None:
        """Reads the shop's locations and settings, once, or again where they must be fresh."""
        if self._locations and not fresh:
            return
        with _troubles(Purpose.LEVELS, self._system, "stockLocations"):
            found = self._admin.read(SETTINGS)
            self._tracks = bool(found["globalSettings"]["trackInventory"])
            places = found["stockLocations"]["items"]
            self._locations = {str(place["id"]): str(place["name"]) for place in places}

    def _place(self, external: str) -> str:
        """The id of a bucket's location. Raises ChannelRefused where that is not clear."""
        if external in self._locations:
            return external
        if not external and len(self._locations) == 1:
            return next(iter(self._locations))
        known = ", ".join(f"{number} ({name})" for number, name in self._locations.items())
        raise self._refused(
            f"the shop has no stock location {external!r}",
            hint=f"set the bucket's `external` in hub.yaml to one of: {known}.",
        )

    def _tracked(self, variant: Variant) -> bool:
        flag = variant["trackInventory"]
        return flag == "TRUE" or (flag == "INHERIT" and self._tracks)

    def _channel_error(self, trouble: Trouble) -> SystemFailure:
        return as_error(trouble, Purpose.WRITE, system=self._system, call=WRITE)

    def _refused(self, message: str, item: str = "", hint: str = "") -> ChannelRefused:
        return ChannelRefused(message, system=self._system, call=WRITE, item=item, hint=hint)


class _troubles:  # noqa: N801 - used as a `with`
    """Around a question: trouble and shapes that nobody expected become the system's errors."""

    def __init__(self, purpose: Purpose, system: str, call: str) -> None:
        self._about = (purpose, system, call)
        self._understood = understood(purpose, system=system, call=call)

    def __enter__(self) -> None:
        self._understood.__enter__()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, Trouble):
            purpose, system, call = self._about
            raise as_error(error, purpose, system=system, call=call) from error
        self._understood.__exit__(kind, error, trace)


def _at(variant: Variant, place: str) -> dict[str, Any]:
    for level in variant["stockLevels"]:
        if str(level["stockLocationId"]) == place:
            found: dict[str, Any] = level
            return found
    return {"stockOnHand": 0, "stockAllocated": 0}


def _level(ref: ListingRef, level: dict[str, Any], asked: datetime, answered: datetime) -> Level:
    changed = level.get("updatedAt")
    return Level(
        listing=ref,
        quantity_milli=int(level["stockOnHand"]) * MILLI,
        reserved_milli=int(level["stockAllocated"]) * MILLI,
        asked_at=asked,
        answered_at=answered,
        changed_at=datetime.fromisoformat(utc_time(changed)) if changed else None,
    )
