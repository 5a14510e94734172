"""inventorySetQuantities: one batch is set whole or not at all, and each line of it learns why.

The shop writes nothing where it reports any error, so lines without an error of their own were not
applied either: they are busy, and go with the next batch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from inventory_pipeline.connectors import shopify_documents as documents
from inventory_pipeline.connectors.http import Purpose, understood
from inventory_pipeline.connectors.shopify_graphql import Graphql
from inventory_pipeline.connectors.shopify_index import ItemIndex
from inventory_pipeline.connectors.shopify_orders import gid
from inventory_pipeline.core.errors import (
    ChannelBusy,
    ChannelError,
    ChannelRefused,
    OutcomeUnknown,
    StaleCompare,
)
from inventory_pipeline.core.ports import LevelWrite, WriteOutcome
from inventory_pipeline.core.quantities import MILLI

CALL = "inventorySetQuantities"
MAX_BATCH = 250
STALE = frozenset({"CHANGE_FROM_QUANTITY_STALE", "COMPARE_QUANTITY_STALE"})
# The request before this one, with the same key, is still at work: what it will do is not known
# yet.
AT_WORK = "IDEMPOTENCY_CONCURRENT_REQUEST"
AGAIN = frozenset(
    {"IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED", "SERVICE_UNAVAILABLE", "ADJUST_QUANTITIES_FAILED"}
)
NEXT_STEPS = {
    "INVALID_INVENTORY_ITEM": "the shop has no such item: correct catalog/identifiers.csv.",
    "INVALID_LOCATION": "the shop has no such location: correct `external` of the bucket.",
    "NON_MUTABLE_INVENTORY_ITEM": "a bundle's parent has no quantity of its own there: leave it "
    "out of catalog/identifiers.csv for this system.",
    "NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR": "two listings mean one item at one location: "
    "remove one of them from catalog/identifiers.csv.",
}


class LevelWriter:
    def __init__(self, graphql: Graphql, index: ItemIndex, *, system: str) -> None:
        self._graphql = graphql
        self._index = index
        self._system = system

    def write(self, writes: Sequence[LevelWrite], *, key: str) -> list[WriteOutcome]:
        """One outcome for each write. Raises ChannelError where nothing is known of single
        lines.
        """
        if len(writes) > MAX_BATCH:
            raise ChannelRefused(
                f"{len(writes)} quantities in one batch, {MAX_BATCH} are allowed",
                system=self._system,
                call=CALL,
            )
        items = self._index.items_of({write.listing.external_id for write in writes})
        impossible = [self._impossible(write, items) for write in writes]
        sent = [w for w, error in zip(writes, impossible, strict=True) if error is None]
        answers = iter(self._send(sent, items, key) if sent else [])
        return [
            WriteOutcome(write=write, error=next(answers) if error is None else error)
            for write, error in zip(writes, impossible, strict=True)
        ]

    def _impossible(self, write: LevelWrite, items: Mapping[str, str]) -> ChannelRefused | None:
        """Why a line cannot even be sent."""
        if write.listing.external_id not in items:
            why, hint = "the shop has no such item", NEXT_STEPS["INVALID_INVENTORY_ITEM"]
        elif not write.listing.bucket_external:
            why = f"bucket {write.listing.bucket} names no location"
            hint = 'set the bucket\'s `external` in hub.yaml, like "gid://shopify/Location/1".'
        elif write.quantity_milli % MILLI or (write.compare_milli or 0) % MILLI:
            why = "the shop counts whole units only"
            hint = "set the channel's `decimals` in hub.yaml to 0."
        else:
            return None
        return ChannelRefused(why, system=self._system, call=CALL, item=_named(write), hint=hint)

    def _send(
        self, writes: Sequence[LevelWrite], items: Mapping[str, str], key: str
    ) -> list[ChannelError | None]:
        quantities = [
            {
                "inventoryItemId": items[write.listing.external_id],
                "locationId": gid("Location", write.listing.bucket_external),
                "quantity": write.quantity_milli // MILLI,
                # It has to be there: null says that nothing is compared.
                "changeFromQuantity": None
                if write.compare_milli is None
                else write.compare_milli // MILLI,
            }
            for write in writes
        ]
        variables = {
            "input": {"name": "available", "reason": "correction", "quantities": quantities},
            "key": key,
        }
        data = self._graphql.run(
            documents.SET_QUANTITIES, variables, call=CALL, purpose=Purpose.WRITE
        )
        answer = data.get("inventorySetQuantities")
        if not isinstance(answer, dict):
            raise OutcomeUnknown("the answer says nothing", system=self._system, call=CALL)
        errors = answer.get("userErrors") or []
        if not errors:
            return [None] * len(writes)
        with understood(Purpose.WRITE, system=self._system, call=CALL):
            return self._sorted_out(errors, writes)

    def _sorted_out(
        self, errors: Sequence[dict[str, Any]], writes: Sequence[LevelWrite]
    ) -> list[ChannelError | None]:
        """One error for each line: its own, else that of the whole call, else busy because of
        another line.
        """
        own: dict[int, ChannelError] = {}
        for error in errors:
            line = _line_of(error, len(writes))
            if line is None:
                return [self._classified(error, _named(write)) for write in writes]
            own.setdefault(line, self._classified(error, _named(writes[line])))
        return [own.get(line) or self._not_applied(write) for line, write in enumerate(writes)]

    def _classified(self, error: Mapping[str, Any], item: str) -> ChannelError:
        code = str(error.get("code") or "")
        said = f"{code or 'refused'}: {error.get('message', '')}"
        if code in STALE:
            return StaleCompare(
                said, system=self._system, call=CALL, item=item,
                hint="it sold or was changed there meanwhile: read, compute again, new key.",
            )  # fmt: skip
        if code == AT_WORK:
            return OutcomeUnknown(
                said, system=self._system, call=CALL, item=item,
                hint="an earlier request with this key is at work: read before writing again.",
            )  # fmt: skip
        if code in AGAIN:
            return ChannelBusy(said, system=self._system, call=CALL, retry_after_s=1.0)
        hint = NEXT_STEPS.get(code, "it will not be accepted as sent: a person must look.")
        return ChannelRefused(said, system=self._system, call=CALL, item=item, hint=hint)

    def _not_applied(self, write: LevelWrite) -> ChannelBusy:
        return ChannelBusy(
            f"[{_named(write)}] not applied, because another quantity of its batch was refused",
            system=self._system,
            call=CALL,
            retry_after_s=0.0,
            hint="nothing was changed; it goes with the next batch.",
        )


def _line_of(error: Mapping[str, Any], count: int) -> int | None:
    """The place in the batch that `field` names, like ["input", "quantities", "3",
    "changeFromQuantity"].
    """
    field = error.get("field") or []
    for name in field:
        if str(name).isdigit() and int(name) < count:
            return int(name)
    return None


def _named(write: LevelWrite) -> str:
    return f"{write.listing.bucket}/{write.listing.external_id}"
