"""Amazon's Selling Partner API: listings' quantities out, orders in, FBA stock as snapshots.

Options: `seller_id`, `marketplace_id`, `region` or `url`, `client_id`, `client_secret`,
`refresh_token`, `token_url`, `channel_code`, `ships_from`, `orders_since`, `orders_every_s`,
`overlap_s`, `page_size`, `fba_location`, `fba_every_s`, `batch_size`, `feed_from`,
`patch_window_s`, `feed_window_s`, `timeout_s`, `max_wait_s`, `queue_url`, `queue_wait_s`,
`aws_access_key_id`, `aws_secret_access_key`, `aws_session_token`, `aws_region` (docs/amazon.md).

It has neither compare-and-swap nor idempotency keys, and it accepts quantities before it applies
them: what was accepted has a receipt, and the hub reads before it writes.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import httpx

from inventory_pipeline.connectors.amazon_api import ENDPOINTS, SellingPartner
from inventory_pipeline.connectors.amazon_fba import FbaSnapshots
from inventory_pipeline.connectors.amazon_feeds import MAX_MESSAGES, ListingsFeeds
from inventory_pipeline.connectors.amazon_listings import Listings
from inventory_pipeline.connectors.amazon_lwa import LwaTokens
from inventory_pipeline.connectors.amazon_notifications import Notifications
from inventory_pipeline.connectors.amazon_order_feed import OrderFeed
from inventory_pipeline.connectors.amazon_orders import order_events
from inventory_pipeline.connectors.amazon_queue import Queue
from inventory_pipeline.connectors.amazon_writes import FEED, PATCHES, ListingWriter
from inventory_pipeline.connectors.events import unreadable_event
from inventory_pipeline.connectors.options import Options
from inventory_pipeline.connectors.times import clock_of
from inventory_pipeline.core.errors import ChannelRefused, HubError, SourceError
from inventory_pipeline.core.ports import (
    Capabilities,
    ChangePage,
    Clock,
    Completion,
    Cursor,
    Delivery,
    Level,
    LevelWrite,
    ListingRef,
    Opening,
    RawEvent,
    RawSnapshot,
    Receipt,
    Verified,
    Write,
    WriteOutcome,
)
from inventory_pipeline.core.vocabulary import MovesAt

TOKEN_URL = "https://api.amazon.com"  # noqa: S105 - an address
ORDERS_AGAIN = timedelta(seconds=60)  # the queue goes first for so long when orders fail


class AmazonConnector:
    """One seller in one marketplace. `transport` and `clock` are for tests."""

    EXAMPLE: ClassVar[Mapping[str, str]] = {
        "seller_id": "A1SELLER",
        "marketplace_id": "ATVPDKIKX0DER",
        "region": "na",
        "client_id": "id",
        "client_secret": "secret",
        "refresh_token": "token",
    }

    def __init__(
        self,
        opening: Opening,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        clock = clock_of(opening, clock)
        options = Options(opening, "amazon")
        self.system = opening.system
        self._clock = clock
        self._ships_from = options.text("ships_from", "")
        self._channel_code = options.text("channel_code", "DEFAULT")
        timeout_s = options.number("timeout_s", 30, least=0.05, most=600)
        seller_id, marketplace_id = options.text("seller_id"), options.text("marketplace_id")
        batch_size = int(options.number("batch_size", 1_000, least=1, most=MAX_MESSAGES))
        feed_from = int(options.number("feed_from", 100, least=1, most=MAX_MESSAGES + 1))
        url = _endpoint(options, opening.system)
        self._api = _seller(opening, options, url, timeout_s, transport)
        self._listings = Listings(
            self._api,
            seller_id=seller_id,
            marketplace_id=marketplace_id,
            channel_code=self._channel_code,
            clock=clock,
        )
        self._feeds = ListingsFeeds(
            self._api,
            seller_id=seller_id,
            marketplace_id=marketplace_id,
            timeout_s=timeout_s,
            trust_env=url in ENDPOINTS.values(),
            transport=transport,
        )
        self._writer = ListingWriter(
            self._api,
            self._listings,
            self._feeds,
            marketplace_id=marketplace_id,
            feed_from=feed_from,
            patch_window=_seconds(options, "patch_window_s", 900),
            feed_window=_seconds(options, "feed_window_s", 7_200),
            clock=clock,
        )
        self._orders = OrderFeed(
            self._api,
            marketplace_id=marketplace_id,
            since=options.time("orders_since"),
            overlap=_seconds(options, "overlap_s", 120),
            every=_seconds(options, "orders_every_s", 180),
            page_size=int(options.number("page_size", 100, least=1, most=100)),
            clock=clock,
        )
        self._orders_again = datetime.min.replace(tzinfo=UTC)
        self._fba = self._fba_of(options, marketplace_id)
        self._queue = self._queue_of(options, timeout_s, transport)
        options.finish()
        self.capabilities = Capabilities(
            snapshots=self._fba is not None,
            changes=True,
            levels=True,
            write=Write.ABSOLUTE,
            batch_size=batch_size,
            completion=Completion.JOB,
            moves_at=MovesAt.ORDER,
        )

    def snapshots(self, seen: frozenset[str]) -> Iterator[RawSnapshot]:
        """The FBA inventory of this window, where `fba_location` names a place for it."""
        if self._fba is None:
            raise NotImplementedError("no fba_location is set, so Amazon's stock is not read")
        return self._fba.new(seen)

    def changes(self, cursor: Cursor) -> ChangePage:
        """Orders that changed, by the slow search and, where there is a queue, by its hints.

        The cursor is {"orders": …, "queue": …, "turn": whose page is next, after a search}. One
        page is of one of them. The search goes first when it is due; where it fails the queue is
        still read, by the next polls.
        """
        place: Cursor = cursor.get("orders") or {}
        others = {name: value for name, value in cursor.items() if name != "turn"}
        if self._orders.due(place) and not self._is_the_queues_turn(cursor):
            try:
                page = self._orders.page(place)
                found = [e for order in page.orders for e in self._tell(order, "poll orders")]
            except SourceError:
                self._orders_again = self._clock() + ORDERS_AGAIN
                raise
            moved = others | {"orders": page.cursor}
            if page.more or self._queue is None:
                return ChangePage(events=found, cursor=moved, more=page.more)
            return ChangePage(events=found, cursor=moved | {"turn": "queue"}, more=True)
        if self._queue is None:
            return ChangePage(events=[], cursor=cursor, more=False)
        heard = self._queue.page(cursor.get("queue") or {})
        return ChangePage(
            events=heard.events,
            cursor=others | {"queue": heard.cursor},
            more=heard.more,
            hints=heard.hints,
        )

    def _is_the_queues_turn(self, cursor: Cursor) -> bool:
        """After a search, and for a while after one that failed: neither makes the other wait."""
        if self._queue is None:
            return False
        return cursor.get("turn") == "queue" or self._clock() < self._orders_again

    def orders_since(self, since: datetime) -> Iterator[RawEvent]:
        """Events of all orders changed at `since` or later. Raises SourceError."""
        for order in self._orders.since(since):
            yield from self._tell(order, "order list")

    def verify(self, delivery: Delivery) -> Verified:
        raise NotImplementedError("Amazon sends no webhooks: set `queue_url` for its notifications")

    def parse(self, topic: str, delivery: Delivery) -> Sequence[RawEvent]:
        raise NotImplementedError("Amazon sends no webhooks: set `queue_url` for its notifications")

    def read_levels(self, listings: Sequence[ListingRef] | None) -> Iterator[Level]:
        """Quantities of these listings, or of all that the seller fills."""
        return self._listings.all_levels() if listings is None else self._listings.levels(listings)

    def write_levels(self, writes: Sequence[LevelWrite], *, key: str) -> list[WriteOutcome]:  # noqa: ARG002 - Amazon knows no keys
        """Hands quantities in: accepted ones have a receipt, each stands or falls alone."""
        return self._writer.write(writes)

    def poll_receipt(
        self, receipt: Receipt, writes: Sequence[LevelWrite]
    ) -> list[WriteOutcome] | None:
        """What became of accepted quantities; None while it is not known. Raises ChannelError."""
        kind = receipt.body.get("kind")
        if kind == PATCHES:
            return self._writer.read_back(writes)
        if kind == FEED:
            return self._writer.reported(receipt, writes)
        raise ChannelRefused(
            f"a receipt of kind {kind!r}", system=self.system, call="poll_receipt",
            hint="it is of another connector or version: the listings are read again.",
        )  # fmt: skip

    def close(self) -> None:
        self._api.close()
        self._feeds.close()
        if self._queue is not None:
            self._queue.close()

    def _tell(self, order: Mapping[str, Any], source: str) -> list[RawEvent]:
        """An order's events; one that cannot be read is kept aside and stops no other."""
        try:
            bodies = order_events(order, ships_from=self._ships_from)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return [unreadable_event(order, error, source=source, named="orderId")]
        return [RawEvent(body=body, source=source, position=body["event_id"]) for body in bodies]

    def _fba_of(self, options: Options, marketplace_id: str) -> FbaSnapshots | None:
        location = options.text("fba_location", "")
        every = _seconds(options, "fba_every_s", 900, least=60)
        if not location:
            return None
        return FbaSnapshots(
            self._api,
            marketplace_id=marketplace_id,
            location=location,
            every=every,
            clock=self._clock,
        )

    def _queue_of(
        self, options: Options, timeout_s: float, transport: httpx.BaseTransport | None
    ) -> Notifications | None:
        url, region = options.text("queue_url", ""), options.text("aws_region", "")
        wait_s = int(options.number("queue_wait_s", 2, most=20))
        keys, secrets, sessions = (
            options.secrets(name)
            for name in ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        )
        if not url:
            return None
        if len(keys) != 1 or len(secrets) != 1 or len(sessions) > 1:
            raise HubError(
                f"hub.yaml: systems.{self.system}.options.queue_url needs aws_access_key_id and "
                "aws_secret_access_key, one of each",
                hint="docs/amazon.md says which rights the key needs.",
            )
        queue = Queue(
            system=self.system,
            url=url,
            region=region,
            key_id=keys[0],
            secret=secrets[0],
            session_token=sessions[0] if sessions else None,
            wait_s=wait_s,
            timeout_s=timeout_s,
            clock=self._clock,
            transport=transport,
        )
        return Notifications(
            queue,
            channel_code=self._channel_code,
            read_order=self._orders.order,
            tell=self._tell,
        )


