"""The command that starts and stops the hub's own Postgres."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from inventory_pipeline.cli.common import POSTGRES_URL, State
from inventory_pipeline.core.errors import HubError

commands = typer.Typer()


@commands.command(epilog='Example: export HUB_POSTGRES_URL="$(inventory-pipeline postgres myhub)"')
def postgres(
    hub: Annotated[
        Path | None,
        typer.Argument(
            metavar="[HUB]", envvar="HUB_FOLDER", show_default=False,
            help="The hub folder; by default the current one, or examples/first-hub.",
        ),
    ] = None,
    state: State = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return at once and leave the server running.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the server that runs.")] = False,
) -> None:  # fmt: skip
    """Start the hub's own Postgres, for `dagster dev` and other tools.

    On a terminal it says how to use it and stays until Ctrl-C, which stops the server. Elsewhere,
    and with --detach, it prints and returns; --stop ends the server then.
    """
    from inventory_pipeline.memory.embedded import start_embedded, stop_embedded
    from inventory_pipeline.memory.postgres import migrate
    from inventory_pipeline.server.serve import wait_for_signal
    from inventory_pipeline.up.folders import folders_of

    folder = folders_of(hub or nearest_hub(), state).postgres
    if stop:
        stop_embedded(folder)
        return
    url = start_embedded(folder)
    migrate(url)
    if not sys.stdout.isatty():
        typer.echo(url)  # what "$(…)" takes
        return
    typer.echo(f"export {POSTGRES_URL}='{url}'")
    if detach:
        return
    typer.echo("# the server runs until Ctrl-C", err=True)
    wait_for_signal()
    stop_embedded(folder)


def nearest_hub() -> Path:
    """The hub that a command without a name means: as Dagster's definitions choose it."""
    root = Path(__file__).resolve().parents[2]
    for folder in (Path(), root / "examples" / "first-hub"):
        if (folder / "hub.yaml").exists():
            return folder
    raise HubError(
        "there is no hub.yaml in this folder", hint="name the hub folder, or set HUB_FOLDER to it."
    )
