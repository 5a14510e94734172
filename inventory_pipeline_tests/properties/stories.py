"""Short, focused histories around the edges that a crowd of random events seldom meets.

Each story is about items of its own: it appends to the history and returns the rules that it needs.
Times lie on a coarse grid, so that equal ones are the rule and not the exception.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from inventory_pipeline.config.policy import Hub, Rule
from inventory_pipeline.core.vocabulary import State
from inventory_pipeline_tests.compute.hubs import DAY, History
from inventory_pipeline_tests.properties import generated
from inventory_pipeline_tests.properties.generated import AUTO, CHANNELS, PLACES, STEP

# The middle of each story; things happen at it, a step before or a step after.
NOON = DAY + 4 * STEP
NEAR = st.integers(-2, 2).map(lambda n: NOON + n * STEP)
UNITS = st.integers(1, 6).map(Decimal)
SOME = st.none() | st.lists(st.sampled_from(PLACES), min_size=1, max_size=2, unique=True).map(tuple)


@dataclass(frozen=True)
class Story:
    """One draw, hub and item, written short."""

    draw: Any
    hub: Hub
    history: History
    sku: str

    def one(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def some(self, events: Sequence[Callable[[], Any]], most: int = 5) -> None:
        self.draw(st.lists(generated.one_of(events), min_size=1, max_size=most))

    @property
    def decimals(self) -> int:
        return self.hub.catalog.items[self.sku].decimals

    def amount(self, least: int = 0, most: int = 7) -> Decimal:
        """Units, mostly whole; else down to the item's last decimal."""
        whole = Decimal(self.draw(st.integers(least, most)))
        finest = self.one(0, 0, 1, 4, 5, 9) if self.decimals else 0
        return whole + Decimal(finest).scaleb(-self.decimals)

    def owner(self, place: str, state: str = "on_hand") -> str:
        return self.hub.owner(State(state), place) or "wms"

    def happens(self, system: str, kind: str, quantity: Any = None, **fields: Any) -> None:
        at = fields.pop("at", None) or self.draw(NEAR)
        sku = fields.pop("sku", self.sku)
        self.history.event(system, kind, at, sku, quantity, **fields)

    def stock(self, place: str, quantity: Any) -> None:
        """The owner counts: before anything else."""
        self.happens(self.owner(place), "counted", quantity, at=DAY, location=place)

    def rule(self, kind: str, **fields: Any) -> Rule:
        fields.setdefault("skus", (self.sku,))
        return Rule(id="", kind=kind, order=0, line=0, **fields)


def shipment(s: Story) -> list[Rule]:
    """One order line, seen by the shop and by the warehouse."""
    place, elsewhere = s.one(*PLACES), s.one(*PLACES)
    by = s.one("shop", s.owner(place), s.owner(place), s.owner(elsewhere))
    line = {"order_id": f"{s.sku}1", "line_id": "1"}
    s.stock(place, s.amount(5, 9))
    sku = s.one(s.sku, f"{s.sku}-SET")
    s.happens(
        by, "order_placed", s.amount(2, 6), sku=sku, at=s.one(DAY, NOON),
        location=s.one(place, None), channel=s.one(None, *CHANNELS), **line,
    )  # fmt: skip

    def said(kind: str, system: str, quantity: Any, **fields: Any) -> None:
        s.happens(system, kind, quantity, **{"sku": sku, **line, **fields})

    s.some([
        lambda: said("order_fulfilled", by, s.amount(1, 4), location=s.one(place, elsewhere)),
        lambda: said("order_fulfilled", by, s.amount(1, 4), location=place),
        lambda: said("goods_issued", s.owner(place), s.amount(1, 3), location=place),
        lambda: said("goods_issued", s.owner(place), s.amount(1, 3), location=place, sku=s.sku),
        lambda: said("goods_issued", s.owner(elsewhere), s.amount(1, 3), location=elsewhere),
        lambda: said("fulfilment_cancelled", by, s.amount(1, 2), location=place),
        lambda: said("order_cancelled", by, s.one(None, 1, 2), sku=s.one(sku, None)),
        lambda: said("order_cancelled", by, s.one(None, 1), line_id=None),
        lambda: said("order_adjusted", by, s.one(-2, -1, 1)),
        lambda: said("payment_failed", by, None, sku=None, line_id=None),
        lambda: s.history.snapshot(
            s.owner(place), s.draw(NEAR), {(s.sku, place): {"on_hand": s.amount()}}
        ),
        # Another system has a line of the same name: then only its own is proved.
        lambda: said("order_placed", s.one("erp", "pos"), 1, location=place),
    ], most=6)  # fmt: skip
    return []


