"""The inventory of a simulated Square merchant: counts and adjustments, ordered by when they
happened.

What is in stock is the newest count and every adjustment after it, whatever order they arrived in.
Quantities are whole hundred-thousandths inside and decimal texts outside.
"""

import sqlite3
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from inventory_pipeline.core.ports import Clock
from inventory_pipeline.simulate.shop import transaction

IN_STOCK = "IN_STOCK"
UNTRACKED = frozenset({"NONE", "SOLD", "UNLINKED_RETURN"})
PLACES = 5
NAMES = uuid.UUID("6f6d2f0c-07a8-4c0e-9a3d-5a1c1b6d9f31")
TABLES = """
CREATE TABLE IF NOT EXISTS square_variations (
    id TEXT PRIMARY KEY, sku TEXT NOT NULL UNIQUE, title TEXT NOT NULL, cents INTEGER NOT NULL,
    updated_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS square_changes (
    number INTEGER PRIMARY KEY, type TEXT NOT NULL, variation TEXT NOT NULL, location TEXT NOT NULL,
    from_state TEXT, to_state TEXT NOT NULL, parts INTEGER NOT NULL, occurred_at TEXT NOT NULL,
    created_at TEXT NOT NULL, reference TEXT, product TEXT NOT NULL, sale TEXT, refund TEXT);
CREATE INDEX IF NOT EXISTS square_changes_place ON square_changes (variation, location);
CREATE TABLE IF NOT EXISTS square_counts (
    variation TEXT NOT NULL, location TEXT NOT NULL, state TEXT NOT NULL, parts INTEGER NOT NULL,
    calculated_at TEXT NOT NULL, PRIMARY KEY (variation, location, state));
CREATE TABLE IF NOT EXISTS square_keys (
    key TEXT PRIMARY KEY, content TEXT NOT NULL, answer TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One count (`from_state` is None) or adjustment that is to be written."""

    variation: str
    location: str
    parts: int  # hundred-thousandths of a unit
    from_state: str | None = None
    to_state: str = IN_STOCK
    occurred_at: datetime
    product: str = "SQUARE_POS"
    reference: str | None = None
    sale: str | None = None
    refund: str | None = None


# Called inside the transaction that changed counts, with rows of square_counts.
CountListener = Callable[[Sequence[sqlite3.Row]], None]


def _ignore(_counts: Sequence[sqlite3.Row]) -> None:
    """A listener for a merchant that tells nobody."""


