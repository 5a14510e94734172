"""One DuckDB connection, asked in the few ways that the engine needs."""

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import duckdb
import pyarrow as pa

from inventory_pipeline.compute.models import Model, models
from inventory_pipeline.compute.moments import with_zone
from inventory_pipeline.core.faults import watched

Parameters = Mapping[str, Any] | list[Any] | None


@lru_cache(maxsize=1024)
def _parsed(sql: str) -> duckdb.Statement:
    """Parsing takes as long as a small statement's work: once a process is enough."""
    [statement] = _parser().extract_statements(sql)
    return statement


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:")


class Database:
    """Statements over one connection; a model of sql/ becomes a table by `make`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = watched(connection, "duckdb", "execute", "sql")
        self._shapes: dict[str, str] = {}  # of a model: its columns, as CREATE TABLE takes them
        self._kept_shapes: set[str] = set()
        self._sizes: dict[str, int] = {}  # of tables that models made

    def run(self, sql: str, parameters: Parameters = None) -> None:
        """A statement, parsed once: its text should not differ from run to run."""
        self._connection.execute(_parsed(sql), parameters)

    def run_once(self, sql: str) -> None:
        """A statement that is not worth remembering."""
        self._connection.execute(sql)

    def row(self, sql: str, parameters: Parameters = None) -> tuple[Any, ...]:
        """The only row that `sql` gives."""
        # All of it: a result that is not read to its end keeps the connection busy.
        [row] = self.rows(sql, parameters)
        return row

    def rows(self, sql: str, parameters: Parameters = None) -> list[tuple[Any, ...]]:
        return self._connection.execute(_parsed(sql), parameters).fetchall()

    def any(self, source: str, parameters: Mapping[str, Any] | None = None) -> bool:
        """Whether a FROM clause has a row; of `parameters` it takes those that it names."""
        if source in self._sizes:
            return self._sizes[source] > 0
        bound = {key: value for key, value in (parameters or {}).items() if f"${key}" in source}
        return bool(self.row(f"SELECT EXISTS (SELECT 1 FROM {source})", bound or None)[0])

    def count(self, table: str) -> int:
        if table in self._sizes:
            return self._sizes[table]
        return int(self.row(f"SELECT count(*) FROM {table}")[0])

    def table(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """Every row; times with their zone."""
        return with_zone(self._connection.sql(sql, params=dict(parameters or {})).to_arrow_table())

    def insert(self, table: str, rows: pa.Table, select: str = "SELECT * FROM incoming") -> None:
        """Inserts what `select` makes of `rows`, which it reads as `incoming`."""
        self._connection.register("incoming", rows)
        self.run(f"INSERT INTO {table} BY NAME {select}")
        self._connection.unregister("incoming")

    def replace(self, table: str, rows: pa.Table) -> None:
        """A table of this connection with just these rows."""
        self._connection.register("incoming", rows)
        self.run(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT * FROM incoming")
        self._connection.unregister("incoming")

    def copy(self, table: str, sql: str) -> None:
        """A table of this connection with what `sql` gives."""
        [self._sizes[table]] = self.row(f"CREATE OR REPLACE TEMP TABLE {table} AS {sql}")

    def make(
        self,
        model: Model,
        parameters: Mapping[str, Any],
        *,
        name: str | None = None,
    ) -> None:
        """The table of a model: for this connection, or lasting if it is made of rules alone.

        A model that says when it is empty is then not run.
        """
        name, kind = name or model.name, "TABLE" if model.of_rules else "TEMP TABLE"
        shape = self._shapes.get(model.name)
        if shape and model.empty_unless and not self.any(model.empty_unless, parameters):
            self.run(f"CREATE OR REPLACE {kind} {name} ({shape})")
            self._sizes[name] = 0
            return
        bound = {key: parameters[key] for key in model.parameters}
        [self._sizes[name]] = self.row(
            f"CREATE OR REPLACE {kind} {name} AS {model.statement}", bound
        )
        if model.empty_unless and not shape:
            self._shapes[model.name] = self._columns(name)

    def read_shapes(self) -> None:
        """What earlier runs found out about the columns of models."""
        self._shapes = dict(self.rows("SELECT model, columns FROM shapes"))
        self._kept_shapes = set(self._shapes)

    def keep_shapes(self) -> None:
        """So that the next one to open the file knows what this run found out."""
        new = sorted(self._shapes.keys() - self._kept_shapes)
        if new:
            self.run(
                "INSERT INTO shapes SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[])",
                [new, [self._shapes[model] for model in new]],
            )
        self._kept_shapes = set(self._shapes)

    def _columns(self, table: str) -> str:
        described = self.rows(f"DESCRIBE {table}")
        return ", ".join(f"{name} {kind}" for name, kind, *_ in described)


def of_rules() -> list[Model]:
    """The models that are made of rules and their dates alone."""
    return [model for model in models().values() if model.of_rules]
