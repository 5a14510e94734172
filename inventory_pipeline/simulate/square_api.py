"""Square's Inventory and Catalog API over a simulated merchant's ledger.

The shapes follow the version that the header Square-Version names: from 2026-07-15 on an adjustment
names two places instead of one.
"""

import base64
import hashlib
import json
import sqlite3
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from inventory_pipeline.simulate.shop import parse_time
from inventory_pipeline.simulate.square_door import Node, bad, body_of
from inventory_pipeline.simulate.square_ledger import NAMES, SquareLedger, text_of

TWO_PLACES_SINCE = "2026-07-15"
MERCHANT = "MLSIMULATED01"
MAX_PAGE = 1_000
CATALOG_PAGE = 100


class ReadApi:
    """Everything that only reads."""

    def __init__(self, ledger: SquareLedger) -> None:
        self.ledger = ledger

    # -- inventory ----------------------------------------------------------------------------

    async def counts(self, request: Request) -> Response:
        """Newest first."""
        asked = await body_of(request)
        where, values = _filters(asked, time="calculated_at")
        if states := asked.get("states"):
            where.append(f"state IN ({_marks(states)})")
            values += states
        rows, cursor = self._page(
            f"SELECT * FROM square_counts WHERE {' AND '.join(where)} "
            "ORDER BY calculated_at DESC, variation, location, state",
            values, asked, MAX_PAGE,
        )  # fmt: skip
        return JSONResponse({"counts": [count_shape(row) for row in rows]} | cursor)

    async def changes(self, request: Request) -> Response:
        """Oldest first by when they happened; the filter goes by when they were received."""
        asked = await body_of(request)
        where, values = _filters(asked, time="created_at")
        types = asked.get("types") or ["PHYSICAL_COUNT", "ADJUSTMENT"]
        if unknown := set(types) - {"PHYSICAL_COUNT", "ADJUSTMENT", "TRANSFER"}:
            raise bad("INVALID_ENUM_VALUE", f"types {sorted(unknown)}", "types")
        where.append(f"type IN ({_marks(types)})")
        values += types
        rows, cursor = self._page(
            f"SELECT * FROM square_changes WHERE {' AND '.join(where)} "
            "ORDER BY occurred_at, number",
            values, asked, MAX_PAGE,
        )  # fmt: skip
        version = request.headers.get("square-version", "")
        return JSONResponse({"changes": [change_shape(row, version) for row in rows]} | cursor)

    # -- catalogue ----------------------------------------------------------------------------

    async def catalog(self, request: Request) -> Response:
        types = request.query_params.get("types", "ITEM_VARIATION").split(",")
        if "ITEM_VARIATION" not in types:
            return JSONResponse({"objects": []})
        asked = {"cursor": request.query_params.get("cursor"), "types": types}
        rows, cursor = self._page(
            "SELECT * FROM square_variations ORDER BY id", [], asked, CATALOG_PAGE
        )
        return JSONResponse({"objects": [variation_shape(row) for row in rows]} | cursor)

    async def retrieve(self, request: Request) -> Response:
        asked = await body_of(request)
        ids = asked.get("object_ids")
        if not isinstance(ids, list) or not 1 <= len(ids) <= 1_000:
            raise bad("ARRAY_LENGTH_TOO_LONG", "1 to 1000 object_ids", "object_ids")
        rows = self.ledger.connection.execute(
            f"SELECT * FROM square_variations WHERE id IN ({_marks(ids)}) ORDER BY id", ids
        ).fetchall()
        return JSONResponse({"objects": [variation_shape(row) for row in rows]} if rows else {})

    async def locations(self, _request: Request) -> Response:
        found = [
            {
                "id": name,
                "name": name,
                "status": "ACTIVE",
                "merchant_id": MERCHANT,
                "country": "US",
                "currency": "USD",
                "created_at": "2026-01-01T00:00:00Z",
            }
            for name in self.ledger.locations
        ]
        return JSONResponse({"locations": found})

    def _page(
        self, sql: str, values: list[Any], asked: Mapping[str, Any], most: int
    ) -> tuple[list[sqlite3.Row], Node]:
        """Rows of one page, and the cursor of the next one: it goes with its own question only."""
        limit = asked.get("limit") or most
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= most:
            raise bad("VALUE_TOO_HIGH", f"limit must be between 1 and {most}", "limit")
        question = json.dumps([sql, values, limit])
        seal = hashlib.sha256(question.encode()).hexdigest()[:12]
        start = _start(asked.get("cursor"), seal)
        rows = self.ledger.connection.execute(
            f"{sql} LIMIT ? OFFSET ?", [*values, limit + 1, start]
        ).fetchall()
        if len(rows) <= limit:
            return rows, {}
        token = base64.urlsafe_b64encode(f"{seal}/{start + limit}".encode()).decode()
        return rows[:limit], {"cursor": token}


