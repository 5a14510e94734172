"""The replay's memory: what will happen, what has happened, what was told. One SQLite file.

Everything that happens is one transaction: stock moves, what must be told is written down with its
time and text, and what follows from it is planned. Telling comes afterwards and can be repeated.
Positions are fractions of the replay: 0 is its beginning, 1 its end.
"""

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from inventory_pipeline.core.ports import Clock
from inventory_pipeline.simulate.shop import open_database, transaction

TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS todo (
    id INTEGER PRIMARY KEY, due REAL NOT NULL, kind TEXT NOT NULL, payload TEXT NOT NULL,
    must INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS todo_due ON todo (due, id) WHERE done = 0;
CREATE TABLE IF NOT EXISTS stock (
    location TEXT NOT NULL, sku TEXT NOT NULL, on_hand INTEGER NOT NULL,
    damaged INTEGER NOT NULL DEFAULT 0, quality_control INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (location, sku));
CREATE TABLE IF NOT EXISTS coming (
    reference TEXT NOT NULL, location TEXT NOT NULL, sku TEXT NOT NULL, units INTEGER NOT NULL,
    PRIMARY KEY (reference, location, sku));
CREATE TABLE IF NOT EXISTS orders (
    shop TEXT NOT NULL, order_id TEXT NOT NULL, number INTEGER, status TEXT NOT NULL,
    PRIMARY KEY (shop, order_id));
CREATE TABLE IF NOT EXISTS lines (
    shop TEXT NOT NULL, order_id TEXT NOT NULL, line_id INTEGER NOT NULL, sku TEXT NOT NULL,
    quantity INTEGER NOT NULL, shipped INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0, held INTEGER NOT NULL DEFAULT 0, place TEXT,
    PRIMARY KEY (shop, line_id));
CREATE TABLE IF NOT EXISTS lost (
    why TEXT NOT NULL, about TEXT NOT NULL, sku TEXT NOT NULL, units INTEGER NOT NULL,
    PRIMARY KEY (why, about, sku));
CREATE TABLE IF NOT EXISTS emissions (
    id INTEGER PRIMARY KEY, due REAL NOT NULL, way TEXT NOT NULL, target TEXT NOT NULL,
    content TEXT NOT NULL, occurred_at TEXT NOT NULL, at_byte INTEGER, delivered_at TEXT);
CREATE INDEX IF NOT EXISTS emissions_due ON emissions (due, id) WHERE delivered_at IS NULL;
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, length INTEGER NOT NULL);
"""


class ReplayState:
    """Reads and writes of the replay's file; transactions are the caller's, by `together()`."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.connection = open_database(path)
        self.connection.executescript(TABLES)
        self.clock = clock

    def together(self) -> Any:
        """A context in which everything is kept or nothing."""
        return transaction(self.connection)

    def get(self, name: str, default: Any = None) -> Any:
        row = self._one("SELECT value FROM meta WHERE name = ?", name)
        return json.loads(row["value"]) if row is not None else default

    def put(self, name: str, value: Any) -> None:
        self._do("INSERT OR REPLACE INTO meta VALUES (?, ?)", name, json.dumps(value))

    def tick(self) -> datetime:
        """The wall clock, but always later than the last answer, so that nothing is at once."""
        last = self.get("last_tick")
        now = self.clock()
        if last is not None:
            now = max(now, datetime.fromisoformat(last) + timedelta(microseconds=1))
        self.put("last_tick", now.isoformat(timespec="microseconds"))
        return now

    # -- what will happen ---------------------------------------------------------------------

    def plan(
        self, due: float, kind: str, payload: Mapping[str, Any], *, must: bool = False
    ) -> None:
        """Something to do at a position; what `must` be done is done even after the end."""
        self._do(
            "INSERT INTO todo (due, kind, payload, must) VALUES (?, ?, ?, ?)",
            due,
            kind,
            json.dumps(payload),
            int(must),
        )

    def next_todo(self) -> sqlite3.Row | None:
        """The earliest thing still to do; after position 1 only what must be done."""
        return self._one(
            "SELECT * FROM todo WHERE done = 0 AND (must = 1 OR due <= 1) ORDER BY due, id LIMIT 1"
        )

    def finish_todo(self, todo_id: int) -> None:
        self._do("UPDATE todo SET done = 1 WHERE id = ?", todo_id)

    # -- stock --------------------------------------------------------------------------------

    def free(self, place: str, sku: str) -> int:
        """Units that somebody can take there."""
        row = self._one("SELECT * FROM stock WHERE location = ? AND sku = ?", place, sku)
        if row is None:
            return 0
        blocked = row["damaged"] + row["quality_control"] + row["held"]
        return max(0, int(row["on_hand"] - blocked))

    def on_hand(self, place: str, sku: str) -> int:
        row = self._one("SELECT on_hand FROM stock WHERE location = ? AND sku = ?", place, sku)
        return int(row["on_hand"]) if row is not None else 0

    def move(
        self,
        place: str,
        sku: str,
        *,
        on_hand: int = 0,
        damaged: int = 0,
        quality_control: int = 0,
        held: int = 0,
    ) -> None:
        self._do(
            "UPDATE stock SET on_hand = on_hand + ?, damaged = damaged + ?, "
            "quality_control = quality_control + ?, held = held + ? "
            "WHERE location = ? AND sku = ?",
            on_hand,
            damaged,
            quality_control,
            held,
            place,
            sku,
        )

    def lose(self, why: str, about: str, sku: str, units: int) -> None:
        """Counts units that somebody wanted and did not get."""
        self._do("INSERT OR IGNORE INTO lost VALUES (?, ?, ?, ?)", why, about, sku, units)

    # -- what is told -------------------------------------------------------------------------

    def emit(self, due: float, way: str, target: str, content: str, occurred_at: datetime) -> None:
        """Something to tell: a `line` of a file, a whole `file`, or a `post` to a shop."""
        self._do(
            "INSERT INTO emissions (due, way, target, content, occurred_at) VALUES (?, ?, ?, ?, ?)",
            due,
            way,
            target,
            content,
            occurred_at.isoformat(timespec="microseconds"),
        )

    def due_emissions(self, position: float, limit: int = 500) -> list[sqlite3.Row]:
        """Not yet delivered and due, or begun before the last stop."""
        return self.connection.execute(
            "SELECT * FROM emissions WHERE delivered_at IS NULL "
            "AND (due <= ? OR at_byte IS NOT NULL) ORDER BY at_byte IS NULL, due, id LIMIT ?",
            (position, limit),
        ).fetchall()

    def next_emission(self) -> sqlite3.Row | None:
        return self._one(
            "SELECT * FROM emissions WHERE delivered_at IS NULL ORDER BY due, id LIMIT 1"
        )

    def place_line(self, emission: sqlite3.Row) -> int:
        """The byte at which a line belongs in its file; given once, so that it is written once."""
        if emission["at_byte"] is not None:
            return int(emission["at_byte"])
        row = self._one("SELECT length FROM files WHERE path = ?", emission["target"])
        place = int(row["length"]) if row is not None else 0
        length = place + len(emission["content"].encode()) + 1
        self._do("INSERT OR REPLACE INTO files VALUES (?, ?)", emission["target"], length)
        self._do("UPDATE emissions SET at_byte = ? WHERE id = ?", place, emission["id"])
        return place

    def delivered(self, emission_id: int) -> None:
        self._do(
            "UPDATE emissions SET delivered_at = ? WHERE id = ?",
            self.clock().isoformat(timespec="microseconds"),
            emission_id,
        )

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        return self.connection.execute(sql, values).fetchall()

    def _one(self, sql: str, *values: object) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self.connection.execute(sql, values).fetchone()
        return row

    def _do(self, sql: str, *values: object) -> None:
        self.connection.execute(sql, values)
