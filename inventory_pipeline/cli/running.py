"""Commands that run a hub, and that look at one that runs."""

import os
from typing import Annotated

import typer

from inventory_pipeline.cli.common import (
    POSTGRES_URL,
    AsJson,
    DagsterPort,
    HubFolder,
    NoDemo,
    Port,
    State,
    fields,
    open_hub,
    print_json,
    tell,
)

DEFAULT_PORT = 8400
DEFAULT_DAGSTER_PORT = 3000


commands = typer.Typer()


@commands.command(epilog="Example: inventory-pipeline up examples/grocer --once")
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


@commands.command(epilog="Example: inventory-pipeline rebuild myhub")
def rebuild(hub: HubFolder, state: State = None, as_json: AsJson = False) -> None:
    """Make the derived numbers again from the ledger and the landed snapshots.

    Safe at any moment; the same input gives the same numbers.
    """
    from inventory_pipeline.flow import rebuild as flow

    with open_hub(hub, state) as ctx:
        report = flow.rebuild(ctx, tell(as_json))
    if as_json:
        print_json(fields(report))
        return
    typer.echo(
        f"rebuilt to offset {report.ledger_offset:,} in {report.seconds:.1f} s: "
        f"{report.events:,} events, {report.snapshots:,} snapshots, {report.rows:,} listings"
    )


@commands.command(epilog="Example: HUB_POSTGRES_URL=postgresql://… inventory-pipeline serve myhub")
def serve(
    hub: HubFolder,
    *,
    state: State = None,
    port: Port = DEFAULT_PORT,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on; unless it is this machine's own, a token is asked."
        ),
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
    with open_hub(hub, state, demo=not no_demo) as ctx:
        run(ctx, port=port, intake=not no_intake, dagster_url=dagster, host=host)


@commands.command(epilog="Example: inventory-pipeline poll myhub")
def poll(hub: HubFolder, state: State = None, no_demo: NoDemo = False) -> None:
    """Only read in: ask systems for changes, and parse the webhooks that `serve --no-intake`
    stored.
    """
    from inventory_pipeline.server.serve import poll as run

    with open_hub(hub, state, demo=not no_demo) as ctx:
        run(ctx)
