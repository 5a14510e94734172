"""`inventory-pipeline …`: thin; each command opens what it needs and calls one verb.

A file here is one group of commands.
"""

import typer

from inventory_pipeline.cli import (
    access,
    alerts,
    connectors,
    dead,
    guard,
    hub,
    policy,
    postgres,
    quarantine,
    reconcile,
    running,
    status,
    trace,
    why,
)
from inventory_pipeline.core.errors import HubError

app = typer.Typer(
    name="inventory-pipeline",
    help="Self-hosted inventory hub: one stock, many channels, every number explained.",
    epilog="Start with: inventory-pipeline up examples/grocer",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(running.commands)
app.add_typer(reconcile.commands)
app.add_typer(hub.commands)
app.add_typer(why.commands)
app.add_typer(trace.commands)
app.add_typer(connectors.commands)
app.add_typer(policy.commands)
app.add_typer(quarantine.commands, name="quarantine")
app.add_typer(guard.commands, name="guard")
app.add_typer(dead.commands, name="dead")
app.add_typer(alerts.commands, name="alerts")
app.add_typer(status.commands)
app.add_typer(access.commands, name="token")
app.add_typer(postgres.commands)


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
