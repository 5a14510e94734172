"""Writes quantities as hub.yaml writes the call."""

from collections.abc import Sequence
from typing import Any

from inventory_pipeline.connectors.http import Kind, Purpose, Trouble, as_error, understood
from inventory_pipeline.connectors.rest_client import Client, Paths, Stale, filled
from inventory_pipeline.connectors.rest_policy import WriteCall
from inventory_pipeline.core.errors import (
    ChannelError,
    ChannelRefused,
    OutcomeUnknown,
    StaleCompare,
)
from inventory_pipeline.core.ports import LevelWrite, WriteOutcome
from inventory_pipeline.core.quantities import MILLI

WRITE = "write"
TWICE = object()  # instead of an id
Outcomes = dict[int, ChannelError | None]


class Writer:
    """The write call of one system."""

    def __init__(
        self, client: Client, paths: Paths, policy: WriteCall, *, system: str, decimals: int
    ) -> None:
        self._client = client
        self._paths = paths
        self._policy = policy
        self._system = system
        self._decimals = decimals

    def write(self, writes: Sequence[LevelWrite], key: str) -> list[WriteOutcome]:
        """One request for all; where the system refuses it, each by itself."""
        ids = self._ids([write.listing.external_id for write in writes])
        errors: Outcomes = {}
        values: dict[int, dict[str, Any]] = {}
        for number, write in enumerate(writes):
            item = write.listing.external_id
            if write.quantity_milli % 10 ** (3 - self._decimals):
                errors[number] = self._refused(f"it counts {self._decimals} decimals", item)
            elif ids is not None and item not in ids:
                errors[number] = self._refused("the system has no such item", item)
            elif ids is not None and ids[item] is TWICE:
                errors[number] = self._refused("several things there have this name", item)
            else:
                values[number] = self._values(write, key, ids)
        errors.update(self._sent(values, writes, key))
        return [WriteOutcome(write=w, error=errors[number]) for number, w in enumerate(writes)]

    def _values(self, write: LevelWrite, key: str, ids: dict[str, Any] | None) -> dict[str, Any]:
        known = {
            "item": write.listing.external_id,
            "location": write.listing.bucket_external,
            "quantity": self._number(write.quantity_milli),
            "compare": None if write.compare_milli is None else self._number(write.compare_milli),
            "key": key,
        }
        return known | ({"id": ids[write.listing.external_id]} if ids is not None else {})

    def _number(self, milli: int) -> int | str:
        whole, rest = divmod(milli, MILLI)
        return whole if not rest else f"{milli / MILLI:.3f}".rstrip("0")

    def _sent(
        self, values: dict[int, dict[str, Any]], writes: Sequence[LevelWrite], key: str
    ) -> Outcomes:
        if not values:
            return {}
        each = self._policy.each
        first = next(iter(values.values()))
        known = first if each is None else {"key": key, "writes": [
            filled(each, one) for one in values.values()
        ]}  # fmt: skip
        try:
            body = self._client.call(self._policy.call, known, writes=True).body
        except Trouble as trouble:
            if trouble.kind is Kind.REFUSED and len(values) > 1:
                # It took nothing of it: one bad item must not stop the others.
                return self._alone(values, writes, key)
            error = self._error(trouble)
            if trouble.kind is Kind.REFUSED:
                return dict.fromkeys(values, error)
            raise error from trouble
        if self._policy.applied and not self._paths.all(self._policy.applied, body):
            raise OutcomeUnknown(
                f"the answer has nothing at {self._policy.applied}: {str(body)[:200]}",
                system=self._system, call=WRITE,
                hint="the quantity is read before anything is written again; `errors` in hub.yaml "
                "can say what such an answer means.",
            )  # fmt: skip
        return dict.fromkeys(values) | self._failed(body, values)

    def _alone(
        self, values: dict[int, dict[str, Any]], writes: Sequence[LevelWrite], key: str
    ) -> Outcomes:
        found: Outcomes = {}
        for number, one in values.items():
            try:
                found |= self._sent({number: one}, writes, key)
            except ChannelError as error:
                found[number] = error
        return found

    def _failed(self, body: Any, values: dict[int, dict[str, Any]]) -> Outcomes:
        policy = self._policy.failed
        if policy is None:
            return {}
        with understood(Purpose.WRITE, system=self._system, call=WRITE):
            said = {
                str(row.one(policy.item)): str(row.one(policy.message) or "it failed")
                for row in self._paths.rows(policy.items, body)
            }
        return {
            number: self._refused(said[name], one["item"])
            for number, one in values.items()
            for name in {str(one["item"]), str(one.get("id", ""))}
            if name in said
        }

    def _ids(self, items: Sequence[str]) -> dict[str, Any] | None:
        policy = self._policy.resolve
        if policy is None:
            return None
        try:
            body = self._client.call(policy.call, {"items": list(items)}).body
            self._paths.entries(policy.items[0], body)
        except Trouble as trouble:
            raise as_error(trouble, Purpose.LEVELS, system=self._system, call=WRITE) from trouble
        with understood(Purpose.LEVELS, system=self._system, call=WRITE):
            found: dict[str, Any] = {}
            for row in self._paths.rows(policy.items, body):
                item, number = str(row.one(policy.item)), row.one(policy.id)
                found[item] = TWICE if found.get(item, number) != number else number
            return found

    def _error(self, trouble: Trouble) -> ChannelError:
        if isinstance(trouble, Stale):
            return StaleCompare(
                trouble.message, system=self._system, call=WRITE,
                hint="it is read, and the quantity is computed again.",
            )  # fmt: skip
        error = as_error(trouble, Purpose.WRITE, system=self._system, call=WRITE)
        assert isinstance(error, ChannelError)
        return error

    def _refused(self, message: str, item: str) -> ChannelRefused:
        return ChannelRefused(
            message, system=self._system, call=WRITE, item=item,
            hint="correct catalog/identifiers.csv, or the item there.",
        )  # fmt: skip
