"""Commands about the dead letter: listings that are not sent any more until somebody looks."""

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
    from inventory_pipeline.memory.dead import DeadRow

SHOWN_ROWS = 50
MOST_ROWS = 1_000_000

commands = typer.Typer(
    no_args_is_help=True,
    help="Listings that a channel refused for good: look at them, try again, or drop them.",
    epilog="Start with: inventory-pipeline dead list myhub",
)


@commands.command("list", epilog="Example: inventory-pipeline dead list myhub --channel web")
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
    """List what is not sent any more, the newest first, and what the channel said."""
    with open_memory(hub, state) as memory:
        rows = _chosen(memory, channel, sku)
    if as_json:
        print_json({"dead": len(rows), "rows": [_as_json(row) for row in rows[:limit]]})
        return
    typer.echo(f"{counted(len(rows), 'listing')} in the dead letter" if rows else "nothing is dead")
    for row in rows[:limit]:
        shown = "unknown" if row.base_milli is None else _units(row.base_milli)
        typer.echo(
            f"{row.channel}/{row.bucket} {row.sku} ({row.external_id}): wants "
            f"{_units(row.desired_milli)}, shows {shown}; dead since "
            f"{row.dead_at:%Y-%m-%d %H:%M} UTC after {counted(row.attempts, 'attempt')}"
        )
        typer.echo(f"  {row.failure}")


@commands.command(epilog="Example: inventory-pipeline dead retry myhub --sku SHIRT-S")
def retry(
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
    """Try again once the cause is mended: each is read first, then sent where it differs."""
    _act(
        hub, state, channel, sku, verb="retry", everything=everything, by=by, reason=reason,
        yes=yes, as_json=as_json,
    )  # fmt: skip


@commands.command(epilog="Example: inventory-pipeline dead drop myhub --sku SHIRT-S")
def drop(
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
    """Give up this number: the channel goes on showing what it shows, until another is computed."""
    _act(
        hub, state, channel, sku, verb="drop", everything=everything, by=by, reason=reason,
        yes=yes, as_json=as_json,
    )  # fmt: skip


def _act(
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
    from inventory_pipeline.memory import audit, dead
    from inventory_pipeline.memory.postgres import LEDGER_NOTIFICATION

    if not (sku or everything):
        raise HubError(
            f"say what to {verb}", hint="--sku SKU, or --all (of a channel with --channel)."
        )
    with open_memory(hub, state) as memory:
        rows = _chosen(memory, channel, sku)
        confirm(f"{verb.capitalize()} {counted(len(rows), 'listing')}?", len(rows), yes=yes)
        act = dead.revive if verb == "retry" else dead.drop_dead
        done = 0
        with memory.pg.connection() as connection:
            for name in dict.fromkeys(row.channel for row in rows):
                of = [row for row in rows if row.channel == name]
                done += act(connection, [(r.channel, r.bucket, r.external_id) for r in of])
                audit.record(
                    connection,
                    by=decider(by),
                    action=f"dead.{verb}",
                    subject=name,
                    detail={
                        "reason": reason,
                        "columns": ["bucket", "external_id", "sku", "desired_milli", "failure"],
                        "rows": [
                            [r.bucket, r.external_id, r.sku, r.desired_milli, r.failure] for r in of
                        ],
                    },
                    at=utc_now(),
                )
            connection.execute("SELECT pg_notify(%s, '')", (LEDGER_NOTIFICATION,))
    word = "tried again" if verb == "retry" else "dropped"
    if as_json:
        print_json({"done": done, "rows": [_as_json(row) for row in rows]})
    else:
        typer.echo(f"{counted(done, 'listing')} {word}" if done else "nothing of this is dead")
    if not done:
        raise typer.Exit(1)


def _chosen(memory: OpenMemory, channel: str | None, sku: list[str] | None) -> "list[DeadRow]":
    from inventory_pipeline.memory import dead

    memory.require_channel(channel)
    with memory.pg.connection() as connection:
        rows = dead.dead_rows(connection, channel, limit=MOST_ROWS)
    return [row for row in rows if not sku or row.sku in sku]


def _units(milli: int) -> str:
    from inventory_pipeline.core.quantities import from_milli

    return f"{from_milli(milli):f}"


def _as_json(row: "DeadRow") -> dict[str, object]:
    """Quantities as exact decimal texts, in the channel's unit."""
    kept = {name: value for name, value in fields(row).items() if not name.endswith("_milli")}
    shown = None if row.base_milli is None else _units(row.base_milli)
    return kept | {"desired": _units(row.desired_milli), "shown": shown}
