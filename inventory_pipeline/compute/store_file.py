"""The store's file, attached to a DuckDB that the process keeps.

To start a DuckDB takes ten times as long as to attach a file to one that runs. Between two pieces
of work the file is detached: written out, closed and free for others, as if DuckDB had ended.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

# What does not fit goes to disk for a while: a million items take no longer for it.
MEMORY = "768MiB"
# Not about what was asked: a DuckDB that fails inside is of no use any more.
FAULTS = (duckdb.InternalException, duckdb.FatalException)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A running DuckDB; one is kept, for the file that was opened last."""

    process: int
    path: Path
    duckdb: duckdb.DuckDBPyConnection


_kept: list[_Kept] = []
_inherited: list[_Kept] = []  # of the process that forked this one: not to be used, nor ended
_lock = threading.Lock()


@contextmanager
def attached(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the store at `path`, created when absent; it alone has the file open."""
    kept = _running(path)
    connection = kept.duckdb.cursor()
    usable = False
    try:
        connection.execute("ATTACH " + quoted(str(path)) + " AS derived")
        connection.execute("USE derived")
        yield connection
        usable = True
    except FAULTS:
        raise
    except BaseException:
        usable = True
        raise
    finally:
        if not (usable and _detached(connection)):
            _forget(kept)
        connection.close()


def configure(connection: duckdb.DuckDBPyConnection) -> None:
    """What every DuckDB of the calculation is told once."""
    connection.execute("SET preserve_insertion_order = false")
    # Everything that is needed is built in: nothing is fetched.
    connection.execute("SET autoinstall_known_extensions = false")


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _running(path: Path) -> _Kept:
    path = path.absolute()
    with _lock:
        if _kept and _kept[0].process != os.getpid():
            _inherited.append(_kept.pop())
        if _kept and _kept[0].path != path:
            _kept.pop().duckdb.close()
        if not _kept:
            started = duckdb.connect(":memory:")
            configure(started)
            started.execute(f"SET memory_limit = '{MEMORY}'")
            started.execute("SET temp_directory = " + quoted(f"{path}.tmp"))
            _kept.append(_Kept(process=os.getpid(), path=path, duckdb=started))
        return _kept[0]


def _detached(connection: duckdb.DuckDBPyConnection) -> bool:
    try:
        connection.execute("USE memory")
        connection.execute("DETACH DATABASE IF EXISTS derived")
    except duckdb.Error:
        return False
    return True


def _forget(kept: _Kept) -> None:
    """The next to open the file starts a DuckDB of its own."""
    with _lock:
        if kept in _kept:
            _kept.remove(kept)
    kept.duckdb.close()
