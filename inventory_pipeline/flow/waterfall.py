"""A row of the waterfall as lines that add up, for people to read (SEMANTICS §6).

Each line says what a term changed and what is left after it; quantities in thousandths of the base
unit. The numbers are those that sql/ computed; only what single locations and components give is
derived again here, from positions and the rules that won.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.quantities import MILLI, from_milli, to_milli

Row = Mapping[str, Any]
STATES_TAKEN = ("damaged", "quality_control", "committed", "reserved")
MILLIONTHS_PER_PERCENT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One term. `change_milli` is what it added, `after_milli` what is left with it.

    `step` is the number in SEMANTICS §6; `rules` are the ids of the rules that won.
    """

    step: int
    term: str
    change_milli: int
    after_milli: int
    rules: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationTerms:
    """Step 1 at one location: the lines start at 0 and end in what may be sold from there."""

    location: str
    sellable_milli: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentTerms:
    """What one component lets a bundle be: from all places, and at each place alone."""

    sku: str
    units_milli: int  # base units of the component in one bundle
    after_protect_milli: int
    possible_milli: int  # bundles
    possible_at_milli: Mapping[str, int]  # location → bundles
    locations: tuple[LocationTerms, ...]
    lines: tuple[Line, ...]  # its own steps 2 to 4


def location_terms(row: Row, hub: Hub) -> tuple[LocationTerms, ...]:
    """Step 1 at each location of the row's bucket, in the order of hub.yaml.

    `row` is one of Engine.explain. Their sum is the row's `sellable_milli`.
    """
    positions = {position["location"]: position for position in row["locations"]}
    safety = _rules_by_location(row["safety_stock_rules"])
    reserve = _rules_by_location(row["location_reserve_rules"])
    places = bucket_locations(hub, row["channel"], row["bucket"])
    return tuple(
        _at_location(place, positions.get(place, {}), safety.get(place), reserve.get(place), hub)
        for place in places
    )


def bucket_locations(hub: Hub, channel: str, bucket: str) -> tuple[str, ...]:
    """The locations that a bucket sells from, each once."""
    found = next(b for b in hub.channels[channel].buckets if b.id == bucket)
    return tuple(dict.fromkeys(found.locations))


def _at_location(
    location: str, position: Row, safety: str | None, reserve: str | None, hub: Hub
) -> LocationTerms:
    units = {rule.id: to_milli(rule.units or Decimal(0)) for rule in hub.rules}
    terms = [("on_hand", position.get("on_hand_milli", 0), "")]
    terms += [(state, -position.get(f"{state}_milli", 0), "") for state in STATES_TAKEN]
    terms += [("safety_stock", -units[safety], safety)] if safety else []
    terms += [("location_reserve", -units[reserve], reserve)] if reserve else []
    lines = []
    after = 0
    for term, change, rule in terms:
        after += change
        line = Line(
            step=1,
            term=term,
            change_milli=change,
            after_milli=after,
            rules=(rule,) if rule else (),
        )
        lines.append(line)
    return LocationTerms(location=location, sellable_milli=after, lines=tuple(lines))


def _rules_by_location(text: str | None) -> dict[str, str]:
    """`dc: s1, nyc: s2`, as the waterfall keeps it."""
    pairs = (pair.partition(": ") for pair in (text or "").split(", ") if pair)
    return {location: rule for location, _, rule in pairs}


def lines(row: Row) -> tuple[Line, ...]:
    """Steps 2 to 10: from what the locations (or the components) give to what may be sold.

    The first line starts at 0; each goes on from where the one before it ended.
    """
    return tuple(_running([*_pool(row), *_protected(row), *_ruled(row), *_promised(row)]))


def pool_lines(row: Row) -> tuple[Line, ...]:
    """Steps 2 to 4 alone: what a component has for its bundles."""
    return tuple(_running([*_pool(row), *_protected(row)]))


_Term = tuple[int, str, int, str | None, str]  # step, term, what is left after it, rules, note


