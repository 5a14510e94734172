"""Connections that pass a fault point before each statement and each commit (core/faults.py)."""

from typing import Any

import psycopg

from inventory_pipeline.core import faults

KIND = "postgres"
COMMIT = "commit"


def connection_class() -> type[psycopg.Connection[tuple[Any, ...]]]:
    """Psycopg's own; a watched one only in a process whose fault points are watched."""
    return _WatchedConnection if faults.armed() else psycopg.Connection


class _WatchedCursor(psycopg.Cursor[tuple[Any, ...]]):
    def execute(self, query: Any, *arguments: Any, **options: Any) -> "_WatchedCursor":
        _pass(query)
        return super().execute(query, *arguments, **options)

    def executemany(self, query: Any, *arguments: Any, **options: Any) -> None:
        _pass(query)
        super().executemany(query, *arguments, **options)

    def copy(self, statement: Any, *arguments: Any, **options: Any) -> Any:
        _pass(statement)
        return super().copy(statement, *arguments, **options)


class _WatchedConnection(psycopg.Connection[tuple[Any, ...]]):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cursor_factory = _WatchedCursor

    def commit(self) -> None:
        faults.point(COMMIT)
        super().commit()


def _pass(query: object) -> None:
    # The pool asks with an empty statement whether a connection lives: nothing depends on that.
    if query:
        faults.point(faults.called(KIND, query))
