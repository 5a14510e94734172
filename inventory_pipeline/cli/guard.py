"""Commands about what the guard holds."""

from typing import TYPE_CHECKING, Annotated

import typer

from inventory_pipeline.cli.acting import (
    By,
    Everything,
    OfChannel,
    OfSku,
    OpenMemory,
    Why,
    Yes,
    confirm,
    decider,
    open_memory,
)
from inventory_pipeline.cli.common import (
    AsJson,
    HubFolder,
    State,
    fields,
    print_json,
)
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.wording import counted

if TYPE_CHECKING:
    from inventory_pipeline.memory.guard import HeldRow

SHOWN_ROWS = 50
MOST_ROWS = 1_000_000

commands = typer.Typer(
    no_args_is_help=True,
    help="Numbers that the guard holds because too many would change at once: look, and decide.",
    epilog="Start with: inventory-pipeline guard list myhub",
)


@commands.command("list", epilog="Example: inventory-pipeline guard list myhub --channel web")
def list_(
    hub: HubFolder,
    *,
    state: State = None,
    channel: OfChannel = None,
    sku: OfSku = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many rows.")] = (
        SHOWN_ROWS
    ),
    as_json: AsJson = False,
) -> None:
    """List what is held: how many in each channel and since when, then the greatest moves.

    Ends with 0 whether something is held or not.
    """
    from inventory_pipeline.memory import guard

    with open_memory(hub, state) as memory:
        memory.require_channel(channel)
        with memory.pg.connection() as connection:
            counts = guard.held_counts(connection)
            rows = _chosen(memory, channel, sku)[:limit]
    counts = {name: count for name, count in counts.items() if channel in {None, name}}
    if as_json:
        held = {name: {"held": count, "since": at} for name, (count, at) in counts.items()}
        print_json({"channels": held, "rows": [_as_json(row) for row in rows]})
        return
    if not counts:
        typer.echo("the guard holds nothing")
    for name, (count, since) in counts.items():
        typer.echo(f"{name}: {counted(count, 'listing')} held since {since:%Y-%m-%d %H:%M:%S} UTC")
    _print_rows(rows)


@commands.command(epilog="Example: inventory-pipeline guard show myhub --sku SHIRT-S")
def show(
    hub: HubFolder,
    *,
    state: State = None,
    sku: OfSku = None,
    channel: OfChannel = None,
    as_json: AsJson = False,
) -> None:
    """Show why listings are held, and what people decided about them."""
    from inventory_pipeline.memory import guard

    if not sku:
        raise HubError("name at least one sku", hint="--sku SKU; `guard list` shows them.")
    with open_memory(hub, state) as memory:
        memory.require_channel(channel)
        with memory.pg.connection() as connection:
            rows = [
                row
                for one in sku
                for row in guard.held_rows(connection, channel, sku=one, decided=True)
            ]
    if as_json:
        print_json({"rows": [_as_json(row) for row in rows]})
        return
    if not rows:
        typer.echo("nothing of these was ever held, or it is long over")
    for row in rows:
        typer.echo(f"{row.sku} at {row.channel}/{row.bucket} ({row.external_id}): {row.state}")
        typer.echo(f"  showed    {_units(row.from_milli)} when it was held")
        typer.echo(f"  would get {_units(row.desired_milli)} now")
        typer.echo(f"  held      {row.held_at:%Y-%m-%d %H:%M:%S} UTC: {row.why}")
        if row.decided_at is not None:
            typer.echo(
                f"  {row.state:9} {row.decided_at:%Y-%m-%d %H:%M:%S} UTC by {row.decided_by}"
                + (f": {row.reason}" if row.reason else "")
            )


@commands.command(
    epilog="Examples: inventory-pipeline guard release myhub --sku SHIRT-S · "
    'inventory-pipeline guard release myhub --channel web --all --reason "season is over"'
)
def release(
    hub: HubFolder,
    *,
    state: State = None,
    channel: OfChannel = None,
    sku: OfSku = None,
    everything: Everything = False,
    by: By = "",
    reason: Why = "",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Let what is desired now pass, once: the next drain sends it.

    The guard may hold the same listings again when too many change another time.
    """
    _decide(
        hub, state, channel, sku, verb="release", everything=everything, by=by, reason=reason,
        yes=yes, as_json=as_json,
    )  # fmt: skip


@commands.command(
    epilog='Example: inventory-pipeline guard reject myhub --channel web --all --reason "bad file"'
)
def reject(
    hub: HubFolder,
    *,
    state: State = None,
    channel: OfChannel = None,
    sku: OfSku = None,
    everything: Everything = False,
    by: By = "",
    reason: Why = "",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Leave listings as their channel shows them, until another number is computed for them.

    Their orders lower them all the same.
    """
    _decide(
        hub, state, channel, sku, verb="reject", everything=everything, by=by, reason=reason,
        yes=yes, as_json=as_json,
    )  # fmt: skip


def _decide(
    hub: HubFolder,
    state: State,
    channel: str | None,
    sku: list[str] | None,
    *,
    verb: str,
    everything: bool,
    by: str,
    reason: str,
    yes: bool,
    as_json: bool,
) -> None:
    from inventory_pipeline.flow.times import utc_now
    from inventory_pipeline.memory import guard

    if not (sku or everything):
        raise HubError(
            f"say what to {verb}", hint="--sku SKU, or --all (of a channel with --channel)."
        )
    with open_memory(hub, state) as memory:
        memory.require_channel(channel)
        rows = _chosen(memory, channel, sku)
        confirm(f"{verb.capitalize()} {counted(len(rows), 'listing')}?", len(rows), yes=yes)
        places = [(row.channel, row.bucket, row.external_id) for row in rows]
        act = guard.release if verb == "release" else guard.reject
        with memory.pg.connection() as connection:
            done = act(connection, places, by=decider(by), reason=reason, at=utc_now())
    word = "released" if verb == "release" else "rejected"
    if as_json:
        print_json({word: done, "rows": [_as_json(row) for row in rows]})
    else:
        typer.echo(f"{counted(done, 'listing')} {word}" if done else "nothing of this is held")
    if not done:
        raise typer.Exit(1)


def _chosen(memory: OpenMemory, channel: str | None, sku: list[str] | None) -> "list[HeldRow]":
    from inventory_pipeline.memory import guard

    with memory.pg.connection() as connection:
        rows = guard.held_rows(connection, channel, limit=MOST_ROWS)
    return [row for row in rows if not sku or row.sku in sku]


def _print_rows(rows: "list[HeldRow]") -> None:
    from rich.console import Console
    from rich.table import Table

    if not rows:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("channel", "bucket", "sku", "listing", "shows", "would get", "held"):
        right = name in {"shows", "would get"}
        table.add_column(name, overflow="fold", justify="right" if right else "left")
    for row in rows:
        table.add_row(
            row.channel, row.bucket, row.sku, row.external_id, _units(row.from_milli),
            _units(row.desired_milli), f"{row.held_at:%Y-%m-%d %H:%M}",
        )  # fmt: skip
    Console(highlight=False, markup=False).print(table)


def _units(milli: int) -> str:
    from inventory_pipeline.core.quantities import from_milli

    return f"{from_milli(milli):f}"


def _as_json(row: "HeldRow") -> dict[str, object]:
    """Quantities as exact decimal texts, in the channel's unit."""
    kept = {name: value for name, value in fields(row).items() if not name.endswith("_milli")}
    shown = None if row.shown_milli is None else _units(row.shown_milli)
    return kept | {
        "from": _units(row.from_milli), "desired": _units(row.desired_milli), "shown": shown
    }  # fmt: skip
