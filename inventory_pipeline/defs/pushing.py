"""What goes out: one asset a channel."""

from time import perf_counter

import dagster as dg

from inventory_pipeline.config.policy import Channel, Hub
from inventory_pipeline.defs import columns, keys
from inventory_pipeline.defs.common import elapsed, spec
from inventory_pipeline.defs.reports import push_metadata
from inventory_pipeline.defs.resources import HubResource


def push_asset(hub: Hub, channel: Channel) -> dg.AssetsDefinition:
    """Sends what differs. While a sync drains, that run sends: this one only says so."""

    @dg.multi_asset(
        name=keys.op_name(keys.push(channel.id)),
        specs=[
            spec(
                keys.push(channel.id),
                hub=hub,
                description=f"Listings of `{channel.id}` that differ from what they must show, "
                f"sent to the system `{channel.system}`. Mode: {channel.mode.value}.",
                kinds={"python", "postgres"},
                columns=columns.PUSH,
                deps=[keys.ats(channel.id)],
                tags={keys.MODE_TAG: channel.mode.value},
            )
        ],
    )
    def push(context: dg.AssetExecutionContext, hub: HubResource) -> dg.MaterializeResult[None]:
        from inventory_pipeline.flow.push import push_channel
        from inventory_pipeline.memory.sync import drain_lock

        began = perf_counter()
        holder = f"dagster run {context.run_id}"
        with hub.open() as ctx, drain_lock(ctx.pg, holder=holder, wait=False) as epoch:
            if epoch is None:
                context.log.info("a sync run drains and sends these listings itself")
                return dg.MaterializeResult(metadata={"left_to_sync": True})
            report = push_channel(ctx, channel.id, epoch)
        return dg.MaterializeResult(
            metadata={"left_to_sync": False, **push_metadata(report), "seconds": elapsed(began)}
        )

    return push
