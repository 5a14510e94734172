"""`inventory-pipeline …`: thin; each command opens what it needs and calls one verb.

Heavy imports stand inside the commands, so that `--help` answers at once.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inventory_pipeline.core.errors import HubError

if TYPE_CHECKING:
    from inventory_pipeline.flow.context import HubContext
    from inventory_pipeline.up.folders import Folders

DEFAULT_PORT = 8400
DEFAULT_DAGSTER_PORT = 3000
POSTGRES_URL = "HUB_POSTGRES_URL"

app = typer.Typer(
    name="inventory-pipeline",
    help="Self-hosted inventory hub: one stock, many channels, every number explained.",
    epilog="Start with: inventory-pipeline up examples/grocer",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


class Output(StrEnum):
    """How `evaluate` prints."""

    CSV = "csv"
    JSON = "json"


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


@app.command(epilog="Example: inventory-pipeline up examples/grocer --once")
def up(
    hub: HubFolder,
    *,
    state: State = None,
    port: Port = DEFAULT_PORT,
    dagster_port: DagsterPort = DEFAULT_DAGSTER_PORT,
    once: Annotated[
        bool, typer.Option("--once", help="End after one full reconciliation; 0 if all agrees.")
    ] = False,
    no_demo: NoDemo = False,
) -> None:
    """Run the whole hub: Postgres, receiver and pages, Dagster, and an example's own shops.

    Serves until Ctrl-C, which stops everything that it started. The next start goes on from there.
    """
    from inventory_pipeline.up.command import Wishes
    from inventory_pipeline.up.command import up as run
    from inventory_pipeline.up.folders import folders_of

    wishes = Wishes(
        folders=folders_of(hub, state, demo=not no_demo),
        port=port,
        dagster_port=dagster_port,
        once=once,
        postgres_url=os.environ.get(POSTGRES_URL, ""),
    )
    raise typer.Exit(run(wishes))


@app.command(epilog="Example: inventory-pipeline check examples/first-hub")
def check(hub: HubFolder, as_json: AsJson = False) -> None:
    """Look at a hub folder and say everything that is wrong with it, with file and line.

    Ends with 0 if it can be used, with 2 if not; warnings alone end with 0.
    """
    from inventory_pipeline.config.load import check_hub
    from inventory_pipeline.flow.context import connector_findings
    from inventory_pipeline.up.demo import checked_folder
    from inventory_pipeline.up.reports import print_findings

    with checked_folder(hub) as (folder, environ):
        loaded, findings = check_hub(folder, environ)
        if loaded is not None and (unfit := connector_findings(loaded)):
            loaded, findings = None, [*findings, *unfit]
    if as_json:
        found = [
            {
                "file": f.file, "line": f.line, "message": f.message, "value": f.value,
                "severity": f.severity,
            }
            for f in findings
        ]  # fmt: skip
        _print_json({"usable": loaded is not None, "findings": found})
    else:
        print_findings(findings)
        if loaded is not None:
            typer.echo(
                f"{loaded.name}: {len(loaded.systems)} systems, {len(loaded.channels)} channels, "
                f"{len(loaded.rules)} rules, {len(loaded.catalog.items):,} items. It can be used."
            )
    if loaded is None:
        raise typer.Exit(2)


@app.command(
    epilog="Example: inventory-pipeline evaluate myhub --as-of 2026-03-02T10:00:00Z --explain"
)
def evaluate(
    hub: HubFolder,
    *,
    as_of: Annotated[
        str, typer.Option("--as-of", help="ISO 8601 with an offset; what is later does not count.")
    ] = "",
    output: Annotated[Output, typer.Option("--format")] = Output.CSV,
    explain: Annotated[
        bool, typer.Option("--explain", help="Every term of the waterfall, and the rules.")
    ] = False,
    sku: Annotated[str, typer.Option(help="Only this one.")] = "",
    channel: Annotated[str, typer.Option(help="Only this one.")] = "",
) -> None:
    """Say what every channel may sell, from the hub folder's files alone: nothing runs or is sent.

    Reads systems whose connector is `files`. What is in quarantine is said on the error output.
    """
    from inventory_pipeline.flow.evaluate import evaluate as run
    from inventory_pipeline.up.reports import print_evaluation

    result = run(hub, as_of=as_of, sku=sku, channel=channel)
    print_evaluation(result, output=output.value, explain=explain)


@app.command(epilog="Example: inventory-pipeline schema > hub.schema.json")
def schema() -> None:
    """Print the JSON Schema of hub.yaml, for editors that complete and check while one writes."""
    from inventory_pipeline.config.schema import json_schema

    _print_json(json_schema())


@app.command(epilog="Example: inventory-pipeline rebuild myhub")
def rebuild(hub: HubFolder, state: State = None, as_json: AsJson = False) -> None:
    """Make the derived numbers again from the ledger and the landed snapshots.

    Safe at any moment; the same input gives the same numbers.
    """
    from inventory_pipeline.flow import rebuild as flow

    with _open(hub, state) as ctx:
        report = flow.rebuild(ctx, _tell(as_json))
    if as_json:
        _print_json(_fields(report))
        return
    typer.echo(
        f"rebuilt to offset {report.ledger_offset:,} in {report.seconds:.1f} s: "
        f"{report.events:,} events, {report.snapshots:,} snapshots, {report.rows:,} listings"
    )


@app.command(epilog="Example: inventory-pipeline reconcile myhub --channel web --full")
def reconcile(
    hub: HubFolder,
    state: State = None,
    channel: Annotated[str | None, typer.Option(help="Only this channel.")] = None,
    full: Annotated[
        bool, typer.Option("--full", help="All listings, not only those unseen for longest.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare what the channels show with what they must show, and say what differs and why.

    Ends with 0 if nothing differs, with 1 if something does.
    """
    from inventory_pipeline.flow.reconcile import reconcile_channel
    from inventory_pipeline.up.reports import comparison_text

    with _open(hub, state) as ctx:
        if channel is not None and channel not in ctx.hub.channels:
            raise HubError(
                f"hub.yaml has no channel {channel!r}",
                hint=f"one of: {', '.join(ctx.hub.channels)}.",
            )
        reports = [
            reconcile_channel(ctx, name, full=full, watch=_tell(as_json))
            for name in ([channel] if channel else ctx.hub.channels)
        ]
    if as_json:
        _print_json({"channels": [_fields(report) for report in reports]})
    else:
        for report in reports:
            typer.echo(comparison_text(report))
    if any(report.variances for report in reports):
        raise typer.Exit(1)


