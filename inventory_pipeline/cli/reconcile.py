"""Commands about what differs: compare, look, and decide."""

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from inventory_pipeline.cli.acting import By, OfChannel, Why, decider, open_memory
from inventory_pipeline.cli.common import (
    AsJson,
    HubFolder,
    State,
    fields,
    open_hub,
    print_json,
    tell,
)
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from inventory_pipeline.core.causes import Shared
    from inventory_pipeline.memory.variance_views import CauseTotal, VarianceRow

commands = typer.Typer()


@commands.command(epilog="Example: inventory-pipeline reconcile myhub --channel web --full")
def reconcile(
    hub: HubFolder,
    *,
    state: State = None,
    channel: Annotated[str | None, typer.Option(help="Only this channel.")] = None,
    full: Annotated[
        bool, typer.Option("--full", help="All listings, not only those unseen for longest.")
    ] = False,
    heal: Annotated[
        bool, typer.Option("--heal", help="Do at once what the causes call for.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare what the channels show with what they must show, and say what differs and why.

    Without --channel, also new snapshots with the ledger, and systems with each other. Ends with 0
    if nothing differs, with 1 if something does.
    """
    from inventory_pipeline.flow.heal import heal as heal_all
    from inventory_pipeline.flow.reconcile import reconcile_channel
    from inventory_pipeline.flow.reconcile_sources import reconcile_ledger, reconcile_systems
    from inventory_pipeline.up.reports import comparison_text

    with open_hub(hub, state) as ctx:
        if channel is not None and channel not in ctx.hub.channels:
            raise HubError(
                f"hub.yaml has no channel {channel!r}",
                hint=f"one of: {', '.join(ctx.hub.channels)}.",
            )
        watch = tell(as_json)
        channels = [
            reconcile_channel(ctx, name, full=full, watch=watch)
            for name in ([channel] if channel else ctx.hub.channels)
        ]
        others = [] if channel else [reconcile_ledger(ctx, watch), reconcile_systems(ctx, watch)]
        healed = heal_all(ctx) if heal else {}
    if as_json:
        print_json(
            {
                "channels": [fields(report) for report in channels],
                **{report.comparison: fields(report) for report in others},
                "healed": healed,
            }
        )
    else:
        for report in channels:
            typer.echo(comparison_text(report))
        for report in others:
            what = counted(report.compared, "cell")
            typer.echo(f"{report.comparison}: {what} compared, {len(report.variances):,} differ")
        for name, listings in sorted(healed.items()):
            typer.echo(f"{name}: {counted(listings, 'listing')} sent again or ingested")
    if any(report.variances for report in (*channels, *others)):
        raise typer.Exit(1)


@commands.command(epilog="Example: inventory-pipeline variances myhub --cause unexplained")
def variances(
    hub: HubFolder,
    *,
    state: State = None,
    channel: OfChannel = None,
    cause: Annotated[str | None, typer.Option(help="Only of this cause.")] = None,
    sku: Annotated[str | None, typer.Option(help="Only of this sku.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many rows.")] = 50,
    closed: Annotated[bool, typer.Option("--closed", help="Closed ones as well.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what differs: since when, by how much, why, and what was done about it.

    Ends with 0 if nothing is open, with 1 if something is.
    """
    from inventory_pipeline.core.vocabulary import Cause
    from inventory_pipeline.flow.times import utc_now
    from inventory_pipeline.memory import variance_views as views

    if cause is not None and cause not in set(Cause):
        raise HubError(f"there is no cause {cause!r}", hint=f"one of: {', '.join(Cause)}.")
    with open_memory(hub, state) as memory:
        memory.require_channel(channel)
        with memory.pg.connection() as connection:
            if closed:
                rows = views.history(connection, channel=channel, sku=sku, limit=limit)
                rows = [row for row in rows if cause in (None, row.cause)]
            else:
                rows = views.open_variances(
                    connection, channel=channel, cause=cause, sku=sku, limit=limit
                )
            causes = views.by_cause(connection)
            groups = views.systemic_groups(connection)
    still_open = any(row.closed_at is None for row in rows)
    if as_json:
        print_json(
            {
                "variances": [fields(row) for row in rows],
                "causes": [fields(total) for total in causes],
                "systemic": [fields(group) for group in groups],
            }
        )
    else:
        _print(rows, causes, groups, now=utc_now())
    if still_open:
        raise typer.Exit(1)


def _print(
    rows: "Sequence[VarianceRow]",
    causes: "Sequence[CauseTotal]",
    groups: "Sequence[Shared]",
    *,
    now: "datetime",
) -> None:
    from rich.console import Console
    from rich.table import Table

    from inventory_pipeline.server.present import age, quantity

    console = Console(highlight=False, soft_wrap=True)
    for total in causes:
        where = total.channel or total.system or ""
        console.print(
            f"{total.cause} · {total.comparison} {where}: {total.rows:,}, the oldest since"
            f" {age(total.oldest, now)}",
            markup=False,
        )
    for group in groups:
        console.print(
            f"systemic: {group.dimension} {group.value} holds for {group.rows:,}",
            style="red",
            markup=False,
        )
    if not rows:
        console.print("nothing differs")
        return
    names = ("age", "where", "item", "must be", "is", "cause", "value", "done")
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="right" if name in {"must be", "is", "value"} else "left")
    for row in rows:
        table.add_row(
            age(row.first_seen, row.closed_at or now), _where(row),
            row.sku or row.external_id or "", quantity(row.expected_milli),
            quantity(row.found_milli), row.cause, "" if row.value is None else f"{row.value:,.2f}",
            row.heal or "", style="dim" if row.closed_at else None,
        )  # fmt: skip
    console.print(table)


def _where(row: "VarianceRow") -> str:
    if row.channel:
        return f"{row.channel}/{row.bucket}"
    return "/".join(part for part in (row.system, row.location, row.state) if part)


@commands.command(
    epilog="Example: inventory-pipeline rebaseline SHIRT-S myhub --location dc --reason counted"
)
def rebaseline(
    sku: Annotated[str, typer.Argument(metavar="SKU", show_default=False, help="Our own sku.")],
    hub: HubFolder,
    *,
    state: State = None,
    location: Annotated[str, typer.Option(help="The location of the stock.")],
    units: Annotated[
        str, typer.Option(help="Signed base units to add; by default what is observed too much.")
    ] = "",
    by: By = "",
    reason: Why = "",
    as_json: AsJson = False,
) -> None:
    """Decide that an observed on_hand is right: an `adjusted` entry changes the position to it.

    Nothing of the ledger is edited; the entry holds who decided, why, and what was seen.
    """
    from inventory_pipeline.core.quantities import parse_decimal
    from inventory_pipeline.flow.rebaseline import rebaseline as decide
    from inventory_pipeline.flow.times import utc_now

    number: Decimal | None = None
    if units:
        try:
            number = parse_decimal(units)
        except ValueError as error:
            raise HubError(str(error), hint="give --units as a decimal number.") from error
    with open_memory(hub, state) as memory:
        done = decide(
            memory.pg, memory.hub, sku, location=location, by=decider(by), reason=reason,
            at=utc_now(), units=number,
        )  # fmt: skip
    if as_json:
        print_json(fields(done))
    elif done.repeated:
        typer.echo(f"{sku} at {location}: decided before ({done.event_id})")
    else:
        typer.echo(
            f"{sku} at {location}: {done.units:+} units, entry {done.event_id} of {done.system}"
        )
