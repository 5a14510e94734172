"""Hubs and histories that hypothesis makes up: small, dense and full of ties."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from inventory_pipeline.config.policy import AutoBuffer, Hub, Identifier, Ownership, Rule
from inventory_pipeline.core.vocabulary import Mode, State
from inventory_pipeline_tests.compute import hubs
from inventory_pipeline_tests.compute.hubs import DAY, History, Snapshot

PLACES = ("dc", "nyc", "lax")
SYSTEMS = ("wms", "pos", "shop", "erp")
CHANNELS = ("web", "market", "till")
ITEMS = (
    hubs.item("A", tags=("hot",)),
    hubs.item("B", decimals=1),
    hubs.item("C", tags=("hot",)),
    hubs.item("KIT", "bundle", tags=("sets",)),
    hubs.item("KIT-BIG", "bundle"),
)
PARTS = (("KIT", "A", 1), ("KIT", "B", "2.5"), ("KIT-BIG", "KIT", 2), ("KIT-BIG", "C", 1))
SIMPLE = ("A", "B", "C")
# Half an hour apart, so that many things happen at the same moment.
STEP = timedelta(minutes=30)
MOMENTS = st.integers(0, 12).map(lambda n: DAY + n * STEP)
PLACE = st.sampled_from(PLACES)
MAYBE_PLACE = st.none() | PLACE
MAYBE_CHANNEL = st.sampled_from((None, *CHANNELS, "unheard-of"))
SKUS = st.sampled_from([item.sku for item in ITEMS])
UNITS = st.integers(0, 12)
SELECTORS = st.sampled_from(
    [None, ("*",), ("A",), ("KIT*",), ("tag:hot",), ("B", "C"), ("?",), ("A", "tag:hot"), ("nothing",)]
)


@st.composite
def made_hubs(draw: Any) -> Hub:
    """A hub whose ownership, channels, listings and rules differ each time."""
    return replace(
        hubs.hub(
            locations=PLACES,
            systems=draw(systems()),
            channels=draw(channels()),
            items=ITEMS,
            identifiers=draw(identifiers()),
            parts=PARTS,
        ),
        rules=tuple(draw(written_rules())),
    )


@st.composite
def systems(draw: Any) -> tuple[Any, ...]:
    owned: dict[str, list[Ownership]] = {system: [] for system in SYSTEMS}
    for state in State:
        for place in PLACES:
            owners = ("wms", "wms", "pos", "erp", None)
            if state in (State.COMMITTED, State.RESERVED):
                owners = (None, None, None, "wms", "shop")
            owner = draw(st.sampled_from(owners))
            if owner is not None:
                owned[owner].append(Ownership(states=(state,), locations=(place,)))
    return tuple(
        replace(
            hubs.system(system),
            owns=tuple(owned[system]),
            lag=draw(st.sampled_from([0, 0, 30, 45])) * timedelta(minutes=1),
            orders=draw(st.sampled_from(["count", "count", "ignore"])) if system == "erp" else "count",
        )
        for system in SYSTEMS
    )


@st.composite
def channels(draw: Any) -> tuple[Any, ...]:
    places = st.lists(PLACE, min_size=1, max_size=3, unique=True)
    return tuple(
        hubs.channel(
            name,
            draw(st.dictionaries(st.sampled_from(["main", "side"]), places, min_size=1)),
            system=draw(st.sampled_from(["shop", "pos"])),
            mode=draw(st.sampled_from([Mode.LIVE, Mode.LIVE, Mode.SHADOW, Mode.OFF])),
            decimals=draw(st.sampled_from([0, 0, 1])),
        )
        for name in CHANNELS
    )


@st.composite
def identifiers(draw: Any) -> tuple[Identifier, ...]:
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["shop", "pos"]),
                st.sampled_from(["x1", "x2", "C"]),
                st.sampled_from(["A", "B", "KIT"]),
                st.sampled_from(["1", "12", "0.5"]),
            ),
            max_size=3,
            unique_by=lambda row: row[:2],
        )
    )
    return tuple(
        Identifier(system=system, external_id=external, sku=sku, units=Decimal(units))
        for system, external, sku, units in rows
    )


@st.composite
def written_rules(draw: Any) -> list[Rule]:
    kinds = st.sampled_from(
        ["safety_stock", "location_reserve", "buffer", "share", "cap", "min_display", "exclude", "bundle",
         "protect", "protect", "contract", "backorder", "preorder", "preorder"]
    )  # fmt: skip
    return [draw(rules(kind, order)) for order, kind in enumerate(draw(st.lists(kinds, max_size=8)))]


@st.composite
def rules(draw: Any, kind: str, order: int) -> Rule:
    units = Decimal(draw(st.sampled_from(["0", "1", "2", "2.5", "5", "20"])))
    percent = Decimal(draw(st.sampled_from(["0", "10", "33.3333", "50", "100"])))
    locations = draw(st.none() | st.lists(PLACE, min_size=1, max_size=2, unique=True).map(tuple))
    for_channel = draw(st.sampled_from(CHANNELS))
    of_kind: dict[str, Any] = {
        "safety_stock": {"units": units, "locations": locations},
        "location_reserve": {"units": units, "locations": locations},
        "buffer": draw(
            st.sampled_from([{"units": units}, {"percent": percent}, {"percent": percent}, {"auto": _AUTO}])
        ),
        "share": {"percent": percent},
        "cap": {"units": units},
        "min_display": {"units": units},
        "exclude": {},
        "bundle": {"fulfilment": draw(st.sampled_from(["split", "same_location"]))},
        "protect": {"units": units, "for_channel": for_channel, "locations": locations},
        "contract": {
            "units": units, "for_channel": for_channel, "locations": locations, "exclusive": draw(st.booleans()),
        },
        "backorder": {"limit": units},
        "preorder": {"limit": units * 4, "horizon": draw(st.integers(0, 6)) * STEP},
    }[kind]  # fmt: skip
    if kind not in ("protect", "contract"):
        picked = st.sampled_from([None, None, ("web",), ("web/main", "market"), ("till/side",)])
        of_kind["channels"] = draw(picked)
        of_kind["except_channels"] = draw(st.sampled_from([(), (), ("market",), ("web/main",)]))
    return Rule(
        id=f"r{order}",
        kind=kind,
        order=order,
        line=order + 1,
        skus=draw(SELECTORS),
        priority=draw(st.sampled_from([0, 0, 1])),
        from_at=draw(st.none() | st.none() | MOMENTS),
        until_at=draw(st.none() | st.none() | MOMENTS),
        **of_kind,
    )


_AUTO = AutoBuffer(factor=Decimal("1.5"), max_units=Decimal(4), window=timedelta(hours=2))

EVENT_TYPES = st.sampled_from(
    ["goods_expected", "goods_received", "goods_issued", "goods_issued", "transfer_shipped", "transfer_received",
     "counted", "adjusted", "damaged", "quality_held", "reserved", "reserved", "reservation_released",
     "order_placed", "order_placed", "order_placed", "order_adjusted", "order_cancelled", "payment_failed",
     "payment_recovered", "order_fulfilled", "order_fulfilled", "fulfilment_cancelled", "returned", "pos_sale"]
)  # fmt: skip
BUNDLE_TYPES = (
    "reserved", "goods_issued", "pos_sale", "returned", "order_placed", "order_adjusted", "order_cancelled",
    "order_fulfilled", "fulfilment_cancelled",
)  # fmt: skip


@st.composite
def histories(draw: Any) -> History:
    """Events and snapshots in an order of arrival that has nothing to do with their times."""
    history = History()
    for what in draw(st.lists(st.sampled_from("seeeeeee"), min_size=1, max_size=20)):
        if what == "s":
            add_snapshot(draw, history)
        else:
            add_event(draw, history)
    return history


def add_snapshot(draw: Any, history: History) -> None:
    states = draw(st.lists(st.sampled_from(hubs.STATES), min_size=1, max_size=4, unique=True))
    cell = st.none() | st.integers(0, 12)
    levels = draw(
        st.dictionaries(
            st.tuples(st.sampled_from(SIMPLE), PLACE),
            st.fixed_dictionaries(dict.fromkeys(states, cell)),
            max_size=4,
        )
    )
    held = draw(st.sampled_from([(), (), (("A", "dc"),), (("B", "nyc"),)]))
    history.snapshot(
        draw(st.sampled_from(SYSTEMS)), draw(MOMENTS), levels,
        complete=draw(st.booleans()), held=[key for key in held if key not in levels],
    )  # fmt: skip


def add_event(draw: Any, history: History) -> None:
    type = draw(EVENT_TYPES)
    sku = draw(SKUS if type in BUNDLE_TYPES else st.sampled_from(SIMPLE))
    quantity: Any = draw(UNITS)
    fields: dict[str, Any] = {"location": draw(PLACE)}
    orders = {"order_id": draw(st.sampled_from(["1", "1", "2"])), "line_id": draw(st.sampled_from("ab"))}
    if type in ("adjusted", "damaged", "quality_held", "order_adjusted"):
        quantity -= draw(st.integers(0, 8))
    if type.startswith(("goods_", "transfer_")):
        fields["reference"] = draw(st.sampled_from(["po-1", "po-2"]))
        fields["expected_at"] = draw(st.none() | MOMENTS)
    match type:
        case "goods_received":
            fields["reference"] = draw(st.sampled_from([None, "po-1", "po-2"]))
        case "goods_issued":
            fields |= draw(st.sampled_from([{}, orders, orders, orders]))
        case "transfer_shipped" | "transfer_received":
            fields["to_location"] = draw(PLACE)
        case "returned":
            fields["disposition"] = draw(st.sampled_from(["restock", "inspect", "discard"]))
        case "reserved":
            fields["location"] = draw(MAYBE_PLACE)
            fields["channel"] = draw(MAYBE_CHANNEL)
            fields["reservation_id"] = draw(st.sampled_from(["h1", "h2", "h3"]))
            fields["expires_at"] = draw(st.none() | MOMENTS)
        case "reservation_released":
            sku, quantity = None, None
            fields = {"reservation_id": draw(st.sampled_from(["h1", "h2"]))}
        case "payment_failed" | "payment_recovered":
            sku, quantity, fields = None, None, {"order_id": orders["order_id"]}
        case "order_placed":
            fields = {**orders, "location": draw(MAYBE_PLACE), "channel": draw(MAYBE_CHANNEL)}
        case "order_adjusted":
            fields = orders
        case "order_cancelled":
            fields = draw(st.sampled_from([orders, orders, {"order_id": orders["order_id"]}]))
            quantity = draw(st.sampled_from([None, quantity, quantity]))
            sku = draw(st.sampled_from([None, sku]))
        case "order_fulfilled" | "fulfilment_cancelled":
            fields |= orders
    history.event(draw(st.sampled_from(SYSTEMS)), type, draw(MOMENTS), sku, quantity, **fields)


def split(entries: list[Any]) -> tuple[list[Any], list[Snapshot]]:
    """(events, snapshots)."""
    return (
        [e for e in entries if not isinstance(e, Snapshot)],
        [e for e in entries if isinstance(e, Snapshot)],
    )


def moment_after(minutes: int) -> datetime:
    return DAY + timedelta(minutes=minutes)
