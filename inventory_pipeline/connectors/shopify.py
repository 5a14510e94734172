"""Shopify's Admin GraphQL API: orders in, webhooks in, `available` out with compare-and-swap.

Options: `store` (the name before .myshopify.com, or a host) or `url`; `access_token`;
`webhook_secret` (one, or a list while it is being rotated); `api_version`, `orders_since`,
`overlap_s`, `page_size`, `timeout_s`, `max_wait_s`, `batch_size` (docs/connectors.md).

Items are known to the hub by inventory item gid, variant gid or sku; buckets and locations by
location gid.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import httpx

from inventory_pipeline.connectors import shopify_documents as documents
from inventory_pipeline.connectors import shopify_orders as orders
from inventory_pipeline.connectors.http import Caller, Purpose, understood
from inventory_pipeline.connectors.options import Options
from inventory_pipeline.connectors.shopify_feed import OrderFeed
from inventory_pipeline.connectors.shopify_graphql import Graphql
from inventory_pipeline.connectors.shopify_index import ItemIndex
from inventory_pipeline.connectors.shopify_levels import LevelReader
from inventory_pipeline.connectors.shopify_writes import MAX_BATCH, LevelWriter
from inventory_pipeline.connectors.signatures import (
    check_signature,
    parse_payload,
    unreadable_order,
)
from inventory_pipeline.core.ports import (
    Capabilities,
    ChangePage,
    Cursor,
    Delivery,
    Level,
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
KEYS_KEPT = timedelta(hours=24)


def utc_now() -> datetime:
    return datetime.now(UTC)


class ShopifyConnector:
    """One shop. `transport` and `clock` are for tests."""

    EXAMPLE: ClassVar[Mapping[str, str]] = {"store": "acme", "access_token": "token"}

    def __init__(
        self,
        opening: Opening,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
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
        return ChangePage(events=events, cursor=page.cursor, more=page.more)

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

        May ask the shop which inventory item a new variant has: raises SourceUnreachable if it
        cannot.
        """
        if topic not in ORDER_TOPICS and topic != "refunds/create":
            return []
        payload = parse_payload(delivery, system=self.system)
        try:
            if topic == "refunds/create":
                order = orders.refund_order(payload)
            else:
                order = orders.from_webhook(payload)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise unreadable_order(self.system, error) from error
        return self._events(order, f"webhook {topic}", placed=topic != "refunds/create")

    def read_levels(self, listings: Sequence[ListingRef] | None) -> Iterator[Level]:
        """`available` of these listings, or of everything at every location.

        In a full reading `bucket` is "", since the shop knows only `bucket_external`, its location
        gid.
        """
        return self._reader.all() if listings is None else self._reader.some(listings)

    def write_levels(self, writes: Sequence[LevelWrite], *, key: str) -> list[WriteOutcome]:
        """Sets `available` of at most `batch_size` listings, all or none of them."""
        return self._writer.write(writes, key=key)

    def close(self) -> None:
        self._caller.close()

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