def payment(s: Story) -> list[Rule]:
    """Failed and recovered, often at the same moment."""
    place, order = s.one(*PLACES), f"{s.sku}1"
    s.stock(place, s.amount(5, 9))
    s.happens(
        "shop", "order_placed", s.amount(1, 5), at=DAY, order_id=order, line_id="1", location=place
    )
    for kind in (
        "payment_failed",
        "payment_recovered",
        s.one("payment_failed", "payment_recovered"),
    ):
        s.happens("shop", kind, sku=None, at=s.one(NOON, NOON, NOON + STEP), order_id=order)
    return []


def transfer(s: Story) -> list[Rule]:
    """One reference that shipper and receiver may both report, and a preorder that looks at it."""
    start, end = s.one("dc", "nyc"), s.one("nyc", "lax")
    here, there = {"location": start, "to_location": end}, {"location": end}
    shipper, receiver = s.owner(start), s.owner(end, "incoming")
    s.stock(start, s.one(0, 2, 9))

    def reported(system: str, kind: str, quantity: Any, **fields: Any) -> None:
        due = s.one(None, NOON, NOON + 3 * STEP, NOON + 6 * STEP)
        dated = {} if kind.endswith("received") else {"expected_at": due}
        s.happens(system, kind, quantity, reference=f"{s.sku}-po", **dated, **fields)

    s.some([
        lambda: reported(shipper, "transfer_shipped", s.amount(1, 6), **here),
        lambda: reported(shipper, "transfer_shipped", s.amount(1, 6), **here),
        lambda: reported(receiver, "goods_expected", s.amount(1, 6), **there),
        lambda: reported(receiver, "goods_expected", s.amount(5, 9), **there),
        lambda: reported(receiver, "transfer_shipped", s.amount(1, 6), **here),
        lambda: reported(receiver, "transfer_received", s.amount(1, 4), **here),
        lambda: reported(receiver, "goods_received", s.amount(1, 4), **there),
        lambda: reported(shipper, "transfer_received", s.amount(1, 4), **here),
        lambda: s.history.snapshot(
            receiver, s.draw(NEAR), {(s.sku, end): {"incoming": s.amount(0, 6)}}
        ),
    ], most=6)  # fmt: skip
    for line in s.one("", "1", "1", "12"):
        s.happens(
            "shop", "order_placed", s.amount(1, 3), at=s.one(NOON - 2 * STEP, NOON - STEP, NOON),
            order_id=f"{s.sku}1", line_id=line, channel=s.one(None, *CHANNELS),
            location=s.one(None, start),
        )  # fmt: skip
    horizon = s.draw(st.integers(0, 4)) * STEP
    dates = {
        "from_at": s.one(None, NOON - STEP, NOON),
        "until_at": s.one(None, None, NOON + 5 * STEP),
    }
    return [s.rule("preorder", limit=Decimal(s.one(3, 5, 30)), horizon=horizon, **dates)]


def contract(s: Story) -> list[Rule]:
    """Orders at the edges of a contract's period, shipped, cancelled and taken back."""
    place, channel = s.one(*PLACES), s.one(*CHANNELS)
    sku = s.one(s.sku, s.sku, f"{s.sku}-SET")
    s.stock(place, 20)
    s.happens(s.owner(place), "counted", 20, at=DAY, location=place, sku=f"{s.sku}-LID")
    for number in range(s.draw(st.integers(1, 2))):
        line = {"sku": sku, "order_id": f"{s.sku}{number}", "line_id": "1"}
        placed_at = s.one(NOON - STEP, NOON, NOON + STEP)
        s.happens("shop", "order_placed", s.amount(2, 5), at=placed_at,
                  channel=s.one(channel, channel, None), **line)  # fmt: skip

        def said(
            kind: str, quantity: Any, system: str = "shop", line: Any = line, **f: Any
        ) -> None:
            s.happens(system, kind, quantity, **{**line, **f})

        s.some([
            lambda: said("order_cancelled", None, line_id=s.one("1", None)),
            lambda: said("order_cancelled", s.amount(1, 2)),
            lambda: said("order_adjusted", s.one(-1, 1)),
            lambda: said("order_fulfilled", s.amount(1, 3), location=place),
            lambda: said("goods_issued", s.amount(1, 3), s.owner(place), location=place),
            lambda: said("fulfilment_cancelled", s.amount(1, 2), location=place),
            lambda: said("payment_failed", None, sku=None, line_id=None),
        ])  # fmt: skip
    return [
        s.rule(
            "contract", skus=(sku,), units=s.draw(UNITS) + 2, for_channel=channel,
            exclusive=exclusive, locations=s.draw(SOME), from_at=s.one(None, NOON, NOON - STEP),
            until_at=s.one(None, NOON, NOON + STEP, NOON + 4 * STEP),
        )
        for exclusive in s.one([True], [False], [True, False], [True, True], [True, True])
    ]  # fmt: skip


