"""Dagster's own storage: the hub's Postgres, with one clear message where there is none."""

import os
from collections.abc import Mapping
from typing import Any, Self

import click
from dagster import Field
from dagster._config import UserConfigSchema
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import DagsterPostgresException

from inventory_pipeline.memory.postgres import without_password

POSTGRES_URL = "HUB_POSTGRES_URL"


class HubStorage(DagsterPostgresStorage):
    """Runs, events, schedules and ticks in the Postgres that HUB_POSTGRES_URL names.

    Dagster's command line prints a ClickException as one message; any other error is a page of
    stack.
    """

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {"should_autocreate_tables": Field(bool, is_required=False, default_value=True)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        url = os.environ.get(POSTGRES_URL, "")
        if not url:
            raise click.ClickException(
                f"Dagster has nowhere to store its runs: {POSTGRES_URL} is not set.\n"
                "  What to do: name a Postgres 15 or newer in it, or start the hub's own with\n"
                f'    export {POSTGRES_URL}="$(inventory-pipeline postgres)"\n'
                "  and repeat this command. `make run` does all of this by itself."
            )
        try:
            return cls(
                postgres_url=_for_psycopg2(url),
                should_autocreate_tables=config_value["should_autocreate_tables"],
                inst_data=inst_data,
            )
        except DagsterPostgresException as error:
            raise click.ClickException(
                f"Postgres at {without_password(url)} does not answer: {_root(error)}\n"
                f"  What to do: start it, or correct {POSTGRES_URL}; nothing accepted is lost."
            ) from error


def _for_psycopg2(url: str) -> str:
    """SQLAlchemy's name of the driver that dagster-postgres speaks, whatever its default is."""
    scheme, _, rest = url.partition("://")
    return f"postgresql+psycopg2://{rest}" if scheme in {"postgres", "postgresql"} else url


def _root(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip()
