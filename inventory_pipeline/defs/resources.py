"""The one resource: an open hub, for as long as a run needs it."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from inventory_pipeline.core.errors import HubError, PostgresUnavailable

if TYPE_CHECKING:
    from inventory_pipeline.flow.context import HubContext
    from inventory_pipeline.memory.postgres import Postgres

_migrating = threading.Lock()

HUB_FOLDER = "HUB_FOLDER"
HUB_STATE = "HUB_STATE"
HUB_POSTGRES_URL = "HUB_POSTGRES_URL"


class HubResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where a hub's folder, state and memory are; what is empty is read from the environment.

    The URL may hold a password, so it stays out of a run's configuration unless a test puts it in.
    """

    hub_folder: str
    state: str = ""
    postgres_url: str = ""

    @contextmanager
    def open(self) -> Iterator["HubContext"]:
        """The hub as it was activated last, migrated and with its connectors; closed at the end
        of the block.

        A HubError becomes a Failure that Dagster does not retry, with the error's own words on top.
        """
        from inventory_pipeline.config.logs import configure_logs
        from inventory_pipeline.flow.context import open_context

        configure_logs()
        try:
            context = open_context(
                Path(self.hub_folder), self.state_folder(), self.url(), activate_changes=False
            )
            try:
                yield context
            finally:
                context.close()
        except PostgresUnavailable as error:
            raise dg.Failure(str(error)) from error
        except HubError as error:
            raise dg.Failure(str(error), allow_retries=False) from error

    @contextmanager
    def memory(self) -> Iterator["Postgres"]:
        """Postgres alone, without loading the hub's files: for sensors and checks."""
        from inventory_pipeline.config.logs import configure_logs
        from inventory_pipeline.memory.postgres import Postgres, migrate

        configure_logs()
        postgres = Postgres(self.url(), max_connections=1)
        try:
            # Sensors tick in threads of one process, and migrations do not take turns there.
            with _migrating, postgres.connection() as connection:
                made = connection.execute("SELECT to_regclass('hub.sync_cursor')").fetchone()
                if made == (None,):
                    migrate(self.url())
            yield postgres
        finally:
            postgres.close()

    def state_folder(self) -> Path:
        named = self.state or os.environ.get(HUB_STATE, "")
        return Path(named) if named else Path(self.hub_folder) / ".state"

    def url(self) -> str:
        url = self.postgres_url or os.environ.get(HUB_POSTGRES_URL, "")
        if not url:
            raise PostgresUnavailable(
                f"{HUB_POSTGRES_URL} is not set, so the hub has no memory.",
                hint=f'name a Postgres 15 or newer in it, or: export {HUB_POSTGRES_URL}="'
                '$(inventory-pipeline postgres)"',
            )
        return url
