"""Hubs and histories that hypothesis makes up: small, dense and full of ties."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from inventory_pipeline.config.policy import AutoBuffer, Hub, Identifier, Ownership, Rule
from inventory_pipeline.core.vocabulary import Mode, State
from inventory_pipeline_tests.compute import hubs
from inventory_pipeline_tests.compute.hubs import DAY, History, Snapshot
from inventory_pipeline_tests.properties.reference_stock import OBSERVED_ONLY, OF_BUNDLES

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
# Items that only one story is about: what happens to A, B and C is a crowd.
STORY_SKUS = ("P", "Q", "R", "S", "T", "U")
PARTS = (
    *(("KIT", "A", 1), ("KIT", "B", "2.5"), ("KIT-BIG", "KIT", 2), ("KIT-BIG", "C", 1)),
    *((f"{sku}-SET", sku, 2) for sku in STORY_SKUS),
    *((f"{sku}-SET", f"{sku}-LID", 1) for sku in STORY_SKUS),
)
SIMPLE = ("A", "B", "C")
# Long enough for things to meet; a failure shrinks to a short one.
LENGTHS = st.sampled_from([0, 8, 16, 24])
# Half an hour apart, so that many things happen at the same moment.
STEP = timedelta(minutes=30)
MOMENTS = st.integers(0, 8).map(lambda n: DAY + n * STEP)
PLACE = st.sampled_from(("dc", "dc", *PLACES))
MAYBE_PLACE = st.none() | PLACE
MAYBE_CHANNEL = st.sampled_from((None, *CHANNELS, "unheard-of"))
SKUS = st.sampled_from(["A", "A", "A", *[item.sku for item in ITEMS]])
STOCKED = st.sampled_from(["A", "A", *SIMPLE])
UNITS = st.integers(0, 12).map(Decimal)
FRACTIONS = st.sampled_from([0, 0, 1, 3, 5])
AUTO = AutoBuffer(factor=Decimal("1.5"), max_units=Decimal(4), window=timedelta(hours=2))
KINDS = (
    *("safety_stock", "location_reserve", "buffer", "share", "cap", "min_display", "exclude"),
    *("bundle", "protect", "protect", "protect", "contract", "backorder", "preorder", "preorder"),
)
SELECTORS = st.sampled_from(
    [
        None,
        ("*",),
        ("A",),
        ("KIT*",),
        ("tag:hot",),
        ("B", "C"),
        ("?",),
        ("A", "tag:hot"),
        ("nothing",),
    ]
)


@st.composite
def made_hubs(draw: Any) -> Hub:
    """A hub whose ownership, channels, listings and rules differ each time."""
    return replace(
        hubs.hub(
            locations=PLACES,
            systems=draw(systems()),
            channels=draw(channels()),
            items=(*ITEMS, *draw(story_items())),
            identifiers=draw(identifiers()),
            parts=PARTS,
        ),
        rules=tuple(draw(written_rules())),
    )


@st.composite
def story_items(draw: Any) -> list[Any]:
    """Each a simple item of 0 to 3 decimals, another one, and a bundle of both."""
    made = []
    for sku in STORY_SKUS:
        made.append(hubs.item(sku, decimals=draw(st.integers(0, 3))))
        made += [hubs.item(f"{sku}-LID"), hubs.item(f"{sku}-SET", "bundle")]
    return made


@st.composite
def systems(draw: Any) -> tuple[Any, ...]:
    """Mostly one owner for all that lies at a place; sometimes another one for a state, or none."""
    owned: dict[str, list[Ownership]] = {system: [] for system in SYSTEMS}
    for place in PLACES:
        usual = draw(st.sampled_from(["wms", "wms", "pos", "shop"]))
        for state in State:
            owners = (usual, usual, usual, usual, "erp", None)
            if state in (State.COMMITTED, State.RESERVED):
                owners = (None, None, None, usual, "shop")
            owner = draw(st.sampled_from(owners))
            if owner is not None:
                owned[owner].append(Ownership(states=(state,), locations=(place,)))
    return tuple(
        replace(
            hubs.system(system),
            owns=tuple(owned[system]),
            lag=draw(st.sampled_from([0, 30, 60, 45])) * timedelta(minutes=1),
            orders=draw(st.sampled_from(["count", "ignore"])) if system == "erp" else "count",
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
                st.sampled_from(["x1", "x2", "x3", "C"]),
                st.sampled_from(["A", "B", "KIT", "P"]),
                st.sampled_from(["1", "12", "0.5"]),
            ),
            max_size=5,
            unique_by=lambda row: row[:2],
        )
    )
    return tuple(
        Identifier(system=system, external_id=external, sku=sku, units=Decimal(units))
        for system, external, sku, units in rows
    )


def written_rules() -> Any:
    """Some rules of any kinds; `worlds.numbered` gives them their places in the file."""
    return st.lists(st.sampled_from(KINDS).flatmap(lambda kind: rules(kind, 0)), max_size=9)


@st.composite
def rules(draw: Any, kind: str, order: int) -> Rule:
    units = Decimal(draw(st.sampled_from(["0", "1", "2", "2.5", "5", "20"])))
    percent = Decimal(draw(st.sampled_from(["0", "10", "33.3333", "50", "100"])))
    locations = draw(st.none() | st.lists(PLACE, min_size=1, max_size=2, unique=True).map(tuple))
    amounts = st.sampled_from([{"units": units}, *[{"percent": percent}] * 2, {"auto": AUTO}])
    claim = {
        "units": units,
        "for_channel": draw(st.sampled_from(CHANNELS)),
        "locations": locations,
    }
    of_kind: dict[str, Any] = {
        "safety_stock": {"units": units, "locations": locations},
        "location_reserve": {"units": units, "locations": locations},
        "buffer": draw(amounts),
        "share": {"percent": percent},
        "cap": {"units": units},
        "min_display": {"units": units},
        "exclude": {},
        "bundle": {"fulfilment": draw(st.sampled_from(["split", "same_location"]))},
        "protect": claim,
        "contract": {**claim, "exclusive": draw(st.booleans())},
        "backorder": {"limit": units},
        "preorder": {"limit": units * 4, "horizon": draw(st.integers(0, 6)) * STEP},
    }[kind]
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


ORDER_ID = st.sampled_from(["1", "1", "1", "2"])
ORDER = st.fixed_dictionaries({"order_id": ORDER_ID})
ORDER_LINE = st.fixed_dictionaries({"order_id": ORDER_ID, "line_id": st.sampled_from("aaab")})
HERE = st.fixed_dictionaries({"location": PLACE})
THERE = st.fixed_dictionaries({"location": PLACE, "to_location": PLACE})
NOTHING = st.just({})
REFERENCE = st.fixed_dictionaries(
    {"reference": st.sampled_from(["po-1", "po-1", "po-2"]), "expected_at": st.none() | MOMENTS}
)
DISPOSITION = st.sampled_from(["restock", "inspect", "discard"])
HOLD = st.sampled_from(["h1", "h2", "h3"])


def together(*parts: Any) -> Any:
    return st.tuples(*parts).map(lambda drawn: {k: v for part in drawn for k, v in part.items()})


# The fields of each event type beside item and quantity; a type stands as often as it should come.
FIELDS = {
    "goods_expected": together(HERE, REFERENCE),
    "goods_received": together(HERE, NOTHING | REFERENCE),
    "goods_issued": together(HERE, NOTHING | ORDER_LINE | ORDER_LINE),
    "transfer_shipped": together(THERE, REFERENCE),
    "transfer_received": together(THERE, REFERENCE),
    "counted": HERE,
    "adjusted": HERE,
    "damaged": HERE,
    "quality_held": HERE,
    "reserved": st.fixed_dictionaries(
        {
            "reservation_id": HOLD,
            "location": MAYBE_PLACE,
            "channel": MAYBE_CHANNEL,
            "expires_at": st.none() | MOMENTS,
        }
    ),
    "reservation_released": st.fixed_dictionaries({"reservation_id": HOLD}),
    "order_placed": together(
        ORDER_LINE, st.fixed_dictionaries({"location": MAYBE_PLACE, "channel": MAYBE_CHANNEL})
    ),
    "order_adjusted": ORDER_LINE,
    "order_cancelled": ORDER_LINE | ORDER_LINE | ORDER,
    "payment_failed": ORDER,
    "payment_recovered": ORDER,
    "order_fulfilled": together(HERE, ORDER_LINE),
    "fulfilment_cancelled": together(HERE, ORDER_LINE),
    "returned": together(HERE, st.fixed_dictionaries({"disposition": DISPOSITION})),
    "pos_sale": HERE,
}
OFTEN = (*["order_placed"] * 5, *["order_fulfilled"] * 3, *["goods_issued"] * 3, "reserved")
EVENT_TYPES = st.sampled_from((*FIELDS, *OFTEN))
WITHOUT_ITEM = ("reservation_released", "payment_failed", "payment_recovered")
SIGNED = ("adjusted", "damaged", "quality_held", "order_adjusted")


def crowd(draw: Any, hub: Hub, history: History) -> None:
    """Anything at all, in an order of arrival that has nothing to do with time."""
    entries = [lambda: add_event(draw, hub, history)] * 6
    entries.append(lambda: add_snapshot(draw, hub, history))
    draw(st.lists(one_of(entries), min_size=draw(LENGTHS), max_size=32))


@st.composite
def one_of(draw: Any, entries: Sequence[Callable[[], Any]]) -> None:
    """One of several that draw by themselves; as a strategy, so that a list of them shrinks."""
    draw(st.sampled_from(entries))()


def speaker(draw: Any, hub: Hub, location: str | None, kind: str = "") -> str:
    """Who says it: mostly the shop about orders and the owner about stock, else anybody."""
    owner = hub.owner(State.ON_HAND, location) if location else None
    if kind in OBSERVED_ONLY:
        owner = draw(st.sampled_from(["shop", "shop", owner or "pos"]))
    return draw(st.sampled_from([owner or "wms"] * 4 + [*SYSTEMS]))


def add_snapshot(draw: Any, hub: Hub, history: History) -> None:
    place = draw(PLACE)
    states = ["on_hand", *draw(st.lists(st.sampled_from(hubs.STATES[1:]), max_size=3, unique=True))]
    keys = st.tuples(STOCKED, st.sampled_from([place, place, *PLACES]))
    cells = st.fixed_dictionaries(dict.fromkeys(states, st.none() | st.integers(1, 12)))
    levels = draw(st.dictionaries(keys, cells, max_size=4))
    held = draw(st.sampled_from([(), (), [("A", place)], [("B", place)]]))
    history.snapshot(
        speaker(draw, hub, place),
        draw(MOMENTS),
        levels,
        complete=draw(st.booleans()),
        held=[key for key in held if key not in levels],
    )


def add_event(draw: Any, hub: Hub, history: History) -> None:
    kind = draw(EVENT_TYPES)
    sku: str | None = draw(SKUS if kind in OF_BUNDLES else STOCKED)
    quantity: Decimal | None = draw(UNITS)
    if kind in SIGNED:
        quantity -= draw(UNITS)
    if sku == "B":
        quantity += Decimal(draw(FRACTIONS)) / 10
    if kind in WITHOUT_ITEM:
        sku = quantity = None
    if kind == "order_cancelled":
        sku = draw(st.sampled_from([sku, None]))
        quantity = draw(st.sampled_from([quantity, quantity, None]))
    fields = draw(FIELDS[kind])
    place = fields.get("to_location" if kind == "transfer_received" else "location")
    history.event(speaker(draw, hub, place, kind), kind, draw(MOMENTS), sku, quantity, **fields)


def split(entries: list[Any]) -> tuple[list[Any], list[Snapshot]]:
    """(events, snapshots)."""
    return (
        [e for e in entries if not isinstance(e, Snapshot)],
        [e for e in entries if isinstance(e, Snapshot)],
    )
