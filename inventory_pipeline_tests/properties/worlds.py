"""A hub, a history and a moment: what the properties are tried on, and how a failing one reads."""

from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from inventory_pipeline.config.policy import Hub, Rule
from inventory_pipeline.core.vocabulary import State
from inventory_pipeline_tests.compute.hubs import DAY, History, Snapshot
from inventory_pipeline_tests.properties import generated, stories

LATER = st.integers(4, 20).map(lambda n: DAY + n * generated.STEP / 2)
AFTER = st.integers(12, 20).map(lambda n: DAY + n * generated.STEP / 2)
MICROSECOND = timedelta(microseconds=1)
UNSAID = ("id", "order", "line", "kind")


@dataclass(frozen=True)
class World:
    hub: Hub
    history: History
    at: datetime

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What hypothesis prints of a failing one."""
        printer.text(str(self))

    def __str__(self) -> str:
        lines = [
            f"at {clock(self.at)}",
            *_systems(self.hub),
            *_channels(self.hub),
            *_items(self.hub),
            *map(_rule, self.hub.rules),
            *map(_entry, self.history.entries),
        ]
        return "\n  ".join(["World:", *lines]) + "\n"


@st.composite
def worlds(draw: Any) -> World:
    """A story about each of some items and a crowd about others, seen at some moment."""
    hub, history = draw(generated.made_hubs()), History()
    rules = list(hub.rules)
    for sku in generated.STORY_SKUS[: draw(st.sampled_from([0, 1, 3, 6, 6, 6, 6, 6]))]:
        rules += stories.told(draw, hub, history, sku)
    if draw(st.booleans()):
        generated.crowd(draw, hub, history)
    hub = replace(hub, rules=numbered(rules))
    late = [moment for moment in stories.moments(hub, history) if moment >= stories.NOON]
    exactly = st.sampled_from(late or [stories.NOON])
    at = draw(draw(st.sampled_from([exactly, exactly, AFTER, LATER])))
    return World(hub, history, at + draw(st.sampled_from([0, 0, 0, 0, -1, 1])) * MICROSECOND)


def numbered(rules: list[Rule]) -> tuple[Rule, ...]:
    """As they would stand in one file."""
    return tuple(
        replace(rule, id=f"r{order}", order=order, line=order + 1)
        for order, rule in enumerate(rules)
    )


def clock(moment: datetime) -> str:
    """`08:30`, or with all it has."""
    text = str(moment - DAY if moment >= DAY else moment)
    return text.removesuffix(":00")


def _systems(hub: Hub) -> list[str]:
    places = [
        f"{place} is owned by "
        + ", ".join(f"{hub.owner(state, place) or 'nobody'} ({state})" for state in State)
        for place in hub.locations
    ]
    lags = [f"{s.id} has lag {clock(DAY + s.lag)}" for s in hub.systems.values() if s.lag]
    deaf = [f"{s.id} has orders: ignore" for s in hub.systems.values() if s.orders == "ignore"]
    return [*places, *lags, *deaf]


def _channels(hub: Hub) -> list[str]:
    return [
        f"channel {c.id} ({c.mode}, of {c.system}, {c.decimals} decimals): "
        + "; ".join(f"{b.id} sells from {', '.join(b.locations)}" for b in c.buckets)
        for c in hub.channels.values()
    ]


def _items(hub: Hub) -> list[str]:
    fine = [f"{i.sku} has {i.decimals} decimals" for i in hub.catalog.items.values() if i.decimals]
    listed = [
        f"{i.system} lists {i.sku} as {i.external_id}, units {i.units}"
        for i in hub.catalog.identifiers
    ]
    return [*fine, *listed]


def _rule(rule: Rule) -> str:
    said = {f.name: getattr(rule, f.name) for f in fields(rule) if f.name not in UNSAID}
    return f"rule {rule.id} {rule.kind}: " + _said(said)


def _entry(entry: Any) -> str:
    if isinstance(entry, Snapshot):
        kind = "complete snapshot" if entry.complete else "snapshot"
        rows = "; ".join(
            f"{sku}@{place} "
            + ("held" if held else _said({k: _units(v) for k, v in cells.items()}))
            for sku, place, cells, held in entry.rows
        )
        return f"{clock(entry.as_of)} {entry.source} {entry.system} {kind}: {rows}"
    shown = {
        k: v for k, v in entry.items()
        if k not in ("system", "event_id", "type", "occurred_at", "received_at", "item")
    }  # fmt: skip
    shown["quantity"] = _units(shown.pop("quantity_milli"))
    head = f"{clock(entry['occurred_at'])} {entry['event_id']} {entry['system']} {entry['type']}"
    return f"{head}: {_said(shown)}"


def _units(milli: int | None) -> Any:
    return None if milli is None else f"{milli / 1000:g}"


def _said(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {clock(value) if isinstance(value, datetime) else value}"
        for name, value in values.items()
        if value not in (None, (), False) or name in ("units", "percent", "limit")
        if value is not None
    )
