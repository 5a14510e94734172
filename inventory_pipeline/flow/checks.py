"""Every check of a hub: what it is about, what it is called, and how it is decided.

Dagster shows them on its assets (defs/checks.py); whoever else wants a verdict asks here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from pathlib import Path

from inventory_pipeline.config.policy import Channel, Hub, System
from inventory_pipeline.core.ports import Capabilities
from inventory_pipeline.core.verdicts import Verdict
from inventory_pipeline.core.vocabulary import Cause, Mode, State
from inventory_pipeline.flow import push_verdicts, verdicts
from inventory_pipeline.flow.guard import guard_state
from inventory_pipeline.flow.verdicts import Totals
from inventory_pipeline.memory import breakers, dead, facts, wellbeing
from inventory_pipeline.memory.facts import Landed
from inventory_pipeline.memory.postgres import Connection

SCHEMA = "schema"
COMPLETENESS = "completeness"
PLAUSIBILITY = "plausibility"
FRESHNESS = "freshness"
READABLE = "can_be_read"
GAPLESS = "gapless_offsets"
QUARANTINE = "quarantine_stays_small"
DELIVERIES = "deliveries_are_read"
KEEPS_UP = "computing_keeps_up"
NOT_NEGATIVE = "no_negative_positions"
HEARD = "owners_were_heard"
NO_NEGATIVE_ATS = "no_negative_ats"
BREAKER = "breaker_closed"
GUARD = "guard_holds_nothing"
DEAD = "no_dead_letters"
LATENCY = "pushed_in_time"
SHOWS_WHAT_IT_MUST = "channel_shows_what_it_must"
MAPPED = "listings_are_mapped"
NO_OPEN_VARIANCES = "no_open_variances"

# The newest entries in which a gap is looked for at every look; all of them where it is thorough.
LOOKED_AT = 100_000
Asset = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a check may ask. `thorough`: somebody waits for the whole truth, whatever it costs."""

    connection: Connection
    hub: Hub
    state: Path
    now: datetime
    thorough: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of one asset. `page` is where people see more; one that is `blocking` stops what
    comes after it in the same run.
    """

    asset: Asset
    name: str
    says: str
    judge: Callable[[Look], Verdict] = field(compare=False)
    page: str
    blocking: bool = False


def checks_of(hub: Hub, able: dict[str, Capabilities]) -> list[Check]:
    """All checks; `able` are the capabilities of each system's connector."""
    channels = [channel for channel in hub.channels.values() if channel.mode is not Mode.OFF]
    return [
        *(
            check
            for name, capabilities in able.items()
            for check in _of_system(hub.systems[name], capabilities)
        ),
        *_of_ledger(),
        *_of_positions(),
        *(
            check
            for channel in channels
            for check in _of_channel(hub, channel, readable=able[channel.system].levels)
        ),
        *(_of_comparison(hub, comparison) for comparison in ("ledger", "systems")),
    ]


def _of_system(system: System, able: Capabilities) -> Iterator[Check]:
    about = partial(Check, asset=("landing", system.id), page="/feeds")
    if able.snapshots or able.changes:
        yield about(
            name=READABLE,
            says="Each of its feeds can be read: a warning at first, an error after a while.",
            judge=lambda look: push_verdicts.can_be_read(
                wellbeing.failing_feeds(look.connection, system.id), now=look.now
            ),
        )
    if not able.snapshots:
        return
    yield about(
        name=SCHEMA,
        says="The newest snapshot can be read and has its columns.",
        judge=lambda look: verdicts.snapshot_schema(_landed(look, system)),
        blocking=True,
    )
    yield about(
        name=COMPLETENESS,
        says="The newest snapshot lost no more rows than max_drop and does not contradict itself.",
        judge=lambda look: verdicts.snapshot_completeness(_landed(look, system)),
        blocking=True,
    )
    yield about(
        name=PLAUSIBILITY,
        says="The newest snapshot does not look like a mistake.",
        judge=lambda look: _plausibility(look, system),
    )
    yield about(
        name=FRESHNESS,
        says="The source's own as_of is not older than max_age.",
        judge=lambda look: verdicts.freshness(
            facts.newest_as_of(look.connection, system.id),
            max_age=system.snapshot.max_age,
            now=look.now,
        ),
    )


def _of_ledger() -> Iterator[Check]:
    about = partial(Check, asset=("ledger",), page="/feeds")
    yield about(
        name=GAPLESS,
        says="Every offset up to the counter has exactly one entry.",
        judge=lambda look: verdicts.gapless(
            facts.ledger_shape(look.connection, newest=None if look.thorough else LOOKED_AT)
        ),
    )
    yield about(
        name=QUARANTINE,
        says="No rows keep coming into quarantine.",
        judge=lambda look: verdicts.quarantine_grows(
            *facts.quarantine(look.connection, look.now - verdicts.QUARANTINE_WINDOW)
        ),
    )
    yield about(
        name=DELIVERIES,
        says="Webhooks that came in are read within minutes.",
        judge=lambda look: push_verdicts.deliveries_are_read(
            facts.unread_since(look.connection), now=look.now
        ),
    )


