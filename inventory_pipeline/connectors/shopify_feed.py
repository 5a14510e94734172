"""The orders feed: what changed since the cursor, oldest first, read with an overlap.

The cursor is {"since": time up to which everything was seen, "upto": newest change seen in this
pass, "after": the shop's own page cursor within the pass}. A pass begins `overlap` before `since`,
because the shop's search lags behind; what comes twice is the same event with the same id.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from inventory_pipeline.connectors import shopify_documents as documents
from inventory_pipeline.connectors import shopify_orders as orders
from inventory_pipeline.connectors.events import unreadable_event
from inventory_pipeline.connectors.http import UNEXPECTED, Purpose, understood, utc_time
from inventory_pipeline.connectors.shopify_edits import agreements_of
from inventory_pipeline.connectors.shopify_graphql import Graphql
from inventory_pipeline.core.errors import SourceRefused
from inventory_pipeline.core.ports import Cursor, RawEvent

CALL = "read orders"
FULFILMENT = ("fulfillment", "fulfillmentLineItems")
FIRST_LOOK = {
    "lines": documents.LINES_PER_ORDER,
    "parts": documents.FIRST_PARTS,
    "partLines": documents.LINES_PER_FIRST_PART,
}
MAX_PAGES = 20_000
Node = dict[str, Any]
PartWithLines = tuple[Node, list[Node]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPage:
    """Orders that were read, and those that could not be, for quarantine."""

    orders: list[orders.Order]
    cursor: Cursor
    more: bool
    odd: list[RawEvent] = field(default_factory=list)


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
            **FIRST_LOOK,
        }
        data = self._run(documents.ORDERS_UPDATED, variables)
        with understood(Purpose.SOURCE, system=self._system, call=CALL):
            nodes = list(data["orders"]["nodes"])
            found, odd = self._each(nodes)
            changed = [moment for node in nodes if (moment := _changed(node)) is not None]
            info = data["orders"]["pageInfo"]
            more, end = bool(info["hasNextPage"]), info["endCursor"]
        upto = max([*changed, cursor.get("upto") or "", cursor.get("since") or ""])
        if more:
            place: Cursor = {"since": cursor.get("since"), "upto": upto, "after": end}
        else:
            place = {"since": upto} if upto else {}
        return OrderPage(orders=found, cursor=place, more=more, odd=odd)

    def since(self, moment: datetime) -> Iterator[OrderPage]:
        """Pages of all orders made or changed at `moment` or later; they end. Raises
        SourceError.
        """
        cursor: Cursor = {"since": (moment + self._overlap).isoformat()}
        for _ in range(MAX_PAGES):
            page = self.page(cursor)
            yield page
            if not page.more:
                return
            cursor = page.cursor
        raise SourceRefused(
            f"more than {MAX_PAGES} pages", system=self._system, call=CALL,
            hint="ask for a shorter time.",
        )  # fmt: skip

    def order(self, order_id: str) -> orders.Order | None:
        """One order as it stands; None where there is none. Raises SourceError."""
        data = self._run(documents.ORDER_BY_ID, {"id": order_id} | FIRST_LOOK)
        with understood(Purpose.SOURCE, system=self._system, call=CALL):
            return self._complete(data["order"]) if data["order"] else None

    def _query(self, cursor: Cursor) -> str | None:
        since = self._since
        if cursor.get("since"):
            since = datetime.fromisoformat(cursor["since"]) - self._overlap
        if since is None:
            return None
        return f"updated_at:>='{since:%Y-%m-%dT%H:%M:%SZ}'"

    def _each(self, nodes: list[Node]) -> tuple[list[orders.Order], list[RawEvent]]:
        """Every order completely; one that cannot be read stops no other.

        Where none can be read the shape is another one: the error of the last is raised. A single
        one that says when it changed is an order, and only odd.
        """
        found: list[orders.Order] = []
        odd: list[RawEvent] = []
        for node in nodes:
            try:
                found.append(self._complete(node))
            except UNEXPECTED as error:
                odd.append(unreadable_event(node, error, source="poll orders", named="id"))
                if len(odd) == len(nodes) and (len(nodes) > 1 or _changed(node) is None):
                    raise
        return found, odd

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
        edits: list[PartWithLines] = []
        if node.get("edited"):
            edits = list(agreements_of(self._run, node["id"], system=self._system))
        return orders.from_graphql(node, lines, fulfilments, refunds, edits)

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
        raise ValueError(
            f"{order_id} has {documents.MANY_PARTS_PER_ORDER} {plural} or more: only its webhooks "
            "are read"
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


def _changed(node: Any) -> str | None:
    """When an order changed, None for what does not say so."""
    try:
        moment = utc_time(node["updatedAt"])
        datetime.fromisoformat(moment)
    except UNEXPECTED:
        return None
    return moment
