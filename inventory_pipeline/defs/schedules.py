"""What happens by the clock: every system is read now and then, everything is compared."""

from collections.abc import Sequence

import dagster as dg

from inventory_pipeline.config.policy import Channel, System
from inventory_pipeline.defs import keys
from inventory_pipeline.defs.land_sensor import landing_request
from inventory_pipeline.defs.reconciling import Reconciliation

SWEEP_MINUTES = 15
LIGHT_MINUTE = 7
FULL_AT = "23 3 * * *"


def land_schedules(systems: Sequence[System]) -> list[dg.ScheduleDefinition]:
    """One sweep a system, spread over the minutes so that they do not start together."""
    return [_land_schedule(system, place) for place, system in enumerate(systems)]


def _land_schedule(system: System, place: int) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"land_{keys.safe(system.id)}",
        job_name=keys.LAND,
        cron_schedule=f"{place % SWEEP_MINUTES}-59/{SWEEP_MINUTES} * * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Reads `{system.id}` every {SWEEP_MINUTES} minutes, whatever the sensor saw.",
    )
    def sweep() -> dg.RunRequest:
        return landing_request(system.id, "sweep")

    return sweep


def reconcile_schedules(channels: Sequence[Channel]) -> list[dg.ScheduleDefinition]:
    """A light comparison every hour, a full one every night."""
    return [
        _reconcile_schedule(
            "reconcile_light",
            f"{LIGHT_MINUTE} * * * *",
            channels,
            full=False,
            description="Compares the listings that were not seen for longest.",
        ),
        _reconcile_schedule(
            "reconcile_full",
            FULL_AT,
            channels,
            full=True,
            description="Compares everything that each channel shows.",
        ),
    ]


def _reconcile_schedule(
    name: str, cron: str, channels: Sequence[Channel], *, full: bool, description: str
) -> dg.ScheduleDefinition:
    config = dg.RunConfig(
        ops={
            keys.op_name(keys.reconcile(channel.id)): Reconciliation(full=full)
            for channel in channels
        }
    )

    @dg.schedule(
        name=name,
        job_name=keys.RECONCILE,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=description,
    )
    def compare() -> dg.RunRequest:
        return dg.RunRequest(run_config=config, tags={keys.REASON_TAG: name})

    return compare