def count_shape(row: sqlite3.Row) -> Node:
    return {
        "catalog_object_id": row["variation"],
        "catalog_object_type": "ITEM_VARIATION",
        "state": row["state"],
        "location_id": row["location"],
        "quantity": text_of(row["parts"]),
        "calculated_at": _time(row["calculated_at"]),
    }


def change_shape(row: sqlite3.Row, version: str) -> Node:
    """A change as its version shows it."""
    common: Node = {
        "id": change_id(row["number"]),
        "catalog_object_id": row["variation"],
        "catalog_object_type": "ITEM_VARIATION",
        "quantity": text_of(row["parts"]),
        "source": {"product": row["product"], "name": row["product"].title()},
        "occurred_at": _time(row["occurred_at"]),
        "created_at": _time(row["created_at"]),
    }
    if row["reference"]:
        common["reference_id"] = row["reference"]
    if row["type"] == "PHYSICAL_COUNT":
        count = common | {"state": row["to_state"], "location_id": row["location"]}
        return {"type": "PHYSICAL_COUNT", "physical_count": count}
    one = common | {"from_state": row["from_state"], "to_state": row["to_state"]}
    if version >= TWO_PLACES_SINCE:
        one |= {"from_location_id": row["location"], "to_location_id": row["location"]}
    else:
        one["location_id"] = row["location"]
    if row["sale"]:
        one["transaction_id"] = row["sale"]
    if row["refund"]:
        one["refund_id"] = row["refund"]
    if row["to_state"] == "SOLD":
        one["total_price_money"] = {"amount": 100, "currency": "USD"}
    return {"type": "ADJUSTMENT", "adjustment": one}


def variation_shape(row: sqlite3.Row) -> Node:
    return {
        "type": "ITEM_VARIATION",
        "id": row["id"],
        "updated_at": _time(row["updated_at"]),
        "version": 1,
        "is_deleted": False,
        "present_at_all_locations": True,
        "item_variation_data": {
            "item_id": f"I{row['id'][:20]}",
            "name": row["title"],
            "sku": row["sku"],
            "pricing_type": "FIXED_PRICING",
            "price_money": {"amount": row["cents"], "currency": "USD"},
            "track_inventory": True,
            "stockable": True,
        },
    }


def change_id(number: int) -> str:
    """Square's id of a change."""
    return uuid.uuid5(NAMES, f"change/{number}").hex[:24].upper()


def too_old(when: datetime, now: datetime) -> bool:
    """Whether a date is not taken any more: older than 24 hours, or in the future."""
    return not now - timedelta(hours=24) <= when <= now


def _filters(asked: Mapping[str, Any], *, time: str) -> tuple[list[str], list[Any]]:
    where, values = ["1 = 1"], []
    for name, column in (("catalog_object_ids", "variation"), ("location_ids", "location")):
        if wanted := asked.get(name):
            where.append(f"{column} IN ({_marks(wanted)})")
            values += wanted
    for name, beyond in (("updated_after", ">"), ("updated_before", "<")):
        if asked.get(name):
            where.append(f"{time} {beyond} ?")
            values.append(_moment(asked[name], name))
    return where, values


def _moment(text: object, field: str) -> str:
    try:
        moment = parse_time(str(text))
        if moment.tzinfo is None:
            raise ValueError("no offset")  # noqa: TRY301
    except ValueError:
        raise bad("INVALID_TIME", f"{text!r} is no RFC 3339 time", field) from None
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _start(cursor: object, seal: str) -> int:
    if not cursor:
        return 0
    try:
        given, _, start = base64.urlsafe_b64decode(str(cursor)).decode().partition("/")
        if given == seal:
            return int(start)
    except ValueError:
        pass
    raise bad("INVALID_CURSOR", "The cursor is of another question.", "cursor")


def _marks(values: list[Any]) -> str:
    return ", ".join("?" for _ in values)


def _time(text: str) -> str:
    return parse_time(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
