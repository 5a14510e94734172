"""Vendure's admin API: orders in, webhooks of a small plugin in, on_hand quantities out.

Options: `url`, `username` and `password` or `api_key`, `channel_token`, `webhook_secret` (one or a
list), `orders_since`, `overlap_s`, `page_size`, `batch_size`, `ships_from`, `order_lines`,
`timeout_s`, `path` (docs/vendure.md).

A variant's own updatedAt does not move when it is sold, so sales are read from the orders. The shop
has neither compare-and-swap nor idempotency keys: the hub reads before it writes.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

import httpx

from inventory_pipeline.connectors.events import events_of_each
from inventory_pipeline.connectors.http import Caller, Purpose, Trouble, as_error, understood
from inventory_pipeline.connectors.options import Options
from inventory_pipeline.connectors.signatures import (
    check_signature,
    parse_payload,
    unreadable_order,
)
from inventory_pipeline.connectors.times import clock_of
from inventory_pipeline.connectors.tracing import traced
from inventory_pipeline.connectors.vendure_graphql import Admin
from inventory_pipeline.connectors.vendure_levels import MAX_BATCH, Stock
from inventory_pipeline.connectors.vendure_orders import ORDER, Reader
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.ports import (
    Basis,
    Capabilities,
    ChangePage,
    Clock,
    Cursor,
    Delivery,
    Level,
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

SIGNATURE_HEADER = "x-inventory-signature"
ID_HEADER = "x-inventory-delivery"
CALL = "orders"
ORDER_TOPIC = "order"
MAX_PAGES = 100_000
ONE_SECOND = timedelta(seconds=1)
ORDERS = f"""
query Orders($options: OrderListOptions) {{
  orders(options: $options) {{ items {{ {ORDER} }} }}
}}
"""


class VendureConnector:
    """One shop. `transport` and `clock` are for tests."""

    EXAMPLE: ClassVar[Mapping[str, str]] = {
        "url": "https://shop.example.com",
        "username": "hub",
        "password": "password",
    }

    def __init__(
        self,
        opening: Opening,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        clock = clock_of(opening, clock)
        options = Options(opening, "vendure")
        self.system = opening.system
        url = options.text("url")
        username = options.text("username", "")
        passwords, keys = options.secrets("password"), options.secrets("api_key")
        channel_token = options.text("channel_token", "")
        self._webhook_secrets = options.secrets("webhook_secret")
        self._since = options.time("orders_since")
        self._overlap = timedelta(seconds=options.number("overlap_s", 60, least=1, most=86_400))
        self._page_size = int(options.number("page_size", 50, least=1, most=1000))
        batch_size = int(options.number("batch_size", MAX_BATCH, least=1, most=MAX_BATCH))
        ships_from = options.text("ships_from", "")
        order_lines = options.text("order_lines", "id")
        timeout_s = options.number("timeout_s", 30, least=0.05, most=600)
        path = options.text("path", "/admin-api")
        options.finish(one_of=("password", "api_key"))
        _one_way_in(self.system, username, passwords, keys, order_lines)
        self._caller = Caller(
            system=opening.system,
            base_url=url,
            timeout_s=timeout_s,
            transport=traced(transport),
            limiter=opening.limiter,
        )
        self._admin = Admin(
            self._caller,
            path=path,
            username=username,
            password=passwords[0] if passwords else None,
            api_key=keys[0] if keys else None,
            channel_token=channel_token,
        )
        known = opening.external_ids
        self._stock = Stock(self._admin, self._caller, known=known, clock=clock)
        self._reader = Reader(
            self._stock.item_of, ships_from=ships_from, line_by_sku=order_lines == "sku"
        )
        self.capabilities = Capabilities(
            changes=True,
            webhooks=True,
            levels=True,
            write=Write.ABSOLUTE,
            basis=Basis.ON_HAND,
            batch_size=batch_size,
            moves_at=MovesAt.ORDER,
            restores_on=frozenset({"cancel"}),
        )

    def snapshots(self, seen: frozenset[str]) -> Iterator[RawSnapshot]:
        raise NotImplementedError("a shop's quantities are read as levels, not as snapshots")

    def changes(self, cursor: Cursor) -> ChangePage:
        """Placed orders changed since the cursor, oldest change first, as events.

        The cursor is {"since": newest change seen, "skip": orders of that same moment that were
        read; absent between passes}. A page asks for what follows the last one's newest second:
        orders that change meanwhile move to the end.
        """
        since = datetime.fromisoformat(cursor["since"]) if cursor.get("since") else self._since
        within = "skip" in cursor
        skip = int(cursor.get("skip") or 0)
        after = None if since is None else since - (ONE_SECOND if within else self._overlap)
        found, newest = self._orders(after, skip)
        more = len(found) >= self._page_size
        with understood(Purpose.SOURCE, system=self.system, call=CALL):
            events = events_of_each(found, self._reader.events, source="poll orders", named="code")
        latest = max((t for t in (since, newest) if t is not None), default=None)
        moved: Cursor = {"since": latest.isoformat()} if latest else {}
        if more:
            stands = within and newest is not None and since is not None and newest <= since
            moved["skip"] = skip + len(found) if stands else 0
        return ChangePage(events=events, cursor=moved, more=more)

    def orders_since(self, since: datetime) -> Iterator[RawEvent]:
        """Events of every placed order that was changed at or after `since`."""
        cursor: Cursor = {"since": since.isoformat(), "skip": 0}
        for _ in range(MAX_PAGES):
            page = self.changes(cursor)
            yield from page.events
            if not page.more:
                return
            cursor = page.cursor

    def verify(self, delivery: Delivery) -> Verified:
        check_signature(
            delivery, header=SIGNATURE_HEADER, secrets=self._webhook_secrets, system=self.system
        )
        topic = str(parse_payload(delivery, system=self.system).get("topic", ""))
        return Verified(topic=topic, delivery_id=delivery.headers.get(ID_HEADER, ""))

    def parse(self, topic: str, delivery: Delivery) -> Sequence[RawEvent]:
        """Events of the order that a delivery names: the shop is asked for it, because the plugin
        says only which one changed.
        """
        if topic != ORDER_TOPIC:
            return []
        payload = parse_payload(delivery, system=self.system)
        named = next((name for name in ("code", "id") if isinstance(payload.get(name), str)), "")
        if not named:
            raise unreadable_order(self.system, ValueError("it names no order"))
        found = self._asked({"filter": {named: {"eq": payload[named]}}, "take": 1})
        return [event for order in found for event in self._events(order, f"webhook {topic}")]

    def read_levels(self, listings: Sequence[ListingRef] | None) -> Iterator[Level]:
        """What stands at the shop's locations: of these listings, or of every tracked variant."""
        if listings is not None:
            return self._stock.some(listings)
        return (level for page in self._stock.pages() for level in page.levels)

    def level_pages(self, resume: str | None = None) -> Iterator[LevelPage]:
        """Every tracked variant, page by page."""
        return self._stock.pages(resume)

    def write_levels(self, writes: Sequence[LevelWrite], *, key: str) -> list[WriteOutcome]:  # noqa: ARG002 - the shop knows no keys
        """Sets at most `batch_size` on_hand quantities."""
        return self._stock.write(writes)

    def close(self) -> None:
        self._caller.close()

    def _orders(
        self, after: datetime | None, skip: int
    ) -> tuple[list[dict[str, Any]], datetime | None]:
        chosen: dict[str, Any] = {"orderPlacedAt": {"isNull": False}}
        if after is not None:
            chosen["updatedAt"] = {"after": after.isoformat().replace("+00:00", "Z")}
        found = self._asked(
            {
                "filter": chosen,
                "sort": {"updatedAt": "ASC", "id": "ASC"},
                "take": self._page_size,
                "skip": skip,
            }
        )
        with understood(Purpose.SOURCE, system=self.system, call=CALL):
            times = [datetime.fromisoformat(order["updatedAt"]) for order in found]
        return found, max(times, default=None)

    def _asked(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            with understood(Purpose.SOURCE, system=self.system, call=CALL):
                return list(self._admin.read(ORDERS, options=options)["orders"]["items"])
        except Trouble as trouble:
            raise as_error(trouble, Purpose.SOURCE, system=self.system, call=CALL) from trouble

    def _events(self, order: dict[str, Any], source: str) -> list[RawEvent]:
        with understood(Purpose.SOURCE, system=self.system, call=CALL):
            bodies = self._reader.events(order)
        return [RawEvent(body=body, source=source, position=body["event_id"]) for body in bodies]


def _one_way_in(
    system: str, username: str, passwords: object, keys: object, order_lines: str
) -> None:
    where = f"hub.yaml: systems.{system}.options"
    hint = "docs/vendure.md lists the options."
    if passwords and keys:
        raise HubError(f"{where}: give password or api_key, not both", hint=hint)
    if passwords and not username:
        raise HubError(f"{where}.username is missing", hint=hint)
    if order_lines not in {"id", "sku"}:
        raise HubError(f"{where}.order_lines must be id or sku, not {order_lines!r}", hint=hint)
