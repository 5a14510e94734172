"""What commands share by which people decide: the memory alone, so that they work whatever else is
broken; who decides; and being asked before much is done.
"""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inventory_pipeline.cli.common import memory_url
from inventory_pipeline.core.errors import HubError

if TYPE_CHECKING:
    from inventory_pipeline.config.policy import Hub
    from inventory_pipeline.memory.postgres import Postgres

By = Annotated[
    str, typer.Option("--by", help="Who decides; by default the account that runs this command.")
]
Why = Annotated[str, typer.Option("--reason", help="Why; it is kept with the decision.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
OfChannel = Annotated[str | None, typer.Option("--channel", help="Only this channel.")]
OfSku = Annotated[list[str] | None, typer.Option("--sku", help="Only this one; may be repeated.")]
Everything = Annotated[bool, typer.Option("--all", help="All that the list shows.")]

# So many are decided about without being asked.
FEW = 1


def decider(by: str) -> str:
    """The name that the audit keeps."""
    if by:
        return by
    try:
        return os.environ.get("USER") or getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return f"uid {os.getuid()}"


def confirm(question: str, count: int, *, yes: bool) -> None:
    """Asks before more than a few are changed; declining ends the command with status 1."""
    if count > FEW and not yes:
        typer.confirm(question, abort=True, err=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenMemory:
    """A hub's memory and its rules as they were activated last; no secret is needed for that."""

    pg: "Postgres"
    hub: "Hub"

    def require_channel(self, channel: str | None) -> None:
        """Raises HubError for a channel that hub.yaml does not name."""
        if channel is not None and channel not in self.hub.channels:
            known = ", ".join(self.hub.channels)
            raise HubError(f"hub.yaml has no channel {channel!r}", hint=f"one of: {known}.")


@contextmanager
def open_memory(hub: Path, state: Path | None) -> Iterator[OpenMemory]:
    """Raises HubError for a hub that was never started, or PostgresUnavailable."""
    from inventory_pipeline.flow.context import hub_of
    from inventory_pipeline.memory import versions
    from inventory_pipeline.memory.postgres import Postgres, migrate
    from inventory_pipeline.up.folders import folders_of

    folders = folders_of(hub, state)
    with memory_url(folders) as url:
        migrate(url)
        pg = Postgres(url, max_connections=2)
        try:
            with pg.connection() as connection:
                active = versions.active(connection)
            if active is None:
                raise HubError(
                    f"the hub of {hub} was never started on this Postgres",
                    hint=f"start it: inventory-pipeline up {hub}, or: activate {hub}",
                )
            yield OpenMemory(pg=pg, hub=hub_of(active, folders.hub, secrets=False))
        finally:
            pg.close()
