"""Which entry spoke last of a position: the owner's newest posting that counts, or its snapshot.

It names entries and computes no number: how many units a position has is decided in sql/.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.vocabulary import Disposition, EventType, State
from inventory_pipeline.flow.replay import Said

Event = Mapping[str, Any]  # a row of the ledger's EVENT_SCHEMA
Place = tuple[State, str]

# What each type of event posts to, and which of its fields says where (SEMANTICS §4).
_POSTS: Mapping[str, tuple[tuple[State, str], ...]] = {
    EventType.GOODS_EXPECTED: ((State.INCOMING, "location"),),
    EventType.GOODS_RECEIVED: ((State.ON_HAND, "location"), (State.INCOMING, "location")),
    EventType.GOODS_ISSUED: ((State.ON_HAND, "location"),),
    EventType.TRANSFER_SHIPPED: ((State.ON_HAND, "location"), (State.INCOMING, "to_location")),
    EventType.TRANSFER_RECEIVED: ((State.ON_HAND, "to_location"), (State.INCOMING, "to_location")),
    EventType.ADJUSTED: ((State.ON_HAND, "location"),),
    EventType.DAMAGED: ((State.DAMAGED, "location"),),
    EventType.QUALITY_HELD: ((State.QUALITY_CONTROL, "location"),),
    EventType.ORDER_FULFILLED: ((State.ON_HAND, "location"),),
    EventType.FULFILMENT_CANCELLED: ((State.ON_HAND, "location"),),
    EventType.RETURNED: ((State.ON_HAND, "location"), (State.QUALITY_CONTROL, "location")),
    EventType.POS_SALE: ((State.ON_HAND, "location"),),
}
_TAKES = {EventType.GOODS_ISSUED, EventType.TRANSFER_SHIPPED, EventType.POS_SALE}
_ORDER_TYPES = {
    EventType.ORDER_PLACED, EventType.ORDER_ADJUSTED, EventType.ORDER_CANCELLED,
    EventType.PAYMENT_FAILED, EventType.PAYMENT_RECOVERED, EventType.ORDER_FULFILLED,
    EventType.FULFILMENT_CANCELLED,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWord:
    """The last valid update of one state at one location, and the position that it led to.

    `kind` is event, count, snapshot, or "" where nobody has said anything; `event_id` and `type`
    are those of an event, `source` that of a snapshot.
    """

    location: str
    state: str
    quantity_milli: int
    owner: str
    kind: str = ""
    system: str = ""
    event_id: str = ""
    type: str = ""
    source: str = ""
    occurred_at: datetime | None = None
    ledger_offset: int | None = None


def last_words(
    position: Mapping[str, Any],
    hub: Hub,
    events: Sequence[Event],
    snapshots: Sequence[Said],
    lines: Sequence[Mapping[str, Any]],
) -> list[LastWord]:
    """One for each state of a row of Engine.positions that anybody owns or has spoken of.

    `events` are the sku's own and those of its bundles, dated at or before the moment; `lines` the
    rows of Engine.order_lines for the sku.
    """
    told = _Told(position, hub, events, snapshots, lines)
    words = (told.word(state) for state in State)
    return [word for word in words if word.owner or word.kind or word.quantity_milli]


class _Told:
    """Everything that was said of one sku at one location."""

    def __init__(
        self,
        position: Mapping[str, Any],
        hub: Hub,
        events: Sequence[Event],
        snapshots: Sequence[Said],
        lines: Sequence[Mapping[str, Any]],
    ) -> None:
        self.position = position
        self.location: str = position["location"]
        self.hub = hub
        self.events = events
        self.snapshots = snapshots
        self.lines = [line for line in lines if line["location"] == self.location]

    def word(self, state: State) -> LastWord:
        owner = self.hub.owner(state, self.location) or ""
        found = max(self._counting(state, owner), key=_by_time, default=None)
        base = {
            "location": self.location,
            "state": str(state),
            "quantity_milli": self.position[f"{state}_milli"],
            "owner": owner,
        }
        if found is not None:
            return LastWord(**base, **_event(found, "event"))
        return LastWord(**base, **self._taken(state, owner))

    def _counting(self, state: State, owner: str) -> Iterator[Event]:
        if state is State.COMMITTED:
            return self._of_orders(owner)
        if state is State.RESERVED:
            return self._of_reservations(owner)
        return (e for e in self.events if self._posts(e, state, owner))

    def _posts(self, event: Event, state: State, owner: str) -> bool:
        """Whether a posting of the event is part of the position (SEMANTICS §3)."""
        if not any(
            posted is state and event[place] == self.location
            for posted, place in _POSTS.get(event["type"], ())
        ):
            return False
        if event["type"] == EventType.RETURNED and not _returns(event, state):
            return False
        if event["type"] in _ORDER_TYPES and not counts_orders(self.hub, event["system"]):
            return False
        shipper = (
            state is State.INCOMING
            and event["type"] == EventType.TRANSFER_SHIPPED
            and self.hub.owner(State.ON_HAND, event["location"]) == event["system"]
        )
        if event["system"] != owner and not shipper:
            return False
        return self._after_snapshot(event["occurred_at"], state, owner, _lowers(event, state))

    def _after_snapshot(self, at: datetime, state: State, owner: str, lowers: bool) -> bool:
        taken_at: datetime | None = self.position[f"{state}_taken_at"]
        lag = self.hub.systems[owner].lag if owner and lowers else timedelta(0)
        return taken_at is None or at > taken_at - lag

    def _of_orders(self, owner: str) -> Iterator[Event]:
        for line in self.lines:
            if not self._after_snapshot(line["first_event_at"], State.COMMITTED, owner, True):
                continue
            for event in self.events:
                if event["order_id"] == line["order_id"] and _names(event, line):
                    yield event

    def _of_reservations(self, owner: str) -> Iterator[Event]:
        here = {
            (e["system"], e["reservation_id"])
            for e in self.events
            if e["type"] == EventType.RESERVED
            and counts_orders(self.hub, e["system"])
            and e["location"] == self.location
            and self._after_snapshot(e["occurred_at"], State.RESERVED, owner, True)
        }
        for event in self.events:
            if event["reservation_id"] and (event["system"], event["reservation_id"]) in here:
                yield event

    def _taken(self, state: State, owner: str) -> dict[str, Any]:
        """The owner's snapshot, or its count, with the time that the position was computed from."""
        taken_at = self.position[f"{state}_taken_at"]
        if taken_at is None:
            return {}
        counts = (
            e
            for e in self.events
            if state is State.ON_HAND
            and e["type"] == EventType.COUNTED
            and (e["system"], e["location"], e["occurred_at"]) == (owner, self.location, taken_at)
        )
        count = max(counts, key=_by_time, default=None)
        if count is not None:
            return _event(count, "count")
        said = [s.landed for s in self.snapshots if self._says(s, state, owner, taken_at)]
        landed = max(said, key=lambda s: s.source, default=None)
        return {
            "kind": "snapshot",
            "system": owner,
            "source": landed.source if landed else "",
            "occurred_at": taken_at,
            "ledger_offset": landed.ledger_offset if landed else None,
        }

    def _says(self, said: Said, state: State, owner: str, taken_at: datetime) -> bool:
        landed = said.landed
        return (
            landed.system == owner
            and landed.as_of == taken_at
            and state in landed.states
            and self.location in said.rows["location"].to_pylist()
        )


