"""What the world shows against what it must: one asset a comparison, and the hub's health."""

from time import perf_counter

import dagster as dg

from inventory_pipeline.config.policy import Channel, Hub
from inventory_pipeline.defs import columns, facts, keys
from inventory_pipeline.defs.common import elapsed, spec
from inventory_pipeline.defs.reports import reconcile_metadata
from inventory_pipeline.defs.resources import HubResource

KINDS = {"python", "postgres"}


class Reconciliation(dg.Config):
    """`full` reads every listing; otherwise only those that moved since the last comparison."""

    full: bool = True


def channel_asset(hub: Hub, channel: Channel) -> dg.AssetsDefinition:
    """Reads what a channel shows and compares (SEMANTICS §9, `channel`)."""

    @dg.multi_asset(
        name=keys.op_name(keys.reconcile(channel.id)),
        specs=[
            spec(
                keys.reconcile(channel.id),
                hub=hub,
                description=f"What `{channel.id}` shows against what it must be showing: one row a "
                "variance, with its cause and what was done.",
                kinds=KINDS,
                columns=columns.VARIANCES,
                deps=[keys.push(channel.id)],
                tags={keys.MODE_TAG: channel.mode.value},
            )
        ],
    )
    def reconcile(config: Reconciliation, hub: HubResource) -> dg.MaterializeResult[None]:
        from inventory_pipeline.flow.reconcile import reconcile_channel

        began = perf_counter()
        with hub.open() as ctx:
            report = reconcile_channel(ctx, channel.id, full=config.full)
        return dg.MaterializeResult(
            metadata={**reconcile_metadata(report), "full": config.full, "seconds": elapsed(began)}
        )

    return reconcile


def ledger_comparison(hub: Hub) -> dg.AssetsDefinition:
    """New owner snapshots against the last ones rolled forward (SEMANTICS §9, `ledger`)."""

    @dg.multi_asset(
        name=keys.op_name(keys.RECONCILE_LEDGER),
        specs=[
            spec(
                keys.RECONCILE_LEDGER,
                hub=hub,
                description="Each owner's new snapshot against its last one rolled forward by the "
                "ledger.",
                kinds=KINDS,
                columns=columns.VARIANCES,
                deps=[keys.POSITIONS],
            )
        ],
    )
    def reconcile(hub: HubResource) -> dg.MaterializeResult[None]:
        from inventory_pipeline.flow.reconcile_sources import reconcile_ledger

        began = perf_counter()
        with hub.open() as ctx:
            report = reconcile_ledger(ctx)
        return dg.MaterializeResult(
            metadata={**reconcile_metadata(report), "seconds": elapsed(began)}
        )

    return reconcile


def systems_comparison(hub: Hub) -> dg.AssetsDefinition:
    """What non-owners report against the positions (SEMANTICS §9, `systems`)."""

    @dg.multi_asset(
        name=keys.op_name(keys.RECONCILE_SYSTEMS),
        specs=[
            spec(
                keys.RECONCILE_SYSTEMS,
                hub=hub,
                description="What systems report about stock that they do not own, against the "
                "positions.",
                kinds=KINDS,
                columns=columns.VARIANCES,
                deps=[keys.POSITIONS],
            )
        ],
    )
    def reconcile(hub: HubResource) -> dg.MaterializeResult[None]:
        from inventory_pipeline.flow.reconcile_sources import reconcile_systems

        began = perf_counter()
        with hub.open() as ctx:
            report = reconcile_systems(ctx)
        return dg.MaterializeResult(
            metadata={**reconcile_metadata(report), "seconds": elapsed(began)}
        )

    return reconcile


def health_asset(hub: Hub, channels: list[Channel]) -> dg.AssetsDefinition:
    """A few numbers that tell whether the hub keeps up."""

    @dg.multi_asset(
        name=keys.op_name(keys.HEALTH),
        specs=[
            spec(
                keys.HEALTH,
                hub=hub,
                description="Whether the hub keeps up: how far the numbers are behind the ledger, "
                "what waits, what failed.",
                kinds=KINDS,
                deps=[
                    *(keys.push(channel.id) for channel in channels),
                    *(keys.reconcile(channel.id) for channel in channels),
                    keys.RECONCILE_LEDGER,
                    keys.RECONCILE_SYSTEMS,
                ],
            )
        ],
    )
    def health(hub: HubResource) -> dg.MaterializeResult[None]:
        with hub.open() as ctx, ctx.pg.connection() as connection:
            found = facts.health(connection, ctx.clock())
        return dg.MaterializeResult(
            metadata={
                "offset": found.head,
                "entries_behind": found.behind,
                "deliveries_waiting": found.inbox,
                "listings": found.listings,
                "listings_waiting": found.looks,
                "listings_given_up": found.dead,
                "quarantine_held": found.quarantined,
                "variances_open": found.variances,
                "feeds_failing": found.feeds_failing,
            }
        )

    return health
