"""The orders feed: what changed since the cursor, read slowly, because Amazon lets one ask so.

searchOrders may be called 0.0056 times a second (once in three minutes) with a burst of 20: passes
begin that far apart, and a long pass takes its pages out of the burst. The cursor is {"since": up
to when everything was seen, "asked_at": when the newest pass began}, and within a pass also
{"after": what it asks for, "upto": newest change seen, "token": Amazon's name of the next page}.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from inventory_pipeline.connectors.amazon_api import (
    GET_ORDER,
    SEARCH_ORDERS,
    SellingPartner,
)
from inventory_pipeline.connectors.http import (
    Kind,
    Purpose,
    Trouble,
    as_error,
    understood,
    utc_time,
)
from inventory_pipeline.core.errors import SourceRefused
from inventory_pipeline.core.ports import Cursor

PATH = "/orders/2026-01-01/orders"
INCLUDED = "FULFILLMENT,PACKAGES,CANCELLATION"
FIRST_LOOK_BACK = timedelta(days=30)
MAX_PAGES = 2_000
Order = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPage:
    orders: list[Order]
    cursor: Cursor
    more: bool


class OrderFeed:
    """Orders of one marketplace that the seller ships."""

    def __init__(
        self,
        api: SellingPartner,
        *,
        marketplace_id: str,
        since: datetime | None,
        overlap: timedelta,
        every: timedelta,
        page_size: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._marketplace_id = marketplace_id
        self._since = since
        self._overlap = overlap
        self._every = every
        self._page_size = page_size
        self._clock = clock

    def due(self, cursor: Cursor) -> bool:
        """Whether a page is to be asked for now."""
        asked_at = cursor.get("asked_at")
        if cursor.get("token") or not asked_at:
            return True
        return self._clock() - datetime.fromisoformat(asked_at) >= self._every

    def page(self, cursor: Cursor) -> OrderPage:
        """The next orders. Raises SourceError."""
        token = cursor.get("token")
        if token:
            begun_at, after = cursor["asked_at"], datetime.fromisoformat(cursor["after"])
        else:
            begun_at, after = self._clock().isoformat(), self._after(cursor)
        try:
            body = self._search(after, token)
        except Trouble as trouble:
            if not token or trouble.status != 400:
                raise self._error(trouble, SEARCH_ORDERS.name) from trouble
            # The page's token does not hold any more: the pass begins again.
            return OrderPage(orders=[], cursor=_since(cursor.get("since")), more=True)
        with understood(Purpose.SOURCE, system=self._api.system, call=SEARCH_ORDERS.name):
            orders = list(body["orders"])
            # One without a time of change is told of as a bad event; it moves nothing.
            seen = [moment for order in orders if (moment := _changed(order)) is not None]
            next_token = (body.get("pagination") or {}).get("nextToken")
            border = body.get("lastUpdatedBefore")
            if border and not next_token:
                seen.append(_moment(border))
        seen += [_moment(cursor[name]) for name in ("upto", "since") if cursor.get(name)]
        upto = max(seen, default=after).isoformat()
        if not next_token:
            place = _since(upto) | {"asked_at": begun_at}
            return OrderPage(orders=orders, cursor=place, more=False)
        place = _since(cursor.get("since")) | {
            "asked_at": begun_at, "after": after.isoformat(), "upto": upto,
            "token": str(next_token),
        }  # fmt: skip
        return OrderPage(orders=orders, cursor=place, more=True)

    def since(self, moment: datetime) -> Iterator[Order]:
        """All orders changed at `moment` or later; it ends. Raises SourceError."""
        token: str | None = None
        for _ in range(MAX_PAGES):
            try:
                body = self._search(moment, token)
            except Trouble as trouble:
                raise self._error(trouble, SEARCH_ORDERS.name) from trouble
            with understood(Purpose.SOURCE, system=self._api.system, call=SEARCH_ORDERS.name):
                found = list(body["orders"])
                token = (body.get("pagination") or {}).get("nextToken")
            yield from found
            if not token:
                return
        raise SourceRefused(
            f"more than {MAX_PAGES} pages", system=self._api.system, call=SEARCH_ORDERS.name,
            hint="ask for a shorter time.",
        )  # fmt: skip

    def order(self, order_id: str) -> Order | None:
        """One order as it stands; None where this marketplace has none. Raises SourceError."""
        try:
            body = self._api.call(
                GET_ORDER, f"{PATH}/{quote(order_id, safe='')}", params={"includedData": INCLUDED}
            )
        except Trouble as trouble:
            if trouble.status in {400, 404}:
                return None
            raise self._error(trouble, GET_ORDER.name) from trouble
        with understood(Purpose.SOURCE, system=self._api.system, call=GET_ORDER.name):
            order: Order = body["order"]
            market = order["salesChannel"].get("marketplaceId")
        return order if market in {None, self._marketplace_id} else None

    def _search(self, after: datetime, token: str | None) -> Mapping[str, Any]:
        params: dict[str, Any] = {
            "lastUpdatedAfter": _iso(after), "marketplaceIds": self._marketplace_id,
            "fulfilledBy": "MERCHANT", "maxResultsPerPage": self._page_size,
            "includedData": INCLUDED,
        }  # fmt: skip
        if token:
            params["paginationToken"] = token
        body = self._api.call(SEARCH_ORDERS, PATH, params=params)
        if not isinstance(body, dict):
            raise Trouble(Kind.UNKNOWN, "the answer is no JSON object")
        return body

    def _after(self, cursor: Cursor) -> datetime:
        """From where a new pass reads: a little before what was seen, since Amazon lags behind."""
        if cursor.get("since"):
            return datetime.fromisoformat(cursor["since"]) - self._overlap
        return self._since or self._clock() - FIRST_LOOK_BACK

    def _error(self, trouble: Trouble, call: str) -> Exception:
        return as_error(trouble, Purpose.SOURCE, system=self._api.system, call=call)


def _since(moment: str | None) -> Cursor:
    """The cursor between passes."""
    return {"since": moment} if moment else {}


def _changed(order: object) -> datetime | None:
    try:
        return _moment(order["lastUpdatedTime"]) if isinstance(order, dict) else None
    except (KeyError, ValueError):
        return None


def _moment(text: object) -> datetime:
    """A time with its zone. Raises ValueError for what is none."""
    return datetime.fromisoformat(utc_time(text))


def _iso(when: datetime) -> str:
    text = when.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
