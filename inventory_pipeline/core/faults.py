"""A switch for tests: this process kills itself (SIGKILL) at one chosen point.

A point is a place where a crash may fall between two effects: before each statement and each commit
that goes to Postgres, before each statement that DuckDB runs, and wherever a test calls `point`
itself, as around a request to a channel. They are numbered from 1, as the process passes them.

    HUB_FAULT_AT=17          dies at the 17th point
    HUB_FAULT_AT=commit:3    dies at the third point of that name
    HUB_FAULT_LOG=FILE       appends the name of each point to FILE, a line each

With neither set, nothing is watched: who has points asks `armed` once, when it opens a connection.
"""

import os
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any, TypeVar, cast

AT = "HUB_FAULT_AT"
LOG = "HUB_FAULT_LOG"
LONGEST_NAME = 80

_passed: Counter[str] = Counter()
_passing = threading.Lock()

Thing = TypeVar("Thing")


def armed() -> bool:
    """Whether points are to be watched in this process."""
    return AT in os.environ or LOG in os.environ


def point(name: str) -> None:
    """Passes a point; does not come back from the one that the switch names."""
    with _passing:
        _passed[""] += 1
        _passed[name] += 1
        log = os.environ.get(LOG)
        if log:
            with Path(log).open("a", encoding="utf-8") as file:
                file.write(f"{name}\n")
        wanted, _, number = os.environ.get(AT, "").rpartition(":")
        if number and _passed[wanted] == int(number):
            os.kill(os.getpid(), signal.SIGKILL)


def called(kind: str, statement: object) -> str:
    """The name of a statement's point: its kind and how the statement begins, on one line."""
    text = statement.decode() if isinstance(statement, bytes) else str(statement)
    return f"{kind} {' '.join(text.split())}"[:LONGEST_NAME]


def watched(thing: Thing, kind: str, *methods: str) -> Thing:
    """`thing` itself; while points are watched, a stand-in that passes one before each of these
    methods, whose first argument is a statement.
    """
    return cast("Thing", _Watched(thing, kind, methods)) if armed() else thing


class _Watched:
    def __init__(self, thing: object, kind: str, methods: tuple[str, ...]) -> None:
        self._thing = thing
        self._kind = kind
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._thing, name)
        if name not in self._methods:
            return found

        def call(statement: object, *arguments: object, **options: object) -> Any:
            # A statement that was parsed before still knows its text.
            point(called(self._kind, getattr(statement, "query", statement)))
            return found(statement, *arguments, **options)

        return call