def _of_positions() -> Iterator[Check]:
    about = partial(Check, asset=("positions",), page="/")
    yield about(
        name=KEEPS_UP,
        says="What the ledger holds is computed within minutes.",
        judge=lambda look: push_verdicts.keeps_up(
            facts.backlog(look.connection, [], look.now),
            waiting_since=facts.uncomputed_since(look.connection),
            now=look.now,
        ),
    )
    yield about(
        name=NOT_NEGATIVE,
        says="Nowhere lies less than nothing.",
        judge=lambda look: push_verdicts.nothing_below_zero(
            *wellbeing.negative_positions(look.connection)
        ),
    )
    yield about(
        name=HEARD,
        says="Every system that owns stock which a channel sells has said something.",
        judge=lambda look: push_verdicts.owners_were_heard(_silent_owners(look)),
    )


def _of_channel(hub: Hub, channel: Channel, *, readable: bool) -> Iterator[Check]:
    sent = partial(Check, asset=("push", channel.id), page=f"/pushes?channel={channel.id}")
    compared = partial(
        Check, asset=("reconcile", channel.id), page=f"/variances?channel={channel.id}"
    )
    yield Check(
        asset=("ats", channel.id),
        name=NO_NEGATIVE_ATS,
        says="No listing may be told a quantity below zero.",
        judge=lambda look: verdicts.no_negative_ats(
            facts.negative_listings(look.connection, channel.id)
        ),
        page="/",
    )
    yield sent(
        name=GUARD,
        says="No wave of changes waits for a person.",
        judge=lambda look: push_verdicts.guard_holds_nothing(
            guard_state(look.connection, channel.id)
        ),
        blocking=True,
    )
    yield sent(
        name=BREAKER,
        says="The channel answers, so that numbers are sent to it.",
        judge=lambda look: push_verdicts.breaker_closed(
            breakers.breaker_of(look.connection, channel.id)
        ),
    )
    yield sent(
        name=DEAD,
        says="No listing was given up.",
        judge=lambda look: push_verdicts.no_dead_letters(
            dead.dead_rows(look.connection, channel.id, limit=facts.WORST_ROWS),
            most=facts.WORST_ROWS,
        ),
    )
    yield sent(
        name=LATENCY,
        says=f"95 of 100 events reach the channel within {push_verdicts.SLOW_P95_S:.0f} s.",
        judge=lambda look: push_verdicts.fast_enough(
            wellbeing.latency(
                look.connection, channel.id, since=look.now - push_verdicts.LATENCY_WINDOW
            )
        ),
    )
    yield compared(
        name=SHOWS_WHAT_IT_MUST,
        says=_variances_say(hub),
        judge=lambda look: (
            _open_variances(look, "channel", channel.id)
            if readable
            else verdicts.cannot_be_asked(channel.system)
        ),
    )
    yield compared(
        name=MAPPED,
        says="Hub and channel know the same listings.",
        judge=lambda look: push_verdicts.everything_is_mapped(
            wellbeing.variances_by_cause(
                look.connection, channel.id, [Cause.UNMAPPED, Cause.NOT_LISTED]
            )
        ),
    )


def _of_comparison(hub: Hub, comparison: str) -> Check:
    """The check of `reconcile/ledger` or `reconcile/systems`."""
    return Check(
        asset=("reconcile", comparison),
        name=NO_OPEN_VARIANCES,
        says=_variances_say(hub),
        judge=lambda look: _open_variances(look, comparison, None),
        page="/variances",
    )


def _variances_say(hub: Hub) -> str:
    after = verdicts.duration(hub.tolerances.escalate_after)
    return (
        "No variance beyond tolerance: a warning at first, an error once one is older than "
        f"{after}."
    )


def _open_variances(look: Look, comparison: str, channel: str | None) -> Verdict:
    return verdicts.shows_what_it_must(
        facts.variances(look.connection, comparison, channel),
        escalate_after=look.hub.tolerances.escalate_after,
        now=look.now,
        place=("bucket", "listing") if comparison == "channel" else ("location", "state"),
    )


def _landed(look: Look, system: System) -> list[Landed]:
    return facts.last_snapshots(look.connection, system.id)


def _plausibility(look: Look, system: System) -> Verdict:
    accepted = [landed for landed in _landed(look, system) if landed.accepted]
    newest = accepted[0] if accepted else None
    before = next(
        (one for one in accepted[1:] if newest and one.feed == newest.feed and one.complete), None
    )
    return verdicts.snapshot_plausibility(
        newest,
        _totals(look.state, newest),
        # Only whole snapshots can be compared: a partial one says little about the total.
        _totals(look.state, before) if newest and newest.complete else None,
    )


def _totals(state: Path, landed: Landed | None) -> Totals | None:
    if landed is None or landed.path is None:
        return None
    return snapshot_totals(state / landed.path)


@cache
def snapshot_totals(file: Path) -> Totals | None:
    """Sums of one landed file, which never changes; None where it says nothing of on_hand."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    on_hand = pq.read_table(file, columns=["on_hand"])["on_hand"].drop_null()
    if not len(on_hand):
        return None
    return Totals(
        on_hand_milli=pc.sum(on_hand).as_py(),
        rows=len(on_hand),
        negative_rows=pc.sum(pc.less(on_hand, 0)).as_py(),
    )


def _silent_owners(look: Look) -> Sequence[tuple[str, str]]:
    """(system, location) of owners of on_hand where a channel sells, of which nothing came yet."""
    sold_from = {
        location
        for channel in look.hub.channels.values()
        if channel.mode is not Mode.OFF
        for bucket in channel.buckets
        for location in bucket.locations
    }
    owners = {
        (owner, location)
        for location in sold_from
        if (owner := look.hub.owner(State.ON_HAND, location)) is not None
    }
    heard = wellbeing.heard_of(look.connection, sorted({owner for owner, _ in owners}))
    return sorted(pair for pair in owners if pair[0] not in heard)
