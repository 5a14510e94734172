"""Tryton over JSON-RPC: what the warehouses hold as snapshots, finished moves as events.

Options: `url`, `database`, `username`, `password`, `warehouses`, `snapshot_every_s`,
`snapshot_states`, `moves_since`, `overlap_s`, `page_size`, `order_field`, `line_field`, `timeout_s`
(docs/tryton.md). It is only read: nothing is ever written there.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import httpx

from inventory_pipeline.connectors.http import Caller, Purpose, Trouble, as_error, understood
from inventory_pipeline.connectors.options import Options
from inventory_pipeline.connectors.times import clock_of
from inventory_pipeline.connectors.tracing import traced
from inventory_pipeline.connectors.tryton_moves import Reader
from inventory_pipeline.connectors.tryton_places import Places
from inventory_pipeline.connectors.tryton_rpc import Row, Rpc
from inventory_pipeline.connectors.tryton_stock import STATES, frame_of, read_stock
from inventory_pipeline.core.errors import HubError, SourceRefused, SystemFailure
from inventory_pipeline.core.ports import (
    Capabilities,
    ChangePage,
    Clock,
    Cursor,
    Delivery,
    Level,
    LevelWrite,
    ListingRef,
    Opening,
    RawEvent,
    RawSnapshot,
    Verified,
    WriteOutcome,
)

MOVE = "stock.move"
ONE_SECOND = timedelta(seconds=1)


class TrytonConnector:
    """One database. `transport` and `clock` are for tests."""

    EXAMPLE: ClassVar[Mapping[str, str]] = {
        "url": "https://erp.example.com",
        "database": "tryton",
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
        options = Options(opening, "tryton")
        self.system = opening.system
        url, database = options.text("url"), options.text("database")
        username, password = options.text("username"), options.secret("password")
        self._warehouses = options.texts("warehouses")
        self._every_s = int(options.number("snapshot_every_s", 900, least=1, most=86_400))
        chosen = options.texts("snapshot_states") or STATES[:1]
        self._since = options.time("moves_since")
        self._overlap = timedelta(seconds=options.number("overlap_s", 120, least=1, most=86_400))
        self._page_size = int(options.number("page_size", 500, least=1, most=10_000))
        order_field = options.text("order_field", "shipment.reference")
        line_field = options.text("line_field", "product.code")
        timeout_s = options.number("timeout_s", 60, least=0.05, most=600)
        options.finish()
        self._states = _checked_states(self.system, chosen)
        self._clock = clock
        self._caller = Caller(
            system=opening.system,
            base_url=url,
            timeout_s=timeout_s,
            transport=traced(transport),
            limiter=opening.limiter,
        )
        self._rpc = Rpc(self._caller, database=database, username=username, password=password)
        self._reader = Reader(self._rpc, order_field=order_field, line_field=line_field)
        self.capabilities = Capabilities(snapshots=True, changes=True)

    def snapshots(self, seen: frozenset[str]) -> Iterator[RawSnapshot]:
        """One snapshot in every `snapshot_every_s`, of all warehouses.

        It is dated by the server's own clock, when its last page had been read: a move that was
        finished meanwhile may be in it or not. `lag` in hub.yaml covers that time for whatever
        lowers the stock.
        """
        slot = int(self._clock().timestamp()) // self._every_s * self._every_s
        key = f"stock@{datetime.fromtimestamp(slot, UTC):%Y-%m-%dT%H:%M:%SZ}"
        if key in seen:
            return
        call = "read stock"
        try:
            with understood(Purpose.SOURCE, system=self.system, call=call):
                places = Places.read(self._rpc, self._warehouses)
                self._check_warehouses(places)
                cells = read_stock(self._rpc, places, self._states, self._clock())
        except Trouble as trouble:
            raise self._error(trouble, call) from trouble
        # The server tells whole seconds: the next one is surely not before the reading's end.
        as_of = (self._rpc.server_time or self._clock()) + ONE_SECOND
        yield RawSnapshot(source=key, key=key, frame=frame_of(cells, self._states, as_of))

    def changes(self, cursor: Cursor) -> ChangePage:
        """Moves that were finished since the cursor.

        A row has a write_date only after its first change, so both dates are asked for. Within a
        pass rows come by their number: those that change meanwhile are dated after its beginning
        and come in the next one. The cursor is {"since": newest date at the last pass's beginning,
        "until" and "after": of the pass under way}.
        """
        call = "read moves"
        try:
            with understood(Purpose.SOURCE, system=self.system, call=call):
                return self._page(cursor)
        except Trouble as trouble:
            raise self._error(trouble, call) from trouble

    def _page(self, cursor: Cursor) -> ChangePage:
        since = datetime.fromisoformat(cursor["since"]) if cursor.get("since") else None
        until = datetime.fromisoformat(cursor["until"]) if cursor.get("until") else self._newest()
        if until is None:
            return ChangePage(events=[], cursor=cursor, more=False)
        rows = self._finished(since, int(cursor.get("after") or 0))
        events = self._reader.events(rows, Places.read(self._rpc, self._warehouses)) if rows else []
        if len(rows) < self._page_size:
            return ChangePage(events=events, cursor={"since": until.isoformat()}, more=False)
        moved: Cursor = {"until": until.isoformat(), "after": int(rows[-1]["id"])}
        if since is not None:
            moved["since"] = since.isoformat()
        return ChangePage(events=events, cursor=moved, more=True)

    def _finished(self, since: datetime | None, after: int) -> list[Row]:
        domain: list[object] = [["state", "=", "done"], ["id", ">", after]]
        begin = self._since if since is None else since - self._overlap
        if begin is not None:
            domain.append(["OR", ["write_date", ">", begin], ["create_date", ">", begin]])
        return self._rpc.search_read(
            MOVE, domain, self._reader.fields, order=[["id", "ASC"]], limit=self._page_size
        )

    def _newest(self) -> datetime | None:
        """The newest change of any move."""
        found = []
        for field in ("write_date", "create_date"):
            rows = self._rpc.search_read(
                MOVE, [[field, "!=", None]], [field], order=[[field, "DESC"]], limit=1
            )
            found += [row[field] for row in rows]
        return max(found, default=None)

    def _check_warehouses(self, places: Places) -> None:
        missing = [name for name in self._warehouses if name not in places.warehouses]
        if missing or not places.warehouses:
            raise SourceRefused(
                f"there is no warehouse {', '.join(missing)}".rstrip(),
                system=self.system,
                call="read stock",
                hint="compare `warehouses` with the codes of the warehouses in Tryton.",
            )

    def _error(self, trouble: Trouble, call: str) -> SystemFailure:
        return as_error(trouble, Purpose.SOURCE, system=self.system, call=call)

    def verify(self, delivery: Delivery) -> Verified:
        raise NotImplementedError("Tryton sends no webhooks")

    def parse(self, topic: str, delivery: Delivery) -> Sequence[RawEvent]:
        raise NotImplementedError("Tryton sends no webhooks")

    def read_levels(self, listings: Sequence[ListingRef] | None) -> Iterator[Level]:
        raise NotImplementedError("Tryton is read as snapshots")

    def write_levels(self, writes: Sequence[LevelWrite], *, key: str) -> list[WriteOutcome]:
        raise NotImplementedError("nothing is written to Tryton")

    def close(self) -> None:
        self._caller.close()


def _checked_states(system: str, chosen: tuple[str, ...]) -> tuple[str, ...]:
    wrong = [state for state in chosen if state not in STATES]
    if wrong or STATES[0] not in chosen:
        raise HubError(
            f"hub.yaml: systems.{system}.options.snapshot_states must be on_hand and any of "
            f"{', '.join(STATES[1:])}, not {', '.join(chosen)}",
            hint="docs/tryton.md says what each is.",
        )
    return tuple(state for state in STATES if state in chosen)
