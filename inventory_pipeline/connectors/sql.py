"""Databases by query: PostgreSQL, MySQL or MariaDB, and SQLite (SEMANTICS §1).

Options: `url`, `snapshot_query`, `snapshot_every_s`, `events_query`, `cursor_column`,
`cursor_start`, `overlap`, `page_rows`, `timezone`, `timeout_s` (docs/sql.md).

Everything is read in transactions that the database itself keeps from writing, and streamed: a page
of events is held at once, and of a snapshot its text cells only.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from inventory_pipeline.connectors.options import Options
from inventory_pipeline.connectors.sql_values import Place, event_value, text_cell
from inventory_pipeline.core.errors import HubError, SourceError, SourceRefused, SourceUnreachable
from inventory_pipeline.core.ports import (
    Capabilities,
    ChangePage,
    Cursor,
    Delivery,
    Level,
    LevelWrite,
    ListingRef,
    Opening,
    RawEvent,
    RawSnapshot,
    Verified,
    WriteOutcome,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection, CursorResult, Engine, Row

DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "sqlite": "sqlite",
}
CURSOR = ":cursor"
AS_OF = "as_of"
CHUNK = 2000
MAX_TIES = 100_000  # rows of one cursor value, read beyond a page's end
MAX_ROWS = 50_000_000
GRACE_S = 5  # the server ends a statement itself; a network that is silent is given up after that
# What the statement itself is refused for comes as an OperationalError from some drivers.
REFUSED = (
    "no such table", "no such column", "syntax error", "readonly", "denied", "query_only",
    "password authentication", "does not exist",
)  # fmt: skip
# MySQL's and MariaDB's own numbers (1000 to 1999, 3000 and more) of what passes by itself: too many
# connections, shutting down, waits for locks, deadlocks, killed, a statement that took too long.
PASSING = frozenset(
    {1040, 1053, 1152, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1226, 1317, 1927, 1969, 3024}
)


class SqlConnector:
    """One database; `wall` is for tests."""

    EXAMPLE: ClassVar[Mapping[str, str]] = {
        "url": "postgresql://reader@db.example.com/erp",
        "snapshot_query": "SELECT now() AS as_of, place AS location, sku AS item, on_hand FROM s",
        "events_query": "SELECT id, event_id, type, occurred_at FROM e WHERE id > :cursor",
        "cursor_column": "id",
    }

    def __init__(self, opening: Opening, *, wall: Callable[[], float] = time.time) -> None:
        options = Options(opening, "sql")
        self.system = opening.system
        self._url = options.secret("url")
        self._snapshot_query = options.text("snapshot_query", "")
        self._every_s = int(options.number("snapshot_every_s", 900, least=1, most=86_400))
        self._events_query = options.text("events_query", "")
        self._cursor_column = options.text("cursor_column", "")
        self._start = options.text("cursor_start", "0")
        self._overlap = options.number("overlap", 100, most=1e6)
        self._page_rows = int(options.number("page_rows", 5000, least=1, most=100_000))
        self._zone = _zone(opening.system, options.text("timezone", ""))
        self._timeout_s = options.number("timeout_s", 60, least=1, most=3600)
        options.finish(one_of=("snapshot_query", "events_query"))
        self._kind = _checked(
            self.system, self._url.reveal(), self._events_query, self._cursor_column
        )
        self._folder = opening.hub_folder
        self._wall = wall
        self._engine: Engine | None = None
        self.capabilities = Capabilities(
            snapshots=bool(self._snapshot_query), changes=bool(self._events_query)
        )

    def snapshots(self, seen: frozenset[str]) -> Iterator[RawSnapshot]:
        """One snapshot in every `snapshot_every_s`, in one transaction.

        Without a column as_of it is dated by the database's own clock at its beginning.
        """
        slot = int(self._wall()) // self._every_s * self._every_s
        key = f"query@{datetime.fromtimestamp(slot, UTC):%Y-%m-%dT%H:%M:%SZ}"
        if key in seen:
            return
        with self._reading("snapshot_query") as connection:
            frame = self._frame(connection)
        yield RawSnapshot(source=key, key=key, frame=frame)

    def changes(self, cursor: Cursor) -> ChangePage:
        """The next rows of the events query, in the order of the cursor column.

        All rows of one cursor value are in one page. Each pass begins `overlap` before the newest
        value: a row with a smaller one may have been committed later. The cursor is {"at": the
        newest value as text, "kind": its type, "within": true within a pass}.
        """
        place = Place.of(cursor, self._start)
        begin = place if cursor.get("within") else place.before(self._overlap)
        with self._reading("events_query") as connection:
            rows, more = self._page(connection, begin)
        if not rows:
            return ChangePage(events=[], cursor=place.as_json(), more=False)
        last = Place.at(rows[-1][self._cursor_column])
        events = [self._event(row) for row in rows]
        if more:
            return ChangePage(events=events, cursor=last.as_json() | {"within": True}, more=True)
        return ChangePage(events=events, cursor=last.or_later(place).as_json(), more=False)

    def _frame(self, connection: "Connection") -> Any:
        import pandas as pd

        at = self._database_time(connection)
        with closing(_streamed(connection, self._snapshot_query)) as result:
            found, count = self._columns(result)
        if AS_OF not in found:
            found[AS_OF] = [at] * count
        return pd.DataFrame(found, dtype="str")

    def _columns(self, result: "CursorResult[Any]") -> tuple[dict[str, list[str | None]], int]:
        """The cells by column, and how many rows there are."""
        names = [str(name).lower() for name in result.keys()]  # noqa: SIM118 - no mapping
        columns: list[list[str | None]] = [[] for _ in names]
        count = 0
        for row in result.yield_per(CHUNK):
            count += 1
            if count > MAX_ROWS:
                raise self._refused(f"more than {MAX_ROWS:,} rows", "snapshot_query")
            for column, value in zip(columns, row, strict=True):
                column.append(text_cell(value, self._zone))
        return dict(zip(names, columns, strict=True)), count

    def _page(self, connection: "Connection", begin: Place) -> tuple[list[dict[str, Any]], bool]:
        """The rows of a page, and whether more follow."""
        given = {CURSOR[1:]: begin.value}
        with closing(_streamed(connection, self._events_query, given)) as result:
            return self._rows(result)

    def _rows(self, result: "CursorResult[Any]") -> tuple[list[dict[str, Any]], bool]:
        names = [str(name) for name in result.keys()]  # noqa: SIM118 - no mapping
        if self._cursor_column not in names:
            raise self._refused(
                f"the query gives no column {self._cursor_column!r} but {', '.join(names)}",
                "events_query",
            )
        rows: list[dict[str, Any]] = []
        last: Any = None
        for row in result.yield_per(min(CHUNK, self._page_rows)):
            one = _named(names, row)
            value = one[self._cursor_column]
            # How texts are ordered is the database's own affair.
            if value is None or (last is not None and not isinstance(value, str) and value < last):
                raise self._refused(
                    f"its rows are not in the order of {self._cursor_column}, or one is null: "
                    f"{last!r} then {value!r}",
                    "events_query",
                    "end the query with ORDER BY that column.",
                )
            if len(rows) >= self._page_rows and value != last:
                return rows, True
            if len(rows) >= self._page_rows + MAX_TIES:
                raise self._refused(
                    f"more than {MAX_TIES:,} rows have {self._cursor_column} {value!r}",
                    "events_query",
                )
            rows.append(one)
            last = value
        return rows, False

    def _event(self, row: dict[str, Any]) -> RawEvent:
        position = str(row[self._cursor_column])
        try:
            body = {
                name: event_value(value, self._zone)
                for name, value in row.items()
                if value is not None and name != self._cursor_column
            }
        except ValueError as error:
            text = str({name: str(value) for name, value in row.items()})
            return RawEvent(
                body=None, source="events_query", position=position, text=text, error=str(error)
            )
        # The cursor may be the id as well, where the query names none.
        body.setdefault("event_id", position)
        return RawEvent(body=body, source="events_query", position=position)

    def _database_time(self, connection: "Connection") -> str:
        """Now by the database's clock, never earlier than what this transaction can see."""
        from sqlalchemy import text

        if self._kind == "postgresql":
            now = connection.execute(text("SELECT now()")).scalar_one()
            return str(now.astimezone(UTC).isoformat())
        # These tell whole seconds: the next one is surely not before.
        query = "SELECT UTC_TIMESTAMP()" if self._kind == "mysql" else "SELECT datetime('now')"
        told = connection.execute(text(query)).scalar_one()
        now = datetime.fromisoformat(str(told)).replace(tzinfo=UTC) + timedelta(seconds=1)
        return now.isoformat()

    @contextmanager
    def _reading(self, call: str) -> Iterator["Connection"]:
        """A transaction that cannot write; its troubles become the system's errors."""
        from sqlalchemy import exc

        try:
            with self._opened().connect() as connection:
                self._forbid_writing(connection)
                yield connection
                connection.rollback()
        except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
            raise self._error(error, call) from error
        except (exc.SQLAlchemyError, ValueError) as error:
            raise self._refused(_said(error), call) from error

    def _forbid_writing(self, connection: "Connection") -> None:
        from sqlalchemy import text

        if self._kind == "postgresql":
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            limit_ms = int(self._timeout_s * 1000)
            connection.execute(text(f"SET LOCAL statement_timeout = {limit_ms}"))
        elif self._kind == "mysql":
            # REPEATABLE READ is its default; the transaction that is under way ends first.
            connection.execute(text("SET SESSION TRANSACTION READ ONLY"))
            # A reading that nobody waits for any more must not go on there.
            if getattr(connection.dialect, "is_mariadb", False):
                limit = f"max_statement_time = {self._timeout_s}"
            else:
                limit = f"max_execution_time = {int(self._timeout_s * 1000)}"
            connection.execute(text(f"SET SESSION {limit}"))
            connection.rollback()
        else:
            connection.execute(text("PRAGMA query_only = ON"))

    def _opened(self) -> "Engine":
        if self._engine is None:
            from sqlalchemy import create_engine
            from sqlalchemy.pool import NullPool

            address = _address(self._url.reveal(), self._folder)
            seconds = int(self._timeout_s)
            waits: dict[str, dict[str, Any]] = {
                "postgresql": {"connect_timeout": min(10, seconds)},
                "mysql": {"connect_timeout": min(10, seconds), "read_timeout": seconds + GRACE_S},
                "sqlite": {"timeout": min(10, seconds)},
            }
            # A connection for each reading: polls are seconds apart, and threads may differ.
            self._engine = create_engine(
                address, poolclass=NullPool, connect_args=waits[self._kind], hide_parameters=True
            )
        return self._engine

    def _error(self, error: Exception, call: str) -> SourceError:
        said = _said(error)
        if _is_refusal(error, said):
            return self._refused(said, call)
        return SourceUnreachable(
            said, system=self.system, call=call,
            hint="nothing is lost: it is asked again at the next poll.",
        )  # fmt: skip

    def _refused(self, message: str, call: str, hint: str = "") -> SourceRefused:
        return SourceRefused(
            message, system=self.system, call=call,
            hint=hint or "compare the query and the rights of its user with docs/sql.md.",
        )  # fmt: skip

    def verify(self, delivery: Delivery) -> Verified:
        raise NotImplementedError("databases send no webhooks")

    def parse(self, topic: str, delivery: Delivery) -> Sequence[RawEvent]:
        raise NotImplementedError("databases send no webhooks")

    def read_levels(self, listings: Sequence[ListingRef] | None) -> Iterator[Level]:
        raise NotImplementedError("a database is read as snapshots")

    def write_levels(self, writes: Sequence[LevelWrite], *, key: str) -> list[WriteOutcome]:
        raise NotImplementedError("a database is only read")

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()


