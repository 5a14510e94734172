"""Commands about rows in quarantine."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    from inventory_pipeline.flow.context import HubContext
    from inventory_pipeline.flow.release import Outcome
    from inventory_pipeline.memory.quarantine import Held, Quarantined

SHOWN_ROWS = 50
SHOWN_TEXT = 60  # characters

commands = typer.Typer(
    no_args_is_help=True,
    help="Rows that were not understood: look at them, and let mended ones in.",
    epilog="Start with: inventory-pipeline quarantine list myhub",
)

OfSystem = Annotated[str | None, typer.Option("--system", help="Only rows of this system.")]
ForReason = Annotated[
    str | None, typer.Option("--reason", help="Only rows that failed for this reason.")
]


@commands.command(
    "list", epilog="Example: inventory-pipeline quarantine list myhub --reason unknown_item"
)
def list_(
    hub: HubFolder,
    *,
    state: State = None,
    system: OfSystem = None,
    reason: ForReason = None,
    everything: Annotated[bool, typer.Option("--all", help="Released rows, too.")] = False,
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, help="At most so many rows; the newest.")
    ] = SHOWN_ROWS,
    as_json: AsJson = False,
) -> None:
    """List the rows that are held back: how many per system and reason, then the newest.

    The last column says what a release would do now. Stores nothing.
    """
    from inventory_pipeline.flow.release import release_rows
    from inventory_pipeline.memory import quarantine

    with open_hub(hub, state) as ctx:
        _require_known(ctx, system, reason)
        with ctx.pg.connection() as connection:
            counts = quarantine.counts(connection, system=system, reason=reason)
            rows = quarantine.listed(
                connection, system=system, reason=reason, released=everything, limit=limit
            )
        tried = release_rows(
            ctx, [row.quarantine_id for row in rows if row.open], dry_run=True, watch=tell(as_json)
        )
    now = {outcome.quarantine_id: outcome for outcome in tried}
    if as_json:
        listed = [_as_json(row, now.get(row.quarantine_id)) for row in rows]
        print_json({"counts": [fields(count) for count in counts], "rows": listed})
        return
    _print_counts(counts)
    _print_rows(rows, now)
    if ready := sum(outcome.released for outcome in tried):
        typer.echo(
            f"{ready} of these would be let in now: `inventory-pipeline quarantine release {hub}` "
            "with their numbers, or with --reason and --system."
        )


@commands.command(epilog="Example: inventory-pipeline quarantine show myhub 12")
def show(
    hub: HubFolder,
    number: Annotated[int, typer.Argument(metavar="ID", help="The row's number in the list.")],
    *,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show one row as it came, why it failed, and what to do about it."""
    from inventory_pipeline.flow.release import advice, release_rows
    from inventory_pipeline.memory import quarantine

    with open_hub(hub, state) as ctx:
        with ctx.pg.connection() as connection:
            row = quarantine.one(connection, number)
        if row is None:
            raise HubError(
                f"there is no row {number} in quarantine",
                hint=f"`inventory-pipeline quarantine list {hub} --all` lists all of them.",
            )
        [now] = release_rows(ctx, [number], dry_run=True)
    if as_json:
        print_json({**_as_json(row, now if row.open else None), "advice": advice(row)})
        return
    typer.echo(f"row {row.quarantine_id}: {row.kind.replace('_', ' ')} of {row.system}")
    typer.echo(f"  reason    {row.reason}: {row.message}")
    typer.echo(f"  source    {row.source}, {_place(row)}")
    typer.echo(f"  received  {row.received_at:%Y-%m-%d %H:%M:%S} UTC")
    if row.open:
        typer.echo(f"  now       {_verdict(now)}")
        typer.echo(f"  to do     {advice(row)}")
    else:
        typer.echo(
            f"  released  {row.released_at:%Y-%m-%d %H:%M:%S} UTC, at ledger offset "
            f"{row.released_offset:,}"
        )
    typer.echo("  as it came")
    for line in _pretty(row.raw).splitlines():
        typer.echo(f"    {line}")


