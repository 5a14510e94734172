"""The ledger of a simulated shop: what it lists, shows and sold. One SQLite file, kill -9 safe.

A shop sells by itself: an order lowers `available` at once and a cancel gives it back. Quantities
are whole units of the shop's own listing. `available` is what it shows; `committed` is sold and
not yet shipped; what it believes to be on hand is the sum of both.
"""

import csv
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from inventory_pipeline.core.ports import Clock

# Ids of items whose sku is no number, and of orders whose id is none, count on from here.
FIRST_ITEM = 10_000
FIRST_ORDER = 1_000_000
LINES_PER_ORDER = 100

TABLES = """
CREATE TABLE IF NOT EXISTS items (
    item_id INTEGER PRIMARY KEY, sku TEXT NOT NULL UNIQUE, title TEXT NOT NULL,
    price TEXT NOT NULL, created_at TEXT NOT NULL, modified_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS levels (
    item_id INTEGER NOT NULL, location TEXT NOT NULL, available INTEGER NOT NULL,
    committed INTEGER NOT NULL DEFAULT 0, updated_at TEXT NOT NULL,
    PRIMARY KEY (item_id, location));
CREATE TABLE IF NOT EXISTS orders (
    order_id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, status TEXT NOT NULL,
    created_at TEXT NOT NULL, updated_at TEXT NOT NULL, cancelled_at TEXT, fulfilled_at TEXT);
CREATE INDEX IF NOT EXISTS orders_updated ON orders (updated_at, number);
CREATE TABLE IF NOT EXISTS order_lines (
    line_id INTEGER PRIMARY KEY, order_id TEXT NOT NULL, item_id INTEGER NOT NULL,
    location TEXT NOT NULL, quantity INTEGER NOT NULL, fulfilled INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS order_lines_order ON order_lines (order_id);
CREATE TABLE IF NOT EXISTS fulfilments (
    number INTEGER PRIMARY KEY, order_id TEXT NOT NULL, name TEXT NOT NULL,
    created_at TEXT NOT NULL, lines TEXT NOT NULL, UNIQUE (order_id, name));
CREATE TABLE IF NOT EXISTS edits (
    edit_id INTEGER PRIMARY KEY, order_id TEXT NOT NULL, created_at TEXT NOT NULL,
    lines TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS refusals (
    order_id TEXT NOT NULL, sku TEXT NOT NULL, asked INTEGER NOT NULL, shown INTEGER NOT NULL,
    at TEXT NOT NULL, PRIMARY KEY (order_id, sku, asked));
CREATE TABLE IF NOT EXISTS writes (
    write_id INTEGER PRIMARY KEY, source TEXT NOT NULL, key TEXT, item_id INTEGER NOT NULL,
    location TEXT NOT NULL, before INTEGER NOT NULL, after INTEGER NOT NULL, at TEXT NOT NULL);
"""


class ShopRefuses(Exception):
    """The storefront says no; `status` is its HTTP answer and `body` says why."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(json.dumps(body))
        self.status = status
        self.body = body


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedLine:
    """A line as the customer asks for it: whole units of the shop's listing."""

    sku: str
    quantity: int


# Called inside the transaction that changed an order, with (topic, order as `order()` gives it).
OrderListener = Callable[[str, dict[str, Any]], None]
# The same for a changed `available`, with (item id, location).
LevelListener = Callable[[int, str], None]


def _ignore(_topic: str, _order: dict[str, Any]) -> None:
    """A listener for a shop that tells nobody."""


def _unheard(_item_id: int, _location: str) -> None:
    """The same for levels."""


