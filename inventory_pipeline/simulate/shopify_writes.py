"""The simulated Shopify's inventorySetQuantities: compare-and-swap, keys, all or nothing.

From 2026-04 every quantity must carry changeFromQuantity (null skips the comparison) and the field
must carry @idempotent, whose key is remembered for 24 hours. Setting `available` moves what is on
hand by the same difference; setting `on_hand` moves `available`.
"""

import hashlib
import json
import sqlite3
from datetime import timedelta
from typing import Any
from urllib.parse import urlparse

from graphql import GraphQLError, GraphQLResolveInfo, get_directive_values

from inventory_pipeline.simulate.shop import ShopLedger, to_second, transaction
from inventory_pipeline.simulate.shopify_reads import ITEM, Reads, number_of

KEPT = timedelta(hours=24)
MAX_QUANTITIES = 250
MOST = 1_000_000_000
REASONS = frozenset(
    {
        "correction",
        "cycle_count_available",
        "damaged",
        "movement_canceled",
        "movement_created",
        "movement_received",
        "movement_updated",
        "other",
        "promotion",
        "quality_control",
        "received",
        "reservation_created",
        "reservation_deleted",
        "reservation_updated",
        "restock",
        "safety_stock",
        "shrinkage",
    }
)
TABLE = """
CREATE TABLE IF NOT EXISTS keys (
    key TEXT PRIMARY KEY, asked TEXT NOT NULL, answer TEXT NOT NULL, at TEXT NOT NULL);
"""
Node = dict[str, Any]


class Writes:
    """The mutation root."""

    def __init__(self, shop: ShopLedger, reads: Reads) -> None:
        self.shop = shop
        self.reads = reads
        shop.connection.executescript(TABLE)

    def root(self) -> Node:
        return {"inventorySetQuantities": self.set_quantities}

    def set_quantities(self, info: GraphQLResolveInfo, input: Node) -> Node:  # noqa: A002
        key = _key(info)
        _check_shape(input)
        asked = hashlib.sha256(json.dumps(input, sort_keys=True).encode()).hexdigest()
        with transaction(self.shop.connection):
            kept = self._kept(key)
            if kept is not None:
                if kept["asked"] != asked:
                    return _refused("IDEMPOTENCY_KEY_PARAMETER_MISMATCH", None, "Key used before.")
                return self._shaped(json.loads(kept["answer"]))
            answer = self._apply(input, key)
            self.shop.connection.execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?)",
                (key, asked, json.dumps(answer), self.shop.now()),
            )
        return self._shaped(answer)

    def _kept(self, key: str) -> sqlite3.Row | None:
        oldest = (self.shop.clock() - KEPT).isoformat(timespec="microseconds")
        self.shop.connection.execute("DELETE FROM keys WHERE at < ?", (oldest,))
        return self.shop.connection.execute("SELECT * FROM keys WHERE key = ?", (key,)).fetchone()  # type: ignore[no-any-return]

    def _apply(self, wanted: Node, key: str) -> Node:
        errors = _errors_of_input(wanted) or self._errors_of_quantities(wanted)
        if errors:
            return {"group": None, "errors": errors}
        changes = []
        for one in wanted["quantities"]:
            item_id = number_of(one["inventoryItemId"], ITEM)
            assert item_id is not None
            row = self.shop.level(item_id, one["locationId"])
            delta = one["quantity"] - _value(row, wanted["name"])
            self.shop.set_available(
                item_id, one["locationId"], row["available"] + delta, source="api", key=key
            )
            if delta:
                changes.append([item_id, one["locationId"], delta, row["available"] + delta])
        # An adjustment that moves nothing gives neither a group nor an error.
        if not changes:
            return {"group": None, "errors": []}
        group = {
            "key": key,
            "at": to_second(self.shop.now()),
            "reason": wanted["reason"],
            "uri": wanted.get("referenceDocumentUri"),
            "changes": changes,
        }
        return {"group": group, "errors": []}

    def _errors_of_quantities(self, wanted: Node) -> list[Node]:
        errors = []
        for index, one in enumerate(wanted["quantities"]):
            found = self._error_of(one, wanted["name"])
            if found is not None:
                code, field, message = found
                errors.append(_error(code, ["input", "quantities", str(index), field], message))
        return errors

    def _error_of(self, one: Node, name: str) -> tuple[str, str, str] | None:
        """(code, field, message) of what is wrong with one quantity, or None."""
        item_id = number_of(one["inventoryItemId"], ITEM)
        if item_id is None or self.shop.item(item_id) is None:
            return "INVALID_INVENTORY_ITEM", "inventoryItemId", "The item could not be found."
        if one["locationId"] not in self.shop.locations:
            return "INVALID_LOCATION", "locationId", "The location could not be found."
        if abs(one["quantity"]) > MOST:
            bound = "HIGH" if one["quantity"] > 0 else "LOW"
            message = f"The quantity is too {bound.lower()}."
            return f"INVALID_QUANTITY_TOO_{bound}", "quantity", message
        if name == "on_hand" and one["quantity"] < 0:
            return "INVALID_QUANTITY_NEGATIVE", "quantity", "On hand can't be negative."
        compared = one["changeFromQuantity"]
        if compared is not None:
            stands = _value(self.shop.level(item_id, one["locationId"]), name)
            if compared != stands:
                message = "The changeFromQuantity value does not match the persisted quantity."
                return "CHANGE_FROM_QUANTITY_STALE", "changeFromQuantity", message
        return None

    def _shaped(self, answer: Node) -> Node:
        """A kept answer as the payload."""
        group = answer["group"]
        return {
            "inventoryAdjustmentGroup": self._group(group) if group is not None else None,
            "userErrors": answer["errors"],
        }

    def _group(self, group: Node) -> Node:
        number = int(hashlib.sha256(group["key"].encode()).hexdigest()[:12], 16)
        changes = [
            {
                "name": "available",
                "delta": delta,
                "quantityAfterChange": after,
                "item": lambda _info, item_id=item_id: self.reads.item(self.shop.item(item_id)),
                "location": lambda _info, location=location: self.reads.location(location),
            }
            for item_id, location, delta, after in group["changes"]
        ]
        return {
            "id": f"gid://shopify/InventoryAdjustmentGroup/{number}",
            "createdAt": group["at"],
            "reason": group["reason"],
            "referenceDocumentUri": group["uri"],
            "changes": lambda _info, **_asked: changes,
        }


