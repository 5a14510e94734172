"""Square's Inventory API: a till as a source of stock, or a channel whose counts the hub sets.

Options: `access_token`, `role` (source, channel), `locations`, `identify_by` (id, sku),
`webhook_secret` (one or a list), `notification_url`, `changes_since`, `overlap_s`, `page_size`,
`counts_every_s`, `batch_size`, `decimals`, `api_version`, `url`, `timeout_s`, `max_wait_s`
(docs/square.md).

Counts are dated and keyed, so a repetition or a late arrival does no harm; there is no
compare-and-swap.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar

import httpx

from inventory_pipeline.connectors import square_webhooks as webhooks
from inventory_pipeline.connectors.http import Purpose
from inventory_pipeline.connectors.options import Options
from inventory_pipeline.connectors.square_api import URL, VERSION, SquareApi
from inventory_pipeline.connectors.square_catalog import Catalog
from inventory_pipeline.connectors.square_counts import Counts
from inventory_pipeline.connectors.square_feed import PER_PAGE, ChangeFeed
from inventory_pipeline.connectors.square_writes import MAX_BATCH, CountWriter
from inventory_pipeline.connectors.times import clock_of
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.ports import (
    Capabilities,
    ChangePage,
    Clock,
    Cursor,
    Delivery,
    Level,
    LevelHint,
    LevelPage,
    LevelWrite,
    ListingRef,
    Opening,
    RawEvent,
    RawSnapshot,
    Verified,
    Write,
    WriteOutcome,
)
from inventory_pipeline.core.vocabulary import MovesAt

SOURCE, CHANNEL = "source", "channel"
# A count may be dated up to 24 hours back, so no request can be repeated for longer.
KEYS_KEPT = timedelta(hours=24)


class SquareConnector:
    """One merchant. `transport` and `clock` are for tests."""

    EXAMPLE: ClassVar[Mapping[str, str]] = {"access_token": "token"}

    def __init__(
        self,
        opening: Opening,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        clock = clock_of(opening, clock)
        options = Options(opening, "square")
        self.system = opening.system
        role = _choice(options, "role", (SOURCE, CHANNEL), opening.system)
        identify_by = _choice(options, "identify_by", ("id", "sku"), opening.system)
        self._keys = options.secrets("webhook_secret")
        self._notification_url = options.text("notification_url", "")
        location_ids = options.texts("locations")
        decimals = int(options.number("decimals", 0, most=3))
        batch_size = int(options.number("batch_size", MAX_BATCH, least=1, most=MAX_BATCH))
        api = SquareApi(
            system=opening.system,
            url=options.text("url", URL),
            token=options.secret("access_token"),
            version=options.text("api_version", VERSION),
            limiter=opening.limiter,
            timeout_s=options.number("timeout_s", 30, least=0.05, most=600),
            max_wait_s=options.number("max_wait_s", 10, most=300),
            clock=clock,
            transport=transport,
        )
        self._api = api
        catalog = Catalog(api, by_sku=identify_by == "sku")
        self._catalog = catalog
        self._feed = ChangeFeed(
            api,
            catalog,
            location_ids=location_ids,
            since=options.time("changes_since"),
            overlap=timedelta(seconds=options.number("overlap_s", 60, most=86_400)),
            page_size=int(options.number("page_size", PER_PAGE, least=1, most=PER_PAGE)),
            as_orders=role == CHANNEL,
        )
        every_s = options.number("counts_every_s", 3_600, least=60, most=86_400)
        self._counts = Counts(
            api,
            catalog,
            location_ids=location_ids,
            every=timedelta(seconds=every_s),
            clock=clock,
        )
        self._writer = CountWriter(api, catalog, decimals=decimals)
        options.finish()
        self.capabilities = _capabilities(role, batch_size=batch_size, decimals=decimals)

    def snapshots(self, seen: frozenset[str]) -> Iterator[RawSnapshot]:
        """All counts, once a window of `counts_every_s`; of a source only."""
        if not self.capabilities.snapshots:
            raise NotImplementedError("a channel's counts are read as levels, not as snapshots")
        return self._counts.new(seen)

    def changes(self, cursor: Cursor) -> ChangePage:
        """Counts and adjustments that were received since the cursor, as events."""
        return self._feed.page(cursor)

    def orders_since(self, since: datetime) -> Iterator[RawEvent]:
        """Events of all changes that were received at `since` or later. Raises SourceError."""
        return self._feed.sales_since(since)

    def verify(self, delivery: Delivery) -> Verified:
        return webhooks.verify(
            delivery, url=self._notification_url, keys=self._keys, system=self.system
        )

    def parse(self, topic: str, delivery: Delivery) -> Sequence[RawEvent]:
        """Events behind a changed count; other topics say nothing that counts here.

        Asks Square what happened: raises SourceUnreachable if it cannot.
        """
        if topic != webhooks.COUNT_UPDATED:
            return []
        places = webhooks.changed_objects(delivery, system=self.system)
        return self._feed.about(places, f"webhook {topic}")

    def hints(self, topic: str, delivery: Delivery) -> Sequence[LevelHint]:
        """Counts in stock, of a channel. For a source `parse` has read what happened already."""
        if topic != webhooks.COUNT_UPDATED or self.capabilities.write is Write.NONE:
            return []
        return [
            replace(hint, external_id=self._catalog.external_of(hint.external_id, Purpose.SOURCE))
            for hint in webhooks.told_levels(delivery, system=self.system)
        ]

    def read_levels(self, listings: Sequence[ListingRef] | None) -> Iterator[Level]:
        """IN_STOCK of these listings, or of everything at every location (then `bucket` is "")."""
        if listings is not None:
            return self._counts.levels(listings)
        return (level for page in self._counts.pages() for level in page.levels)

    def level_pages(self, resume: str | None = None) -> Iterator[LevelPage]:
        """IN_STOCK of everything at every location, page by page."""
        return self._counts.pages(resume)

    def write_levels(self, writes: Sequence[LevelWrite], *, key: str) -> list[WriteOutcome]:
        """Counts at most `batch_size` listings, all or none of them."""
        if self.capabilities.write is Write.NONE:
            raise NotImplementedError("a source is not written to: set `role: channel`")
        return self._writer.write(writes, key=key)

    def close(self) -> None:
        self._api.close()


def _capabilities(role: str, *, batch_size: int, decimals: int) -> Capabilities:
    if role == SOURCE:
        return Capabilities(
            snapshots=True, changes=True, webhooks=True, levels=True, decimals=decimals
        )
    return Capabilities(
        changes=True,
        webhooks=True,
        levels=True,
        write=Write.ABSOLUTE,
        idempotency=KEYS_KEPT,
        batch_size=batch_size,
        atomic_batch=True,
        decimals=decimals,
        moves_at=MovesAt.ORDER,
    )


def _choice(options: Options, name: str, known: tuple[str, ...], system: str) -> str:
    """One of `known`; the first where it is absent."""
    value = options.text(name, known[0])
    if value not in known:
        raise HubError(
            f"hub.yaml: systems.{system}.options.{name} must be one of {', '.join(known)}, not "
            f"{value!r}",
            hint="docs/square.md says what they mean.",
        )
    return value
