"""Why a number differs (SEMANTICS §9): the first cause that holds, in the order of the table.

Pure decisions. Quantities in thousandths of the compared unit.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from inventory_pipeline.core.vocabulary import Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one event did to the compared number; `effect_milli` None where it cannot be told."""

    event_id: str
    type: str
    occurred_at: datetime
    effect_milli: int | None
    counted: bool = True  # the expected number has it already


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelFacts:
    """What is known of one listing at the moment of its reading.

    `shown_milli` is None where the channel does not have the listing, `expected_milli` where the
    hub does not. `before_write_milli` is what stood there before our last acknowledged write.
    `step_milli` is the smallest step of the channel's numbers.
    """

    shown_milli: int | None
    expected_milli: int | None
    known: bool = False  # the hub has the listing, even if nothing is expected of it yet
    under_way: bool = False
    own_events_near: bool = False
    not_computed: tuple[Effect, ...] = ()  # own events that neither number has yet
    awaits_receipt: bool = False
    failure: str = ""  # of the last attempt; also: dead, held, the breaker is open
    missing_orders: tuple[Effect, ...] = ()  # of the channel's own list, not in the ledger
    before_write_milli: int | None = None
    write_answered_at: datetime | None = None
    events: tuple[Effect, ...] = ()  # own events that the expected number has, since the base
    step_milli: int = 1000
    changed_at: datetime | None = None

    @property
    def difference_milli(self) -> int | None:
        if self.shown_milli is None or self.expected_milli is None:
            return None
        return self.shown_milli - self.expected_milli


def channel_cause(facts: ChannelFacts) -> Cause:
    """The cause of a difference. Raises ValueError if shown and expected are equal."""
    mapped = facts.known or facts.expected_milli is not None
    listed = facts.shown_milli is not None
    if facts.shown_milli == facts.expected_milli and (listed or not mapped):
        raise ValueError("there is no variance to explain")
    difference = facts.difference_milli
    tests = (
        (facts.under_way or facts.own_events_near, Cause.IN_FLIGHT),
        (_explains(facts.not_computed, difference), Cause.IN_FLIGHT),
        (facts.awaits_receipt, Cause.NOT_YET_APPLIED),
        (bool(facts.failure) and listed, Cause.PUSH_FAILED),
        (not mapped, Cause.UNMAPPED),
        (not listed, Cause.NOT_LISTED),
        (_explains(facts.missing_orders, difference), Cause.ORDER_NOT_INGESTED),
        (facts.shown_milli == facts.before_write_milli, Cause.LOST_UPDATE),
        (counted_twice(facts.events, difference) is not None, Cause.DUPLICATE_EFFECT),
        (is_rounding(difference, facts.step_milli), Cause.ROUNDING),
        (_changed_after_our_write(facts), Cause.EXTERNAL_EDIT),
    )
    return next((cause for holds, cause in tests if holds), Cause.UNEXPLAINED)


def _explains(effects: Iterable[Effect], difference_milli: int | None) -> bool:
    """Whether all of them together are the whole difference."""
    found = [effect.effect_milli for effect in effects]
    if not found or difference_milli is None or None in found:
        return False
    return sum(milli for milli in found if milli is not None) == difference_milli


def counted_twice(effects: Iterable[Effect], difference_milli: int | None) -> Effect | None:
    """The one event that, counted a second time, is the whole difference."""
    if not difference_milli:
        return None
    return next((e for e in effects if e.counted and e.effect_milli == difference_milli), None)


def is_rounding(difference_milli: int | None, step_milli: int) -> bool:
    """Whether the difference is less than one step of the coarser side.

    A whole step is never rounding: where both sides count whole units, one unit is missing.
    """
    return difference_milli is not None and 0 < abs(difference_milli) < step_milli


def _changed_after_our_write(facts: ChannelFacts) -> bool:
    return (
        facts.changed_at is not None
        and facts.write_answered_at is not None
        and facts.changed_at > facts.write_answered_at
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """What is known of one cell of a system's snapshot and of the position beside it.

    `otherwise_milli` is the position with, or without, the events that arrived after the snapshot
    did: None where there are none. `step_milli` is the smallest step of the coarser side.
    `age_s`, `max_age_s`: of the compared feed, in seconds.
    """

    expected_milli: int | None
    found_milli: int
    otherwise_milli: int | None = None
    events: tuple[Effect, ...] = ()
    step_milli: int = 1
    age_s: float = 0.0
    max_age_s: float = float("inf")


def source_cause(facts: SourceFacts) -> Cause:
    """The cause of a difference between a system's snapshot and the position."""
    if facts.expected_milli is None:
        return Cause.UNMAPPED
    tests = (
        (source_counted_twice(facts) is not None, Cause.DUPLICATE_EFFECT),
        (facts.otherwise_milli == facts.found_milli, Cause.LATE_EVENT),
        (is_rounding(facts.found_milli - facts.expected_milli, facts.step_milli), Cause.ROUNDING),
        (facts.age_s > facts.max_age_s, Cause.STALE_SOURCE),
    )
    return next((cause for holds, cause in tests if holds), Cause.UNEXPLAINED)


def source_counted_twice(facts: SourceFacts) -> Effect | None:
    """The event that one side counted a second time: the system, or the ledger under two ids."""
    if facts.expected_milli is None:
        return None
    difference = facts.found_milli - facts.expected_milli
    twice_there = counted_twice(facts.events, difference)
    if twice_there is not None or not difference:
        return twice_there
    seen: set[tuple[str, datetime]] = set()
    for effect in facts.events:
        same = (effect.type, effect.occurred_at)
        if effect.effect_milli == -difference and effect.counted:
            if same in seen:
                return effect
            seen.add(same)
    return None


# Nothing is wrong that somebody has to put right: it passes, or is told for the record.
HARMLESS = frozenset({Cause.IN_FLIGHT, Cause.NOT_YET_APPLIED, Cause.LATE_EVENT, Cause.ROUNDING})

# What the job `heal` does something about by itself (core/heals.py says what).
REPUSHED = frozenset(
    {
        Cause.LOST_UPDATE,
        Cause.EXTERNAL_EDIT,
        Cause.UNEXPLAINED,
        Cause.DUPLICATE_EFFECT,
        Cause.PUSH_FAILED,
        Cause.ORDER_NOT_INGESTED,
    }
)


SYSTEMIC_PERCENT = 50
SYSTEMIC_ROWS = 20
SYSTEMIC_LISTINGS_PERCENT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """How many open variances have one value of one dimension; `of_channels`: channel → rows."""

    dimension: str  # cause | channel | system | location | error
    value: str
    rows: int
    of_channels: Mapping[str, int]


def systemic(
    groups: Iterable[Shared], *, open_rows: int, listings: Mapping[str, int]
) -> list[Shared]:
    """Those whose value holds at least half of the open variances and 20 rows, or 5 % of a
    channel's listings; the greatest first. `listings`: channel → its listings.
    """
    found = [
        group
        for group in groups
        if _holds_most(group.rows, open_rows)
        or any(
            rows and rows * 100 >= SYSTEMIC_LISTINGS_PERCENT * listings.get(channel, 0) > 0
            for channel, rows in group.of_channels.items()
        )
    ]
    return sorted(found, key=lambda group: (-group.rows, group.dimension, group.value))


def _holds_most(rows: int, open_rows: int) -> bool:
    return rows >= SYSTEMIC_ROWS and rows * 100 >= SYSTEMIC_PERCENT * open_rows