def protection(s: Story) -> list[Rule]:
    """Several claims on a pool that may be smaller than their sum, or than each."""
    for place in PLACES:
        s.stock(place, s.amount(-1, 3))
    claims = s.draw(st.integers(2, 3))
    return [
        s.rule("protect", units=s.draw(UNITS), for_channel=s.one(*CHANNELS), locations=s.draw(SOME),
               skus=s.one((s.sku,), (s.sku, f"{s.sku}-SET"), None))
        for _ in range(claims)
    ]  # fmt: skip


def promise(s: Story) -> list[Rule]:
    """Snapshots of committed and reserved, and what was first heard of just before or after."""
    owned = [
        (place, state)
        for place in PLACES
        for state in ("committed", "reserved")
        if s.hub.owner(State(state), place)
    ]
    place, state = s.one(*owned) if owned else ("dc", "committed")
    owner = s.owner(place, state)
    lag = s.hub.systems[owner].lag
    around = [NOON - lag, NOON - lag, NOON - lag - STEP, NOON, NOON + STEP]
    s.stock(place, 9)
    s.history.snapshot(owner, NOON, {(s.sku, place): {state: s.amount(1, 4)}})
    for number in range(s.draw(st.integers(1, 3))):
        order = {"order_id": f"{s.sku}{number}", "line_id": "1"}
        hold = {"reservation_id": f"{s.sku}{number}"}
        if s.one(True, state == "committed"):
            s.happens(
                "shop", "order_placed", s.amount(1, 3), at=s.one(*around), location=place, **order
            )
            if s.one(True, False):
                s.happens("shop", "order_adjusted", 1, at=s.one(*around), **order)
        if s.one(True, state == "reserved"):
            for _ in range(s.draw(st.integers(1, 2))):
                s.happens("shop", "reserved", s.amount(1, 3), at=s.one(*around), location=place,
                          expires_at=s.one(None, NOON + STEP, NOON + 2 * STEP), **hold)  # fmt: skip
            if s.one(True, False, False):
                s.happens("shop", "reservation_released", sku=None, **hold)
    return []


def silence(s: Story) -> list[Rule]:
    """Complete snapshots that leave the item out, hold it in quarantine, or name no such place."""
    place, other = s.one("dc", "nyc"), s.one("nyc", "lax")
    owner = s.owner(place)
    states = {"on_hand": s.amount(1, 6), s.one("damaged", "incoming", "on_hand"): s.amount(1, 3)}
    s.history.snapshot(owner, NOON - STEP, {(s.sku, place): states})
    keys = [(f"{s.sku}-LID", place), (f"{s.sku}-LID", other), (s.sku, other)]
    for moment in s.draw(
        st.lists(st.sampled_from([NOON, NOON, NOON + STEP]), min_size=1, max_size=2)
    ):
        rows = s.draw(st.lists(st.sampled_from(keys), min_size=1, max_size=2, unique=True))
        s.history.snapshot(
            s.one(owner, owner, s.owner(other)),
            moment,
            {row: {s.one("on_hand", "damaged", "incoming"): s.one(None, 1, 2)} for row in rows},
            complete=s.one(True, True, False),
            held=s.one([], [(s.sku, place)]),
        )
    s.some([
        lambda: s.happens(owner, "adjusted", s.one(-1, 2), location=place),
        lambda: s.happens(owner, "counted", s.amount(1, 5), location=place),
    ], most=2)  # fmt: skip
    return []


def count(s: Story) -> list[Rule]:
    """Counts and snapshots of one moment, and what was moved around it, within the lag or not."""
    place = s.one(*PLACES)
    owner = s.owner(place)
    counter = s.one(owner, owner, owner, "erp")
    at = s.one(NOON, NOON, NOON + STEP)
    back = NOON - s.hub.systems[owner].lag
    moments = st.sampled_from([NOON, back, back - STEP / 6, back + STEP / 6, NOON + STEP])
    s.some([
        lambda: s.happens(counter, "counted", s.amount(1, 6), at=at, location=place),
        lambda: s.history.snapshot(owner, NOON, {(s.sku, place): {
            "on_hand": s.one(None, s.amount(1, 6)),
            s.one("damaged", "quality_control"): s.amount(1, 2),
        }}),
        lambda: s.history.snapshot(owner, NOON, {(s.sku, place): {"on_hand": s.amount(1, 6)}}),
    ], most=3)  # fmt: skip
    s.some([
        lambda: s.happens(owner, "adjusted", s.one(-2, 1, 3), at=s.draw(moments), location=place),
        lambda: s.happens(owner, "damaged", s.one(-1, 1, 2), at=s.draw(moments), location=place),
        lambda: s.happens(owner, "quality_held", s.one(-1, 1), at=s.draw(moments), location=place),
        lambda: s.happens(owner, "pos_sale", 1, at=s.draw(moments), location=place),
    ], most=3)  # fmt: skip
    return []


