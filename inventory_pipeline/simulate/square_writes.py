"""Counts and adjustments that are written to the simulated merchant: all of a request, or none.

The same key with the same content gives the same answer; with other content it is refused. By
default a count that equals the last count is dropped, even if goods were sold since.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from inventory_pipeline.simulate.shop import parse_time, transaction
from inventory_pipeline.simulate.square_api import change_shape, count_shape, too_old
from inventory_pipeline.simulate.square_door import Node, SquareError, bad, body_of
from inventory_pipeline.simulate.square_ledger import IN_STOCK, Change, SquareLedger, parts_of

MAX_CHANGES = 100
MAX_KEY = 128
QUANTITY = re.compile(r"\d{1,20}(\.\d{1,5})?", re.ASCII)
WRITABLE = frozenset({"IN_STOCK", "NONE", "SOLD", "WASTE", "UNLINKED_RETURN"})


class WriteApi:
    def __init__(self, ledger: SquareLedger) -> None:
        self.ledger = ledger

    async def create(self, request: Request) -> Response:
        body = await body_of(request)
        key = body.get("idempotency_key")
        if not isinstance(key, str) or not key:
            raise bad("MISSING_REQUIRED_PARAMETER", "Field must be set", "idempotency_key")
        if len(key) > MAX_KEY:
            detail = f"Field must not be longer than {MAX_KEY}"
            raise bad("VALUE_TOO_LONG", detail, "idempotency_key")
        changes = body.get("changes") or []
        if len(changes) > MAX_CHANGES:
            raise bad("ARRAY_LENGTH_TOO_LONG", f"at most {MAX_CHANGES} changes", "changes")
        content = json.dumps(body, sort_keys=True)
        with transaction(self.ledger.connection):
            row = self.ledger.connection.execute(
                "SELECT * FROM square_keys WHERE key = ?", (key,)
            ).fetchone()
            if row is not None:
                if row["content"] != content:
                    detail = "Different request parameters used for the same idempotency_key."
                    raise bad("IDEMPOTENCY_KEY_REUSED", detail, "idempotency_key")
                return JSONResponse(json.loads(row["answer"]))
            version = request.headers.get("square-version", "")
            answer = self._write(body, changes, version)
            self.ledger.connection.execute(
                "INSERT INTO square_keys VALUES (?, ?, ?)", (key, content, json.dumps(answer))
            )
        return JSONResponse(answer)

    def _write(self, body: Mapping[str, Any], changes: list[Any], version: str) -> Node:
        read = [self._read(place, change) for place, change in enumerate(changes)]
        ignore = body.get("ignore_unchanged_counts")
        if ignore is None or ignore:
            read = [one for one in read if not self._is_unchanged(one)]
        numbers = self.ledger.write(read)
        places = {(one.variation, one.location) for one in read}
        counts = [
            count_shape(row)
            for variation, location in sorted(places)
            for row in self.ledger.connection.execute(
                "SELECT * FROM square_counts WHERE variation = ? AND location = ? ORDER BY state",
                (variation, location),
            ).fetchall()
        ]
        shapes = [change_shape(self.ledger.change(number), version) for number in numbers]
        return {"counts": counts, "changes": shapes}

    def _is_unchanged(self, one: Change) -> bool:
        return (
            one.from_state is None
            and self.ledger.last_count(one.variation, one.location) == one.parts
        )

    def _read(self, place: int, change: Any) -> Change:
        """One change as asked for. Raises SquareError that names its field."""
        kinds = {"PHYSICAL_COUNT": "physical_count", "ADJUSTMENT": "adjustment"}
        kind = kinds.get(str(change.get("type"))) if isinstance(change, dict) else None
        if kind is None:
            raise bad("INVALID_ENUM_VALUE", "not a type of change", f"changes[{place}].type")
        one, at = change.get(kind) or {}, f"changes[{place}].{kind}"
        variation = str(one.get("catalog_object_id") or "")
        location = str(one.get("location_id") or one.get("from_location_id") or "")
        if not self.ledger.exists(variation):
            raise _missing(f"object {variation!r} does not exist", f"{at}.catalog_object_id")
        if location not in self.ledger.locations:
            raise _missing(f"location {location!r} does not exist", f"{at}.location_id")
        states = (
            (one.get("state"),)
            if kind == "physical_count"
            else (one.get("from_state"), one.get("to_state"))
        )
        if not set(states) <= WRITABLE or (kind == "physical_count" and states[0] != IN_STOCK):
            raise bad("INVALID_VALUE", f"states {states} cannot be written", f"{at}.state")
        quantity = one.get("quantity")
        if not isinstance(quantity, str) or not QUANTITY.fullmatch(quantity):
            raise bad("INVALID_VALUE", f"quantity {quantity!r}", f"{at}.quantity")
        return Change(
            variation=variation,
            location=location,
            parts=parts_of(quantity),
            from_state=None if kind == "physical_count" else str(states[0]),
            to_state=str(states[-1]),
            occurred_at=self._date(one.get("occurred_at"), at),
            product="EXTERNAL_API",
            reference=one.get("reference_id"),
        )

    def _date(self, text: Any, at: str) -> Any:
        try:
            when = parse_time(str(text))
            if when.tzinfo is None or too_old(when, self.ledger.clock()):
                raise ValueError("out of range")  # noqa: TRY301
        except ValueError:
            detail = "occurred_at must be within the last 24 hours and not in the future"
            raise bad("INVALID_TIME", detail, f"{at}.occurred_at") from None
        return when


def _missing(detail: str, field: str) -> SquareError:
    return SquareError(404, "INVALID_REQUEST_ERROR", "NOT_FOUND", detail, field)
