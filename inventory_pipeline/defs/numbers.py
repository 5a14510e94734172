"""Positions and ATS: made together by one calculation, shown as one node each."""

from collections.abc import Iterator
from time import perf_counter

import dagster as dg

from inventory_pipeline.config.policy import Channel, Hub
from inventory_pipeline.defs import columns, keys
from inventory_pipeline.defs.common import ROW_COUNT, elapsed, spec
from inventory_pipeline.defs.resources import HubResource

OP = "numbers"


class Numbers(dg.Config):
    """`from_scratch` deletes the derived store first, so that all of it is computed again."""

    from_scratch: bool = False


def numbers_asset(hub: Hub, systems: list[str], channels: list[Channel]) -> dg.AssetsDefinition:
    """The assets `positions` and `ats/<channel>`."""

    @dg.multi_asset(name=OP, specs=_specs(hub, systems, channels))
    def numbers(
        context: dg.AssetExecutionContext, config: Numbers, hub: HubResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        from inventory_pipeline.defs import lineage
        from inventory_pipeline.defs.counts import count_numbers
        from inventory_pipeline.flow.cycle import run_cycle
        from inventory_pipeline.flow.rebuild import rebuild

        began = perf_counter()
        with hub.open() as ctx:
            if config.from_scratch:
                rebuild(ctx, lambda progress: context.log.info(progress.step))
            else:
                while not run_cycle(ctx).idle:
                    context.log.info("one more piece of the ledger is computed")
            counted = count_numbers(ctx)
            read, policy = lineage.load(ctx.state, make=True), ctx.hub
        took = elapsed(began)
        yield dg.MaterializeResult(
            asset_key=keys.POSITIONS,
            metadata={
                ROW_COUNT: counted.positions,
                "offset": counted.ledger_offset,
                "seconds": took,
                **lineage.metadata(keys.POSITIONS, policy, read),
            },
        )
        for channel in channels:
            yield dg.MaterializeResult(
                asset_key=keys.ats(channel.id),
                metadata={
                    ROW_COUNT: counted.ats.get(channel.id, 0),
                    "offset": counted.ledger_offset,
                    "seconds": took,
                    **lineage.metadata(keys.ats(channel.id), policy, read),
                },
            )

    return numbers


def _specs(hub: Hub, systems: list[str], channels: list[Channel]) -> list[dg.AssetSpec]:
    positions = spec(
        keys.POSITIONS,
        hub=hub,
        description="What is where, by state: each owner's last snapshot plus everything that it "
        "cannot yet contain (SEMANTICS §3). Derived: `rebuild` makes the same again.",
        kinds={"duckdb", "sql", "table"},
        columns=columns.POSITIONS,
        deps=[keys.LEDGER, *(keys.landing(system) for system in systems)],
    )
    return [
        positions,
        *(
            spec(
                keys.ats(channel.id),
                hub=hub,
                description=f"What `{channel.id}` may sell, bucket by bucket, with every step of "
                f"the waterfall (SEMANTICS §6). Mode: {channel.mode.value}.",
                kinds={"duckdb", "sql", "table"},
                columns=columns.ATS,
                deps=[keys.POSITIONS],
                tags={keys.MODE_TAG: channel.mode.value},
            )
            for channel in channels
        ),
    ]
