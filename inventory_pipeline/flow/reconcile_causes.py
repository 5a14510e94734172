"""From a difference of a channel to a variance: its cause, the evidence for it, and what it costs.

Evidence is asked for set by set, of the listings that differ only (SEMANTICS §9).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from inventory_pipeline.config.policy import Channel, Hub
from inventory_pipeline.core.breaker import Breaker
from inventory_pipeline.core.causes import ChannelFacts, Effect, channel_cause, counted_twice
from inventory_pipeline.core.heals import TELLS, policy
from inventory_pipeline.core.outbox import OutboxRow
from inventory_pipeline.core.ports import Completion, Connector, Level
from inventory_pipeline.core.quantities import MILLI
from inventory_pipeline.core.vocabulary import Cause
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.reconcile_orders import missing_orders
from inventory_pipeline.memory.breakers import breaker_of
from inventory_pipeline.memory.listing_facts import ListingFacts, listing_facts, own_events
from inventory_pipeline.memory.variances import Variance

Place = tuple[str, str]

# An event so long before the base may have been counted a second time after it.
COUNTED_TWICE_WITHIN = timedelta(hours=1)
AT_ONCE = 20_000  # listings whose evidence is asked for together
MOST_EVENTS = 20  # named in one variance's evidence
FAILED = frozenset({"busy", "refused", "unknown"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Differing:
    """A listing that differs: `row` is None where the hub has no such listing, `level` where the
    channel has none.
    """

    place: Place
    row: OutboxRow | None
    level: Level | None
    expected_milli: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known of one difference when its cause is sought."""

    one: Differing
    listing: ListingFacts | None
    events: Sequence[Effect]
    missing: Sequence[Effect]
    breaker: Breaker
    now: datetime


def explain(
    ctx: HubContext, channel: Channel, connector: Connector, differing: Sequence[Differing]
) -> list[Variance]:
    """Each difference with the first cause that holds. May ask the channel for its orders."""
    missing = missing_orders(ctx, channel, connector, _unexplained_rows(differing))
    found: list[Variance] = []
    for start in range(0, len(differing), AT_ONCE):
        some = differing[start : start + AT_ONCE]
        places = [one.place for one in some if one.row is not None]
        now = ctx.clock()
        with ctx.pg.connection() as connection:
            breaker = breaker_of(connection, channel.id)
            facts = listing_facts(connection, channel.id, places)
            events = own_events(
                connection, channel, connector.capabilities, places,
                before=COUNTED_TWICE_WITHIN, now=now,
            )  # fmt: skip
        for one in some:
            known = _Known(
                one=one, listing=facts.get(one.place), events=events.get(one.place, ()),
                missing=missing.get(one.place, ()), breaker=breaker, now=now,
            )  # fmt: skip
            found.append(_variance(ctx.hub, channel, connector, known))
    return found


def _unexplained_rows(differing: Sequence[Differing]) -> list[OutboxRow]:
    """Listings that both sides have: only of these the channel's orders can explain anything."""
    return [one.row for one in differing if one.row is not None and one.level is not None]


def _variance(hub: Hub, channel: Channel, connector: Connector, known: _Known) -> Variance:
    one = known.one
    facts = _facts(channel, connector, known)
    cause = channel_cause(facts)
    units = known.listing.units_milli if known.listing else MILLI
    sku = one.row.sku if one.row else None
    return Variance(
        comparison="channel",
        cause=cause,
        sku=sku,
        expected_milli=facts.expected_milli,
        found_milli=facts.shown_milli,
        channel=channel.id,
        bucket=one.place[0],
        external_id=one.place[1],
        units_milli=units,
        value=value_at_stake(hub, sku, facts.difference_milli, units),
        alert=policy(cause, "channel", channel.heal) in TELLS,
        evidence=_evidence(cause, known, facts),
    )


def _facts(channel: Channel, connector: Connector, known: _Known) -> ChannelFacts:
    one, listing = known.one, known.listing
    awaits = _awaits_receipt(connector, known)
    return ChannelFacts(
        shown_milli=one.level.available_milli if one.level else None,
        expected_milli=one.expected_milli,
        known=one.row is not None,
        under_way=listing is not None and listing.intent_key is not None
        and listing.intent_state != "accepted",
        own_events_near=_own_events_near(channel, known),
        not_computed=tuple(e for e in known.events if not e.counted),
        awaits_receipt=awaits,
        failure=_failure(known),
        missing_orders=_missing(known),
        before_write_milli=_before_write(known),
        write_answered_at=listing.write_answered_at if listing else None,
        events=tuple(e for e in known.events if e.counted),
        step_milli=MILLI // 10**channel.decimals,
        changed_at=one.level.changed_at if one.level else None,
    )  # fmt: skip


def _own_events_near(channel: Channel, known: _Known) -> bool:
    """Within skew of the reading, or of the base: it cannot be told which side has them."""
    row, level = known.one.row, known.one.level
    if row is None or level is None:
        return False
    first, last = level.asked_at - channel.skew, level.answered_at + channel.skew
    return row.uncertain or any(first <= e.occurred_at <= last for e in known.events)


