"""Sensors that start a sync and heal. They ask Postgres, never push, and close what they open."""

import dagster as dg

from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.causes import REPUSHED
from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline.defs import keys
from inventory_pipeline.defs.resources import HubResource
from inventory_pipeline.defs.runs import active_runs, decide_sync
from inventory_pipeline.flow.times import utc_now
from inventory_pipeline.memory import facts, modes
from inventory_pipeline.memory.postgres import Connection

# Dagster's daemon looks at its sensors every five seconds. An interval as long as that misses every
# other look, because a tick begins a little after the look that starts it.
TICK_S = 1


def sync_sensor(hub: Hub) -> dg.SensorDefinition:
    """Requests a sync when there is work and none is active, and a successor in time."""
    channels = [channel.id for channel in hub.channels.values() if channel.mode is not Mode.OFF]
    idle, max_run = hub.sync.idle, hub.sync.max_run

    @dg.sensor(
        name="sync_sensor",
        job_name=keys.SYNC,
        minimum_interval_seconds=TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a sync when the ledger is ahead of the numbers, when a moment is due "
        "that changes a number, or when listings wait; and its successor shortly before it ends.",
    )
    def sync_sensor(
        context: dg.SensorEvaluationContext, hub: HubResource
    ) -> dg.RunRequest | dg.SkipReason:
        now = utc_now()
        with hub.memory() as memory, memory.connection() as connection:
            backlog = facts.backlog(connection, _not_stopped(connection, channels), now)
        decision = decide_sync(
            backlog,
            active_runs(context.instance, {keys.JOB_TAG: keys.SYNC}),
            now=now,
            idle=idle,
            max_run=max_run,
        )
        if decision.request:
            return dg.RunRequest(tags={keys.REASON_TAG: decision.reason})
        return dg.SkipReason(decision.reason)

    return sync_sensor


def heal_sensor(hub: Hub) -> dg.SensorDefinition:
    """Requests a heal when a reconciliation found what is to be sent again."""
    sending = {Mode.LIVE, Mode.CANARY}
    channels = [channel.id for channel in hub.channels.values() if channel.mode in sending]

    @dg.sensor(
        name="heal_sensor",
        job_name=keys.HEAL,
        minimum_interval_seconds=TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a heal when open variances call for sending a number again.",
    )
    def heal_sensor(
        context: dg.SensorEvaluationContext, hub: HubResource
    ) -> dg.RunRequest | dg.SkipReason:
        if active_runs(context.instance, {keys.JOB_TAG: keys.HEAL}):
            return dg.SkipReason("a heal is active")
        with hub.memory() as memory, memory.connection() as connection:
            sent = _not_stopped(connection, channels, sending=True)
            due = facts.repushes_due(connection, sent, [str(cause) for cause in REPUSHED])
        if not due:
            return dg.SkipReason("no variance is to be sent again")
        return dg.RunRequest(tags={keys.REASON_TAG: f"{due} listings are to be sent again"})

    return heal_sensor


def _not_stopped(
    connection: Connection, channels: list[str], *, sending: bool = False
) -> list[str]:
    """Channels that no person has switched off (or, `sending`, set to a mode that sends nothing):
    what waits for the others is no work.
    """
    idle = {Mode.OFF, Mode.SHADOW} if sending else {Mode.OFF}
    stopped = {name for name, one in modes.overrides(connection).items() if one.mode in idle}
    return [channel for channel in channels if channel not in stopped]