def _key(info: GraphQLResolveInfo) -> str:
    directive = info.schema.get_directive("idempotent")
    assert directive is not None
    values = get_directive_values(directive, info.field_nodes[0], info.variable_values)
    if not values or not values["key"]:
        message = "The @idempotent directive is required for this mutation but was not provided."
        raise GraphQLError(message, extensions={"code": "BAD_REQUEST"})
    return str(values["key"])


def _check_shape(wanted: Node) -> None:
    if len(wanted["quantities"]) > MAX_QUANTITIES:
        message = (
            f"The input array size of {len(wanted['quantities'])} is greater than the maximum "
            f"allowed of {MAX_QUANTITIES}."
        )
        raise GraphQLError(message, extensions={"code": "MAX_INPUT_SIZE_EXCEEDED"})
    if any("changeFromQuantity" not in one for one in wanted["quantities"]):
        message = (
            "InventoryQuantityInput must include the following argument: changeFromQuantity. "
            "Pass null to skip the comparison."
        )
        raise GraphQLError(message, extensions={"code": "INVALID_FIELD_ARGUMENTS"})


def _errors_of_input(wanted: Node) -> list[Node]:
    errors = []
    if wanted["name"] not in {"available", "on_hand"}:
        message = "The quantity name must be either 'available' or 'on_hand'."
        errors.append(_error("INVALID_NAME", ["input", "name"], message))
    if wanted["reason"] not in REASONS:
        errors.append(_error("INVALID_REASON", ["input", "reason"], "The reason is not valid."))
    uri = wanted.get("referenceDocumentUri")
    if uri is not None and not urlparse(uri).scheme:
        message = "The reference document URI is not valid."
        errors.append(
            _error("INVALID_REFERENCE_DOCUMENT", ["input", "referenceDocumentUri"], message)
        )
    pairs = [(one["inventoryItemId"], one["locationId"]) for one in wanted["quantities"]]
    if len(set(pairs)) < len(pairs):
        message = "The combination of inventoryItemId and locationId must be unique."
        code = "NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR"
        errors.append(_error(code, ["input", "quantities"], message))
    return errors


def _value(row: Any, name: str) -> int:
    return int(row["available"] + (row["committed"] if name == "on_hand" else 0))


def _error(code: str, field: list[str] | None, message: str) -> Node:
    return {"code": code, "field": field, "message": message}


def _refused(code: str, field: list[str] | None, message: str) -> Node:
    return {"inventoryAdjustmentGroup": None, "userErrors": [_error(code, field, message)]}
