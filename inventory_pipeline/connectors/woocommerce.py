"""WooCommerce's REST API v3: orders in, webhooks in, stock quantities out.

Options: `url`, `consumer_key`, `consumer_secret`, `webhook_secret` (one or a list), `orders_since`,
`overlap_s`, `page_size`, `ships_from`, `decimals`, `timeout_s`, `batch_size`, `prefix`
(docs/connectors.md).

It has neither compare-and-swap nor idempotency keys: the hub reads before it writes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

import httpx

from inventory_pipeline.connectors.events import events_of_each
from inventory_pipeline.connectors.http import (
    UNEXPECTED,
    Caller,
    Kind,
    Purpose,
    Trouble,
    as_error,
    utc_time,
)
from inventory_pipeline.connectors.options import Options
from inventory_pipeline.connectors.signatures import (
    check_signature,
    parse_payload,
    unreadable_level,
    unreadable_order,
)
from inventory_pipeline.connectors.times import clock_of
from inventory_pipeline.connectors.woocommerce_levels import MAX_BATCH, Shelf
from inventory_pipeline.connectors.woocommerce_orders import order_events
from inventory_pipeline.core.errors import SourceRefused
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

SIGNATURE_HEADER = "x-wc-webhook-signature"
PING = re.compile(rb"webhook_id=[0-9]{1,18}")
ORDER_TOPICS = frozenset({"order.created", "order.updated", "order.restored"})
PRODUCT_TOPIC = "product.updated"
CALL = "read orders"
ONE_SECOND = timedelta(seconds=1)
MAX_PAGES = 20_000


class WooCommerceConnector:
    """One shop. `transport` and `clock` are for tests."""

    EXAMPLE: ClassVar[Mapping[str, str]] = {
        "url": "https://shop.example.com",
        "consumer_key": "key",
        "consumer_secret": "secret",
    }

    def __init__(
        self,
        opening: Opening,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        clock = clock_of(opening, clock)
        options = Options(opening, "woocommerce")
        self.system = opening.system
        url = options.text("url")
        key, secret = options.secret("consumer_key"), options.secret("consumer_secret")
        self._webhook_secrets = options.secrets("webhook_secret")
        self._since = options.time("orders_since")
        self._overlap = timedelta(seconds=options.number("overlap_s", 60, least=1, most=86_400))
        self._page_size = int(options.number("page_size", 100, least=1, most=100))
        self._ships_from = options.text("ships_from", "")
        decimals = int(options.number("decimals", 0, most=3))
        timeout_s = options.number("timeout_s", 30, least=0.05, most=600)
        batch_size = int(options.number("batch_size", MAX_BATCH, least=1, most=MAX_BATCH))
        self._prefix = options.text("prefix", "/wp-json/wc/v3")
        options.finish()
        self._caller = Caller(
            system=opening.system,
            base_url=url,
            timeout_s=timeout_s,
            auth=(key.reveal(), secret.reveal()),
            transport=transport,
            limiter=opening.limiter,
        )
        self._shelf = Shelf(
            self._caller,
            prefix=self._prefix,
            known=opening.external_ids,
            decimals=decimals,
            clock=clock,
        )
        self.capabilities = Capabilities(
            changes=True,
            webhooks=True,
            levels=True,
            write=Write.ABSOLUTE,
            batch_size=batch_size,
            decimals=decimals,
            moves_at=MovesAt.ORDER,
            restores_on=frozenset({"cancel"}),
        )

    def snapshots(self, seen: frozenset[str]) -> Iterator[RawSnapshot]:
        raise NotImplementedError("a shop's quantities are read as levels, not as snapshots")

    def changes(self, cursor: Cursor) -> ChangePage:
        """Orders changed since the cursor, oldest change first, as events.

        The cursor is {"since": newest change seen, "page": place within a pass, absent between
        passes}. Each page asks for what follows the last one's newest second, not for a page
        number: orders that change meanwhile move to the end and would shift the others past a
        page's border. An order that cannot be read goes to quarantine, the others are told.
        """
        page = int(cursor.get("page") or 0)
        since = datetime.fromisoformat(cursor["since"]) if cursor.get("since") else self._since
        found = self._orders(since, page)
        try:
            events = events_of_each(
                found,
                self._bodies,
                source="poll orders",
                named="id",
                sure=lambda order: _changed(order) is not None,
            )
        except UNEXPECTED as error:
            raise SourceRefused(
                f"an order is not as expected: {type(error).__name__} {error}",
                system=self.system,
                call=CALL,
                hint="check that the address is a WooCommerce shop with REST API v3.",
            ) from error
        newest = max(filter(None, map(_changed, found)), default=None)
        more = len(found) >= self._page_size
        return ChangePage(
            events=events, cursor=_moved(since, newest, page=page, more=more), more=more
        )

    def orders_since(self, since: datetime) -> Iterator[RawEvent]:
        """Events of all orders made or changed at `since` or later. Raises SourceError."""
        # A new pass begins the overlap earlier: put on here, it is exactly `since` and a second.
        cursor: Cursor = {"since": (since + self._overlap - ONE_SECOND).isoformat()}
        for _ in range(MAX_PAGES):
            page = self.changes(cursor)
            for event in page.events:
                yield replace(event, source="order list")
            if not page.more:
                return
            cursor = page.cursor
        raise SourceRefused(
            f"more than {MAX_PAGES} pages", system=self.system, call=CALL,
            hint="ask for a shorter time.",
        )  # fmt: skip

    def verify(self, delivery: Delivery) -> Verified:
        if self._webhook_secrets and _is_ping(delivery):
            return Verified(topic="ping", delivery_id="", keep=False)
        check_signature(
            delivery, header=SIGNATURE_HEADER, secrets=self._webhook_secrets, system=self.system
        )
        headers = delivery.headers
        return Verified(
            topic=headers.get("x-wc-webhook-topic", ""),
            delivery_id=headers.get("x-wc-webhook-delivery-id", ""),
        )

    def parse(self, topic: str, delivery: Delivery) -> Sequence[RawEvent]:
        """Events of an order's webhook; other topics say nothing that counts here."""
        if topic not in ORDER_TOPICS:
            return []
        payload = parse_payload(delivery, system=self.system)
        try:
            return self._events(payload, f"webhook {topic}")
        except (KeyError, TypeError, ValueError) as error:
            raise unreadable_order(self.system, error) from error

    def hints(self, topic: str, delivery: Delivery) -> Sequence[LevelHint]:
        """The stock of the product or variation of a product.updated.

        Its date_modified does not change when only its stock does: it has no time of its own.
        """
        if topic != PRODUCT_TOPIC:
            return []
        payload = parse_payload(delivery, system=self.system)
        try:
            return [self._shelf.hint(payload)]
        except (KeyError, TypeError, ValueError) as error:
            raise unreadable_level(self.system, error) from error

    def read_levels(self, listings: Sequence[ListingRef] | None) -> Iterator[Level]:
        """Quantities of these listings, or of every product with managed stock (then `bucket` is
        "").
        """
        if listings is not None:
            return self._shelf.some(listings)
        return (level for page in self._shelf.pages() for level in page.levels)

    def level_pages(self, resume: str | None = None) -> Iterator[LevelPage]:
        """Every product with managed stock, in pages of products."""
        return self._shelf.pages(resume)

    def write_levels(self, writes: Sequence[LevelWrite], *, key: str) -> list[WriteOutcome]:  # noqa: ARG002 - the shop knows no keys
        """Sets at most `batch_size` quantities; each item stands or falls alone."""
        return self._shelf.write(writes)

    def close(self) -> None:
        self._caller.close()

    def _orders(self, since: datetime | None, page: int) -> list[dict[str, Any]]:
        query: dict[str, Any] = {
            "orderby": "modified",
            "order": "asc",
            "per_page": self._page_size,
            "page": max(page, 1),
            "dates_are_gmt": "true",
            "status": "any",
        }
        if since is not None:
            # Within a pass exactly from the last second on; a new pass begins with the overlap.
            after = since - (ONE_SECOND if page else self._overlap)
            query["modified_after"] = f"{after:%Y-%m-%dT%H:%M:%S}Z"
        try:
            body = self._caller.read("GET", f"{self._prefix}/orders", params=query).body
            if not isinstance(body, list):
                raise Trouble(Kind.UNKNOWN, "the answer is no list of orders")  # noqa: TRY301
        except Trouble as trouble:
            raise as_error(trouble, Purpose.SOURCE, system=self.system, call=CALL) from trouble
        return body

    def _events(self, order: dict[str, Any], source: str) -> list[RawEvent]:
        return [
            RawEvent(body=body, source=source, position=body["event_id"])
            for body in self._bodies(order)
        ]

    def _bodies(self, order: dict[str, Any]) -> list[dict[str, Any]]:
        return order_events(order, self._shelf.external_of, ships_from=self._ships_from)


def _changed(order: Any) -> datetime | None:
    """When an order changed, None for what does not say so and for what is no order."""
    try:
        int(order["id"])
        return datetime.fromisoformat(utc_time(order["date_modified_gmt"]))
    except UNEXPECTED:
        return None


def _moved(since: datetime | None, newest: datetime | None, *, page: int, more: bool) -> Cursor:
    """The cursor after a page: on to the newest second seen, or to the next page of that same
    second.
    """
    if not more:
        known = [time for time in (since, newest) if time is not None]
        return {"since": max(known).isoformat()} if known else {}
    assert newest is not None
    if page and since is not None and newest <= since:
        return {"since": since.isoformat(), "page": page + 1}
    return {"since": newest.isoformat(), "page": 1}


def _is_ping(delivery: Delivery) -> bool:
    """What WooCommerce sends unsigned when a webhook is made, to see whether the address answers:
    the webhook's number and nothing else.
    """
    return (
        SIGNATURE_HEADER not in delivery.headers
        and PING.fullmatch(delivery.body.strip()) is not None
    )