def _missing(known: _Known) -> tuple[Effect, ...]:
    """Orders that the ledger lacks and the base does not have: of those dated near the base it
    cannot be told, so they count if they explain the difference.
    """
    row, level = known.one.row, known.one.level
    if row is None or level is None or known.one.expected_milli is None:
        return ()
    difference = level.available_milli - known.one.expected_milli
    if sum(effect.effect_milli or 0 for effect in known.missing) == difference:
        return tuple(known.missing)
    base = row.base_answered_at
    return tuple(e for e in known.missing if base is not None and e.occurred_at > base)


def _awaits_receipt(connector: Connector, known: _Known) -> bool:
    """Accepted by an asynchronous channel, and its window is not over."""
    listing = known.listing
    if listing is None:
        return False
    if listing.intent_state == "accepted":
        return listing.intent_until is None or listing.intent_until > known.now
    capabilities = connector.capabilities
    return (
        capabilities.completion is not Completion.SYNC
        and listing.write_answered_at is not None
        and listing.base_kind == "write"
        and listing.write_answered_at + capabilities.applied_within > known.now
    )


def _failure(known: _Known) -> str:
    """Why the last push did not arrive; empty where it did."""
    listing = known.listing
    if listing is None:
        return ""
    if listing.dead_at is not None:
        return listing.failure or "it was given up"
    if listing.held_at is not None:
        return f"held: {listing.held_why}"
    if listing.attempt_outcome in FAILED:
        return listing.failure or listing.attempt_error or listing.attempt_outcome or ""
    if known.breaker.is_open and known.one.row is not None and not known.one.row.settled:
        return f"the channel's breaker is open: {known.breaker.why}"
    return ""


def _before_write(known: _Known) -> int | None:
    """What stood there before our last acknowledged write, less what the channel sold since."""
    listing, row = known.listing, known.one.row
    if listing is None or listing.write_from_milli is None:
        return None
    own = row.own_milli if row is not None and listing.base_kind == "write" else 0
    level = known.one.level
    if level is not None and level.available_milli == listing.write_from_milli:
        return listing.write_from_milli
    return listing.write_from_milli + own


def value_at_stake(
    hub: Hub, sku: str | None, difference_milli: int | None, units_milli: int
) -> Decimal | None:
    """The price of what is missing or too much; None without a price or a difference."""
    item = hub.catalog.items.get(sku) if sku else None
    if item is None or item.price is None or difference_milli is None:
        return None
    units = Decimal(abs(difference_milli)) * units_milli / (MILLI * MILLI)
    return item.price * units


def _evidence(cause: Cause, known: _Known, facts: ChannelFacts) -> dict[str, Any]:
    """Times, pushes and events that a person needs to follow the cause; only what there is."""
    one, listing = known.one, known.listing
    level, row = one.level, one.row
    evidence: dict[str, Any] = {
        "asked_at": _iso(level.asked_at) if level else None,
        "answered_at": _iso(level.answered_at) if level else None,
        "changed_at": _iso(level.changed_at) if level else None,
        "desired_milli": row.desired_milli if row else None,
        "base_milli": row.base_milli if row else None,
        "base_kind": row.base_kind if row else None,
        "base_at": _iso(row.base_answered_at) if row else None,
        "own_milli": (row.own_milli or None) if row else None,
    }
    if listing is not None:
        evidence |= _pushes(listing, known)
    if facts.failure and cause is Cause.PUSH_FAILED:
        evidence |= {"failure": facts.failure, "error": error_class(facts.failure, one.place[1])}
    evidence["events"] = _events(cause, known, facts)
    return {name: value for name, value in evidence.items() if value is not None}


def _pushes(listing: ListingFacts, known: _Known) -> dict[str, Any]:
    return {
        "push": listing.write_key,
        "pushed_at": _iso(listing.write_answered_at),
        "pushed_milli": listing.write_milli,
        "pushed_over_milli": listing.write_from_milli,
        "under_way": listing.intent_key,
        "under_way_since": _iso(listing.intent_sent_at),
        "receipt_until": _iso(listing.intent_until),
        "attempt": listing.attempt_key,
        "attempt_outcome": listing.attempt_outcome,
        "attempt_at": _iso(listing.attempt_sent_at),
        "dead_at": _iso(listing.dead_at),
        "held_at": _iso(listing.held_at),
        "breaker_open_since": _iso(known.breaker.since) if known.breaker.is_open else None,
    }


def _events(cause: Cause, known: _Known, facts: ChannelFacts) -> list[str] | None:
    """Ids of the events that the cause is about; of others those that the number counts."""
    match cause:
        case Cause.ORDER_NOT_INGESTED:
            chosen: Sequence[Effect] = known.missing
        case Cause.DUPLICATE_EFFECT:
            twice = counted_twice(facts.events, facts.difference_milli)
            chosen = [twice] if twice else []
        case _:
            chosen = known.events
    return [effect.event_id for effect in chosen][:MOST_EVENTS] or None


def error_class(failure: str, item: str) -> str:
    """A failure's text without what differs from item to item, so that equal ones are one group."""
    text = failure.splitlines()[0].replace(item, "…")
    return re.sub(r"\d+", "#", text)[:200]


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
