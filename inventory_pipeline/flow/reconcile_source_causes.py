"""From a cell that differs to a variance of `ledger` or `systems`: cause and evidence."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.causes import (
    Effect,
    SourceFacts,
    source_cause,
    source_counted_twice,
)
from inventory_pipeline.core.heals import TELLS, policy
from inventory_pipeline.core.vocabulary import Cause, Disposition, EventType, State
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.reconcile import within_tolerance
from inventory_pipeline.flow.reconcile_causes import value_at_stake
from inventory_pipeline.flow.reconcile_cells import CellDifference
from inventory_pipeline.memory import ledger
from inventory_pipeline.memory.ledger import LandedSnapshot
from inventory_pipeline.memory.variances import Variance

E = EventType
AT_ONCE = 5_000  # skus whose events are read together
MOST_EVENTS = 20

# What an event does at its `location`, by state (SEMANTICS §4): the sign of its quantity.
_HERE = {
    E.GOODS_EXPECTED: {State.INCOMING: 1},
    E.GOODS_RECEIVED: {State.ON_HAND: 1, State.INCOMING: -1},
    E.GOODS_ISSUED: {State.ON_HAND: -1},
    E.TRANSFER_SHIPPED: {State.ON_HAND: -1},
    E.ADJUSTED: {State.ON_HAND: 1},
    E.DAMAGED: {State.DAMAGED: 1},
    E.QUALITY_HELD: {State.QUALITY_CONTROL: 1},
    E.ORDER_FULFILLED: {State.ON_HAND: -1},
    E.FULFILMENT_CANCELLED: {State.ON_HAND: 1},
    E.POS_SALE: {State.ON_HAND: -1},
}
# And at its `to_location`.
_THERE = {
    E.TRANSFER_SHIPPED: {State.INCOMING: 1},
    E.TRANSFER_RECEIVED: {State.ON_HAND: 1, State.INCOMING: -1},
}
_RETURNED = {
    Disposition.RESTOCK: {State.ON_HAND: 1},
    Disposition.INSPECT: {State.ON_HAND: 1, State.QUALITY_CONTROL: 1},
    Disposition.DISCARD: {},
}

Cell = tuple[str, str, State]


def explain_cells(
    ctx: HubContext,
    comparison: str,
    snapshot: LandedSnapshot,
    differing: Sequence[CellDifference],
    *,
    head: int,
) -> list[Variance]:
    """Each cell with the first cause that holds for it. One that agrees by now, without an event
    that came late, is none.
    """
    found: list[Variance] = []
    for start in range(0, len(differing), AT_ONCE):
        some = differing[start : start + AT_ONCE]
        effects = _effects(ctx, some, snapshot, head)
        for one in some:
            events = effects.get((one.sku, one.location, one.state), [])
            variance = _variance(ctx, comparison, snapshot, one, events)
            if variance is not None:
                found.append(variance)
    return found


def _variance(
    ctx: HubContext,
    comparison: str,
    snapshot: LandedSnapshot,
    one: CellDifference,
    events: Sequence[Effect],
) -> Variance | None:
    late = [effect for effect in events if not effect.counted]
    agrees_now = within_tolerance(one.now_milli, one.found_milli, ctx.hub.tolerances)
    if agrees_now and not late:
        return None  # what came late was a snapshot: the usual order of things
    facts = _facts(ctx, snapshot, one, events, agrees_now=agrees_now)
    cause = source_cause(facts)
    return Variance(
        comparison=comparison,
        cause=cause,
        sku=one.sku,
        expected_milli=facts.expected_milli,
        found_milli=one.found_milli,
        system=snapshot.system,
        location=one.location,
        state=str(one.state),
        value=_value(ctx.hub, one, facts),
        alert=policy(cause, comparison) in TELLS,
        evidence=_evidence(cause, snapshot, one, facts, late),
    )


def _facts(
    ctx: HubContext,
    snapshot: LandedSnapshot,
    one: CellDifference,
    events: Sequence[Effect],
    *,
    agrees_now: bool,
) -> SourceFacts:
    late = any(not effect.counted for effect in events)
    expected, otherwise = one.now_milli, one.then_milli
    if agrees_now:
        expected, otherwise = one.then_milli, one.found_milli
    return SourceFacts(
        expected_milli=expected,
        found_milli=one.found_milli,
        otherwise_milli=otherwise if late else None,
        events=tuple(events),
        step_milli=_step(ctx.hub, one, expected),
        age_s=(ctx.clock() - snapshot.as_of).total_seconds(),
        max_age_s=ctx.hub.systems[snapshot.system].snapshot.max_age.total_seconds(),
    )


def _step(hub: Hub, one: CellDifference, expected_milli: int) -> int:
    """The system's unit, where it reports whole ones of it and the position is none."""
    if one.found_milli % one.unit_milli == 0 and expected_milli % one.unit_milli:
        return one.unit_milli
    item = hub.catalog.items.get(one.sku)
    return int(10 ** (3 - item.decimals)) if item else 1


def _value(hub: Hub, one: CellDifference, facts: SourceFacts) -> Any:
    assert facts.expected_milli is not None
    return value_at_stake(hub, one.sku, one.found_milli - facts.expected_milli, 1000)


def _evidence(
    cause: Cause,
    snapshot: LandedSnapshot,
    one: CellDifference,
    facts: SourceFacts,
    late: Sequence[Effect],
) -> dict[str, Any]:
    evidence: dict[str, Any] = {
        "snapshot": snapshot.path,
        "as_of": snapshot.as_of.isoformat(),
        "rolled_forward_since": one.since.isoformat(),
        "age_s": round(facts.age_s),
    }
    chosen: Sequence[Effect] = facts.events
    if cause is Cause.DUPLICATE_EFFECT:
        twice = source_counted_twice(facts)
        chosen = [twice] if twice else []
    elif cause is Cause.LATE_EVENT:
        chosen = late
    if chosen:
        evidence["events"] = [effect.event_id for effect in chosen][:MOST_EVENTS]
    return evidence


def _effects(
    ctx: HubContext, some: Sequence[CellDifference], snapshot: LandedSnapshot, head: int
) -> dict[Cell, list[Effect]]:
    """What events did to these cells between the position's last snapshot and this one."""
    since: dict[Cell, datetime] = {(c.sku, c.location, c.state): c.since for c in some}
    with ctx.pg.connection() as connection:
        rows = ledger.read_events(connection, 0, head, skus={c.sku for c in some}).to_pylist()
    found: dict[Cell, list[Effect]] = defaultdict(list)
    for row in rows:
        for cell, milli in _posts(row):
            if cell in since and since[cell] < row["occurred_at"] <= snapshot.as_of:
                found[cell].append(
                    Effect(
                        event_id=row["event_id"],
                        type=row["type"],
                        occurred_at=row["occurred_at"],
                        effect_milli=milli,
                        counted=row["ledger_offset"] <= snapshot.snapshot_offset,
                    )
                )
    return found


def _posts(row: dict[str, Any]) -> list[tuple[Cell, int]]:
    """The cells that an event moves, and by how much; which system owns them is not asked."""
    if row["sku"] is None or row["quantity_milli"] is None:
        return []
    type_ = E(row["type"])
    here = _RETURNED[Disposition(row["disposition"])] if type_ is E.RETURNED else _HERE.get(type_)
    return [
        ((row["sku"], place, state), sign * row["quantity_milli"])
        for place, signs in ((row["location"], here), (row["to_location"], _THERE.get(type_)))
        if place is not None and signs
        for state, sign in signs.items()
    ]
