"""A hub as Dagster definitions: static, made of what the hub folder says and nothing else."""

from collections.abc import Sequence

import dagster as dg

from inventory_pipeline.config.policy import Channel, Hub
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.ports import Capabilities
from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline.defs import checks, jobs, keys, numbers, schedules, sensors
from inventory_pipeline.defs.land_sensor import land_sensor
from inventory_pipeline.defs.landing import landing_asset, ledger_asset
from inventory_pipeline.defs.pushing import push_asset
from inventory_pipeline.defs.reconciling import (
    channel_asset,
    health_asset,
    source_asset,
)
from inventory_pipeline.defs.resources import HubResource
from inventory_pipeline.flow.checks import checks_of
from inventory_pipeline.flow.connecting import build_connectors


def build_definitions(hub: Hub, resource: HubResource) -> dg.Definitions:
    """Assets, checks, jobs, sensors and schedules of one hub.

    Systems without snapshots and changes have no landing; channels that are off have no assets.
    """
    able = _capabilities(hub)
    read = {name: one for name, one in able.items() if one.snapshots or one.changes}
    systems = [hub.systems[name] for name in read]
    channels = [channel for channel in hub.channels.values() if channel.mode is not Mode.OFF]
    _refuse_reserved(channels)
    return dg.Definitions(
        assets=_assets(hub, read, channels),
        asset_checks=checks.asset_checks(hub, checks_of(hub, able)),
        jobs=[
            jobs.sync_job(hub),
            jobs.land_job(systems),
            jobs.reconcile_job(channels),
            jobs.heal_job(),
            jobs.rebuild_job(channels),
        ],
        sensors=[
            sensors.sync_sensor(hub),
            land_sensor(hub, systems),
            sensors.heal_sensor(hub),
        ],
        schedules=[
            *schedules.land_schedules(systems),
            *schedules.reconcile_schedules(channels),
        ],
        resources={"hub": resource},
    )


def _capabilities(hub: Hub) -> dict[str, Capabilities]:
    """What each system can do, in the order of hub.yaml."""
    connectors = build_connectors(hub)
    try:
        return {name: connector.capabilities for name, connector in connectors.items()}
    finally:
        for connector in connectors.values():
            connector.close()


def _assets(
    hub: Hub, read: dict[str, Capabilities], channels: list[Channel]
) -> list[dg.AssetsDefinition]:
    return [
        *(landing_asset(hub, hub.systems[name], able) for name, able in read.items()),
        ledger_asset(hub, list(read)),
        numbers.numbers_asset(hub, list(read), channels),
        *(push_asset(hub, channel) for channel in channels),
        *(channel_asset(hub, channel) for channel in channels),
        *(source_asset(hub, comparison) for comparison in ("ledger", "systems")),
        health_asset(hub, channels),
    ]


def _refuse_reserved(channels: Sequence[Channel]) -> None:
    for channel in channels:
        if channel.id in keys.RESERVED_CHANNEL_IDS:
            raise HubError(
                f"hub.yaml: channels.{channel.id}: this name is taken by a comparison "
                f"(reconcile/{channel.id})",
                hint="give the channel another id.",
            )
