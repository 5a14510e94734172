"""What comes in: one asset a system, and the ledger that all of them end in."""

from time import perf_counter
from typing import Any

import dagster as dg

from inventory_pipeline.config.policy import Hub, System
from inventory_pipeline.core.ports import Capabilities
from inventory_pipeline.defs import columns, keys
from inventory_pipeline.defs.common import ROW_COUNT, elapsed, spec
from inventory_pipeline.defs.reports import events_metadata, land_metadata
from inventory_pipeline.defs.resources import HubResource
from inventory_pipeline.memory import facts


def landing_asset(hub: Hub, system: System, capabilities: Capabilities) -> dg.AssetsDefinition:
    """Reads a system's new snapshots and changes."""

    @dg.multi_asset(
        name=keys.op_name(keys.landing(system.id)),
        specs=[
            spec(
                keys.landing(system.id),
                hub=hub,
                description=f"New snapshots and changes of the system `{system.id}` (connector "
                f"`{system.connector}`): checked, mapped, landed. Bad rows go to quarantine.",
                kinds={"python", "parquet", "postgres"},
                columns=columns.LANDING,
            )
        ],
    )
    def land(hub: HubResource) -> dg.MaterializeResult[None]:
        from inventory_pipeline.flow.land import land_changes, land_snapshots

        began = perf_counter()
        metadata: dict[str, Any] = {}
        with hub.open() as ctx:
            if capabilities.snapshots:
                metadata |= land_metadata(land_snapshots(ctx, system.id))
            if capabilities.changes:
                metadata |= events_metadata(land_changes(ctx, system.id))
        return dg.MaterializeResult(metadata=metadata | {"seconds": elapsed(began)})

    return land


def ledger_asset(hub: Hub, systems: list[str]) -> dg.AssetsDefinition:
    """Reads the deliveries that wait, and shows what the ledger holds."""

    @dg.multi_asset(
        name=keys.op_name(keys.LEDGER),
        specs=[
            spec(
                keys.LEDGER,
                hub=hub,
                description="Everything that can change a number, in one gapless order of offsets; "
                "append-only. Reads the webhooks that wait.",
                kinds={"python", "postgres"},
                columns=columns.LEDGER,
                deps=[keys.landing(system) for system in systems],
            )
        ],
    )
    def ledger(hub: HubResource) -> dg.MaterializeResult[None]:
        from inventory_pipeline.flow.land import land_inbox

        began = perf_counter()
        with hub.open() as ctx:
            count = land_inbox(ctx)
            with ctx.pg.connection() as connection:
                shape = facts.ledger_shape(connection)
        return dg.MaterializeResult(
            metadata={
                ROW_COUNT: shape.rows,
                "offset": shape.counter,
                **events_metadata(count),
                "seconds": elapsed(began),
            }
        )

    return ledger
