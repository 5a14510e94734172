"""What the world shows against what it must: one asset a comparison, and the hub's health."""

from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import dagster as dg

from inventory_pipeline.config.policy import Channel, Hub
from inventory_pipeline.core.quantities import from_milli
from inventory_pipeline.defs import columns, keys
from inventory_pipeline.defs.common import elapsed, page_link, spec
from inventory_pipeline.defs.reports import reconcile_metadata
from inventory_pipeline.defs.resources import HubResource
from inventory_pipeline.memory import facts

if TYPE_CHECKING:
    from inventory_pipeline.flow.reconcile import ReconcileReport
    from inventory_pipeline.memory.variances import Variance

KINDS = {"python", "postgres"}
WORST_ROWS = 20


class Reconciliation(dg.Config):
    """`full` reads every listing; otherwise those just touched and those not seen for longest."""

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
        return dg.MaterializeResult(metadata={**_told(report, began), "full": config.full})

    return reconcile


def source_asset(hub: Hub, comparison: str) -> dg.AssetsDefinition:
    """Compares what systems report, `ledger` or `systems` (SEMANTICS §9)."""
    key = _OF_SOURCES[comparison]

    @dg.multi_asset(
        name=keys.op_name(key),
        specs=[
            spec(
                key,
                hub=hub,
                description=_SAYS[comparison],
                kinds=KINDS,
                columns=columns.VARIANCES,
                deps=[keys.POSITIONS],
            )
        ],
    )
    def reconcile(hub: HubResource) -> dg.MaterializeResult[None]:
        from inventory_pipeline.flow.reconcile_sources import reconcile_ledger, reconcile_systems

        compare = reconcile_ledger if comparison == "ledger" else reconcile_systems
        began = perf_counter()
        with hub.open() as ctx:
            report = compare(ctx)
        return dg.MaterializeResult(metadata=_told(report, began))

    return reconcile


_OF_SOURCES = {"ledger": keys.RECONCILE_LEDGER, "systems": keys.RECONCILE_SYSTEMS}
_SAYS = {
    "ledger": "Each owner's new snapshot against its last one rolled forward by the ledger.",
    "systems": "What systems report about stock that they do not own, against the positions.",
}


def _told(report: "ReconcileReport", began: float) -> dict[str, Any]:
    """Counts, the worst rows as a table, and a link to the page that shows them all."""
    told = {**reconcile_metadata(report), "seconds": elapsed(began)}
    worst = sorted(report.variances, key=_size, reverse=True)[:WORST_ROWS]
    if worst:
        told["worst"] = dg.MetadataValue.table(
            [dg.TableRecord(_record(one)) for one in worst], schema=_WORST
        )
    only = f"?channel={quote(report.channel, safe='')}" if report.channel else ""
    return told | page_link(f"/variances{only}")


_WORST = dg.TableSchema(
    columns=[
        dg.TableColumn("item", "string", description="our sku, else the other side's name"),
        dg.TableColumn("where", "string"),
        dg.TableColumn("must_be", "string", description="in units"),
        dg.TableColumn("is", "string", description="in units"),
        dg.TableColumn("cause", "string", description="the first that holds (SEMANTICS §9)"),
        dg.TableColumn("value", "string", description="price of the difference"),
    ]
)


def _record(one: "Variance") -> dict[str, str]:
    where = (one.bucket,) if one.channel else (one.system, one.location, one.state)
    return {
        "item": one.sku or one.external_id or "",
        "where": "/".join(part for part in where if part),
        "must_be": _units(one.expected_milli),
        "is": _units(one.found_milli),
        "cause": str(one.cause),
        "value": "" if one.value is None else f"{one.value:.2f}",
    }


def _units(milli: int | None) -> str:
    return "" if milli is None else str(from_milli(milli))


def _size(one: "Variance") -> int:
    return abs((one.found_milli or 0) - (one.expected_milli or 0))


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
