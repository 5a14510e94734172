"""SEMANTICS §3 to §5 in plain Python, sentence by sentence: slow, and meant to be read beside it.

Quantities are exact fractions of units. Nothing here looks at sql/.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from functools import cached_property
from typing import Any

from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.vocabulary import State

Event = Mapping[str, Any]
STATES = ("on_hand", "damaged", "quality_control", "committed", "reserved", "incoming")
PHYSICAL = ("on_hand", "damaged", "quality_control", "incoming")
LINE_EVENTS = (
    "order_placed",
    "order_adjusted",
    "order_cancelled",
    "order_fulfilled",
    "fulfilment_cancelled",
)
ORDER_EVENTS = (*LINE_EVENTS, "payment_failed", "payment_recovered")
OBSERVED_ONLY = (*ORDER_EVENTS, "reserved", "reservation_released")
OF_BUNDLES = (*LINE_EVENTS, "reserved", "goods_issued", "pos_sale", "returned")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One component of one order line, every term of §5 in units."""

    system: str
    order_id: str
    line_id: str
    sku: str
    item: str
    location: str | None
    channel: str | None
    first_event_at: datetime
    first_placed_at: datetime
    shipped: Fraction
    shipped_any: Fraction
    awaiting: Fraction
    open: Fraction


@dataclass(frozen=True, kw_only=True)
class Posting:
    state: str
    sku: str
    location: str
    occurred_at: datetime
    quantity: Fraction


