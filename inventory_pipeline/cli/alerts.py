"""`inventory-pipeline alerts …`: what people were told, and whether they can be told."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

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
    from inventory_pipeline.core.alerts import Alert

commands = typer.Typer(help="Who is told when something is not well (alerts in hub.yaml).")


@commands.command("test")
def try_out(
    folder: HubFolder,
    to: Annotated[
        str, typer.Option("--to", help="Only this one of alerts.to; otherwise all of them.")
    ] = "",
) -> None:
    """Sends a test message to everybody that alerts.to names, and says whether it left.

    Ends with 1 if a message did not leave.
    """
    from inventory_pipeline.config.findings import did_you_mean
    from inventory_pipeline.config.load import load_hub
    from inventory_pipeline.config.secrets import reveal
    from inventory_pipeline.core.verdicts import Level
    from inventory_pipeline.flow.alerts import NotDelivered, send_by_apprise

    hub = load_hub(folder)
    if not hub.alerts.to:
        raise HubError(
            "hub.yaml names nobody to tell", hint="add alerts.to: look at docs/alerts.md."
        )
    if to and to not in hub.alerts.to:
        near = did_you_mean(to, hub.alerts.to)
        raise HubError(f"alerts.to has no {to}{near}", hint=f"one of: {', '.join(hub.alerts.to)}.")
    failed = 0
    for name, address in hub.alerts.to.items():
        if to in ("", name):
            try:
                send_by_apprise(
                    reveal(address), f"{hub.name}: a test", "This is how an alert arrives.",
                    Level.WARNING,
                )  # fmt: skip
                typer.echo(f"{name}: sent")
            except NotDelivered as error:
                failed += 1
                typer.echo(f"{name}: {error}", err=True)
    raise typer.Exit(1 if failed else 0)


@commands.command("list")
def list_(
    folder: HubFolder,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """What is not well now and who knows of it, and the newest messages."""
    from inventory_pipeline.memory import alerts
    from inventory_pipeline.memory.postgres import Postgres
    from inventory_pipeline.up.folders import folders_of

    with memory_url(folders_of(folder, state, demo=True)) as url:
        pg = Postgres(url)
        try:
            with pg.connection() as connection:
                known, messages = alerts.known(connection), alerts.recent_messages(connection)
        finally:
            pg.close()
    if as_json:
        print_json({"alerts": [fields(one) for one in known.values()], "messages": messages})
        return
    typer.echo(_alerts_text(list(known.values())))
    for message in messages:
        became = "sent" if message["sent_at"] else message["failure"] or "waits"
        when = f"{message['made_at']:%Y-%m-%d %H:%M}Z"
        typer.echo(f"{when}  {message['target']}: {message['title']} ({became})")


def _alerts_text(known: "Sequence[Alert]") -> str:
    if not known:
        return "Everything is well."
    texts = []
    for alert in known:
        told = f"told {alert.told_at:%Y-%m-%d %H:%M}Z" if alert.told_at else "not told yet"
        ends = ", well again by now" if alert.well_since else ""
        texts.append(f"{alert.trouble.level:8}{alert.trouble.alert} ({told}{ends})")
        texts.append(f"        {alert.trouble.message}")
    return "\n".join(texts)
