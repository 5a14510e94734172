"""What a seller's listings show, and which product type each has: Listings Items 2021-08-01.

An external id is a seller's sku. A listing has one quantity for each fulfilment channel code;
`DEFAULT` is the seller's own, those that begin with AMAZON are filled by Amazon and nobody sets
them.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import structlog

from inventory_pipeline.connectors.amazon_api import (
    GET_LISTING,
    SEARCH_LISTINGS,
    SellingPartner,
)
from inventory_pipeline.connectors.http import Purpose, Trouble, as_error, understood
from inventory_pipeline.core.errors import ChannelRefused
from inventory_pipeline.core.ports import Level, ListingRef
from inventory_pipeline.core.quantities import MILLI

PATH = "/listings/2021-08-01/items"
PER_PAGE = 20
SKUS_PER_SEARCH = 20
PAGEABLE = 1_000  # of one search; the rest is found by another one that begins later
MAX_SEARCHES = 10_000
AMAZONS_OWN = "AMAZON"  # AMAZON_NA, AMAZON_EU, ...
INCLUDED = "summaries,fulfillmentAvailability,issues"
FIRST_DAY = datetime(1995, 1, 1, tzinfo=UTC)

log = structlog.get_logger("amazon")

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A listing as read; `quantities` are units by fulfilment channel code."""

    sku: str
    product_type: str  # "" where the marketplace does not tell
    quantities: Mapping[str, int]
    channels: frozenset[str]
    created_at: datetime | None
    refusals: tuple[str, ...]  # issues of severity ERROR about its quantity
    asked_at: datetime
    answered_at: datetime

    @property
    def by_amazon(self) -> bool:
        """Whether Amazon alone fills it, so that there is nothing to set."""
        return bool(self.channels) and all(c.startswith(AMAZONS_OWN) for c in self.channels)


