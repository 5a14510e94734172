"""The orders feed: what changed since the cursor, oldest first, read with an overlap.

The cursor is {"since": time up to which everything was seen, "upto": newest change seen in this
pass, "after": the shop's own page cursor within the pass}. A pass begins `overlap` before `since`,
because the shop's search lags behind; what comes twice is the same event with the same id.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from inventory_pipeline.connectors import shopify_documents as documents
from inventory_pipeline.connectors import shopify_orders as orders
from inventory_pipeline.connectors.http import Purpose, understood, utc_time
from inventory_pipeline.connectors.shopify_graphql import Graphql
from inventory_pipeline.core.errors import SourceRefused
from inventory_pipeline.core.ports import Cursor

CALL = "read orders"
FULFILMENT = ("fulfillment", "fulfillmentLineItems")
Node = dict[str, Any]
PartWithLines = tuple[Node, list[Node]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPage:
    orders: list[orders.Order]
    cursor: Cursor
    more: bool


class OrderFeed:
    """Reads orders completely: with all lines, fulfilments and refunds, however many."""

    def __init__(
        self,
        graphql: Graphql,
        *,
        system: str,
        since: datetime | None,
        overlap: timedelta,
        page_size: int,
    ) -> None:
        self._graphql = graphql
        self._system = system
        self._since = since
        self._overlap = overlap
        self._page_size = page_size

    def page(self, cursor: Cursor) -> OrderPage:
        """The next orders after the cursor. Raises SourceError."""
        variables = {
            "first": self._page_size,
            "after": cursor.get("after"),
            "query": self._query(cursor),
            "lines": documents.LINES_PER_ORDER,
            "parts": documents.FIRST_PARTS,
            "partLines": documents.LINES_PER_FIRST_PART,
        }
        data = self._run(documents.ORDERS_UPDATED, variables)
        with understood(Purpose.SOURCE, system=self._system, call=CALL):
            found = [self._complete(node) for node in data["orders"]["nodes"]]
            changed = [utc_time(node["updatedAt"]) for node in data["orders"]["nodes"]]
            info = data["orders"]["pageInfo"]
            more, end = bool(info["hasNextPage"]), info["endCursor"]
        upto = max([*changed, cursor.get("upto") or "", cursor.get("since") or ""])
        if more:
            place: Cursor = {"since": cursor.get("since"), "upto": upto, "after": end}
        else:
            place = {"since": upto} if upto else {}
        return OrderPage(orders=found, cursor=place, more=more)

    def _query(self, cursor: Cursor) -> str | None:
        since = self._since
        if cursor.get("since"):
            since = datetime.fromisoformat(cursor["since"]) - self._overlap
        if since is None:
            return None
        return f"updated_at:>='{since:%Y-%m-%dT%H:%M:%SZ}'"

    def _complete(self, node: Node) -> orders.Order:
        lines = list(node["lineItems"]["nodes"])
        info = node["lineItems"]["pageInfo"]
        if info["hasNextPage"]:
            lines += self._more(
                documents.ORDER_LINES, node["id"], ("order", "lineItems"), info["endCursor"]
            )
        shrunk = any(int(line["currentQuantity"]) < int(line["quantity"]) for line in lines)
        refunds: list[PartWithLines] = []
        if len(node["fulfillments"]) < documents.FIRST_PARTS:
            fulfilments = [
                (part, list(self._lines_of(part, documents.FULFILMENT_LINES, FULFILMENT)))
                for part in node["fulfillments"]
            ]
        else:
            fulfilments = self._parts(
                documents.ORDER_FULFILMENTS, documents.FULFILMENT_LINES, node["id"],
                ("fulfillments", *FULFILMENT),
            )  # fmt: skip
        if shrunk and not node.get("cancelledAt"):
            refunds = self._parts(
                documents.ORDER_REFUNDS, documents.REFUND_LINES, node["id"],
                ("refunds", "refund", "refundLineItems"),
            )  # fmt: skip
        return orders.from_graphql(node, lines, fulfilments, refunds)

    def _parts(
        self, document: str, rest: str, order_id: str, names: tuple[str, str, str]
    ) -> list[PartWithLines]:
        """An order's fulfilments or refunds, each with all of its lines."""
        plural, singular, connection = names
        for parts, lines in (
            (documents.PARTS_PER_ORDER, documents.LINES_PER_PART),
            (documents.MANY_PARTS_PER_ORDER, documents.FEW_LINES_PER_PART),
        ):
            variables = {"id": order_id, "parts": parts, "lines": lines}
            order = self._run(document, variables)["order"]
            found: list[Node] = order[plural] if order else []
            if len(found) < parts:
                return [
                    (part, list(self._lines_of(part, rest, (singular, connection))))
                    for part in found
                ]
        raise SourceRefused(
            f"an order has {documents.MANY_PARTS_PER_ORDER} {plural} or more",
            system=self._system,
            call=CALL,
            item=order_id,
            hint="its webhooks still count; set `orders_since` behind it to let the poll go on.",
        )

    def _lines_of(self, part: Node, rest: str, at: tuple[str, str]) -> Iterator[Node]:
        connection = part[at[1]]
        yield from connection["nodes"]
        if connection["pageInfo"]["hasNextPage"]:
            yield from self._more(rest, part["id"], at, connection["pageInfo"]["endCursor"])

    def _more(
        self, document: str, identifier: str, at: tuple[str, str], after: str
    ) -> Iterator[Node]:
        return self._graphql.nodes(
            document,
            {"id": identifier, "first": documents.LINES_PER_PAGE},
            at=at,
            call=CALL,
            purpose=Purpose.SOURCE,
            after=after,
        )

    def _run(self, document: str, variables: Node) -> Any:
        return self._graphql.run(document, variables, call=CALL, purpose=Purpose.SOURCE)
