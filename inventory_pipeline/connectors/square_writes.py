"""Setting quantities as physical counts: one batch is taken whole or not at all.

A count is dated: Square orders counts and sales by time, so a count that arrives late does not undo
a newer one. The same key goes with the same content always, the date included.
"""

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from inventory_pipeline.connectors.http import Kind, Purpose, Trouble, as_error, understood
from inventory_pipeline.connectors.square_api import Refusal, SquareApi
from inventory_pipeline.connectors.square_catalog import Catalog
from inventory_pipeline.connectors.square_changes import IN_STOCK, OWN_REFERENCE
from inventory_pipeline.connectors.square_counts import text_of
from inventory_pipeline.core.errors import (
    ChannelBusy,
    ChannelError,
    ChannelRefused,
    OutcomeUnknown,
)
from inventory_pipeline.core.ports import LevelWrite, WriteOutcome
from inventory_pipeline.core.quantities import parse_decimal, to_milli

PATH = "/v2/inventory/changes/batch-create"
CALL = "batch-create changes"
MAX_BATCH = 100
MAX_KEY = 128
REMEMBERED = 1_000
PLACE = re.compile(r"changes\[(\d+)\]")
Target = tuple[str, str]  # variation id, location id


class CountWriter:
    """Writes counts in the state IN_STOCK. `decimals`: how many the merchant's units have."""

    def __init__(self, api: SquareApi, catalog: Catalog, *, decimals: int) -> None:
        self._api = api
        self._catalog = catalog
        self._decimals = decimals
        self._lock = threading.Lock()
        self._dates: OrderedDict[str, str] = OrderedDict()

    def write(self, writes: Sequence[LevelWrite], *, key: str) -> list[WriteOutcome]:
        """One outcome for each write. Raises ChannelError where nothing is known of single
        writes.
        """
        if len(writes) > MAX_BATCH:
            raise self._refused(f"{len(writes)} quantities in one batch, {MAX_BATCH} are allowed")
        ids = self._catalog.ids_of({w.listing.external_id for w in writes}, Purpose.LEVELS)
        errors: dict[int, ChannelError | None] = {}
        sendable: list[tuple[int, Target]] = []
        taken: set[Target] = set()
        for place, write in enumerate(writes):
            target = (ids.get(write.listing.external_id, ""), write.listing.bucket_external)
            problem = self._impossible(write, target, twice=target in taken)
            if problem is not None:
                errors[place] = problem
            else:
                taken.add(target)
                sendable.append((place, target))
        if sendable:
            errors |= self._send(writes, sendable, key)
        return [WriteOutcome(write=w, error=errors[place]) for place, w in enumerate(writes)]

    def _send(
        self, writes: Sequence[LevelWrite], batch: Sequence[tuple[int, Target]], key: str
    ) -> dict[int, ChannelError | None]:
        """Sends a batch; one that is refused for a reason that names no item goes in halves."""
        body = self._body(writes, batch, key)
        try:
            answer = self._api.call("POST", PATH, again=False, json=body)
        except Refusal as refusal:
            if refusal.kind is not Kind.REFUSED or refusal.status in {401, 403}:
                raise self._error(refusal) from refusal
            if "IDEMPOTENCY_KEY_REUSED" in refusal.codes:
                raise self._reused(refusal) from refusal
            return self._sorted_out(writes, batch, key, refusal)
        except Trouble as trouble:
            raise self._error(trouble) from trouble
        with understood(Purpose.WRITE, system=self._api.system, call=CALL):
            shown = {
                (str(one["catalog_object_id"]), str(one["location_id"])): one["quantity"]
                for one in answer.get("counts") or []
                if one.get("state") == IN_STOCK
            }
        return {place: self._judged(writes[place], shown.get(target)) for place, target in batch}

    def _sorted_out(
        self,
        writes: Sequence[LevelWrite],
        batch: Sequence[tuple[int, Target]],
        key: str,
        refusal: Refusal,
    ) -> dict[int, ChannelError | None]:
        """Nothing of the batch was applied: those that are named are refused, the rest goes again.

        Where none is named the halves are sent alone, each with a key of its own.
        """
        named = _named(refusal, len(batch))
        if len(batch) == 1:
            return {batch[0][0]: self._refusal_of(writes[batch[0][0]], refusal)}
        if not named:
            middle = len(batch) // 2
            halves: dict[int, ChannelError | None] = {}
            for name, half in (("a", batch[:middle]), ("b", batch[middle:])):
                try:
                    halves |= self._send(writes, half, f"{key}{name}")
                except ChannelError as error:
                    halves |= {place: error for place, _ in half}
            return halves
        return {
            place: self._refusal_of(writes[place], refusal)
            if number in named
            else self._not_applied(writes[place])
            for number, (place, _) in enumerate(batch)
        }

    def _body(
        self, writes: Sequence[LevelWrite], batch: Sequence[tuple[int, Target]], key: str
    ) -> dict[str, Any]:
        name = _key(key)
        date = self._date_of(name)
        return {
            "idempotency_key": name,
            # By default a count that equals the last count is dropped, even after sales since.
            "ignore_unchanged_counts": False,
            "changes": [
                {
                    "type": "PHYSICAL_COUNT",
                    "physical_count": {
                        "catalog_object_id": variation,
                        "location_id": location,
                        "state": IN_STOCK,
                        "quantity": text_of(writes[place].quantity_milli),
                        "occurred_at": date,
                        "reference_id": f"{OWN_REFERENCE}{name}",
                    },
                }
                for place, (variation, location) in batch
            ],
        }

    def _date_of(self, name: str) -> str:
        """The date that goes with a key: the first one, for a repetition must be equal."""
        with self._lock:
            if name not in self._dates:
                now = self._api.now().astimezone(UTC)
                date = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
                self._dates[name] = date
                if len(self._dates) > REMEMBERED:
                    self._dates.popitem(last=False)
            return self._dates[name]

    def _impossible(
        self, write: LevelWrite, target: Target, *, twice: bool
    ) -> ChannelRefused | None:
        """Why a quantity cannot even be sent."""
        item = write.listing.external_id
        if not target[0]:
            return self._refused(
                "Square's catalogue has no such sku", item, "correct catalog/identifiers.csv."
            )
        if not target[1]:
            return self._refused(
                f"bucket {write.listing.bucket} names no location", item,
                "set the bucket's `external` in hub.yaml to Square's location id.",
            )  # fmt: skip
        if twice:
            return self._refused(
                "two listings mean one variation", item,
                "remove one from catalog/identifiers.csv.",
            )  # fmt: skip
        if write.quantity_milli < 0 or write.quantity_milli % 10 ** (3 - self._decimals):
            return self._refused(
                f"it counts from 0 with {self._decimals} decimals", item,
                "set the channel's `decimals` in hub.yaml, or `decimals` of the system.",
            )  # fmt: skip
        return None

    def _judged(self, write: LevelWrite, shown: Any) -> ChannelError | None:
        item = write.listing.external_id
        if shown is None:
            return self._unknown("the answer does not mention it", item)
        try:
            milli = to_milli(parse_decimal(shown))
        except ValueError:
            milli = None
        if milli != write.quantity_milli:
            # A sale of the same moment is counted on top: what it is now has to be read.
            return self._unknown(f"it shows {shown!r} right after the write", item)
        return None

    def _refusal_of(self, write: LevelWrite, refusal: Refusal) -> ChannelRefused:
        hint = refusal.hint
        if "NOT_FOUND" in refusal.codes or not hint:
            hint = "correct catalog/identifiers.csv and `external` of the bucket."
        return self._refused(refusal.message, write.listing.external_id, hint)

    def _not_applied(self, write: LevelWrite) -> ChannelBusy:
        return ChannelBusy(
            f"[{write.listing.external_id}] not applied, because another quantity of its batch was "
            "refused",
            system=self._api.system,
            call=CALL,
            retry_after_s=0.0,
            hint="nothing was changed; it goes with the next batch.",
        )

    def _reused(self, refusal: Refusal) -> OutcomeUnknown:
        return self._unknown(
            f"an earlier request had this key and other content ({refusal.message})", ""
        )

    def _error(self, trouble: Trouble) -> Exception:
        return as_error(trouble, Purpose.WRITE, system=self._api.system, call=CALL)

    def _refused(self, message: str, item: str = "", hint: str = "") -> ChannelRefused:
        return ChannelRefused(message, system=self._api.system, call=CALL, item=item, hint=hint)

    def _unknown(self, message: str, item: str) -> OutcomeUnknown:
        return OutcomeUnknown(
            message, system=self._api.system, call=CALL, item=item,
            hint="it is read before anything is written again.",
        )  # fmt: skip


def _key(key: str) -> str:
    return key if len(key) <= MAX_KEY else hashlib.sha256(key.encode()).hexdigest()


def _named(refusal: Refusal, count: int) -> set[int]:
    """Places in the batch that the errors name, like changes[3].physical_count.quantity."""
    found = (PLACE.search(one.field) for one in refusal.complaints)
    places = {int(match[1]) for match in found if match is not None}
    return {place for place in places if place < count}
