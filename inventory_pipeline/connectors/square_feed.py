"""The ledger of Square as a feed: changes that were received since the cursor.

Square sorts by when a change happened and filters by when it was received, so a pass is read to its
end before the cursor moves: {"since": newest receipt seen, "upto": newest of this pass, "cursor":
Square's page within the pass}. A pass begins `overlap` before `since`; what comes twice is the same
event with the same id.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from inventory_pipeline.connectors.events import unreadable_event
from inventory_pipeline.connectors.http import Purpose, Trouble, as_error, understood
from inventory_pipeline.connectors.square_api import Refusal, SquareApi
from inventory_pipeline.connectors.square_catalog import Catalog
from inventory_pipeline.connectors.square_changes import change_events, change_time
from inventory_pipeline.core.errors import SourceError
from inventory_pipeline.core.ports import ChangePage, Cursor, RawEvent

PATH = "/v2/inventory/changes/batch-retrieve"
CALL = "read changes"
TYPES = ["PHYSICAL_COUNT", "ADJUSTMENT"]
PER_PAGE = 1_000


class ChangeFeed:
    """Inventory changes of one merchant, at these locations or at all."""

    def __init__(
        self,
        api: SquareApi,
        catalog: Catalog,
        *,
        location_ids: Sequence[str],
        since: datetime | None,
        overlap: timedelta,
        page_size: int,
        as_orders: bool,
    ) -> None:
        self._api = api
        self._catalog = catalog
        self._location_ids = list(location_ids)
        self._since = since
        self._overlap = overlap
        self._page_size = page_size
        self._as_orders = as_orders

    def page(self, cursor: Cursor) -> ChangePage:
        """The next changes as events. Raises SourceError."""
        token = cursor.get("cursor")
        query = self._query(self._after(cursor)) | ({"cursor": token} if token else {})
        try:
            body = self._api.call("POST", PATH, again=True, json=query)
        except Trouble as trouble:
            if not (token and isinstance(trouble, Refusal) and "INVALID_CURSOR" in trouble.codes):
                raise as_error(
                    trouble, Purpose.SOURCE, system=self._api.system, call=CALL
                ) from trouble
            # The page's cursor does not hold any more: the pass begins again.
            return ChangePage(events=[], cursor=_since(cursor.get("since")), more=True)
        with understood(Purpose.SOURCE, system=self._api.system, call=CALL):
            changes = list(body.get("changes") or [])
            following = body.get("cursor")
        seen = [t for t in map(_received_at, changes) if t]
        upto = max([*seen, cursor.get("upto") or "", cursor.get("since") or ""])
        events = self.events(changes, "poll changes")
        if not following:
            return ChangePage(events=events, cursor=_since(upto), more=False)
        place = _since(cursor.get("since")) | {"upto": upto, "cursor": str(following)}
        return ChangePage(events=events, cursor=place, more=True)

    def about(self, places: Mapping[str, datetime | None], source: str) -> list[RawEvent]:
        """Events of these catalogue objects, received at the given times or later.

        What a webhook names is only a hint; the ledger is read. Raises SourceError.
        """
        if not places:
            return []
        times = [time for time in places.values() if time is not None]
        after = min(times) - self._overlap if len(times) == len(places) else self._since
        query = self._query(after) | {"catalog_object_ids": sorted(places)}
        return self.events(list(self._pages(query)), source)

    def sales_since(self, moment: datetime) -> Iterator[RawEvent]:
        """Events of all changes that were received at `moment` or later. Raises SourceError."""
        for change in self._pages(self._query(moment - timedelta(seconds=1))):
            yield from self.events([change], "change list")

    def events(self, changes: Sequence[Any], source: str) -> list[RawEvent]:
        """Events of changes; one that cannot be read is kept aside and stops no other."""
        found: list[RawEvent] = []
        for change in changes:
            try:
                bodies = change_events(change, self._item_of, as_orders=self._as_orders)
            except SourceError:
                raise
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                found.append(unreadable_event(change, error, source=source, named="id"))
            else:
                found += [
                    RawEvent(body=body, source=source, position=body["event_id"]) for body in bodies
                ]
        return found

    def _pages(self, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        return self._api.entries(
            "POST", PATH, purpose=Purpose.SOURCE, call=CALL, query=query, items="changes"
        )

    def _query(self, after: datetime | None) -> dict[str, Any]:
        query: dict[str, Any] = {"types": TYPES, "limit": self._page_size}
        if after is not None:
            query["updated_after"] = _iso(after)
        if self._location_ids:
            query["location_ids"] = self._location_ids
        return query

    def _after(self, cursor: Cursor) -> datetime | None:
        if cursor.get("since"):
            return datetime.fromisoformat(cursor["since"]) - self._overlap
        return self._since

    def _item_of(self, variation: str) -> str:
        return self._catalog.external_of(variation, Purpose.SOURCE)


def _received_at(change: Any) -> str:
    """The time of receipt, "" where it cannot be read: the event says so."""
    try:
        text = change_time(change)
        return _iso(datetime.fromisoformat(text))
    except (KeyError, TypeError, ValueError, AttributeError):
        return ""


def _since(moment: str | None) -> Cursor:
    return {"since": moment} if moment else {}


def _iso(when: datetime) -> str:
    """Milliseconds and Z: times of one length compare as text."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