def _event(event: Event, kind: str) -> dict[str, Any]:
    names = ("system", "event_id", "type", "occurred_at", "ledger_offset")
    return {"kind": kind, **{name: event[name] for name in names}}


def _by_time(event: Event) -> tuple[datetime, str]:
    return (event["occurred_at"], event["event_id"])


def _names(event: Event, line: Mapping[str, Any]) -> bool:
    """Whether the event is one of the line's order, or a shipment that names the line."""
    if event["type"] == EventType.GOODS_ISSUED:
        return bool(event["line_id"] == line["line_id"])
    return (
        event["type"] in _ORDER_TYPES
        and event["system"] == line["system"]
        and event["line_id"] in (line["line_id"], None)
    )


def _returns(event: Event, state: State) -> bool:
    inspect = event["disposition"] == Disposition.INSPECT
    return inspect or (event["disposition"] == Disposition.RESTOCK and state is State.ON_HAND)


def _lowers(event: Event, state: State) -> bool:
    """Whether the posting lowers what can be sold: then it counts within the owner's lag too."""
    kind, quantity = event["type"], event["quantity_milli"] or 0
    if state in (State.DAMAGED, State.QUALITY_CONTROL):
        return bool(quantity > 0)
    if state is State.INCOMING:
        return kind in (EventType.GOODS_RECEIVED, EventType.TRANSFER_RECEIVED)
    if kind == EventType.ADJUSTED:
        return bool(quantity < 0)
    return kind in _TAKES or kind == EventType.ORDER_FULFILLED


def counts_orders(hub: Hub, system: str) -> bool:
    """Whether a system's orders and reservations are more than observations (SEMANTICS §3)."""
    return system in hub.systems and hub.systems[system].orders == "count"


def of_sku(events: Iterable[Event], skus: Iterable[str]) -> list[Event]:
    """Events that may post to an item: its own, its bundles', and those that name no item."""
    wanted = {*skus, None}
    return [event for event in events if event["sku"] in wanted]
