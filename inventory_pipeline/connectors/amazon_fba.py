"""Stock in Amazon's own warehouses as snapshots: FBA inventory summaries.

One snapshot a window of time: its key is the window, so that it lands once whoever asks. Amazon's
numbers become the hub's states like this:

    on_hand          fulfillable + reserved + unfulfillable + researching
    damaged          unfulfillable
    quality_control  researching
    committed        reserved for orders of customers
    reserved         reserved for transfers between warehouses and for work in them
    incoming         shipped to Amazon or being received; what is only announced stands with the
                     sender still
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from inventory_pipeline.connectors.amazon_api import (
    INVENTORY_SUMMARIES,
    SellingPartner,
)
from inventory_pipeline.connectors.http import Purpose, Trouble, as_error, understood
from inventory_pipeline.core.errors import SourceRefused
from inventory_pipeline.core.ports import RawSnapshot

PATH = "/fba/inventory/v1/summaries"
CALL = INVENTORY_SUMMARIES.name
MAX_PAGES = 10_000
BEGINNINGS = 3  # a page's token lives 30 s; who comes too late begins again
COLUMNS = (
    "as_of", "location", "item", "on_hand", "damaged", "quality_control", "committed", "reserved",
    "incoming",
)  # fmt: skip
Row = dict[str, str]


class TokenExpired(Exception):
    """The token of the next page lives no more."""


class FbaSnapshots:
    """What lies with Amazon, all skus at once, as stock of one location."""

    def __init__(
        self,
        api: SellingPartner,
        *,
        marketplace_id: str,
        location: str,
        every: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._marketplace_id = marketplace_id
        self._location = location
        self._every = every
        self._clock = clock

    def new(self, seen: frozenset[str]) -> Iterator[RawSnapshot]:
        """The snapshot of this window, if it did not land yet. Raises SourceError."""
        now = self._clock()
        window = int(now.timestamp() // self._every.total_seconds())
        begins = datetime.fromtimestamp(window * self._every.total_seconds(), UTC)
        key = f"fba/{self._marketplace_id}/{begins:%Y-%m-%dT%H:%M:%SZ}"
        if key not in seen:
            yield self._read(key)

    def _read(self, key: str) -> RawSnapshot:
        for _ in range(BEGINNINGS):
            # What changes while pages are read may or may not be in them: the beginning counts.
            as_of = self._clock()
            try:
                rows = list(self._rows(as_of))
            except TokenExpired:
                continue
            return RawSnapshot(
                source=f"FBA inventory {as_of:%H:%M:%S}", key=key, frame=_frame(rows)
            )
        raise SourceRefused(
            f"the token of its next page had expired, {BEGINNINGS} times from the beginning",
            system=self._api.system,
            call=CALL,
            hint="Amazon or the way there is slow; it is tried again at the next poll.",
        )

    def _rows(self, as_of: datetime) -> Iterator[Row]:
        token: str | None = None
        for _ in range(MAX_PAGES):
            body = self._page(token)
            with understood(Purpose.SOURCE, system=self._api.system, call=CALL):
                for summary in body["payload"]["inventorySummaries"]:
                    yield self._row_or_bad_row(summary, as_of)
                token = (body.get("pagination") or {}).get("nextToken")
            if not token:
                return
        raise SourceRefused(
            f"more than {MAX_PAGES} pages", system=self._api.system, call=CALL,
            hint="this looks endless: report it.",
        )  # fmt: skip

    def _page(self, token: str | None) -> Any:
        params = {
            "details": "true", "granularityType": "Marketplace",
            "granularityId": self._marketplace_id, "marketplaceIds": self._marketplace_id,
        }  # fmt: skip
        if token is not None:
            params["nextToken"] = token
        try:
            return self._api.call(INVENTORY_SUMMARIES, PATH, params=params, urgent=False)
        except Trouble as trouble:
            if token is not None and trouble.status == 400:
                raise TokenExpired from trouble
            raise as_error(trouble, Purpose.SOURCE, system=self._api.system, call=CALL) from trouble

    def _row_or_bad_row(self, summary: Any, as_of: datetime) -> Row:
        """A row; what cannot be read becomes one that goes to quarantine, and the others count."""
        try:
            return self._row(summary, as_of)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            sku = summary.get("sellerSku") if isinstance(summary, Mapping) else None
            return {
                "as_of": as_of.astimezone(UTC).isoformat(),
                "location": self._location,
                "item": str(sku or ""),
                "on_hand": f"unreadable: {type(error).__name__} {error}",
            }

    def _row(self, summary: Mapping[str, Any], as_of: datetime) -> Row:
        details = summary["inventoryDetails"]
        held = details.get("reservedQuantity") or {}
        reserved = _units(held, "totalReservedQuantity")
        committed = _units(held, "pendingCustomerOrderQuantity")
        broken = _units(details.get("unfulfillableQuantity") or {}, "totalUnfulfillableQuantity")
        lost = _units(details.get("researchingQuantity") or {}, "totalResearchingQuantity")
        coming = _units(details, "inboundShippedQuantity") + _units(
            details, "inboundReceivingQuantity"
        )
        numbers = {
            "on_hand": _units(details, "fulfillableQuantity") + reserved + broken + lost,
            "damaged": broken,
            "quality_control": lost,
            "committed": committed,
            "reserved": reserved - committed,
            "incoming": coming,
        }
        return {
            "as_of": as_of.astimezone(UTC).isoformat(),
            "location": self._location,
            "item": str(summary["sellerSku"]),
            **{name: str(units) for name, units in numbers.items()},
        }


def _units(holder: Mapping[str, Any], name: str) -> int:
    """A count, 0 where Amazon says nothing. Raises ValueError for anything but a whole number."""
    value = holder.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} {value!r} is no whole number")  # noqa: TRY004
    return value


def _frame(rows: list[Row]) -> Any:
    import pandas as pd

    return pd.DataFrame(rows, columns=list(COLUMNS), dtype="str")
