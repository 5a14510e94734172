"""What happens at the grocer, a verb a method: stock moves and somebody is told.

Every method runs in one transaction of the state, at a position of the replay. The hub sees only
what is told; the state alone knows what is really there.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from inventory_pipeline.simulate.grocer import (
    case_name,
    csv_text,
    item_name,
    snapshot_path,
    snapshot_text,
)
from inventory_pipeline.simulate.grocer_stock import CASE, CODE_OF, DC, STORES, Opening
from inventory_pipeline.simulate.replay_state import ReplayState

LATE_PERCENT = 5
TWICE_PERCENT = 3
LATEST = 0.995  # nothing is told later than this, so that final counts come last
TRANSFER_TAKES = 0.07
DELIVERY_TAKES = 0.12
KEPT_IN_DC = 4
REORDER_DC = 6
REORDER_STORE = 4
Payload = Mapping[str, Any]


def chance(*about: str) -> int:
    """0 to 99, always the same for the same things."""
    return int.from_bytes(hashlib.sha256("/".join(about).encode()).digest()[:4]) % 100


class World:
    """The warehouse and the stores. `late` is the longest delay of a till, as a fraction."""

    def __init__(self, state: ReplayState, stock: Opening, *, late: float) -> None:
        self.state = state
        self.stock = stock
        self.late = late

    # -- tills --------------------------------------------------------------------------------

    def sale(self, at: float, payload: Payload) -> None:
        """A basket at a till. A till that is off line tells later; some lines are told twice."""
        place, basket = payload["place"], payload["basket"]
        offline = chance("late", basket)
        late = self.late * offline / LATE_PERCENT if offline < LATE_PERCENT else 0.0
        for sku, wanted in payload["lines"]:
            taken = min(wanted, self.state.free(place, sku))
            if taken < wanted:
                self.state.lose("empty_shelf", basket, sku, wanted - taken)
            if not taken:
                continue
            self.state.move(place, sku, on_hand=-taken)
            event = {"event_id": f"{basket}-{sku}", "type": "pos_sale", "location": CODE_OF[place]}
            self.tell(at, place, event | {"item": sku, "quantity": taken}, late=late)

    def unknown_item(self, at: float, payload: Payload) -> None:
        """A till sells something that no catalogue knows."""
        place = payload["place"]
        event = {"event_id": "unknown-1", "type": "pos_sale", "location": CODE_OF[place]}
        self.tell(at, place, event | {"item": "000000", "quantity": 1})

    # -- nights and deliveries ----------------------------------------------------------------

    def night(self, at: float, payload: Payload) -> None:
        """Stores that run low are sent goods; the warehouse orders what it runs low of."""
        day = payload["day"]
        for store in STORES:
            reference = f"T{day}-{CODE_OF[store]}"
            sent = [sku for sku in self._low(store) if self._send(at, reference, store, sku)]
            if sent:
                self.state.plan(at + TRANSFER_TAKES, "arrive", {"reference": reference})
        for sku in self._low(DC):
            missing = self.stock.on_hand[DC, sku] - self.state.free(DC, sku)
            cases = max(1, -(-missing // CASE))
            self.buy(at, {"sku": sku, "cases": cases, "reference": f"PO{day}-{sku}"})

    def buy(self, at: float, payload: Payload) -> None:
        """The warehouse expects cases of one item."""
        sku, reference = payload["sku"], payload["reference"]
        self.state.connection.execute(
            "INSERT INTO coming VALUES (?, ?, ?, ?)", (reference, DC, sku, payload["cases"] * CASE)
        )
        event = {
            "event_id": f"{reference}-expected",
            "type": "goods_expected",
            "reference": reference,
            "location": CODE_OF[DC],
            "item": case_name(sku),
            "quantity": payload["cases"],
            "expected_at": self._later(hours=1),
        }
        self.tell(at, DC, event)
        self.state.plan(at + DELIVERY_TAKES, "arrive", {"reference": reference})

    def arrive(self, at: float, payload: Payload) -> None:
        """What was on the way under a reference is put on the shelf."""
        reference = payload["reference"]
        for row in self.state.rows(
            "SELECT * FROM coming WHERE reference = ? ORDER BY sku", reference
        ):
            place, sku, units = row["location"], row["sku"], row["units"]
            self.state.move(place, sku, on_hand=units)
            event = {"event_id": f"{reference}-{sku}-in", "reference": reference}
            if place == DC:
                event |= {"type": "goods_received", "location": CODE_OF[DC]}
                self.tell(at, DC, event | {"item": case_name(sku), "quantity": units // CASE})
            else:
                event |= {"type": "transfer_received", "location": CODE_OF[DC]}
                event |= {"to_location": CODE_OF[place], "item": sku}
                self.tell(at, place, event | {"quantity": units})
        self.state.connection.execute("DELETE FROM coming WHERE reference = ?", (reference,))

    def _low(self, place: str) -> list[str]:
        least = REORDER_DC if place == DC else REORDER_STORE
        skus = sorted(sku for where, sku in self.stock.on_hand if where == place)
        coming = {
            row["sku"]
            for row in self.state.rows("SELECT sku FROM coming WHERE location = ?", place)
        }
        return [
            sku
            for sku in skus
            if sku not in self.stock.scarce
            and sku not in coming
            and self.state.free(place, sku) <= least
        ]

    def _send(self, at: float, reference: str, store: str, sku: str) -> bool:
        wanted = self.stock.on_hand[store, sku] - self.state.free(store, sku)
        units = min(wanted, self.state.free(DC, sku) - KEPT_IN_DC)
        if units <= 0:
            return False
        self.state.move(DC, sku, on_hand=-units)
        self.state.connection.execute(
            "INSERT INTO coming VALUES (?, ?, ?, ?)", (reference, store, sku, units)
        )
        event = {
            "event_id": f"{reference}-{sku}-out",
            "type": "transfer_shipped",
            "reference": reference,
            "location": CODE_OF[DC],
            "to_location": CODE_OF[store],
            "item": item_name(DC, sku),
            "quantity": units,
            "expected_at": self._later(minutes=10),
        }
        self.tell(at, DC, event)
        return True

    # -- mishaps and counts -------------------------------------------------------------------

    def damage(self, at: float, payload: Payload) -> None:
        self._block(at, payload, state="damaged", type_="damaged")

    def hold(self, at: float, payload: Payload) -> None:
        """Goods are set aside for inspection, and found good a little later."""
        units = self._block(at, payload, state="quality_control", type_="quality_held")
        if units:
            self.state.plan(at + 0.1, "release", {"sku": payload["sku"], "units": units})

    def release(self, at: float, payload: Payload) -> None:
        sku, units = payload["sku"], payload["units"]
        self.state.move(DC, sku, quality_control=-units)
        self._told_of_dc(at, "quality_held", sku, -units)

    def shrink(self, at: float, payload: Payload) -> None:
        """Less is there than was thought."""
        sku = payload["sku"]
        units = min(payload["units"], self.state.free(DC, sku))
        if units:
            self.state.move(DC, sku, on_hand=-units)
            self._told_of_dc(at, "adjusted", sku, -units, reason="shrink")

    def count_one(self, at: float, payload: Payload) -> None:
        """Somebody counts one shelf of a store."""
        place, sku = payload["place"], payload["sku"]
        event = {"event_id": f"count-{place}-{sku}-{at:.4f}", "type": "counted"}
        event |= {"location": CODE_OF[place], "item": sku}
        self.tell(at, place, event | {"quantity": self.state.on_hand(place, sku)})

    def count(self, at: float, payload: Payload) -> None:
        """A full count of one location, as a file."""
        place = payload["place"]
        rows = self.state.rows("SELECT * FROM stock WHERE location = ?", place)
        counts = {
            (place, row["sku"]): (row["on_hand"], row["damaged"], row["quality_control"])
            for row in rows
        }
        as_of = self.state.tick()
        number = int(self.state.get(f"counts_{place}", 1)) + 1
        self.state.put(f"counts_{place}", number)
        text = snapshot_text(place, as_of, counts)
        self.state.emit(at, "file", snapshot_path(place, number), text, as_of)

    def broken_line(self, at: float, _payload: Payload) -> None:
        """A line that the warehouse's export cut off."""
        line = '{"event_id": "cut-1", "type": "goods_issued", "occurred_at": "2026-'
        self.state.emit(at, "line", _file_of(DC), line, self.state.tick())

    def broken_count(self, at: float, _payload: Payload) -> None:
        """A count whose export lost the column that names the items: nothing of it can be used."""
        as_of = self.state.tick()
        rows = [(as_of.isoformat(), CODE_OF[DC], count) for count in (7, 12, 3)]
        text = csv_text(("as_of", "location", "on_hand"), rows)
        self.state.emit(at, "file", "landing/wms/stock-broken.csv", text, as_of)

    def _block(self, at: float, payload: Payload, *, state: str, type_: str) -> int:
        sku = payload["sku"]
        units = min(int(payload["units"]), self.state.free(DC, sku))
        if units:
            self.state.move(DC, sku, **{state: units})
            self._told_of_dc(at, type_, sku, units)
        return units

    def _told_of_dc(self, at: float, type_: str, sku: str, units: int, **more: str) -> None:
        event = {"event_id": f"{type_}-{sku}-{at:.4f}", "type": type_, "location": CODE_OF[DC]}
        self.tell(at, DC, event | {"item": item_name(DC, sku), "quantity": units} | more)

    # -- telling ------------------------------------------------------------------------------

    def tell(self, at: float, place: str, event: dict[str, Any], *, late: float = 0.0) -> None:
        """An event of a location's system goes into its file; a share goes there twice."""
        now = self.state.tick()
        line = json.dumps(event | {"occurred_at": now.isoformat(timespec="microseconds")})
        due = min(LATEST, at + late) if late else at
        self.state.emit(due, "line", _file_of(place), line, now)
        if chance("twice", event["event_id"]) < TWICE_PERCENT:
            again = max(due, min(LATEST, due + 0.01))
            self.state.emit(again, "line", _file_of(place), line, now)

    def _later(self, **ahead: int) -> str:
        moment: datetime = self.state.clock() + timedelta(**ahead)
        return moment.isoformat(timespec="seconds")


def _file_of(place: str) -> str:
    """The event file of a location's system, in the hub folder."""
    return "landing/wms/movements.jsonl" if place == DC else f"landing/pos/tills-{place}.jsonl"
