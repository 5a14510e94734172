"""Shopify's Admin GraphQL API: orders in, webhooks in, `available` out with compare-and-swap.

Options: `store` (the name before .myshopify.com, or a host) or `url`; `access_token`;
`webhook_secret` (one, or a list while it is being rotated); `api_version`, `orders_since`,
`overlap_s`, `page_size`, `timeout_s`, `max_wait_s`, `batch_size`, `bulk_from`, `bulk_wait_s`
(docs/connectors.md).

Items are known to the hub by inventory item gid, variant gid or sku; buckets and locations by
location gid.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar

import httpx
import structlog

from inventory_pipeline.connectors import shopify_documents as documents
from inventory_pipeline.connectors import shopify_orders as orders
from inventory_pipeline.connectors.http import Caller, Purpose, understood, utc_time
from inventory_pipeline.connectors.options import Options
from inventory_pipeline.connectors.shopify_bulk import BULK, BulkFiles, BulkReader, BulkUnusable
from inventory_pipeline.connectors.shopify_feed import OrderFeed
from inventory_pipeline.connectors.shopify_graphql import Graphql
from inventory_pipeline.connectors.shopify_index import ItemIndex
from inventory_pipeline.connectors.shopify_levels import LevelReader
from inventory_pipeline.connectors.shopify_writes import MAX_BATCH, LevelWriter
from inventory_pipeline.connectors.signatures import (
    check_signature,
    parse_payload,
    unreadable_level,
    unreadable_order,
)
from inventory_pipeline.connectors.times import clock_of
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
from inventory_pipeline.core.quantities import MILLI
from inventory_pipeline.core.vocabulary import MovesAt

SIGNATURE_HEADER = "x-shopify-hmac-sha256"
# Topics whose body is the whole order as it stands.
ORDER_TOPICS = frozenset(
    {
        "orders/create",
        "orders/updated",
        "orders/cancelled",
        "orders/paid",
        "orders/fulfilled",
        "orders/partially_fulfilled",
    }
)
LEVEL_TOPIC = "inventory_levels/update"
KEYS_KEPT = timedelta(hours=24)
BULK_FROM = 5000

log = structlog.get_logger("connectors")


class ShopifyConnector:
    """One shop. `transport` and `clock` are for tests."""

    EXAMPLE: ClassVar[Mapping[str, str]] = {"store": "acme", "access_token": "token"}

    def __init__(
        self,
        opening: Opening,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        clock = clock_of(opening, clock)
        options = Options(opening, "shopify")
        self.system = opening.system
        token = options.secret("access_token")
        self._webhook_secrets = options.secrets("webhook_secret")
        version = options.text("api_version", documents.API_VERSION)
        since = options.time("orders_since")
        overlap = timedelta(seconds=options.number("overlap_s", 60, most=86_400))
        page_size = int(options.number("page_size", documents.ORDERS_PER_PAGE, least=1, most=250))
        timeout_s = options.number("timeout_s", 30, least=0.05, most=600)
        max_wait_s = options.number("max_wait_s", 10, most=300)
        batch_size = int(options.number("batch_size", 100, least=1, most=MAX_BATCH))
        self._bulk_from = int(options.number("bulk_from", BULK_FROM))
        bulk_wait_s = options.number("bulk_wait_s", 3600, least=1, most=864_000)
        base_url = _base_url(options.text("store", ""), options.text("url", ""))
        options.finish(one_of=("store", "url"))
        self._caller = Caller(
            system=opening.system,
            base_url=base_url,
            timeout_s=timeout_s,
            headers={"X-Shopify-Access-Token": token.reveal()},
            transport=transport,
            limiter=opening.limiter,
        )
        graphql = Graphql(
            self._caller, path=f"/admin/api/{version}/graphql.json", max_wait_s=max_wait_s
        )
        self._graphql = graphql
        self._index = ItemIndex(self._variants, external_ids=opening.external_ids)
        self._feed = OrderFeed(
            graphql,
            system=opening.system,
            since=since,
            overlap=overlap,
            page_size=page_size,
        )
        self._reader = LevelReader(graphql, self._index, system=opening.system, clock=clock)
        self._bulk = BulkReader(
            graphql,
            self._index,
            BulkFiles(shop=base_url, timeout_s=timeout_s, transport=transport),
            system=opening.system,
            clock=clock,
            wait_s=bulk_wait_s,
        )
        self._items = len(opening.external_ids)
        self._writer = LevelWriter(graphql, self._index, system=opening.system)
        self.capabilities = Capabilities(
            changes=True,
            webhooks=True,
            levels=True,
            write=Write.ABSOLUTE,
            compare_and_swap=True,
            idempotency=KEYS_KEPT,
            batch_size=batch_size,
            atomic_batch=True,
            moves_at=MovesAt.ORDER,
            restores_on=frozenset({"cancel", "refund"}),
        )

    def snapshots(self, seen: frozenset[str]) -> Iterator[RawSnapshot]:
        raise NotImplementedError("a shop's quantities are read as levels, not as snapshots")

    def changes(self, cursor: Cursor) -> ChangePage:
        """Orders changed since the cursor, oldest first, as events."""
        page = self._feed.page(cursor)
        events = [event for order in page.orders for event in self._events(order, "poll orders")]
        return ChangePage(events=[*page.odd, *events], cursor=page.cursor, more=page.more)

    def orders_since(self, since: datetime) -> Iterator[RawEvent]:
        """Events of all orders made or changed at `since` or later. Raises SourceError."""
        for page in self._feed.since(since):
            yield from (replace(one, source="order list") for one in page.odd)
            for order in page.orders:
                yield from self._events(order, "order list")

    def verify(self, delivery: Delivery) -> Verified:
        check_signature(
            delivery, header=SIGNATURE_HEADER, secrets=self._webhook_secrets, system=self.system
        )
        headers = delivery.headers
        ids = (headers.get("x-shopify-webhook-id", ""), headers.get("x-shopify-event-id", ""))
        return Verified(
            topic=headers.get("x-shopify-topic", ""), delivery_id="/".join(filter(None, ids))
        )

    def parse(self, topic: str, delivery: Delivery) -> Sequence[RawEvent]:
        """Events of an order's webhook. A topic about levels or products says nothing that counts
        here.

        Only orders/create says what was placed, and only where the order has not changed since; an
        order that may have been edited is read. So raises SourceError where the shop does not
        answer, or does not say which inventory item a new variant has.
        """
        if topic not in {*ORDER_TOPICS, "refunds/create", "orders/edited"}:
            return []
        payload = parse_payload(delivery, system=self.system)
        edited, placed = "", False
        try:
            if topic == "refunds/create":
                order = orders.refund_order(payload)
            elif topic == "orders/edited":
                edited = orders.edited_order(payload)
            else:
                order = orders.from_webhook(payload)
                placed = topic == "orders/create" and orders.seen_whole(payload)
                edited = order.about if topic == "orders/create" and not placed else ""
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise unreadable_order(self.system, error) from error
        if edited:
            return self._read_again(edited, f"webhook {topic}")
        return self._events(order, f"webhook {topic}", placed=placed)

    def hints(self, topic: str, delivery: Delivery) -> Sequence[LevelHint]:
        """The level of an inventory_levels/update.

        Its body is made when it is sent, and deliveries come in any order: only a reason to read.
        """
        if topic != LEVEL_TOPIC:
            return []
        payload = parse_payload(delivery, system=self.system)
        try:
            item = orders.gid("InventoryItem", payload["inventory_item_id"])
            place = orders.gid("Location", payload["location_id"])
            available, at = payload.get("available"), payload.get("updated_at")
            milli = None if available is None else int(available) * MILLI
            told_at = datetime.fromisoformat(utc_time(at)) if at else None
        except (KeyError, TypeError, ValueError) as error:
            raise unreadable_level(self.system, error) from error
        return [
            LevelHint(
                external_id=name, bucket_external=place, quantity_milli=milli, told_at=told_at
            )
            for name in self._index.known_names_of(item)
        ]

    def read_levels(self, listings: Sequence[ListingRef] | None) -> Iterator[Level]:
        """`available` of these listings, or of everything at every location.

        In a full reading `bucket` is "", since the shop knows only `bucket_external`, its location
        gid.
        """
        return self._reader.all() if listings is None else self._reader.some(listings)

    def level_pages(self, resume: str | None = None) -> Iterator[LevelPage]:
        """Everything at every location: page by page, or by a bulk operation where the hub knows
        `bulk_from` items or more.

        What a bulk operation cannot give is read in pages; a warning says why.
        """
        if resume is None and self._items < self._bulk_from:
            yield from self._reader.pages()
        elif resume is not None and not resume.startswith(BULK):
            yield from self._reader.pages(resume)
        else:
            try:
                yield from self._bulk.pages(resume)
            except BulkUnusable as unusable:
                log.warning(
                    "levels are read page by page", system=self.system, call="read levels in bulk",
                    because=str(unusable), hint=unusable.hint,
                )  # fmt: skip
                yield from self._reader.pages()

    def write_levels(self, writes: Sequence[LevelWrite], *, key: str) -> list[WriteOutcome]:
        """Sets `available` of at most `batch_size` listings, all or none of them."""
        return self._writer.write(writes, key=key)

    def close(self) -> None:
        self._caller.close()
        self._bulk.close()

    def _read_again(self, order_id: str, source: str) -> list[RawEvent]:
        """Events of an order that may have been edited: only the shop's own record tells them."""
        order = self._feed.order(order_id)
        return self._events(order, source) if order else []

    def _events(self, order: orders.Order, source: str, *, placed: bool = True) -> list[RawEvent]:
        items: dict[str, str] = {}
        for line in order.lines:
            item = self._index.external_of_line(variant=line.variant, sku=line.sku)
            if item is not None:  # else a line that was typed in by hand: nothing is in stock of it
                items[line.id] = item
        return [
            RawEvent(body=body, source=source, position=body["event_id"])
            for body in orders.order_events(order, items, placed=placed)
        ]

    def _variants(self, purpose: Purpose) -> Iterator[tuple[str, str, str]]:
        for node in self._graphql.nodes(
            documents.VARIANTS,
            {"first": documents.VARIANTS_PER_PAGE},
            at=("productVariants",),
            call="read variants",
            purpose=purpose,
        ):
            with understood(purpose, system=self.system, call="read variants"):
                item = orders.gid("InventoryItem", node["inventoryItem"]["id"])
                variant = orders.gid("ProductVariant", node["id"])
            yield variant, item, str(node.get("sku") or "")


def _base_url(store: str, url: str) -> str:
    if url:
        return url
    host = store if "." in store else f"{store}.myshopify.com"
    return f"https://{host}"