class SquareLedger:
    """One merchant's books. Every public method that changes something is one transaction."""

    def __init__(
        self, connection: sqlite3.Connection, *, clock: Clock, locations: Sequence[str]
    ) -> None:
        self.connection = connection
        self.clock = clock
        self.locations = tuple(locations)
        self.on_counts: CountListener = _ignore
        connection.executescript(TABLES)

    def list_variations(self, rows: Sequence[Mapping[str, str]]) -> None:
        """Adds what is not listed yet, with a first count where the catalogue names a quantity."""
        with transaction(self.connection):
            for row in rows:
                name = variation_id(row["sku"])
                cents = int(Decimal(row.get("price") or "1") * 100)
                values = (name, row["sku"], row.get("title") or row["sku"], cents, self.now())
                added = self.connection.execute(
                    "INSERT OR IGNORE INTO square_variations VALUES (?, ?, ?, ?, ?)", values
                )
                if added.rowcount and row.get("available"):
                    first = Change(
                        variation=name,
                        location=self.locations[0],
                        parts=parts_of(row["available"]),
                        occurred_at=self.clock(),
                    )
                    self.write([first])

    def now(self) -> str:
        return stamp(self.clock())

    def variation(self, sku: str) -> str | None:
        """The id behind a sku."""
        row = self._one("SELECT id FROM square_variations WHERE sku = ?", sku)
        return None if row is None else str(row["id"])

    def exists(self, variation: str) -> bool:
        return self._one("SELECT 1 FROM square_variations WHERE id = ?", variation) is not None

    def in_stock(self, variation: str, location: str) -> int:
        """Hundred-thousandths that are in stock; 0 where nothing was ever counted."""
        row = self._one(
            "SELECT parts FROM square_counts WHERE variation = ? AND location = ? AND state = ?",
            variation, location, IN_STOCK,
        )  # fmt: skip
        return 0 if row is None else int(row["parts"])

    def last_count(self, variation: str, location: str) -> int | None:
        """What was counted last, whatever was sold since."""
        row = self._one(
            "SELECT parts FROM square_changes WHERE type = 'PHYSICAL_COUNT' AND variation = ? "
            "AND location = ? ORDER BY occurred_at DESC, number DESC LIMIT 1",
            variation, location,
        )  # fmt: skip
        return None if row is None else int(row["parts"])

    def write(self, changes: Sequence[Change]) -> list[int]:
        """Writes changes, all or none; their numbers."""
        numbers = []
        with transaction(self.connection):
            moved: dict[tuple[str, str, str], None] = {}
            for one in changes:
                cursor = self.connection.execute(
                    "INSERT INTO square_changes (type, variation, location, from_state, to_state, "
                    "parts, occurred_at, created_at, reference, product, sale, refund) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        "ADJUSTMENT" if one.from_state else "PHYSICAL_COUNT",
                        one.variation,
                        one.location,
                        one.from_state,
                        one.to_state,
                        one.parts,
                        stamp(one.occurred_at),
                        self.now(),
                        one.reference,
                        one.product,
                        one.sale,
                        one.refund,
                    ),
                )
                numbers.append(int(cursor.lastrowid or 0))
                for state in (one.from_state, one.to_state):
                    if state and state not in UNTRACKED:
                        moved[one.variation, one.location, state] = None
            rows = [row for place in moved if (row := self._recounted(*place)) is not None]
            if rows:
                self.on_counts(rows)
        return numbers

    def change(self, number: int) -> sqlite3.Row:
        """A row of square_changes."""
        row = self._one("SELECT * FROM square_changes WHERE number = ?", number)
        assert row is not None
        return row

    def _recounted(self, variation: str, location: str, state: str) -> sqlite3.Row | None:
        """Counts a state again; the row if its number moved."""
        counted = self._one(
            "SELECT * FROM square_changes WHERE type = 'PHYSICAL_COUNT' AND variation = ? "
            "AND location = ? AND to_state = ? ORDER BY occurred_at DESC, number DESC LIMIT 1",
            variation, location, state,
        )  # fmt: skip
        parts, since, after = (
            (0, "", 0)
            if counted is None
            else (counted["parts"], counted["occurred_at"], counted["number"])
        )
        (moved,) = self.connection.execute(
            "SELECT coalesce(sum(CASE WHEN to_state = ? THEN parts ELSE -parts END), 0) "
            "FROM square_changes WHERE type = 'ADJUSTMENT' AND variation = ? AND location = ? "
            "AND ? IN (from_state, to_state) "
            "AND (occurred_at > ? OR (occurred_at = ? AND number > ?))",
            (state, variation, location, state, since, since, after),
        ).fetchone()
        before = self._one(
            "SELECT parts FROM square_counts WHERE variation = ? AND location = ? AND state = ?",
            variation, location, state,
        )  # fmt: skip
        if before is not None and before["parts"] == parts + moved:
            return None
        self.connection.execute(
            "INSERT OR REPLACE INTO square_counts VALUES (?, ?, ?, ?, ?)",
            (variation, location, state, parts + moved, self.now()),
        )
        return self._one(
            "SELECT * FROM square_counts WHERE variation = ? AND location = ? AND state = ?",
            variation, location, state,
        )  # fmt: skip

    def _one(self, sql: str, *values: object) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self.connection.execute(sql, values).fetchone()
        return row


def variation_id(sku: str) -> str:
    """Square's id of a variation: always the same for a sku."""
    return uuid.uuid5(NAMES, sku).hex[:24].upper()


def parts_of(text: Any) -> int:
    """Hundred-thousandths of a decimal text. Raises ValueError for more decimals than five."""
    value = Decimal(str(text)).scaleb(PLACES)
    if not value.is_finite() or value != value.to_integral_value():
        raise ValueError(f"{text!r} has more than {PLACES} decimals")
    return int(value)


def text_of(parts: int) -> str:
    """The decimal text of hundred-thousandths."""
    return format(Decimal(parts).scaleb(-PLACES).normalize(), "f")


def stamp(when: datetime) -> str:
    """A time as sortable text with microseconds."""
    return when.astimezone(UTC).isoformat(timespec="microseconds")