@commands.command(
    epilog="Examples: inventory-pipeline quarantine release myhub 12 13 · "
    "inventory-pipeline quarantine release myhub --system wms --reason unknown_item --dry-run"
)
def release(
    hub: HubFolder,
    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="ID", help="Numbers from the list.")
    ] = None,
    *,
    state: State = None,
    system: OfSystem = None,
    reason: ForReason = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen; store nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let rows in once their cause is mended: each is checked again and applied with its own time.

    Name rows by number, or all open ones of a system or a reason. A row that is still bad stays,
    with the reason that holds now. Ends with 0 if all were let in, with 1 if any was not.
    """
    from inventory_pipeline.flow.release import release_rows
    from inventory_pipeline.memory import quarantine

    if bool(numbers) == (system is not None or reason is not None):
        raise HubError(
            "name rows by number, or choose them with --system and --reason",
            hint=f"`inventory-pipeline quarantine list {hub}` shows the numbers.",
        )
    with open_hub(hub, state) as ctx:
        ids = list(numbers or [])
        if not numbers:
            _require_known(ctx, system, reason)
            with ctx.pg.connection() as connection:
                ids = quarantine.open_ids(connection, system=system, reason=reason)
            if ids and not (yes or dry_run):
                typer.confirm(f"Release {counted(len(ids), 'row')}?", abort=True, err=True)
        outcomes = release_rows(ctx, ids, dry_run=dry_run, watch=tell(as_json))
    _print_outcomes(outcomes, dry_run=dry_run, as_json=as_json)
    if not all(outcome.released for outcome in outcomes):
        raise typer.Exit(1)


def _print_outcomes(outcomes: list["Outcome"], *, dry_run: bool, as_json: bool) -> None:
    let_in = sum(outcome.released for outcome in outcomes)
    refused = len(outcomes) - let_in
    if as_json:
        print_json(
            {
                "dry_run": dry_run, "released": let_in, "refused": refused,
                "rows": [fields(outcome) for outcome in outcomes],
            }
        )  # fmt: skip
        return
    for outcome in outcomes:
        row = f"row {outcome.quarantine_id}" + (f" ({outcome.system})" if outcome.system else "")
        word = "refused" if not outcome.released else "would be released" if dry_run else "released"
        typer.echo(f"{row} {word}: {outcome.message}")
    would = "would be " if dry_run else ""
    typer.echo(f"{let_in} {would}released, {refused} {would}refused")


def _require_known(ctx: "HubContext", system: str | None, reason: str | None) -> None:
    from inventory_pipeline.core.vocabulary import Reason

    if reason is not None and reason not in set(Reason):
        known = ", ".join(sorted(Reason))
        raise HubError(f"there is no reason {reason!r}", hint=f"one of: {known}.")
    if system is not None and system not in ctx.hub.systems:
        known = ", ".join(ctx.hub.systems)
        raise HubError(f"hub.yaml has no system {system!r}", hint=f"one of: {known}.")


def _print_counts(counts: list["Held"]) -> None:
    if not any(count.rows for count in counts):
        typer.echo("nothing is in quarantine")
    for count in counts:
        released = f", {count.released:,} released" if count.released else ""
        typer.echo(f"{count.system:12} {count.reason:24} {count.rows:>8,} held{released}")


def _print_rows(rows: list["Quarantined"], now: dict[int, "Outcome"]) -> None:
    from rich.console import Console
    from rich.table import Table

    if not rows:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("id", "system", "reason", "where", "why", "now"):
        table.add_column(name, overflow="fold", justify="right" if name == "id" else "left")
    for row in rows:
        table.add_row(
            str(row.quarantine_id), row.system, row.reason, f"{row.source}, {_place(row)}",
            row.message,
            _verdict(now[row.quarantine_id]) if row.open
            else f"released {row.released_at:%Y-%m-%d %H:%M}",
        )  # fmt: skip
    Console(highlight=False, markup=False).print(table)


def _verdict(outcome: "Outcome") -> str:
    return outcome.message if outcome.released else f"refused: {outcome.message}"


def _place(row: "Quarantined") -> str:
    """Where in its source a row stood."""
    return f"row {row.position}" if row.position.isdigit() else row.position


def _pretty(raw: str) -> str:
    try:
        return json.dumps(json.loads(raw), indent=2, ensure_ascii=False)
    except ValueError:
        return raw


def _as_json(row: "Quarantined", now: "Outcome | None") -> dict[str, Any]:
    would = None if now is None else {"released": now.released, "message": now.message}
    return {**fields(row), "now": would}