class Listings:
    """Reads listings; remembers their product types, which a patch has to name."""

    def __init__(
        self,
        api: SellingPartner,
        *,
        seller_id: str,
        marketplace_id: str,
        channel_code: str,
        clock: Clock,
    ) -> None:
        self._api = api
        self._path = f"{PATH}/{quote(seller_id, safe='')}"
        self._marketplace_id = marketplace_id
        self._code = channel_code
        self._clock = clock
        self._lock = threading.Lock()
        self._types: dict[str, str] = {}

    def path_of(self, sku: str) -> str:
        return f"{self._path}/{quote(sku, safe='')}"

    def code_of(self, listing: ListingRef) -> str:
        """The fulfilment channel code that a bucket means."""
        return listing.bucket_external or self._code

    def levels(self, wanted: Sequence[ListingRef]) -> Iterator[Level]:
        """These listings; one that is not there, or has no quantity of its own, is left out."""
        found = self.some({listing.external_id for listing in wanted}, purpose=Purpose.LEVELS)
        for listing in wanted:
            one = found.get(listing.external_id)
            units = one.quantities.get(self.code_of(listing)) if one is not None else None
            if one is not None and units is not None:
                yield _level(listing, units, one)

    def all_levels(self) -> Iterator[Level]:
        """Every quantity that the seller sets; `bucket` is "", since Amazon knows only its code."""
        for one in self.everything():
            for code, units in one.quantities.items():
                if not code.startswith(AMAZONS_OWN):
                    external = "" if code == self._code else code
                    place = ListingRef(bucket="", bucket_external=external, external_id=one.sku)
                    yield _level(place, units, one)

    def product_types(self, skus: Sequence[str]) -> dict[str, str | Listing]:
        """Product type of each sku, from memory where it is known. A listing that cannot be set is
        given as it is; one that does not exist is left out. Raises ChannelError.
        """
        with self._lock:
            known = {sku: self._types[sku] for sku in skus if sku in self._types}
        unknown = {sku for sku in skus if sku not in known}
        answer: dict[str, str | Listing] = dict(known)
        for sku, one in self.some(unknown, purpose=Purpose.LEVELS).items():
            answer[sku] = one if one.by_amazon or not one.product_type else one.product_type
        return answer

    def forget(self, sku: str) -> None:
        """Its product type may have changed: it is read before it is set again."""
        with self._lock:
            self._types.pop(sku, None)

    def some(self, skus: set[str], *, purpose: Purpose) -> dict[str, Listing]:
        """These listings by sku; what the seller does not have is left out."""
        found: dict[str, Listing] = {}
        # Identifiers go in one comma separated text: a sku with a comma has to be asked for alone.
        alone = sorted(sku for sku in skus if "," in sku)
        together = sorted(sku for sku in skus if "," not in sku and sku)
        for start in range(0, len(together), SKUS_PER_SEARCH):
            batch = together[start : start + SKUS_PER_SEARCH]
            query = {"identifiers": ",".join(batch), "identifiersType": "SKU"}
            for one in self._page(query, purpose)[0]:
                if one.sku in skus:
                    found[one.sku] = one
        for sku in alone:
            one_alone = self._one(sku, purpose)
            if one_alone is not None:
                found[sku] = one_alone
        return found

    def everything(self) -> Iterator[Listing]:
        """All listings, oldest first. Raises ChannelRefused where a search does not get on."""
        after = FIRST_DAY
        seen: set[str] = set()
        for _ in range(MAX_SEARCHES):
            newest: datetime | None = None
            new, count = 0, 0
            for one in self._search(after):
                count += 1
                newest = one.created_at or newest
                if one.sku not in seen:
                    seen.add(one.sku)
                    new += 1
                    yield one
            if count < PAGEABLE:
                return
            if not new or newest is None:
                break
            # Several may be created at the border's moment: it is asked for again.
            after = max(newest, after)
        raise ChannelRefused(
            f"more than {PAGEABLE} listings were created at {after.isoformat()}",
            system=self._api.system,
            call=SEARCH_LISTINGS.name,
            hint="its search gives no more of one moment: single listings are still read.",
        )

    def _search(self, after: datetime) -> Iterator[Listing]:
        """Up to PAGEABLE listings created at `after` or later."""
        query: dict[str, Any] = {
            "sortBy": "createdDate", "sortOrder": "ASC", "createdAfter": _iso(after),
        }  # fmt: skip
        token: str | None = None
        for _ in range(PAGEABLE // PER_PAGE):
            page = query if token is None else query | {"pageToken": token}
            found, token = self._page(page, Purpose.LEVELS, urgent=False)
            yield from found
            if token is None:
                return

    def _page(
        self, query: Mapping[str, Any], purpose: Purpose, *, urgent: bool = True
    ) -> tuple[list[Listing], str | None]:
        params = {
            "marketplaceIds": self._marketplace_id, "includedData": INCLUDED,
            "pageSize": PER_PAGE, **query,
        }  # fmt: skip
        asked_at = self._clock()
        body = self._api.ask(
            SEARCH_LISTINGS, self._path, purpose=purpose, urgent=urgent, params=params
        )
        answered_at = self._clock()
        with understood(purpose, system=self._api.system, call=SEARCH_LISTINGS.name):
            found = [
                one
                for item in body["items"]
                if (one := self._understood(item, asked_at, answered_at)) is not None
            ]
            token = (body.get("pagination") or {}).get("nextToken")
        return found, str(token) if token else None

    def _one(self, sku: str, purpose: Purpose) -> Listing | None:
        asked_at = self._clock()
        params = {"marketplaceIds": self._marketplace_id, "includedData": INCLUDED}
        try:
            body = self._api.call(GET_LISTING, self.path_of(sku), params=params)
        except Trouble as trouble:
            if trouble.status == 404:
                return None
            raise as_error(
                trouble, purpose, system=self._api.system, call=GET_LISTING.name
            ) from trouble
        with understood(purpose, system=self._api.system, call=GET_LISTING.name):
            return self._listing(body, asked_at, self._clock())

    def _understood(self, item: Any, asked_at: datetime, answered_at: datetime) -> Listing | None:
        """A listing, or None with a warning: one odd listing does not hide the others."""
        try:
            return self._listing(item, asked_at, answered_at)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            sku = item.get("sku") if isinstance(item, Mapping) else item
            log.warning(
                "listing left out", system=self._api.system, call=SEARCH_LISTINGS.name,
                item=str(sku), why=f"it is not as expected: {type(error).__name__} {error}",
            )  # fmt: skip
            return None

    def _listing(
        self, item: Mapping[str, Any], asked_at: datetime, answered_at: datetime
    ) -> Listing:
        here = [
            one
            for one in item.get("summaries") or []
            if one.get("marketplaceId") == self._marketplace_id
        ]
        product_type = str(here[0].get("productType") or "") if here else ""
        created = here[0].get("createdDate") if here else None
        availability = item.get("fulfillmentAvailability") or []
        sku = str(item["sku"])
        if product_type:
            with self._lock:
                self._types[sku] = product_type
        return Listing(
            sku=sku,
            product_type=product_type,
            quantities={
                str(one["fulfillmentChannelCode"]): _units(one["quantity"])
                for one in availability
                if one.get("quantity") is not None
            },
            channels=frozenset(str(one["fulfillmentChannelCode"]) for one in availability),
            created_at=datetime.fromisoformat(created) if created else None,
            refusals=tuple(
                f"{issue['code']}: {issue['message']}"
                for issue in item.get("issues") or []
                if issue.get("severity") == "ERROR"
                and "fulfillment_availability" in (issue.get("attributeNames") or [])
            ),
            asked_at=asked_at,
            answered_at=answered_at,
        )


def _level(listing: ListingRef, units: int, one: Listing) -> Level:
    # A listing's own time of change is that of its texts and prices too, so it tells nothing here.
    return Level(
        listing=listing,
        quantity_milli=units * MILLI,
        asked_at=one.asked_at,
        answered_at=one.answered_at,
    )


def _units(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"quantity {value!r} is no whole number")  # noqa: TRY004
    return value


def _iso(when: datetime) -> str:
    text = when.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
