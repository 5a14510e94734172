"""What the commands share: their arguments, the open hub, and how they print.

Heavy imports stand inside the functions, so that `--help` answers at once.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from inventory_pipeline.core.ports import Progress, Watcher
    from inventory_pipeline.flow.context import HubContext
    from inventory_pipeline.up.folders import Folders

POSTGRES_URL = "HUB_POSTGRES_URL"

HubFolder = Annotated[
    Path,
    typer.Argument(
        metavar="HUB",
        envvar="HUB_FOLDER",
        show_default=False,
        help="The hub folder (has hub.yaml).",
    ),
]
State = Annotated[
    Path | None,
    typer.Option(envvar="HUB_STATE", help="The state folder; by default .state in the hub folder."),
]
Port = Annotated[int, typer.Option(envvar="HUB_PORT", help="Port of the receiver and the pages.")]
DagsterPort = Annotated[
    int, typer.Option(envvar="HUB_DAGSTER_PORT", help="Port of Dagster's webserver.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")]
NoDemo = Annotated[
    bool, typer.Option("--no-demo", help="Leave demo.yaml alone: use the folder as any other hub.")
]


@contextmanager
def open_hub(hub: Path, state: Path | None, *, demo: bool = True) -> Iterator["HubContext"]:
    """The hub on the given Postgres, or on its own, which is stopped if it did not run.

    As it was activated last: a command does not make a folder count that somebody is editing.
    """
    from inventory_pipeline.config.logs import configure_logs
    from inventory_pipeline.flow.context import open_context
    from inventory_pipeline.up.demo import saved_environment
    from inventory_pipeline.up.folders import folders_of

    configure_logs(level="warning")  # a person reads what the command prints
    folders = folders_of(hub, state, demo=demo)
    os.environ.update(saved_environment(folders))
    with memory_url(folders) as url:
        ctx = open_context(folders.hub, folders.state, url, activate_changes=False)
        try:
            yield ctx
        finally:
            ctx.close()


@contextmanager
def memory_url(folders: "Folders") -> Iterator[str]:
    """The address of the given Postgres, or of the hub's own, stopped again if it did not run."""
    given = os.environ.get(POSTGRES_URL, "")
    if given:
        yield given
        return
    from inventory_pipeline.memory.embedded import start_embedded, stop_embedded

    ran = (folders.postgres / "postmaster.pid").exists()
    url = start_embedded(folders.postgres)
    try:
        yield url
    finally:
        if not ran:
            stop_embedded(folders.postgres)


def tell(quiet: bool) -> "Watcher":
    """Shows progress on the error output of a terminal; nothing elsewhere."""
    from inventory_pipeline.core.ports import unwatched

    def show(progress: "Progress") -> None:
        of = f" of {progress.total:,}" if progress.total else ""
        done = f": {progress.done:,}{of}" if progress.done else ""
        typer.echo(f"{progress.step}{done}", err=True)

    return unwatched if quiet or not sys.stderr.isatty() else show


def fields(row: Any) -> dict[str, Any]:
    """A report's fields, for JSON."""
    from dataclasses import asdict

    return asdict(row)


def print_json(value: Any) -> None:
    """One JSON value; times and numbers of any kind as text."""
    typer.echo(json.dumps(value, indent=2, default=str))
