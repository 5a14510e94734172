"""Connections to the memory, and its migrations."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from inventory_pipeline.core.errors import PostgresUnavailable
from inventory_pipeline.memory.fault_points import connection_class

MIGRATIONS = Path(__file__).with_name("migrations")
LEDGER_NOTIFICATION = "hub_ledger"
_MIGRATING = threading.Lock()

Connection = psycopg.Connection[tuple[Any, ...]]


class Postgres:
    """A small pool. Connections are in UTC and hand out tuples; each block is one transaction."""

    def __init__(self, url: str, *, max_connections: int = 8, patience_s: float = 10.0) -> None:
        self.url = url
        self._patience_s = patience_s
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            url,
            connection_class=connection_class(),
            min_size=1,
            max_size=max_connections,
            timeout=patience_s,
            check=ConnectionPool.check_connection,
            configure=_in_utc,
            open=False,
            name="hub",
        )

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """One transaction: commits at the end of the block, rolls back on an error.

        Raises PostgresUnavailable when there is no server to be had within the pool's patience, or
        when it goes away in the middle: then nothing of this block was kept, unless the commit
        itself was cut off.
        """
        try:
            self._pool.open()
            with self._pool.connection() as connection:
                yield connection
        except PoolTimeout as error:
            raise unavailable(self.url, f"no connection within {self._patience_s:g} s") from error
        except psycopg.OperationalError as error:
            raise unavailable(self.url, str(error)) from error

    def dedicated(self) -> Connection:
        """A connection of one's own, autocommitting: for session locks and LISTEN."""
        try:
            connection = connection_class().connect(self.url, autocommit=True, connect_timeout=10)
        except psycopg.OperationalError as error:
            raise unavailable(self.url, str(error)) from error
        connection.execute("SET timezone TO 'UTC'")
        return connection

    def close(self) -> None:
        self._pool.close()


def migrate(url: str) -> None:
    """Brings the schema `hub` to this version. Repeating it is harmless; two at once take turns.

    Raises PostgresUnavailable if the server does not answer or is older than 15.
    """
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine, exc

    engine = create_engine(_for_sqlalchemy(url))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        # Alembic's context is one of the whole process.
        with _MIGRATING, engine.connect() as connection:
            _check_version(url, connection.connection.driver_connection)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except exc.OperationalError as error:
        raise unavailable(url, str(error.orig)) from error
    finally:
        engine.dispose()


def unavailable(url: str, detail: str) -> PostgresUnavailable:
    """The one message for a Postgres that does not answer; never shows a password."""
    return PostgresUnavailable(
        f"Postgres at {without_password(url)} does not answer: {detail.strip()}",
        hint="start it, or correct HUB_POSTGRES_URL, or unset that to use the embedded server; "
        "everything accepted so far is kept, and the hub goes on when it is back.",
    )


def without_password(url: str) -> str:
    """A URL to show to people: user, host, port and database."""
    parts = urlsplit(url)
    if not parts.password:
        return url
    return url.replace(f":{parts.password}@", ":***@", 1)


def _in_utc(connection: Connection) -> None:
    connection.execute("SET timezone TO 'UTC'")
    connection.commit()


def _for_sqlalchemy(url: str) -> str:
    scheme, rest = url.split("://", 1)
    return f"postgresql+psycopg://{rest}" if scheme in {"postgresql", "postgres"} else url


def _check_version(url: str, connection: Any) -> None:
    version = connection.info.server_version
    if version < 150_000:
        raise PostgresUnavailable(
            f"Postgres at {without_password(url)} is version {version // 10_000}; "
            "15 or newer is needed",
            hint="upgrade it, or unset HUB_POSTGRES_URL to use the embedded server.",
        )
