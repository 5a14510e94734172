"""The command that says whether the hub is well, to people and to scripts."""

from typing import TYPE_CHECKING, Any

import typer

from inventory_pipeline.cli.common import AsJson, HubFolder, State, open_hub, print_json
from inventory_pipeline.core.errors import HubError

if TYPE_CHECKING:
    from inventory_pipeline.server.wellbeing import Wellbeing

WELL, WARNINGS, ERRORS, CANNOT_BE_ASKED = 0, 1, 2, 3

commands = typer.Typer()


@commands.command(epilog="Example: inventory-pipeline status myhub || notify-the-operator")
def status(hub: HubFolder, *, state: State = None, as_json: AsJson = False) -> None:
    """Say whether the hub is well: per channel and system, and what is not.

    Ends with 0 if all is well, 1 with warnings, 2 with errors, 3 if the hub cannot be asked (its
    folder is wrong, or Postgres does not answer). The Health page shows the same.
    """
    from inventory_pipeline.server.wellbeing import look

    try:
        with open_hub(hub, state) as ctx, ctx.pg.connection() as connection:
            well = look(connection, ctx.hub, ctx.connectors, state=ctx.state, at=ctx.clock())
    except HubError as error:
        if as_json:
            print_json({"status": "cannot be asked", "error": str(error)})
        else:
            typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(CANNOT_BE_ASKED) from None
    if as_json:
        print_json(_plain(well))
    else:
        _print(well)
    raise typer.Exit({"good": WELL, "warning": WARNINGS, "bad": ERRORS}[well.level])


def _plain(well: "Wellbeing") -> dict[str, Any]:
    words = {"good": "well", "warning": "warning", "bad": "error"}
    sync = well.sync
    return {
        "status": {"good": "well", "warning": "warnings", "bad": "errors"}[well.level],
        "at": well.at,
        "ledger_offset": sync.ledger_head,
        "computed_offset": sync.sync_offset,
        "behind": sync.behind,
        "inbox_waiting": sync.inbox_waiting,
        "channels": [
            {
                "channel": card.state.channel,
                "status": words[card.level],
                "mode": (card.override.mode if card.override else card.policy.mode).value,
                "listings": card.state.listings,
                "in_sync": card.state.in_sync,
                "waiting": card.state.waiting,
                "failing": card.state.failed,
                "dead": card.state.dead,
                "held": card.state.held,
                "open_variances": card.state.open_variances,
                "oldest_variance": card.state.oldest_variance,
                "breaker": card.state.breaker.state if card.state.breaker else "closed",
                "p50_s": card.state.p50_s,
                "p95_s": card.state.p95_s,
            }
            for card in well.channels
        ],
        "systems": [
            {
                "system": line.policy.id,
                "status": words[line.level],
                "snapshot_as_of": line.state.snapshot_as_of,
                "last_event_at": line.state.last_event_at,
                "quarantined": line.state.quarantined,
                "failing": line.failure.failure if line.failure else None,
            }
            for line in well.systems
        ],
        "concerns": [
            {
                "level": words[one.level],
                "subject": one.subject,
                "check": one.check,
                "message": one.message,
            }
            for one in well.concerns
        ],
    }


def _print(well: "Wellbeing") -> None:
    from inventory_pipeline.server.present import age, latency, percent

    sync = well.sync
    computed = f"{age(sync.computed_at, well.at)} ago" if sync.computed_at else "never"
    behind = f", {sync.behind:,} behind" if sync.behind else ", up to date"
    typer.echo(f"ledger {sync.ledger_head:,}{behind}, computed {computed}")
    for card in well.channels:
        state = card.state
        share = percent(state.in_sync, state.listings)
        speed = f", p95 {latency(state.p95_s)}" if state.p95_s is not None else ""
        mode = card.override.mode if card.override else card.policy.mode
        typer.echo(
            f"channel {state.channel} ({mode.value}): {share} of {state.listings:,} in sync{speed}"
        )
    colours = {"bad": "red", "warning": "yellow"}
    for concern in well.concerns:
        word = "error  " if concern.level == "bad" else "warning"
        message = concern.message.partition("\n")[0]
        typer.secho(f"{word}  {concern.subject}: {message}", fg=colours[concern.level])
    if not well.concerns:
        typer.echo("all is well")