@app.command(epilog="Example: inventory-pipeline status myhub --json")
def status(hub: HubFolder, state: State = None, as_json: AsJson = False) -> None:
    """Say how the hub is: channels, how far the numbers are, what differs.

    Ends with 0 if every channel shows what it must, with 1 if not.
    """
    from inventory_pipeline.server import queries
    from inventory_pipeline.up.reports import print_status

    with _open(hub, state) as ctx, ctx.pg.connection() as connection:
        sync = queries.sync_state(connection)
        channels = queries.channel_states(connection, list(ctx.hub.channels), at=ctx.clock())
    well = sync.behind == 0 and all(
        c.in_sync == c.listings and c.open_variances == 0 for c in channels
    )
    if as_json:
        _print_json(
            {"well": well, "sync": _fields(sync), "channels": [_fields(c) for c in channels]}
        )
    else:
        print_status(sync, channels)
    if not well:
        raise typer.Exit(1)


@app.command(epilog="Example: HUB_POSTGRES_URL=postgresql://… inventory-pipeline serve myhub")
def serve(
    hub: HubFolder,
    *,
    state: State = None,
    port: Port = DEFAULT_PORT,
    host: Annotated[
        str, typer.Option(help="Address to listen on; the pages ask nobody for a password.")
    ] = "127.0.0.1",
    no_intake: Annotated[
        bool, typer.Option("--no-intake", help="Receive only; `poll` reads in another process.")
    ] = False,
    no_demo: NoDemo = False,
) -> None:
    """Run the receiver, the API and the pages, and read in what arrives.

    `up` starts this among others; use it alone where each process is run by a service manager.
    """
    from inventory_pipeline.server.serve import serve as run
    from inventory_pipeline.up.ports import require_free

    require_free(port, wanted_by="the receiver and the pages", flag="--port", variable="HUB_PORT")
    dagster = os.environ.get("HUB_DAGSTER_URL", f"http://127.0.0.1:{DEFAULT_DAGSTER_PORT}")
    with _open(hub, state, demo=not no_demo) as ctx:
        run(ctx, port=port, intake=not no_intake, dagster_url=dagster, host=host)


@app.command(epilog="Example: inventory-pipeline poll myhub")
def poll(hub: HubFolder, state: State = None, no_demo: NoDemo = False) -> None:
    """Only read in: ask systems for changes, and parse the webhooks that `serve --no-intake`
    stored.
    """
    from inventory_pipeline.server.serve import poll as run

    with _open(hub, state, demo=not no_demo) as ctx:
        run(ctx)


@app.command(epilog='Example: export HUB_POSTGRES_URL="$(inventory-pipeline postgres myhub)"')
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

    folder = folders_of(hub or _nearest_hub(), state).postgres
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


def main() -> None:
    """The command line. Errors that have a next step end with status 2 and no stack."""
    try:
        app()
    except HubError as error:
        from rich.console import Console

        Console(stderr=True, highlight=False, soft_wrap=True).print(
            str(error), style="red", markup=False
        )
        raise SystemExit(2) from None


@contextmanager
def _open(hub: Path, state: Path | None, *, demo: bool = True) -> Iterator["HubContext"]:
    """The hub on the given Postgres, or on its own, which is stopped if it did not run."""
    from inventory_pipeline.flow.context import open_context
    from inventory_pipeline.up.demo import saved_environment
    from inventory_pipeline.up.folders import folders_of

    folders = folders_of(hub, state, demo=demo)
    os.environ.update(saved_environment(folders))
    with _postgres(folders) as url:
        ctx = open_context(folders.hub, folders.state, url)
        try:
            yield ctx
        finally:
            ctx.close()


@contextmanager
def _postgres(folders: "Folders") -> Iterator[str]:
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


def _nearest_hub() -> Path:
    """The hub that a command without a name means: as Dagster's definitions choose it."""
    for folder in (Path(), Path(__file__).resolve().parent.parent / "examples" / "first-hub"):
        if (folder / "hub.yaml").exists():
            return folder
    raise HubError(
        "there is no hub.yaml in this folder", hint="name the hub folder, or set HUB_FOLDER to it."
    )


def _tell(quiet: bool) -> Any:
    from inventory_pipeline.core.ports import Progress, unwatched

    def tell(progress: Progress) -> None:
        of = f" of {progress.total:,}" if progress.total else ""
        done = f": {progress.done:,}{of}" if progress.done else ""
        typer.echo(f"{progress.step}{done}", err=True)

    return unwatched if quiet or not sys.stderr.isatty() else tell


def _fields(row: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(row)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))