def _streamed(
    connection: "Connection", query: str, given: Mapping[str, Any] | None = None
) -> "CursorResult[Any]":
    from sqlalchemy import text

    return connection.execute(text(query), given or {}, execution_options={"stream_results": True})


def _named(names: Sequence[str], row: "Row[Any]") -> dict[str, Any]:
    return dict(zip(names, row, strict=True))


def _address(url: str, folder: str) -> Any:
    """The SQLAlchemy address with our drivers; a relative SQLite file is in the hub folder."""
    from pathlib import Path

    from sqlalchemy.engine import make_url

    found = make_url(url)
    kind = found.drivername.partition("+")[0]
    if kind == "sqlite" and found.database and found.database != ":memory:":
        path = (Path(folder) / found.database).resolve()
        # A file that is not there is an error, not a new and empty database.
        return f"sqlite:///file:{path}?mode=ro&uri=true"
    return found.set(drivername=DRIVERS[kind])


def _checked(system: str, url: str, events_query: str, cursor_column: str) -> str:
    """The kind of database. Raises HubError for what cannot work."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    where = f"hub.yaml: systems.{system}.options"
    hint = "docs/sql.md lists the options of sql."
    try:
        kind = make_url(url).drivername.partition("+")[0]
    except ArgumentError:
        kind = ""
    if kind not in DRIVERS:
        raise HubError(f"{where}.url must begin with {', '.join(DRIVERS)}", hint=hint)
    if events_query and not cursor_column:
        raise HubError(f"{where}.cursor_column is missing", hint=hint)
    if events_query and CURSOR not in events_query:
        raise HubError(
            f"{where}.events_query must compare {cursor_column} with {CURSOR}", hint=hint
        )
    return DRIVERS[kind].partition("+")[0]


def _zone(system: str, name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError):
        raise HubError(
            f"hub.yaml: systems.{system}.options.timezone: there is no time zone {name!r}",
            hint="write it like Europe/Berlin or UTC.",
        ) from None


def _is_refusal(error: Exception, said: str) -> bool:
    """Whether the same question would be refused again, by its number or else by its words."""
    if any(word in said for word in REFUSED):
        return True
    numbers = getattr(getattr(error, "orig", None), "args", ())
    number = numbers[0] if numbers else None
    return (
        isinstance(number, int)
        and (1000 <= number < 2000 or number >= 3000)
        and number not in PASSING
    )


def _said(error: Exception) -> str:
    """What the database said, on one line, without the statement and its values."""
    original = getattr(error, "orig", None)
    return " ".join(str(original or error).split())[:300]
