"""The command that explains one number."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inventory_pipeline.cli.common import AsJson, NoDemo, State, memory_url, print_json
from inventory_pipeline.cli.postgres import nearest_hub
from inventory_pipeline.core.errors import HubError

if TYPE_CHECKING:
    from inventory_pipeline.memory.postgres import Postgres
    from inventory_pipeline.up.folders import Folders

commands = typer.Typer()


@commands.command(epilog="Example: inventory-pipeline why SHIRT-S myhub --at 2026-03-02T10:00:00Z")
def why(
    sku: Annotated[str, typer.Argument(metavar="SKU", show_default=False, help="Our own sku.")],
    hub: Annotated[
        Path | None,
        typer.Argument(
            metavar="[HUB]", envvar="HUB_FOLDER", show_default=False,
            help="The hub folder; by default the current one, or examples/first-hub.",
        ),
    ] = None,
    *,
    state: State = None,
    channel: Annotated[str | None, typer.Option(help="Only this channel.")] = None,
    at: Annotated[
        str, typer.Option(help="A past moment: ISO 8601 with an offset.", show_default=False)
    ] = "",
    offset: Annotated[
        int | None, typer.Option(help="A past moment: an offset of the ledger.")
    ] = None,
    as_json: AsJson = False,
    no_demo: NoDemo = False,
) -> None:  # fmt: skip
    """Say why a channel may sell this many: every term, rule, position and promise behind it.

    Looks at the hub that runs, and disturbs nothing. For a past moment it computes the number again
    from the ledger and the rules of that moment, and says what was pushed then.
    """
    from inventory_pipeline.cli.why_text import plain, print_why
    from inventory_pipeline.flow.times import time_of, utc_now
    from inventory_pipeline.flow.why import why as explain
    from inventory_pipeline.up.demo import saved_environment
    from inventory_pipeline.up.folders import folders_of

    folders = folders_of(hub or nearest_hub(), state, demo=not no_demo)
    moment = time_of(at, option="--at") if at else None
    with memory_as_it_is(folders) as pg:
        answer = explain(
            pg,
            folders.state,
            folders.hub,
            sku,
            clock=utc_now,
            environ={**os.environ, **saved_environment(folders)},
            channel=channel,
            at=moment,
            offset=offset,
        )
    if as_json:
        print_json(plain(answer))
    else:
        print_why(answer)


@contextmanager
def memory_as_it_is(folders: "Folders") -> Iterator["Postgres"]:
    """The hub's memory as it is: nothing is loaded, migrated or activated."""
    from psycopg import errors

    from inventory_pipeline.memory.postgres import Postgres

    with memory_url(folders) as url:
        pg = Postgres(url)
        try:
            yield pg
        except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
            raise HubError(
                f"the hub's memory is not of this version: {error.diag.message_primary}",
                hint=f"start the hub once: inventory-pipeline up {folders.named}",
            ) from error
        finally:
            pg.close()