def shelf(s: Story) -> list[Rule]:
    """A number, right at what rules compare it with: steps, debts, dates, priorities."""
    level = s.one(s.amount(-3, 1), s.amount(1, 6), s.amount(0, 3))
    for place in PLACES:
        s.stock(place, s.one(level, level, 0))
    percent = st.sampled_from(["0.0001", "10", "33.3333", "50", "99.9", "100"]).map(Decimal)
    near = st.sampled_from([abs(level), *[Decimal(n) for n in range(1, 5)]])

    def written(kind: str) -> Rule:
        channel = s.one(*CHANNELS)
        fields: dict[str, Any] = {
            "priority": s.one(0, 0, 1),
            "channels": s.one(None, None, (channel,), (f"{channel}/main",)),
            "except_channels": s.one((), (), (s.one(*CHANNELS),), (f"{channel}/main",)),
            "skus": s.one((s.sku,), (s.sku,), ("?",), None),
            "from_at": s.one(None, None, NOON),
            "until_at": s.one(None, None, NOON + STEP),
        }
        fields |= {
            "share": lambda: {"percent": s.draw(percent)},
            "buffer": lambda: s.one({"units": s.draw(near)}, {"percent": s.draw(percent)}),
            "backorder": lambda: {"limit": s.draw(near)},
        }.get(kind, lambda: {"units": s.draw(near)})()
        if kind in ("safety_stock", "location_reserve"):
            fields["locations"] = s.draw(SOME)
        return s.rule(kind, **fields)

    kinds = ("share", "buffer", "buffer", "cap", "min_display", "min_display", "backorder",
             "safety_stock", "location_reserve")  # fmt: skip
    return [written(kind) for kind in s.draw(st.lists(st.sampled_from(kinds), max_size=4))]


def bundle(s: Story) -> list[Rule]:
    """A bundle whose parts do not lie in the same places."""
    for place in PLACES:
        for sku in s.one((), (s.sku,), (f"{s.sku}-LID",), (s.sku, f"{s.sku}-LID")):
            s.happens(s.owner(place), "counted", s.draw(st.integers(-1, 6)), at=DAY, sku=sku,
                      location=place)  # fmt: skip
    kinds = st.lists(st.sampled_from(["bundle", "protect", "location_reserve", "cap"]), max_size=3)
    of = {"skus": s.one((s.sku,), (f"{s.sku}-LID",), (f"{s.sku}*",))}
    fields = {
        "bundle": {"skus": (f"{s.sku}-SET",), "fulfilment": s.one("split", "same_location")},
        "protect": {"units": s.draw(UNITS), "for_channel": s.one(*CHANNELS), **of},
        "location_reserve": {"units": s.draw(UNITS), "locations": s.draw(SOME), **of},
        "cap": {"units": s.draw(UNITS), **of},
    }
    return [s.rule(kind, **fields[kind]) for kind in s.draw(kinds)]


def tempo(s: Story) -> list[Rule]:
    """Sales around the window of an auto buffer, and owners that fall silent."""
    place = s.one(*PLACES)
    s.stock(place, 30)
    s.some([
        lambda: s.happens(s.one(s.owner(place), "erp"), "pos_sale", s.amount(1, 3), location=place),
        lambda: s.happens(
            "shop", "order_placed", s.amount(1, 3), order_id=f"{s.sku}1", line_id=s.one("1", "2"),
            location=s.one(None, place), channel=s.one(None, *CHANNELS),
            sku=s.one(s.sku, f"{s.sku}-SET"),
        ),
    ])  # fmt: skip
    return [s.rule("buffer", auto=AUTO, skus=s.one((s.sku,), (f"{s.sku}-SET",), (f"{s.sku}*",)))]


STORIES = (
    *(shipment, shipment, transfer, transfer, payment, contract, protection, promise, silence),
    *(count, shelf, bundle, tempo),
)  # fmt: skip


def told(draw: Any, hub: Hub, history: History, sku: str) -> list[Rule]:
    """One story about `sku`: its events are in the history, its rules are returned."""
    story = draw(st.sampled_from(STORIES))
    return story(Story(draw, hub, history, sku))


def moments(hub: Hub, history: History) -> list[datetime]:
    """Every time at which something begins, ends, happens or falls due."""
    found = {r.from_at for r in hub.rules} | {r.until_at for r in hub.rules}
    horizons = {r.horizon for r in hub.rules if r.horizon is not None} | {timedelta(0)}
    for entry in history.entries:
        if isinstance(entry, dict):
            found |= {entry["occurred_at"], entry["expires_at"]}
            if entry["expected_at"] is not None:
                found |= {entry["expected_at"] - horizon for horizon in horizons}
        else:
            found.add(entry.as_of)
    return sorted(found - {None}) or [DAY]