class Stock:
    """Positions and order lines of one hub at one moment."""

    def __init__(
        self, hub: Hub, events: Sequence[Event], snapshots: Sequence[Any], at: datetime
    ) -> None:
        self.hub = hub
        self.at = at
        self.snapshots = [s for s in snapshots if s.as_of <= at]
        self.events = [
            e
            for e in events
            if e["occurred_at"] <= at
            and not (hub.systems[e["system"]].orders == "ignore" and e["type"] in OBSERVED_ONLY)
        ]

    # Items

    def parts(self, sku: str) -> dict[str, Fraction]:
        """What one of `sku` consists of, nested bundles flattened."""
        if self.hub.catalog.items[sku].kind == "simple":
            return {sku: Fraction(1)}
        flat: dict[str, Fraction] = defaultdict(Fraction)
        for part in self.hub.catalog.parts:
            if part.bundle_sku == sku:
                for component, quantity in self.parts(part.component_sku).items():
                    flat[component] += quantity * Fraction(part.quantity)
        return flat

    def components(self, event: Event) -> Iterator[tuple[str, Fraction]]:
        """(component, units) of an event; a bundle explodes where it may be named at all."""
        if event["sku"] is None:
            return
        units = Fraction(event["quantity_milli"] or 0, 1000)
        if self.hub.catalog.items[event["sku"]].kind == "simple":
            yield event["sku"], units
        elif event["type"] in OF_BUNDLES:
            for component, quantity in self.parts(event["sku"]).items():
                yield component, units * quantity

    # Ownership and snapshots

    def owner(self, state: str, location: str | None) -> str | None:
        return None if location is None else self.hub.owner(State(state), location)

    def owns(self, system: str, state: str, location: str | None) -> bool:
        return self.owner(state, location) == system

    def lag(self, state: str, location: str) -> timedelta:
        owner = self.owner(state, location)
        return self.hub.systems[owner].lag if owner else timedelta(0)

    def taken(self, state: str, sku: str, location: str) -> tuple[Fraction, datetime | None]:
        """The owner's latest accepted value, and its time T (None: before all time)."""
        owner = self.owner(state, location)
        said: list[tuple[Any, Fraction]] = []
        for snapshot in self.snapshots:
            if snapshot.system != owner:
                continue
            place = (snapshot.as_of, 0, snapshot.source)
            rows = [r for r in snapshot.rows if (r[0], r[1]) == (sku, location)]
            if any(held for *_, held in rows):
                continue
            cells = [r[2][state] for r in rows if r[2].get(state) is not None]
            if cells:
                said.append((place, Fraction(sum(cells), 1000)))
            elif (
                not rows
                and snapshot.complete
                and state in snapshot.states
                and any(r[1] == location for r in snapshot.rows)
            ):
                said.append((place, Fraction(0)))
        if state == "on_hand":
            of_count = ("counted", owner, location, sku)
            for e in self.events:
                if (e["type"], e["system"], e["location"], e["sku"]) == of_count:
                    place = (e["occurred_at"], 1, e["event_id"])
                    said.append((place, Fraction(e["quantity_milli"], 1000)))
        if not said:
            return Fraction(0), None
        place, value = max(said, key=lambda pair: pair[0])
        return value, place[0]

    # Postings

    @cached_property
    def postings(self) -> list[Posting]:
        return [*self._physical_postings(), *self._incoming_postings()]

    def _physical_postings(self) -> Iterator[Posting]:
        for e in self.events:
            for sku, units in self.components(e):
                for state, location, quantity in self._effects(e, sku, units):
                    if self.owns(e["system"], state, location):
                        yield Posting(
                            state=state,
                            sku=sku,
                            location=location,
                            occurred_at=e["occurred_at"],
                            quantity=quantity,
                        )

    def _effects(self, e: Event, sku: str, q: Fraction) -> list[tuple[str, str, Fraction]]:
        here, there = e["location"], e["to_location"]
        proved = e["type"] in ("order_fulfilled", "fulfilment_cancelled") and self.proved_there(
            e, sku
        )
        posts = {
            "goods_received": [("on_hand", here, q)],
            "goods_issued": [("on_hand", here, -q)],
            "transfer_shipped": [("on_hand", here, -q)],
            "transfer_received": [("on_hand", there, q)],
            "adjusted": [("on_hand", here, q)],
            "damaged": [("damaged", here, q)],
            "quality_held": [("quality_control", here, q)],
            "pos_sale": [("on_hand", here, -q)],
            "order_fulfilled": [] if proved else [("on_hand", here, -q)],
            "fulfilment_cancelled": [] if proved else [("on_hand", here, q)],
        }
        if e["type"] == "returned":
            restocked = [("on_hand", here, q)]
            return {
                "restock": restocked,
                "inspect": [*restocked, ("quality_control", here, q)],
                "discard": [],
            }[e["disposition"]]
        return posts.get(e["type"], [])

    # References

    @cached_property
    def _reports(self) -> dict[tuple[str, str, str], list[Event]]:
        """The events that count for incoming, per (reference, destination, sku), in order."""
        found: dict[tuple[str, str, str], list[Event]] = defaultdict(list)
        for e in self.events:
            if e["reference"] is None or e["sku"] is None:
                continue
            if self.hub.catalog.items[e["sku"]].kind == "bundle":
                continue
            if e["type"] in ("goods_expected", "goods_received"):
                found[e["reference"], e["location"], e["sku"]].append(e)
            elif e["type"] in ("transfer_shipped", "transfer_received"):
                found[e["reference"], e["to_location"], e["sku"]].append(e)
        return {key: self._in_order(key[1], reports) for key, reports in found.items()}

    def _in_order(self, destination: str, reports: list[Event]) -> list[Event]:
        def adds(e: Event) -> bool:
            return e["type"] in ("goods_expected", "transfer_shipped")

        by_owner = [e for e in reports if self.owns(e["system"], "incoming", destination)]
        counting = list(by_owner)
        if not any(adds(e) for e in by_owner):
            counting += [
                e
                for e in reports
                if e not in by_owner
                and e["type"] == "transfer_shipped"
                and self.owns(e["system"], "on_hand", e["location"])
            ]
        return sorted(
            counting, key=lambda e: (e["occurred_at"], not adds(e), e["event_id"], e["system"])
        )

    def _replayed(self, reports: list[Event]) -> tuple[list[Fraction], Fraction]:
        """What each report posts to incoming, and what stays open."""
        posted, left = [], Fraction(0)
        for e in reports:
            q = Fraction(e["quantity_milli"], 1000)
            change = q if e["type"] in ("goods_expected", "transfer_shipped") else -min(q, left)
            left += change
            posted.append(change)
        return posted, left

    def _incoming_postings(self) -> Iterator[Posting]:
        for (_, destination, sku), reports in self._reports.items():
            for e, quantity in zip(reports, self._replayed(reports)[0], strict=True):
                yield Posting(
                    state="incoming",
                    sku=sku,
                    location=destination,
                    occurred_at=e["occurred_at"],
                    quantity=quantity,
                )

    def due(self, sku: str, location: str, until: datetime) -> Fraction:
        """Σ open references whose date is at or before `until`."""
        total = Fraction(0)
        for (_, destination, of_sku), reports in self._reports.items():
            if (destination, of_sku) == (location, sku):
                dates = [
                    (e["occurred_at"], e["event_id"], e["expected_at"])
                    for e in reports
                    if e["expected_at"] is not None
                ]
                if dates and max(dates)[2] <= until:
                    total += self._replayed(reports)[1]
        return total

    # Positions

    def position(self, state: str, sku: str, location: str) -> Fraction:
        value, taken_at = self.taken(state, sku, location)
        lag = self.lag(state, location)
        for p in self.postings:
            if (p.state, p.sku, p.location) != (state, sku, location):
                continue
            lowers = p.quantity < 0 if state in ("on_hand", "incoming") else p.quantity > 0
            if (
                taken_at is None
                or p.occurred_at > taken_at
                or (lowers and p.occurred_at > taken_at - lag)
            ):
                value += p.quantity
        if state == "committed":
            value += sum(
                (
                    line.open
                    for line in self.lines
                    if (line.sku, line.location) == (sku, location)
                    and (taken_at is None or line.first_event_at > taken_at - lag)
                ),
                Fraction(0),
            )
        if state == "reserved":
            value += sum(
                (
                    units
                    for e, component, units in self.reservations
                    if (component, e["location"]) == (sku, location)
                    and (taken_at is None or self.first_reserved_at(e) > taken_at - lag)
                ),
                Fraction(0),
            )
        return value

    # Reservations

    @cached_property
    def reservations(self) -> list[tuple[Event, str, Fraction]]:
        """(event, component, units) of every open one."""
        closed = {
            (e["system"], e["reservation_id"])
            for e in self.events
            if e["type"] == "reservation_released"
        }
        return [
            (e, component, units)
            for e in self.events
            if e["type"] == "reserved"
            and (e["system"], e["reservation_id"]) not in closed
            and not (e["expires_at"] is not None and e["expires_at"] <= self.at)
            for component, units in self.components(e)
        ]

    def first_reserved_at(self, reservation: Event) -> datetime:
        return min(
            e["occurred_at"]
            for e in self.events
            if e["type"] == "reserved"
            and (e["system"], e["reservation_id"])
            == (reservation["system"], reservation["reservation_id"])
        )

    # Order lines

    def known_channel(self, name: str | None) -> str | None:
        return name if name in self.hub.channels else None

    @cached_property
    def line_keys(self) -> set[tuple[str, str, str]]:
        return {
            (e["system"], e["order_id"], e["line_id"])
            for e in self.events
            if e["type"] == "order_placed"
        }

    def proved_line(self, e: Event) -> tuple[str, str, str] | None:
        """The line that a goods_issued proves, if any."""
        if e["type"] != "goods_issued" or e["line_id"] is None or e["order_id"] is None:
            return None
        if not self.owns(e["system"], "on_hand", e["location"]):
            return None
        own = (e["system"], e["order_id"], e["line_id"])
        if own in self.line_keys:
            return own
        others = [key for key in self.line_keys if key[1:] == own[1:]]
        return others[0] if len(others) == 1 else None

    @cached_property
    def proofs(self) -> list[tuple[tuple[str, str, str], str, Event, Fraction]]:
        """(line, component, event, units)."""
        return [
            (key, component, e, units)
            for e in self.events
            if (key := self.proved_line(e)) is not None
            for component, units in self.components(e)
        ]

    def proved_there(self, e: Event, sku: str) -> bool:
        """A goods_issued at the event's location proves this component of its line."""
        key = (e["system"], e["order_id"], e["line_id"])
        return any(
            line == key and component == sku and proof["location"] == e["location"]
            for line, component, proof, _ in self.proofs
        )

    def accounted(self, e: Event, sku: str) -> bool:
        if self.owns(e["system"], "on_hand", e["location"]) and not self.proved_there(e, sku):
            return True
        if self.owner("on_hand", e["location"]) is None:
            return False
        _, taken_at = self.taken("on_hand", sku, e["location"])
        lag = self.lag("on_hand", e["location"])
        return taken_at is not None and taken_at - lag >= e["occurred_at"]

    def of_line(self, key: tuple[str, str, str]) -> list[Event]:
        return [
            e
            for e in self.events
            if e["type"] in LINE_EVENTS and (e["system"], e["order_id"], e["line_id"]) == key
        ]

    def cancelled_whole(self, key: tuple[str, str, str]) -> bool:
        return any(
            e["type"] == "order_cancelled"
            and (e["system"], e["order_id"]) == key[:2]
            and (e["line_id"] is None or (e["line_id"] == key[2] and e["quantity_milli"] is None))
            for e in self.events
        )

    def payment_failed(self, key: tuple[str, str, str]) -> bool:
        payments = [
            (e["occurred_at"], e["type"] == "payment_recovered")
            for e in self.events
            if e["type"] in ("payment_failed", "payment_recovered")
            and (e["system"], e["order_id"]) == key[:2]
        ]
        return bool(payments) and not max(payments)[1]

    @cached_property
    def lines(self) -> list[Line]:
        return [line for key in sorted(self.line_keys) for line in self._components_of(key)]

    def latest(self, placed: list[Event], field: str) -> Any:
        named = [e for e in placed if e[field] is not None]
        if field == "channel":
            named = [e for e in named if self.known_channel(e["channel"])]
        if not named:
            return None
        return max(named, key=lambda e: (e["occurred_at"], e["event_id"]))[field]

    def _components_of(self, key: tuple[str, str, str]) -> Iterator[Line]:
        events = self.of_line(key)
        placed = [e for e in events if e["type"] == "order_placed"]
        item = self.latest(placed, "sku")
        sums: dict[str, dict[str, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
        for e in events:
            whole = {**e, "sku": e["sku"] or item}
            for sku, units in self.components(whole):
                sums[sku][e["type"]] += units
                if e["type"] == "order_fulfilled" and self.accounted(e, sku):
                    sums[sku]["said"] += units
        for line, sku, _, units in self.proofs:
            if line == key:
                sums[sku]["proved"] += units
        released = self.cancelled_whole(key) or self.payment_failed(key)
        for sku, s in sums.items():
            ordered = s["order_placed"] + s["order_adjusted"]
            back = s["fulfilment_cancelled"]
            shipped = max(Fraction(0), max(s["proved"], s["said"]) - back)
            shipped_any = max(Fraction(0), max(s["proved"], s["order_fulfilled"]) - back)
            first = max(Fraction(0), ordered - s["order_cancelled"] - shipped_any)
            awaiting = max(Fraction(0), min(shipped_any, ordered) - shipped)
            yield Line(
                system=key[0],
                order_id=key[1],
                line_id=key[2],
                sku=sku,
                item=item,
                location=self.latest(placed, "location"),
                channel=self.latest(placed, "channel"),
                first_event_at=min(e["occurred_at"] for e in events),
                first_placed_at=min(e["occurred_at"] for e in placed),
                shipped=shipped,
                shipped_any=shipped_any,
                awaiting=awaiting,
                open=(Fraction(0) if released else first) + awaiting,
            )
