"""Commands about tokens: who may look at the pages, operate the hub, and approve."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from inventory_pipeline.cli.acting import By, decider
from inventory_pipeline.cli.common import AsJson, HubFolder, State, fields, open_hub, print_json
from inventory_pipeline.core.access import Role

if TYPE_CHECKING:
    from inventory_pipeline.memory.access import Token

commands = typer.Typer(
    no_args_is_help=True,
    help="Tokens for the pages and the API: asked for wherever the server can be reached from "
    "other machines.",
    epilog="Start with: inventory-pipeline token create myhub maria --role operate",
)


@commands.command(
    epilog="Examples: inventory-pipeline token create myhub maria --role approve · "
    "inventory-pipeline token create myhub storefront --days 365"
)
def create(
    hub: HubFolder,
    name: Annotated[str, typer.Argument(help="The person or the program that will use it.")],
    *,
    state: State = None,
    role: Annotated[
        Role,
        typer.Option(
            help="read: pages, API, metrics. operate: also retry, drop, reject, release from "
            "quarantine. approve: also release what the guard holds."
        ),
    ] = Role.READ,
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="It ends after so many days.")
    ] = None,
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, once: the hub keeps only its hash.

    People log in with it at /login; programs send `Authorization: Bearer TOKEN`.
    """
    from inventory_pipeline.memory import access

    with open_hub(hub, state) as ctx, ctx.pg.connection() as connection:
        at = ctx.clock()
        ends = at + timedelta(days=days) if days else None
        text = access.create(
            connection, name=name, role=role, by=decider(by), at=at, expires_at=ends
        )
    if as_json:
        print_json({"name": name.strip(), "role": role.value, "token": text, "expires_at": ends})
        return
    typer.echo(text)
    typer.echo(f"This is shown once. {name.strip()} may {role.value} with it.", err=True)


@commands.command("list", epilog="Example: inventory-pipeline token list myhub")
def list_(
    hub: HubFolder,
    *,
    state: State = None,
    everything: Annotated[bool, typer.Option("--all", help="Revoked ones, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List tokens: whose they are, what they may, and when they were used last."""
    from inventory_pipeline.memory import access

    with open_hub(hub, state) as ctx, ctx.pg.connection() as connection:
        tokens = access.listed(connection, revoked=everything)
    if as_json:
        print_json({"tokens": [fields(token) for token in tokens]})
        return
    _print(tokens)


@commands.command(epilog="Example: inventory-pipeline token revoke myhub maria")
def revoke(
    hub: HubFolder,
    which: Annotated[str, typer.Argument(metavar="NAME", help="A token's name or id.")],
    *,
    state: State = None,
    by: By = "",
) -> None:
    """End a token, and every browser session that began with it, within seconds."""
    from inventory_pipeline.memory import access

    with open_hub(hub, state) as ctx, ctx.pg.connection() as connection:
        token = access.revoke(connection, which, by=decider(by), at=ctx.clock())
    typer.echo(f"{token.name} ({token.token_id}) does not count any more")


def _print(tokens: list["Token"]) -> None:
    from rich.console import Console
    from rich.table import Table

    if not tokens:
        typer.echo("no tokens: pages and API answer this machine alone")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("id", "name", "may", "made", "by", "ends", "used"):
        table.add_column(column, overflow="fold")
    for token in tokens:
        ends = f"{token.expires_at:%Y-%m-%d}" if token.expires_at else ""
        if token.revoked_at:
            ends = f"revoked {token.revoked_at:%Y-%m-%d}"
        used = f"{token.used_at:%Y-%m-%d %H:%M}" if token.used_at else "never"
        table.add_row(
            token.token_id, token.name, token.role.value, f"{token.created_at:%Y-%m-%d}",
            token.created_by, ends, used,
        )  # fmt: skip
    Console(highlight=False, markup=False).print(table)
