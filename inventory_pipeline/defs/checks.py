"""Asset checks: each asks the memory for facts and reports a verdict. None of them writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg

from inventory_pipeline.config.policy import Channel, Hub, System
from inventory_pipeline.defs import facts, keys, verdicts
from inventory_pipeline.defs.resources import HubResource
from inventory_pipeline.defs.verdicts import Verdict
from inventory_pipeline.flow.times import utc_now

if TYPE_CHECKING:
    from inventory_pipeline.memory.postgres import Connection

SCHEMA = "schema"
COMPLETENESS = "completeness"
PLAUSIBILITY = "plausibility"
FRESHNESS = "freshness"
GAPLESS = "gapless_offsets"
QUARANTINE = "quarantine_stays_small"
NO_NEGATIVE_ATS = "no_negative_ats"
SHOWS_WHAT_IT_MUST = "channel_shows_what_it_must"
NO_OPEN_VARIANCES = "no_open_variances"


def snapshot_checks(system: System) -> dg.AssetChecksDefinition:
    """The checks of `landing/<system>`: schema and completeness stop the rest of their run."""
    asset = keys.landing(system.id)
    specs = [
        _spec(asset, SCHEMA, "The newest snapshot can be read and has its columns.", blocking=True),
        _spec(
            asset,
            COMPLETENESS,
            "The newest snapshot lost no more rows than max_drop and does not contradict itself.",
            blocking=True,
        ),
        _spec(asset, PLAUSIBILITY, "The newest snapshot does not look like a mistake."),
        _spec(asset, FRESHNESS, "The source's own as_of is not older than max_age."),
    ]

    @dg.multi_asset_check(name=f"{keys.op_name(asset)}__checks", specs=specs, can_subset=True)
    def look(
        context: dg.AssetCheckExecutionContext, hub: HubResource
    ) -> Iterator[dg.AssetCheckResult]:
        with _asking(hub) as connection:
            found = _snapshot_verdicts(connection, hub, system)
        for key in sorted(context.selected_asset_check_keys):
            yield found[key.name].result(asset, key.name)

    return look


def _snapshot_verdicts(
    connection: "Connection", hub: HubResource, system: System
) -> dict[str, Verdict]:
    from inventory_pipeline.defs.counts import snapshot_totals

    snapshots = facts.last_snapshots(connection, system.id)
    accepted = [landed for landed in snapshots if landed.accepted]
    newest = accepted[0] if accepted else None
    before = next(
        (one for one in accepted[1:] if newest and one.feed == newest.feed and one.complete), None
    )
    return {
        SCHEMA: verdicts.snapshot_schema(snapshots),
        COMPLETENESS: verdicts.snapshot_completeness(snapshots),
        PLAUSIBILITY: verdicts.snapshot_plausibility(
            newest,
            snapshot_totals(hub.state_folder(), newest),
            # Only whole snapshots can be compared: a partial one says little about the total.
            snapshot_totals(hub.state_folder(), before) if newest and newest.complete else None,
        ),
        FRESHNESS: verdicts.freshness(
            facts.newest_as_of(connection, system.id),
            max_age=system.snapshot.max_age,
            now=utc_now(),
        ),
    }


def ledger_checks() -> dg.AssetChecksDefinition:
    specs = [
        _spec(keys.LEDGER, GAPLESS, "Every offset up to the counter has exactly one entry."),
        _spec(keys.LEDGER, QUARANTINE, "No rows keep coming into quarantine."),
    ]

    @dg.multi_asset_check(name="ledger__checks", specs=specs, can_subset=True)
    def look(
        context: dg.AssetCheckExecutionContext, hub: HubResource
    ) -> Iterator[dg.AssetCheckResult]:
        with _asking(hub) as connection:
            found = ledger_verdicts(connection, utc_now())
        for key in sorted(context.selected_asset_check_keys):
            yield found[key.name].result(keys.LEDGER, key.name)

    return look


def ledger_verdicts(connection: "Connection", now: datetime) -> dict[str, Verdict]:
    return {
        GAPLESS: verdicts.gapless(facts.ledger_shape(connection)),
        QUARANTINE: verdicts.quarantine_grows(
            *facts.quarantine(connection, now - verdicts.QUARANTINE_WINDOW)
        ),
    }


def ats_check(channel: Channel) -> dg.AssetChecksDefinition:
    asset = keys.ats(channel.id)

    @dg.multi_asset_check(
        name=f"{keys.op_name(asset)}__checks",
        specs=[_spec(asset, NO_NEGATIVE_ATS, "No listing may be told a quantity below zero.")],
    )
    def look(hub: HubResource) -> Iterator[dg.AssetCheckResult]:
        with _asking(hub) as connection:
            found = ats_verdict(connection, channel.id)
        yield found.result(asset, NO_NEGATIVE_ATS)

    return look


def ats_verdict(connection: "Connection", channel: str) -> Verdict:
    return verdicts.no_negative_ats(facts.negative_listings(connection, channel))


def channel_check(hub: Hub, channel: Channel, *, readable: bool) -> dg.AssetChecksDefinition:
    """`readable`: its system can be asked what it shows; one that cannot has nothing to compare."""
    asset = keys.reconcile(channel.id)
    escalate_after = hub.tolerances.escalate_after

    @dg.multi_asset_check(
        name=f"{keys.op_name(asset)}__checks",
        specs=[
            _spec(
                asset,
                SHOWS_WHAT_IT_MUST,
                "No variance beyond tolerance: a warning at first, an error once one is older than "
                f"{verdicts.duration(escalate_after)}.",
            )
        ],
    )
    def look(hub: HubResource) -> Iterator[dg.AssetCheckResult]:
        with _asking(hub) as connection:
            found = (
                verdicts.shows_what_it_must(
                    facts.variances(connection, "channel", channel.id),
                    escalate_after=escalate_after,
                    now=utc_now(),
                )
                if readable
                else verdicts.cannot_be_asked(channel.system)
            )
        yield found.result(asset, SHOWS_WHAT_IT_MUST)

    return look


def comparison_check(hub: Hub, comparison: str) -> dg.AssetChecksDefinition:
    """The check of `reconcile/ledger` or `reconcile/systems`."""
    asset = dg.AssetKey(["reconcile", comparison])
    escalate_after = hub.tolerances.escalate_after

    @dg.multi_asset_check(
        name=f"{keys.op_name(asset)}__checks",
        specs=[
            _spec(
                asset,
                NO_OPEN_VARIANCES,
                "No variance beyond tolerance: a warning at first, an error once one is older than "
                f"{verdicts.duration(escalate_after)}.",
            )
        ],
    )
    def look(hub: HubResource) -> Iterator[dg.AssetCheckResult]:
        with _asking(hub) as connection:
            found = verdicts.shows_what_it_must(
                facts.variances(connection, comparison),
                escalate_after=escalate_after,
                now=utc_now(),
            )
        yield found.result(asset, NO_OPEN_VARIANCES)

    return look


@contextmanager
def _asking(hub: HubResource) -> Iterator["Connection"]:
    with hub.memory() as memory, memory.connection() as connection:
        yield connection


def _spec(
    asset: dg.AssetKey, name: str, description: str, *, blocking: bool = False
) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(name=name, asset=asset, description=description, blocking=blocking)
