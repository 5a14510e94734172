"""The columns behind a column of sql/, through its files down to the tables they start from."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from inventory_pipeline.compute.models import models


class Column(NamedTuple):
    """A column of a table; tables are named as in sql/."""

    table: str
    name: str


# Tables that outlast a run, and the model whose rows they are (compute/calculation.py).
KEPT_FROM = {"stock": "stock_rows", "expected": "balances"}
DIALECT = "duckdb"

Edges = Mapping[Column, frozenset[Column]]


def sources(column: Column, *, stop: Iterable[str]) -> frozenset[Column]:
    """What `column` is made of: columns of tables in `stop`, and of tables that no file makes."""
    edges, ends = direct_sources(), frozenset(stop)
    seen: set[Column] = set()
    found: set[Column] = set()
    open_columns = [column]
    while open_columns:
        at = open_columns.pop()
        if at in seen:
            continue
        seen.add(at)
        if (at.table in ends and at != column) or at not in edges:
            found.add(at)
        else:
            open_columns.extend(edges[at])
    return frozenset(found)


@cache
def direct_sources() -> Edges:
    """One step: each column that a file of sql/ makes, and the columns that it reads for it."""
    from inventory_pipeline.compute.tables import NUMBERS, POLICY, SOURCES, STATE

    schema: dict[str, dict[str, str]] = {
        name: dict(columns) for name, columns in {**SOURCES, **NUMBERS, **STATE, **POLICY}.items()
    }
    edges: dict[Column, frozenset[Column]] = {}
    for name, model in models().items():
        reader = _Reader(model.sql, schema)
        schema[name] = dict.fromkeys(reader.columns, "VARCHAR")
        for column in reader.columns:
            edges[Column(name, column)] = reader.sources(column)
    for table, made_by in KEPT_FROM.items():
        for kept in schema[table]:
            edges[Column(table, kept)] = frozenset({Column(made_by, kept)})
    return edges


class _Reader:
    """One SELECT, qualified; every scope's columns are read once."""

    def __init__(self, sql: str, schema: Mapping[str, Mapping[str, str]]) -> None:
        import sqlglot
        from sqlglot.optimizer.qualify import qualify
        from sqlglot.optimizer.scope import build_scope

        tree: Any = qualify(
            sqlglot.parse_one(sql, read=DIALECT),
            dialect=DIALECT,
            schema={table: dict(columns) for table, columns in schema.items()},
            validate_qualify_columns=False,
        )
        self.columns: list[str] = list(tree.named_selects)
        self._root: Any = build_scope(tree)
        self._known: dict[tuple[int, int], frozenset[Column]] = {}

    def sources(self, column: str) -> frozenset[Column]:
        return self._at(self._root, self.columns.index(column))

    def _at(self, scope: Any, place: int) -> frozenset[Column]:
        """Tables' columns behind the column at `place` of a scope."""
        key = (id(scope), place)
        if key not in self._known:
            self._known[key] = frozenset()  # a recursive query reads itself
            self._known[key] = self._read(scope, place)
        return self._known[key]

    def _read(self, scope: Any, place: int) -> frozenset[Column]:
        from sqlglot import exp

        if isinstance(scope.expression, exp.SetOperation):
            return frozenset().union(
                *(self._at(part, place) for part in scope.set_operation_scopes)
            )
        if not isinstance(scope.expression, exp.Select):
            return frozenset()
        selected = scope.expression.selects[place]
        found: set[Column] = set()
        for column in selected.find_all(exp.Column):
            found |= self._behind(scope, column)
        return frozenset(found)

    def _behind(self, scope: Any, column: Any) -> frozenset[Column]:
        from sqlglot import exp

        source = _source(scope, column.table)
        if isinstance(source, exp.Table):
            return frozenset({Column(source.name, column.name)})
        names = [] if source is None else list(source.expression.named_selects)
        if column.name in names:
            return self._at(source, names.index(column.name))
        return frozenset()


def _source(scope: Any, name: str) -> Any:
    """What `name` stands for in a scope or in a subquery within it; None for what is no table."""
    found = scope.sources.get(name)
    if found is not None:
        return found
    for inner in scope.subquery_scopes:
        found = _source(inner, name)
        if found is not None:
            return found
    return None