def _seller(
    opening: Opening,
    options: Options,
    url: str,
    timeout_s: float,
    transport: httpx.BaseTransport | None,
) -> SellingPartner:
    tokens = LwaTokens(
        system=opening.system,
        url=options.text("token_url", TOKEN_URL),
        client_id=options.secret("client_id"),
        client_secret=options.secret("client_secret"),
        refresh_token=options.secret("refresh_token"),
        timeout_s=timeout_s,
        transport=transport,
    )
    return SellingPartner(
        system=opening.system,
        url=url,
        tokens=tokens,
        limiter=opening.limiter,
        timeout_s=timeout_s,
        max_wait_s=options.number("max_wait_s", 10, most=300),
        transport=transport,
    )


def _endpoint(options: Options, system: str) -> str:
    url, region = options.text("url", ""), options.text("region", "")
    if url:
        return url
    if region not in ENDPOINTS:
        raise HubError(
            f"hub.yaml: systems.{system}.options.region must be one of {', '.join(ENDPOINTS)}"
            + (f", not {region!r}" if region else "; it is missing"),
            hint="na is North America and Brazil, eu Europe, India and the Middle East, fe Japan, "
            "Australia and Singapore.",
        )
    return ENDPOINTS[region]


def _seconds(options: Options, name: str, default: float, *, least: float = 0) -> timedelta:
    return timedelta(seconds=options.number(name, default, least=least, most=86_400))