def open_database(path: Path) -> sqlite3.Connection:
    """A connection in which every transaction is begun by hand; survives kill -9 of the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction: all or nothing. Inside another one it is part of that."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def read_catalog(path: Path) -> list[dict[str, str]]:
    """Rows of a catalogue CSV: sku, title, and optionally id, price, available."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class ShopLedger:
    """One shop's books. Every public method that changes something is one transaction."""

    def __init__(
        self, connection: sqlite3.Connection, *, clock: Clock, locations: Sequence[str]
    ) -> None:
        self.connection = connection
        self.clock = clock
        self.locations = tuple(locations)
        self.on_order: OrderListener = _ignore
        self.on_level: LevelListener = _unheard
        connection.executescript(TABLES)

    def list_items(self, rows: Sequence[Mapping[str, str]]) -> None:
        """Adds what is not listed yet; what is keeps its quantity. Repeatable."""
        now = self.now()
        with transaction(self.connection):
            for place, row in enumerate(rows):
                sku = row["sku"]
                number = row.get("id") or (sku if sku.isdigit() else str(FIRST_ITEM + place))
                self.connection.execute(
                    "INSERT OR IGNORE INTO items VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        int(number),
                        sku,
                        row.get("title") or sku,
                        row.get("price") or "1.00",
                        now,
                        now,
                    ),
                )
                for index, location in enumerate(self.locations):
                    available = int(row.get("available") or 0) if index == 0 else 0
                    self.connection.execute(
                        "INSERT OR IGNORE INTO levels VALUES (?, ?, ?, 0, ?)",
                        (int(number), location, available, now),
                    )

    def now(self) -> str:
        """The clock's time as sortable text with microseconds."""
        return self.clock().isoformat(timespec="microseconds")

    # -- selling ------------------------------------------------------------------------------

    def place_order(
        self, order_id: str, lines: Sequence[OrderedLine], *, allow_oversell: bool = False
    ) -> dict[str, Any]:
        """Sells the lines, all or none. The same order_id again gives the same order.

        Raises ShopRefuses: 404 for an unlisted sku, 409 where it shows less than is asked for.
        """
        with transaction(self.connection):
            if self._one("SELECT * FROM orders WHERE order_id = ?", order_id) is not None:
                return self.order(order_id)
            if not lines:
                raise ShopRefuses(422, {"error": "empty_order", "message": "an order has lines"})
            places = self._places(order_id, lines, allow_oversell=allow_oversell)
            now = self.now()
            number = self._order_number(order_id)
            self.connection.execute(
                "INSERT INTO orders VALUES (?, ?, 'open', ?, ?, NULL, NULL)",
                (order_id, number, now, now),
            )
            for index, (item_id, location, quantity) in enumerate(places):
                self.connection.execute(
                    "INSERT INTO order_lines VALUES (?, ?, ?, ?, ?, 0, 0)",
                    (number * LINES_PER_ORDER + index, order_id, item_id, location, quantity),
                )
                self._move(item_id, location, available=-quantity, committed=quantity)
            return self._tell("created", order_id)

    def note_refusal(self, order_id: str, refusal: ShopRefuses) -> None:
        """Counts a lost sale, in a transaction of its own: the order's was rolled back."""
        rows = [
            (order_id, line["sku"], line["asked"], line["shown"], self.now())
            for line in refusal.body.get("sold_out", [])
        ]
        self.connection.executemany("INSERT OR IGNORE INTO refusals VALUES (?, ?, ?, ?, ?)", rows)

    def fulfil(
        self, order_id: str, *, name: str = "all", lines: Sequence[OrderedLine] | None = None
    ) -> dict[str, Any]:
        """Marks lines as shipped: these, or all that is left. Repeatable under the same name."""
        with transaction(self.connection):
            self._known_order(order_id)
            done = self.connection.execute(
                "SELECT 1 FROM fulfilments WHERE order_id = ? AND name = ?", (order_id, name)
            ).fetchone()
            if done is not None:
                return self.order(order_id)
            wanted = self._to_fulfil(order_id, lines)
            if not wanted:
                return self.order(order_id)
            now = self.now()
            for line_id, item_id, location, quantity in wanted:
                self.connection.execute(
                    "UPDATE order_lines SET fulfilled = fulfilled + ? WHERE line_id = ?",
                    (quantity, line_id),
                )
                self._move(item_id, location, available=0, committed=-quantity)
            shipped = json.dumps([[line_id, quantity] for line_id, _, _, quantity in wanted])
            self.connection.execute(
                "INSERT INTO fulfilments (order_id, name, created_at, lines) VALUES (?, ?, ?, ?)",
                (order_id, name, now, shipped),
            )
            left = self._open_lines(order_id)
            return self._tell("partially_fulfilled" if left else "fulfilled", order_id)

    def cancel(self, order_id: str) -> dict[str, Any]:
        """Cancels all that is not shipped and puts it back on sale. Repeatable."""
        with transaction(self.connection):
            row = self._known_order(order_id)
            if row["cancelled_at"] is not None:
                return self.order(order_id)
            left = self._open_lines(order_id)
            if not left:
                raise ShopRefuses(409, {"error": "already_shipped", "order_id": order_id})
            for line in left:
                quantity = line["quantity"] - line["fulfilled"] - line["cancelled"]
                self.connection.execute(
                    "UPDATE order_lines SET cancelled = cancelled + ? WHERE line_id = ?",
                    (quantity, line["line_id"]),
                )
                self._move(
                    line["item_id"], line["location"], available=quantity, committed=-quantity
                )
            return self._tell("cancelled", order_id)

    def edit(self, order_id: str, lines: Sequence[OrderedLine]) -> dict[str, Any]:
        """Adds units to an order: to the line that has the sku, or as a new line."""
        with transaction(self.connection):
            row = self._known_order(order_id)
            if row["status"] == "cancelled":
                raise ShopRefuses(409, {"error": "cancelled", "order_id": order_id})
            held = {line["sku"]: line["line_id"] for line in self.order(order_id)["lines"]}
            newest = max(held.values())
            added = []
            for line, place in zip(lines, self._places(order_id, lines, allow_oversell=True),
                                   strict=True):  # fmt: skip
                item_id, location, quantity = place
                if line.sku not in held:
                    newest += 1
                    held[line.sku] = newest
                    self.connection.execute(
                        "INSERT INTO order_lines VALUES (?, ?, ?, ?, 0, 0, 0)",
                        (newest, order_id, item_id, location),
                    )
                self.connection.execute(
                    "UPDATE order_lines SET quantity = quantity + ? WHERE line_id = ?",
                    (quantity, held[line.sku]),
                )
                self._move(item_id, location, available=-quantity, committed=quantity)
                added.append([held[line.sku], quantity])
            self.connection.execute(
                "INSERT INTO edits (order_id, created_at, lines) VALUES (?, ?, ?)",
                (order_id, self.now(), json.dumps(added)),
            )
            return self._tell("edited", order_id)

    # -- the shown quantity -------------------------------------------------------------------

    def set_available(
        self, item_id: int, location: str, available: int, *, source: str, key: str = ""
    ) -> None:
        """Writes what the shop shows; `source` says who did it: api or admin."""
        with transaction(self.connection):
            before = self.level(item_id, location)["available"]
            now = self.now()
            self.connection.execute(
                "INSERT INTO writes (source, key, item_id, location, before, after, at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (source, key, item_id, location, before, available, now),
            )
            if available != before:
                self._move(item_id, location, available=available - before, committed=0)

    def level(self, item_id: int, location: str) -> sqlite3.Row:
        """The row of `levels`. Raises KeyError for an unknown item or location."""
        row = self._one(
            "SELECT * FROM levels WHERE item_id = ? AND location = ?", item_id, location
        )
        if row is None:
            raise KeyError((item_id, location))
        return row

    def item_by_sku(self, sku: str) -> sqlite3.Row | None:
        return self._one("SELECT * FROM items WHERE sku = ?", sku)

    def item(self, item_id: int) -> sqlite3.Row | None:
        return self._one("SELECT * FROM items WHERE item_id = ?", item_id)

    def order(self, order_id: str) -> dict[str, Any]:
        """An order with its lines and fulfilments, as plain values."""
        row = self._known_order(order_id)
        lines = self.connection.execute(
            "SELECT l.*, i.sku, i.title, i.price FROM order_lines l JOIN items i USING (item_id) "
            "WHERE order_id = ? ORDER BY line_id",
            (order_id,),
        ).fetchall()
        fulfilments = self.connection.execute(
            "SELECT * FROM fulfilments WHERE order_id = ? ORDER BY number", (order_id,)
        ).fetchall()
        edits = self.connection.execute(
            "SELECT * FROM edits WHERE order_id = ? ORDER BY edit_id", (order_id,)
        ).fetchall()
        return {
            **dict(row),
            "lines": [dict(line) for line in lines],
            "edits": [
                {
                    "number": one["edit_id"],
                    "created_at": one["created_at"],
                    "lines": json.loads(one["lines"]),
                }
                for one in edits
            ],
            "fulfilments": [
                {
                    "number": one["number"],
                    "created_at": one["created_at"],
                    "lines": json.loads(one["lines"]),
                }
                for one in fulfilments
            ],
        }

    # -- inside -------------------------------------------------------------------------------

    def _places(
        self, order_id: str, lines: Sequence[OrderedLine], *, allow_oversell: bool
    ) -> list[tuple[int, str, int]]:
        """(item, location, quantity) of every line, or ShopRefuses with all that is sold out."""
        found: list[tuple[int, str, int]] = []
        sold_out: list[dict[str, Any]] = []
        taken: dict[tuple[int, str], int] = {}
        for line in lines:
            item = self.item_by_sku(line.sku)
            if item is None:
                raise ShopRefuses(404, {"error": "unknown_sku", "sku": line.sku})
            if line.quantity <= 0:
                raise ShopRefuses(422, {"error": "bad_quantity", "sku": line.sku})
            shown = {
                place: self.level(item["item_id"], place)["available"]
                - taken.get((item["item_id"], place), 0)
                for place in self.locations
            }
            enough = [place for place, units in shown.items() if units >= line.quantity]
            if not enough and not allow_oversell:
                most = max(shown.values())
                sold_out.append({"sku": line.sku, "asked": line.quantity, "shown": max(0, most)})
                continue
            place = enough[0] if enough else self.locations[0]
            taken[item["item_id"], place] = taken.get((item["item_id"], place), 0) + line.quantity
            found.append((item["item_id"], place, line.quantity))
        if sold_out:
            raise ShopRefuses(
                409, {"error": "sold_out", "order_id": order_id, "sold_out": sold_out}
            )
        return found

    def _to_fulfil(
        self, order_id: str, lines: Sequence[OrderedLine] | None
    ) -> list[tuple[int, int, str, int]]:
        left = self._open_lines(order_id)
        if lines is None:
            return [
                (row["line_id"], row["item_id"], row["location"], _unshipped(row)) for row in left
            ]
        found = []
        for line in lines:
            match = [row for row in left if row["sku"] == line.sku]
            if not match or not 0 < line.quantity <= _unshipped(match[0]):
                raise ShopRefuses(409, {"error": "not_open", "order_id": order_id, "sku": line.sku})
            row = match[0]
            found.append((row["line_id"], row["item_id"], row["location"], line.quantity))
        return found

    def _open_lines(self, order_id: str) -> list[sqlite3.Row]:
        return self.connection.execute(
            "SELECT l.*, i.sku FROM order_lines l JOIN items i USING (item_id) "
            "WHERE order_id = ? AND quantity > fulfilled + cancelled ORDER BY line_id",
            (order_id,),
        ).fetchall()

    def _tell(self, topic: str, order_id: str) -> dict[str, Any]:
        """Stamps the order's new state and tells the listener, in the same transaction."""
        now = self.now()
        closing = {"fulfilled": "fulfilled_at", "cancelled": "cancelled_at"}.get(topic)
        if closing is not None:
            self.connection.execute(
                f"UPDATE orders SET status = ?, {closing} = ? WHERE order_id = ?",
                (topic, now, order_id),
            )
        self.connection.execute(
            "UPDATE orders SET updated_at = ? WHERE order_id = ?", (now, order_id)
        )
        order = self.order(order_id)
        self.on_order(topic, order)
        return order

    def _move(self, item_id: int, location: str, *, available: int, committed: int) -> None:
        """Moves both numbers; the time of change is that of `available` alone."""
        self.connection.execute(
            "UPDATE levels SET available = available + ?, committed = committed + ?, "
            "updated_at = CASE WHEN ? = 0 THEN updated_at ELSE ? END "
            "WHERE item_id = ? AND location = ?",
            (available, committed, available, self.now(), item_id, location),
        )
        if available:
            self.on_level(item_id, location)

    def _order_number(self, order_id: str) -> int:
        if order_id.isdigit():
            return int(order_id)
        (number,) = self.connection.execute(
            "SELECT coalesce(max(number), ?) + 1 FROM orders", (FIRST_ORDER,)
        ).fetchone()
        return int(number)

    def _one(self, sql: str, *values: object) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self.connection.execute(sql, values).fetchone()
        return row

    def _known_order(self, order_id: str) -> sqlite3.Row:
        row = self._one("SELECT * FROM orders WHERE order_id = ?", order_id)
        if row is None:
            raise ShopRefuses(404, {"error": "unknown_order", "order_id": order_id})
        return row


def _unshipped(line: sqlite3.Row) -> int:
    return int(line["quantity"] - line["fulfilled"] - line["cancelled"])


def parse_time(text: str) -> datetime:
    """The datetime of a stored time."""
    return datetime.fromisoformat(text)


def to_second(text: str) -> str:
    """A stored time as shops print it: whole seconds, Z. Both platforms cut fractions off."""
    return parse_time(text).strftime("%Y-%m-%dT%H:%M:%SZ")