def _running(terms: Sequence[_Term]) -> Iterator[Line]:
    before = 0
    for step, term, after, rules, note in terms:
        yield Line(
            step=step,
            term=term,
            change_milli=after - before,
            after_milli=after,
            rules=tuple(rules.split(", ")) if rules else (),
            note=note,
        )
        before = after


def _pool(row: Row) -> Iterator[_Term]:
    if row["kind"] == "bundle":
        how = "split over locations" if row["fulfilment"] == "split" else "each at one location"
        yield (2, "components", row["pool_milli"], row["bundle_rule"], how)
        return
    left = row["sellable_milli"]
    yield (1, "sellable", left, None, "")
    left -= row["unassigned_milli"]
    yield (2, "unassigned", left, None, "")
    left -= row["network_safety_stock_milli"]
    yield (2, "network_safety_stock", left, row["network_safety_stock_rule"], "")


def _protected(row: Row) -> Iterator[_Term]:
    yield (3, "protected_for_others", row["after_protect_milli"], row["protect_rules"], "")


def _ruled(row: Row) -> Iterator[_Term]:
    yield (5, "buffer", row["after_buffer_milli"], row["buffer_rule"], "")
    share = row["share_millionths"]
    percent = "" if share is None else f"{_plain(Decimal(share) / MILLIONTHS_PER_PERCENT)} %"
    yield (6, "share", row["after_share_milli"], row["share_rule"], percent)
    left = _units(row["contract_units_left_milli"], "left in the contract")
    yield (7, "contract", row["after_contract_milli"], row["contract_rules"], left)
    yield (8, "backorder", row["after_backorder_milli"], row["backorder_rule"], "")


def _promised(row: Row) -> Iterator[_Term]:
    yield (8, "preorder", row["after_preorder_milli"], row["preorder_rule"], _preorder(row))
    cap = _units(row["cap_milli"], "at most")
    yield (9, "cap", row["after_cap_milli"], row["cap_rule"], cap)
    display = _units(row["min_display_milli"], "or nothing")
    yield (9, "min_display", row["after_min_display_milli"], row["min_display_rule"], display)
    yield (9, "exclude", row["after_exclude_milli"], row["exclude_rule"], "")
    below = row["after_exclude_milli"] < 0
    yield (10, "available", row["available_milli"], None, "never below 0" if below else "")


def _preorder(row: Row) -> str:
    if row["preorder_rule"] is None or row["incoming_due_milli"] is None:
        return ""
    return (
        f"{from_milli(row['incoming_due_milli'])} due, {from_milli(row['preordered_milli'])} of"
        f" {from_milli(row['preorder_limit_milli'])} promised"
    )


def _units(milli: int | None, what: str) -> str:
    return "" if milli is None else f"{from_milli(milli)} {what}"


def _plain(value: Decimal) -> Decimal:
    return from_milli(int(value * MILLI)) if value == value.quantize(Decimal("0.001")) else value


def worth_saying(line: Line) -> bool:
    """A term that changed nothing and that no rule brought in can be left out of a short text."""
    return bool(
        line.change_milli or line.rules or line.term in ("sellable", "components", "available")
    )


def component_terms(bundle: Row, component: Row, hub: Hub, units: Decimal) -> ComponentTerms:
    """What a component lets `bundle` be in the same bucket, floored to the bundle's own step.

    The least over the components is the pool: of `possible_milli`, and, unless the bundle may be
    split, of the sum over locations of the least `possible_at_milli` (SEMANTICS §6, Bundles).
    """
    step: int = bundle["step_milli"]
    units_milli = to_milli(units)
    places = location_terms(component, hub)

    def bundles(milli: int) -> int:
        return max(0, milli) * MILLI // (units_milli * step) * step

    return ComponentTerms(
        sku=component["sku"],
        units_milli=units_milli,
        after_protect_milli=component["after_protect_milli"],
        possible_milli=bundles(component["after_protect_milli"]),
        possible_at_milli={place.location: bundles(place.sellable_milli) for place in places},
        locations=places,
        lines=pool_lines(component),
    )
