"""What a WooCommerce shop shows, and how it is set: products and variations with managed stock.

An external id is a product id ("12"), a product and variation id ("12:34"), or a sku.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from inventory_pipeline.connectors.http import Caller, Kind, Purpose, Trouble, as_error, understood
from inventory_pipeline.core.errors import (
    ChannelError,
    ChannelRefused,
    OutcomeUnknown,
    SystemFailure,
)
from inventory_pipeline.core.ports import (
    Level,
    LevelHint,
    LevelPage,
    LevelWrite,
    ListingRef,
    WriteOutcome,
)
from inventory_pipeline.core.quantities import MILLI, to_milli

PER_PAGE = 100
MAX_PAGES = 10_000
MAX_BATCH = 100
BY_ID = re.compile(r"(\d{1,18})(?::(\d{1,18}))?", re.ASCII)
READ = "read levels"
WRITE = "products/batch"

Product = tuple[int, int]  # product id, variation id (0: the product itself)
Dated = tuple[dict[str, Any], datetime, datetime]  # a node, asked and answered when
Seen = tuple[Product, dict[str, Any], datetime, datetime]


class Shelf:
    """The products of one shop."""

    def __init__(
        self,
        caller: Caller,
        *,
        prefix: str,
        known: frozenset[str],
        decimals: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._caller = caller
        self._prefix = prefix
        self._known = known
        self._decimals = decimals
        self._clock = clock
        self._by_sku: dict[str, Product] = {}

    def external_of(self, product: int, variation: int, sku: str) -> str:
        """The identifier that the hub uses; the sku or the shop's own where it knows none."""
        number = f"{product}:{variation}" if variation else str(product)
        for name in (number, sku):
            if name and name in self._known:
                return name
        return sku or (number if product else "")

    def hint(self, node: Mapping[str, Any]) -> LevelHint:
        """What a product, or a variation of one, says of its stock. Raises KeyError, TypeError or
        ValueError.
        """
        own, parent = int(node["id"]), int(node.get("parent_id") or 0)
        product = (parent, own) if parent else (own, 0)
        external = self.external_of(*product, str(node.get("sku") or ""))
        return LevelHint(external_id=external, quantity_milli=self._managed(node))

    def pages(self, resume: str | None = None) -> Iterator[LevelPage]:
        """Everything with managed stock; `bucket` is "", since the shop has one place only.
        `resume` is a page of its products.
        """
        for number, seen, last in self._product_pages(int(resume or 1)):
            levels = []
            for product, node, asked_at, answered_at in seen:
                milli = self._managed(node)
                if milli is not None:
                    external = self.external_of(*product, str(node.get("sku") or ""))
                    place = ListingRef(bucket="", bucket_external="", external_id=external)
                    levels.append(_level(place, milli, asked_at, answered_at))
            yield LevelPage(levels=levels, resume=None if last else str(number + 1))

    def some(self, listings: Sequence[ListingRef]) -> Iterator[Level]:
        """These listings; one that the shop does not have, or whose stock it does not manage, is
        left out.
        """
        found = self._products({listing.external_id for listing in listings})
        wanted: dict[Product, list[ListingRef]] = {}
        for listing in listings:
            if listing.external_id in found:
                wanted.setdefault(found[listing.external_id], []).append(listing)
        for path, products in _by_path(wanted).items():
            by_id = {product[1] or product[0]: product for product in products}
            numbers = sorted(by_id)
            for start in range(0, len(numbers), PER_PAGE):
                include = ",".join(str(n) for n in numbers[start : start + PER_PAGE])
                query = {"include": include, "per_page": PER_PAGE}
                for node, asked_at, answered_at in self._pages(path, query):
                    milli = self._managed(node)
                    for listing in wanted.get(by_id.get(int(node["id"]), (0, 0)), ()):
                        if milli is not None:
                            yield _level(listing, milli, asked_at, answered_at)

    def write(self, writes: Sequence[LevelWrite]) -> list[WriteOutcome]:
        """Sets quantities, one request for all products and one for each product with
        variations.
        """
        if len(writes) > MAX_BATCH:
            raise self._refused(f"{len(writes)} quantities in one batch, {MAX_BATCH} are allowed")
        found = self._products({write.listing.external_id for write in writes})
        errors: dict[int, ChannelError | None] = {}
        sendable: dict[Product, int] = {}
        for place, write in enumerate(writes):
            product = found.get(write.listing.external_id)
            problem = self._impossible(write, product, product in sendable)
            if problem is not None:
                errors[place] = problem
            elif product is not None:
                sendable[product] = place
        groups = _by_path(sendable)
        for path, products in groups.items():
            places = [sendable[product] for product in products]
            try:
                answers = self._send(path, products, [writes[place] for place in places])
            except ChannelError as error:
                if len(groups) == 1 and not errors:
                    raise
                answers = [error] * len(places)
            errors.update(zip(places, answers, strict=True))
        return [WriteOutcome(write=w, error=errors[place]) for place, w in enumerate(writes)]

    def _impossible(
        self, write: LevelWrite, product: Product | None, twice: bool
    ) -> ChannelRefused | None:
        item = write.listing.external_id
        if product is None:
            return self._refused(
                "the shop has no such product", item, "correct catalog/identifiers.csv."
            )
        if twice:
            return self._refused(
                "two listings mean one product", item, "remove one from catalog/identifiers.csv."
            )
        if write.quantity_milli % 10 ** (3 - self._decimals):
            return self._refused(
                f"the shop counts with {self._decimals} decimals only", item,
                "lower the channel's `decimals` in hub.yaml.",
            )  # fmt: skip
        return None

    def _send(
        self, path: str, products: Sequence[Product], writes: Sequence[LevelWrite]
    ) -> list[ChannelError | None]:
        update = [
            {
                "id": product[1] or product[0],
                "manage_stock": True,
                "stock_quantity": _number(write.quantity_milli),
            }
            for product, write in zip(products, writes, strict=True)
        ]
        try:
            body = self._caller.once(
                "POST", f"{self._prefix}{path}/batch", json={"update": update}
            ).body
        except Trouble as trouble:
            raise self._channel_error(trouble) from trouble
        answers = body.get("update") if isinstance(body, dict) else None
        by_id = {answer.get("id"): answer for answer in answers or [] if isinstance(answer, dict)}
        return [
            self._judged(write, by_id.get(one["id"]))
            for one, write in zip(update, writes, strict=True)
        ]

    def _judged(self, write: LevelWrite, answer: Any) -> ChannelError | None:
        item = write.listing.external_id
        if answer is None:
            return self._unknown("the answer does not mention it", item)
        error = answer.get("error")
        if isinstance(error, dict):
            data = error.get("data")
            status = data.get("status") if isinstance(data, dict) else None
            said = f"{error.get('code', 'refused')}: {error.get('message', '')}"
            if isinstance(status, int) and status >= 500:
                return self._unknown(said, item)
            return self._refused(
                said, item, "correct catalog/identifiers.csv, or look at it there."
            )
        if self._managed(answer) != write.quantity_milli:
            shown = answer.get("stock_quantity")
            return self._unknown(f"it shows {shown!r} right after the write", item)
        return None

    def _products(self, external_ids: set[str]) -> dict[str, Product]:
        """External id → product; a sku that is not known yet makes the shop be read through
        once.
        """
        found: dict[str, Product] = {}
        skus = set()
        for name in external_ids:
            match = BY_ID.fullmatch(name)
            if match:
                found[name] = (int(match[1]), int(match[2] or 0))
            else:
                skus.add(name)
        if skus - set(self._by_sku):
            by_sku: dict[str, Product] = {}
            everything = (one for _, seen, _ in self._product_pages() for one in seen)
            for product, node, _, _ in everything:
                if node.get("sku"):
                    by_sku.setdefault(str(node["sku"]), product)
            self._by_sku = by_sku
        return found | {sku: self._by_sku[sku] for sku in skus if sku in self._by_sku}

    def _product_pages(self, first: int = 1) -> Iterator[tuple[int, list[Seen], bool]]:
        """Page by page its number, products with their variations, and whether it is the last."""
        query = {"per_page": PER_PAGE, "orderby": "id", "order": "asc"}
        for number in range(first, MAX_PAGES + 1):
            seen: list[Seen] = []
            products = self._page("/products", query, number)
            for node, asked_at, answered_at in products:
                product = int(node["id"])
                seen.append(((product, 0), node, asked_at, answered_at))
                if node.get("type") == "variable" or node.get("variations"):
                    path = f"/products/{product}/variations"
                    for inner, asked, answered in self._pages(path, query):
                        seen.append(((product, int(inner["id"])), inner, asked, answered))
            last = len(products) < PER_PAGE
            yield number, seen, last
            if last:
                return
        raise self._refused(f"more than {MAX_PAGES} pages of /products")

    def _pages(self, path: str, query: Mapping[str, Any]) -> Iterator[Dated]:
        for number in range(1, MAX_PAGES + 1):
            found = self._page(path, query, number)
            yield from found
            if len(found) < PER_PAGE:
                return
        raise self._refused(f"more than {MAX_PAGES} pages of {path}")

    def _page(self, path: str, query: Mapping[str, Any], number: int) -> list[Dated]:
        asked_at = self._clock()
        try:
            answer = self._caller.read(
                "GET", f"{self._prefix}{path}", params={**query, "page": number}
            )
            if not isinstance(answer.body, list):
                raise Trouble(Kind.UNKNOWN, "the answer is no list")  # noqa: TRY301
        except Trouble as trouble:
            raise as_error(
                trouble, Purpose.LEVELS, system=self._caller.system, call=READ
            ) from trouble
        answered_at = self._clock()
        with understood(Purpose.LEVELS, system=self._caller.system, call=READ):
            for node in answer.body:
                int(node["id"])
            return [(node, asked_at, answered_at) for node in answer.body]

    def _managed(self, node: Mapping[str, Any]) -> int | None:
        """Thousandths of what it shows, or None where it does not manage this stock."""
        shown = node.get("stock_quantity")
        if node.get("manage_stock") is not True or shown is None:
            return None
        try:
            return to_milli(Decimal(str(shown)))
        except (InvalidOperation, ValueError):
            return None

    def _channel_error(self, trouble: Trouble) -> SystemFailure:
        return as_error(trouble, Purpose.WRITE, system=self._caller.system, call=WRITE)

    def _refused(self, message: str, item: str = "", hint: str = "") -> ChannelRefused:
        return ChannelRefused(message, system=self._caller.system, call=WRITE, item=item, hint=hint)

    def _unknown(self, message: str, item: str) -> OutcomeUnknown:
        return OutcomeUnknown(
            message, system=self._caller.system, call=WRITE, item=item,
            hint="it is read before anything is written again.",
        )  # fmt: skip


def _by_path(products: Mapping[Product, Any]) -> dict[str, list[Product]]:
    """API path → products. Products on their own share one; variations are below their product."""
    found: dict[str, list[Product]] = {}
    for product in products:
        path = f"/products/{product[0]}/variations" if product[1] else "/products"
        found.setdefault(path, []).append(product)
    return found


def _number(milli: int) -> int | str:
    whole, rest = divmod(milli, MILLI)
    return whole if not rest else str(Decimal(milli).scaleb(-3).normalize())


def _level(listing: ListingRef, milli: int, asked_at: datetime, answered_at: datetime) -> Level:
    # A product's date_modified does not change when only its stock does, so it tells nothing here.
    return Level(listing=listing, quantity_milli=milli, asked_at=asked_at, answered_at=answered_at)
