"""The command that follows one id from an event to the channels' answers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inventory_pipeline.cli.common import AsJson, NoDemo, State, fields, print_json
from inventory_pipeline.cli.postgres import nearest_hub

if TYPE_CHECKING:
    from inventory_pipeline.flow.trace import Trace

commands = typer.Typer()


@commands.command(epilog="Example: inventory-pipeline trace shop/7c1e04 myhub")
def trace(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ID", show_default=False,
            help="An id from the logs, SYSTEM/EVENT, SYSTEM/ORDER, or an offset of the ledger.",
        ),
    ],
    hub: Annotated[
        Path | None,
        typer.Argument(
            metavar="[HUB]", envvar="HUB_FOLDER", show_default=False,
            help="The hub folder; by default the current one, or examples/first-hub.",
        ),
    ] = None,
    *,
    state: State = None,
    as_json: AsJson = False,
    no_demo: NoDemo = False,
) -> None:  # fmt: skip
    """Follow one event: accepted, recorded, computed, sent, and what each channel answered.

    Reads Postgres alone, so it works without the logs, and disturbs nothing.
    """
    from inventory_pipeline.cli.why import memory_as_it_is
    from inventory_pipeline.flow.trace import trace as follow
    from inventory_pipeline.up.folders import folders_of

    folders = folders_of(hub or nearest_hub(), state, demo=not no_demo)
    with memory_as_it_is(folders) as pg, pg.connection() as connection:
        found = follow(connection, name)
    if as_json:
        print_json(fields(found))
    else:
        _print(found)


def _print(found: "Trace") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False)
    console.print(Text(", ".join(found.correlation_ids), "bold"), soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for title in ("time (UTC)", "after", "what", "channel", "listing", ""):
        table.add_column(title, no_wrap=title in {"time (UTC)", "after", "what"}, overflow="fold")
    begun = found.steps[0].at if found.steps else None
    for step in found.steps:
        assert begun is not None
        table.add_row(
            f"{step.at:%Y-%m-%d %H:%M:%S.%f}"[:-3],
            f"{(step.at - begun).total_seconds():.3f} s",
            step.what, step.channel, step.listing, step.about,
        )  # fmt: skip
    console.print(table)
