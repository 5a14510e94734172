"""What edits added to an order: the sales of its agreements, all of them, however many."""

from collections.abc import Callable, Iterator
from typing import Any

from inventory_pipeline.connectors import shopify_documents as documents
from inventory_pipeline.core.errors import SourceRefused

CALL = "read an order's edits"
FIRST_AGREEMENT = "OrderAgreement"
MAX_PAGES = 1_000
Node = dict[str, Any]
# document, variables → the answer's data
Run = Callable[[str, Node], Any]


def agreements_of(run: Run, order_id: str, *, system: str) -> Iterator[tuple[Node, list[Node]]]:
    """An order's agreements with all of their sales. Raises SourceError.

    Of the first one, which is the order as it was placed, only some sales: nobody needs them.
    """
    after: str | None = None
    for _ in range(MAX_PAGES):
        page = _page(run, order_id, first=documents.AGREEMENTS_PER_PAGE, after=after)
        if page is None:
            return
        for edge in page["edges"]:
            agreement = edge["node"]
            sales = list(agreement["sales"]["nodes"])
            if agreement["__typename"] != FIRST_AGREEMENT:
                sales += _more_sales(run, order_id, agreement, after=after, system=system)
            yield agreement, sales
            after = edge["cursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return
    raise _endless(order_id, system)


def _more_sales(
    run: Run, order_id: str, agreement: Node, *, after: str | None, system: str
) -> Iterator[Node]:
    """The sales behind an agreement's first page; `after` is the cursor of the one before it."""
    info = agreement["sales"]["pageInfo"]
    for _ in range(MAX_PAGES):
        if not info["hasNextPage"]:
            return
        page = _page(run, order_id, first=1, after=after, after_sale=info["endCursor"])
        if page is None:
            return
        sales = page["edges"][0]["node"]["sales"]
        yield from sales["nodes"]
        info = sales["pageInfo"]
    raise _endless(order_id, system)


def _page(
    run: Run, order_id: str, *, first: int, after: str | None, after_sale: str | None = None
) -> Any:
    """A page of agreements; None where there is no such order any more."""
    data = run(
        documents.ORDER_AGREEMENTS,
        {
            "id": order_id,
            "first": first,
            "after": after,
            "sales": documents.SALES_PER_PAGE,
            "afterSale": after_sale,
        },
    )
    return data["order"]["agreements"] if data["order"] else None


def _endless(order_id: str, system: str) -> SourceRefused:
    return SourceRefused(
        f"more than {MAX_PAGES} pages",
        system=system,
        call=CALL,
        item=order_id,
        hint="this looks endless: report it with the shop's API version.",
    )
