"""The five jobs. All run in one process: an interpreter a step costs more than the steps do."""

from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from inventory_pipeline.config.policy import Channel, Hub, System
from inventory_pipeline.defs import keys, numbers
from inventory_pipeline.defs.resources import HubResource

# Dagster ends a run that stays this much longer than it should.
OVERSTAY_S = 300


def sync_job(hub: Hub) -> dg.JobDefinition:
    """Takes new ledger entries to the channels until nothing happens for a while."""
    idle, max_run = hub.sync.idle, hub.sync.max_run

    @dg.op(name="drain", description="Cycles and pushes while there is work, then waits for more.")
    def drain_op(context: dg.OpExecutionContext, hub: HubResource) -> None:
        from inventory_pipeline.defs import lineage
        from inventory_pipeline.defs.reporter import Beside, Reporter, pool_connections
        from inventory_pipeline.flow.drain import drain

        pool_connections(context.instance)
        with hub.open() as ctx:
            reporter = Beside(Reporter(context.log_event, ctx))
            report = drain(
                ctx,
                idle=idle,
                max_run=max_run,
                report=reporter.report,
                holder=f"dagster run {context.run_id}",
            )
            # The next sync has the lock by now: nothing waits for what follows.
            reporter.close()
            lineage.load(ctx.state, make=True)
        context.log.info(
            "ended: %s, after %d cycles with %d events", report.ended, report.cycles, report.events
        )

    @dg.job(
        name=keys.SYNC,
        executor_def=dg.in_process_executor,
        tags={
            keys.JOB_TAG: keys.SYNC,
            # A successor may first wait for its predecessor's end.
            "dagster/max_runtime": str(int(2 * max_run.total_seconds()) + OVERSTAY_S),
        },
        description="Takes new ledger entries to the channels: cycles of positions, ATS and pushes "
        "while there is work, then waits for the next entry. Reports on the assets `ledger`, "
        "`positions`, `ats/*` and `push/*`.",
    )
    def sync() -> None:
        drain_op()

    return sync


def land_job(systems: Sequence[System]) -> UnresolvedAssetJobDefinition:
    """Reads systems; a run of one system names its asset."""
    return _asset_job(
        keys.LAND,
        [*(keys.landing(system.id) for system in systems), keys.LEDGER],
        "Reads new snapshots and changes of the systems. Schedules and the sensor start it for one "
        "system at a time; started by hand it reads them all.",
    )


def reconcile_job(channels: Sequence[Channel]) -> UnresolvedAssetJobDefinition:
    return _asset_job(
        keys.RECONCILE,
        [
            *(keys.reconcile(channel.id) for channel in channels),
            keys.RECONCILE_LEDGER,
            keys.RECONCILE_SYSTEMS,
            keys.HEALTH,
        ],
        "Compares what channels and systems show with what they must; then the checks.",
    )


def heal_job() -> dg.JobDefinition:
    """Does what the causes of open variances call for; a sync sends what it marks."""

    @dg.op(
        name="repush",
        description="Marks what is to be read and sent again, ingests orders that were missed, and "
        "says of what a person must be told.",
    )
    def repush_op(context: dg.OpExecutionContext, hub: HubResource) -> None:
        from inventory_pipeline.flow.heal import heal

        with hub.open() as ctx:
            healed = heal(ctx, by=f"dagster run {context.run_id}")
        for channel, listings in sorted(healed.items()):
            context.log.info("%s: %d listings are sent again or ingested", channel, listings)

    @dg.job(
        name=keys.HEAL,
        executor_def=dg.in_process_executor,
        tags={keys.JOB_TAG: keys.HEAL},
        description="Does what the causes of open variances call for: marks listings for sending "
        "again, ingests missed orders, asks for people. A sync sends what is marked.",
    )
    def heal_all() -> None:
        repush_op()

    return heal_all


def rebuild_job(channels: Sequence[Channel]) -> UnresolvedAssetJobDefinition:
    return _asset_job(
        keys.REBUILD,
        [keys.POSITIONS, *(keys.ats(channel.id) for channel in channels)],
        "Deletes the derived store and computes it again from the ledger and the landing files; "
        "the result is the same.",
        config=dg.RunConfig(ops={numbers.OP: numbers.Numbers(from_scratch=True)}),
    )


def _asset_job(
    name: str,
    selection: Sequence[dg.AssetKey],
    description: str,
    config: dg.RunConfig | None = None,
) -> UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*selection),
        description=description,
        executor_def=dg.in_process_executor,
        tags={keys.JOB_TAG: name},
        config=config,
    )
