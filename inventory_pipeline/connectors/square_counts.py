"""What Square has in stock: levels of listings, and all counts as snapshots of a source."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import structlog

from inventory_pipeline.connectors.http import Purpose, understood, utc_time
from inventory_pipeline.connectors.square_api import SquareApi
from inventory_pipeline.connectors.square_catalog import Catalog
from inventory_pipeline.connectors.square_changes import IN_STOCK
from inventory_pipeline.core.ports import Level, LevelPage, ListingRef, RawSnapshot
from inventory_pipeline.core.quantities import InexactQuantity, parse_decimal, to_milli

PATH = "/v2/inventory/counts/batch-retrieve"
CALL = "read counts"
PER_PAGE = 1_000
OBJECTS_AT_ONCE = 500
COLUMNS = ("as_of", "location", "item", "on_hand")

log = structlog.get_logger("square")
Count = dict[str, Any]
Seen = tuple[Count, datetime, datetime]  # and when it was asked for and answered


class Counts:
    """Counts in the state IN_STOCK."""

    def __init__(
        self,
        api: SquareApi,
        catalog: Catalog,
        *,
        location_ids: Sequence[str],
        every: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._catalog = catalog
        self._location_ids = list(location_ids)
        self._every = every
        self._clock = clock

    def levels(self, wanted: Sequence[ListingRef]) -> Iterator[Level]:
        """These listings. One that Square knows and never counted at its location has 0; one that
        Square does not know is left out.
        """
        ids = self._catalog.ids_of({one.external_id for one in wanted}, Purpose.LEVELS)
        by_place: dict[tuple[str, str], list[ListingRef]] = {}
        for listing in wanted:
            if listing.external_id in ids and listing.bucket_external:
                place = (ids[listing.external_id], listing.bucket_external)
                by_place.setdefault(place, []).append(listing)
        if not by_place:
            return
        asked_at = self._clock()
        objects = sorted({variation for variation, _ in by_place})
        locations = sorted({location for _, location in by_place})
        for start in range(0, len(objects), OBJECTS_AT_ONCE):
            query = {
                "catalog_object_ids": objects[start : start + OBJECTS_AT_ONCE],
                "location_ids": locations,
            }
            for count, asked, answered in self._counts(query):
                for listing in by_place.pop(_place(count), ()):
                    yield from self._level(listing, count, asked, answered)
        never = self._catalog.existing({variation for variation, _ in by_place}, Purpose.LEVELS)
        answered_at = self._clock()
        for (variation, _), listings in by_place.items():
            for listing in listings if variation in never else ():
                yield Level(
                    listing=listing, quantity_milli=0, asked_at=asked_at, answered_at=answered_at
                )

    def pages(self, resume: str | None = None) -> Iterator[LevelPage]:
        """Every count; `bucket` is "", since Square knows only its location. `resume` is Square's
        own cursor.
        """
        query = {"location_ids": self._location_ids} if self._location_ids else {}
        for counts, cursor in self._count_pages(query, resume=resume):
            levels: list[Level] = []
            for count, asked_at, answered_at in counts:
                variation, location = _place(count)
                external = self._catalog.external_of(variation, Purpose.LEVELS)
                listing = ListingRef(bucket="", bucket_external=location, external_id=external)
                levels += self._level(listing, count, asked_at, answered_at)
            yield LevelPage(levels=levels, resume=cursor)

    def new(self, seen: frozenset[str]) -> Iterator[RawSnapshot]:
        """The snapshot of this window of time, if it did not land yet. Raises SourceError.

        A count that moved while pages were read is left out: its last value and its events say it
        exactly. So such a snapshot is never complete.
        """
        window = int(self._clock().timestamp() // self._every.total_seconds())
        begins = datetime.fromtimestamp(window * self._every.total_seconds(), UTC)
        key = f"counts/{begins:%Y-%m-%dT%H:%M:%SZ}"
        if key in seen:
            return
        query = {"location_ids": self._location_ids} if self._location_ids else {}
        first = self._api.now()
        rows = []
        as_of: datetime | None = None
        for count, _, _ in self._counts(query, purpose=Purpose.SOURCE):
            # Only after the first answer is Square's own clock known.
            as_of = as_of or min(first, self._api.now())
            changed = _changed_at(count)
            if changed is None or changed <= as_of:
                variation, location = _place(count)
                rows.append(
                    {
                        "as_of": as_of.astimezone(UTC).isoformat(),
                        "location": location,
                        "item": self._catalog.external_of(variation, Purpose.SOURCE),
                        "on_hand": str(count["quantity"]),
                    }
                )
        if rows:
            yield RawSnapshot(source=f"counts {begins:%H:%M:%S}", key=key, frame=_frame(rows))

    def _counts(
        self, query: Mapping[str, Any], *, purpose: Purpose = Purpose.LEVELS
    ) -> Iterator[Seen]:
        for counts, _ in self._count_pages(query, purpose=purpose):
            yield from counts

    def _count_pages(
        self,
        query: Mapping[str, Any],
        *,
        purpose: Purpose = Purpose.LEVELS,
        resume: str | None = None,
    ) -> Iterator[tuple[list[Seen], str | None]]:
        """Counts of what is in stock, page by page with the cursor of the next one."""
        wanted = {**query, "states": [IN_STOCK], "limit": PER_PAGE}
        asked_at = self._clock()
        for page, cursor in self._api.pages(
            "POST", PATH, purpose=purpose, call=CALL, query=wanted, items="counts", cursor=resume
        ):
            answered_at = self._clock()
            with understood(purpose, system=self._api.system, call=CALL):
                stocked = [count for count in page if count["state"] == IN_STOCK]
                for count in page:
                    _ = _place(count), count["quantity"]
            yield [(count, asked_at, answered_at) for count in stocked], cursor
            asked_at = self._clock()

    def _level(
        self, listing: ListingRef, count: Count, asked_at: datetime, answered_at: datetime
    ) -> Iterator[Level]:
        """The level, or none and a warning where the number is none that the hub can hold."""
        try:
            milli = to_milli(parse_decimal(count["quantity"]))
        except (InexactQuantity, ValueError) as error:
            log.warning(
                "level left out", system=self._api.system, call=CALL,
                item=listing.external_id, location=listing.bucket_external,
                why=f"{error}; the hub counts thousandths and rounds nothing away",
            )  # fmt: skip
            return
        yield Level(
            listing=listing,
            quantity_milli=milli,
            asked_at=asked_at,
            answered_at=answered_at,
            changed_at=_changed_at(count),
        )


def text_of(milli: int) -> str:
    """A quantity as Square takes it: a decimal text."""
    return format(Decimal(milli).scaleb(-3).normalize(), "f")


def _place(count: Mapping[str, Any]) -> tuple[str, str]:
    return str(count["catalog_object_id"]), str(count["location_id"])


def _changed_at(count: Mapping[str, Any]) -> datetime | None:
    try:
        return datetime.fromisoformat(utc_time(count.get("calculated_at")))
    except ValueError:
        return None


def _frame(rows: list[dict[str, str]]) -> Any:
    import pandas as pd

    return pd.DataFrame(rows, columns=list(COLUMNS), dtype="str")
