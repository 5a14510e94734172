"""Commands about what counts: activate a changed hub folder, and lower a channel's mode at once."""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inventory_pipeline.cli.acting import By, OpenMemory, Why, decider, open_memory
from inventory_pipeline.cli.common import (
    AsJson,
    HubFolder,
    State,
    fields,
    memory_url,
    print_json,
)
from inventory_pipeline.core.errors import HubError

if TYPE_CHECKING:
    from inventory_pipeline.flow.activation import Activated

commands = typer.Typer()


@commands.command(epilog="Example: inventory-pipeline activate myhub --dry-run")
def activate(
    hub: HubFolder,
    *,
    state: State = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change; change nothing.")
    ] = False,
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Make hub.yaml and catalog/ count as they are now, without a restart.

    The folder is checked first and refused as a whole if anything is wrong with it. Whatever runs
    takes the change up within a few seconds; a batch that is being sent is finished before.
    """
    from inventory_pipeline.flow.activation import activate_folder
    from inventory_pipeline.up.demo import saved_environment
    from inventory_pipeline.up.folders import folders_of

    folders = folders_of(hub, state)
    os.environ.update(saved_environment(folders))
    with memory_url(folders) as url:
        done = activate_folder(folders.hub, folders.state, url, by=decider(by), dry_run=dry_run)
    if as_json:
        print_json({**fields(done), "changed": done.changed, "dry_run": dry_run})
    else:
        _print_activated(done, dry_run=dry_run)


def _print_activated(done: "Activated", *, dry_run: bool) -> None:
    for change in done.changes:
        typer.echo(f"{change.what:10} {change.name}: {change.text}")
    if dry_run:
        first = done.policy_before == 0
        nothing = "" if done.changes or first else "nothing would change; "
        typer.echo(f"{nothing}nothing was changed: this was a dry run")
        return
    if not done.changed:
        typer.echo(
            f"rules version {done.policy_version} and catalogue version {done.mapping_version} "
            "count already"
        )
        return
    if not done.changes and done.policy_before:
        typer.echo("nothing that counts differs: comments, or the order of rows")
    typer.echo(
        f"active: rules version {done.policy_version}, catalogue version {done.mapping_version}"
    )
    if done.restructured and done.policy_before:
        typer.echo(
            "channels or systems changed: `up` has Dagster load its definitions again; without "
            "`up`, reload the code location in Dagster's UI"
        )


@commands.command(
    epilog="Examples: inventory-pipeline mode myhub · "
    'inventory-pipeline mode myhub web shadow --reason "wrong prices" · '
    "inventory-pipeline mode myhub web live"
)
def mode(
    hub: HubFolder,
    channel: Annotated[str | None, typer.Argument(help="A channel of hub.yaml.")] = None,
    to: Annotated[
        str | None, typer.Argument(metavar="MODE", help="off, shadow, canary or live.")
    ] = None,
    *,
    state: State = None,
    by: By = "",
    reason: Why = "",
    as_json: AsJson = False,
) -> None:
    """List the modes of the channels, or set one below hub.yaml's own within seconds.

    hub.yaml's own mode lifts what was set. To go further than hub.yaml says, edit it and activate.
    """
    with open_memory(hub, state) as memory:
        memory.require_channel(channel)
        if channel is not None and to is not None:
            _set_mode(memory, channel, to, by=decider(by), reason=reason)
        rows = _modes(memory, channel)
    if as_json:
        print_json({"channels": rows})
        return
    for row in rows:
        text = f"{row['channel']:16} {row['mode']:7}"
        if row["set"]:
            why = f": {row['reason']}" if row["reason"] else ""
            text += (
                f" hub.yaml says {row['hub.yaml']}; set to {row['set']} by {row['by']} "
                f"at {row['at']:%Y-%m-%d %H:%M:%S} UTC{why}"
            )
        typer.echo(text.rstrip())


def _set_mode(memory: OpenMemory, channel: str, to: str, *, by: str, reason: str) -> None:
    from inventory_pipeline.core.vocabulary import Mode
    from inventory_pipeline.flow.modes import require_lower
    from inventory_pipeline.flow.times import utc_now
    from inventory_pipeline.memory import modes

    if to not in set(Mode):
        raise HubError(f"there is no mode {to!r}", hint=f"one of: {', '.join(Mode)}.")
    wanted, written = Mode(to), memory.hub.channels[channel]
    require_lower(written, wanted)
    with memory.pg.connection() as connection:
        if wanted is written.mode:
            modes.lift_override(connection, channel, by=by, reason=reason, at=utc_now())
        else:
            modes.set_override(connection, channel, wanted, by=by, reason=reason, at=utc_now())


def _modes(memory: OpenMemory, channel: str | None) -> list[dict[str, Any]]:
    """Of each channel the mode that counts, hub.yaml's own, and what was set below it."""
    from inventory_pipeline.flow.modes import lower
    from inventory_pipeline.memory import modes

    with memory.pg.connection() as connection:
        overrides = modes.overrides(connection)
    rows = []
    for name in [channel] if channel is not None else memory.hub.channels:
        own, override = memory.hub.channels[name].mode, overrides.get(name)
        row = {"channel": name, "mode": str(own), "hub.yaml": str(own)}
        rows.append(row | dict.fromkeys(("set", "by", "at", "reason")))
        if override is not None:
            rows[-1] |= {
                "mode": str(lower(own, override.mode)), "set": str(override.mode),
                "by": override.set_by, "at": override.set_at, "reason": override.reason,
            }  # fmt: skip
    return rows
