"""One id from an event's reception to the channel's answer, made of what the ledger holds.

| what moved a number | its id |
|---|---|
| an event that a webhook brought | `<system>/<delivery id>` |
| any other event | `<system>/<event id>` |
| a snapshot, or rows of it that were released | `<system>/snapshot-<number>` |
| a changed catalogue | `catalog/<version>` |
| changed rules | `policy/<version>` |
| time alone | `clock/<moment of the computation>` |
"""

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from inventory_pipeline.core.ports import Delivery, Verified
from inventory_pipeline.memory.arrays import numbers
from inventory_pipeline.memory.postgres import Connection

MOST_KEPT = 50_000
LONGEST_DELIVERY = 200
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")

OF_RULES = ("policy/", "catalog/")

# Of `l`, an entry of hub.ledger.
OF_ENTRY = (
    "CASE l.kind WHEN 'event' THEN l.system || '/' || coalesce(l.delivery, l.event_id)"
    " WHEN 'mapping' THEN 'catalog/' || l.mapping_version"
    " WHEN 'policy' THEN coalesce((SELECT 'policy/' || max(v.version) FROM hub.policy_versions v"
    "  WHERE v.ledger_offset = l.ledger_offset), 'policy/at-' || l.ledger_offset)"
    " ELSE l.system || '/snapshot-' || l.snapshot_id END"
)


def delivery_name(verified: Verified, delivery: Delivery) -> str:
    """What its sender calls a delivery; of one without a name, what its body says."""
    named = _UNPRINTABLE.sub("_", verified.delivery_id)[:LONGEST_DELIVERY]
    return named or f"body-{hashlib.sha256(delivery.body).hexdigest()[:16]}"


def of_delivery(system: str, name: str) -> str:
    """The id of what a webhook brings; `name` as `delivery_name` gives it."""
    return f"{system}/{name}"


def of_clock(at: datetime) -> str:
    """The id of a number that time alone moved."""
    return f"clock/{at.astimezone(UTC).isoformat()}"


def of_entries(connection: Connection, after: int, upto: int) -> list[str]:
    """Ids of the entries with after < offset <= upto, each once, in the order of the ledger."""
    rows = connection.execute(
        f"SELECT {OF_ENTRY} FROM hub.ledger l"
        " WHERE l.ledger_offset > %s AND l.ledger_offset <= %s ORDER BY l.ledger_offset",
        (after, upto),
    )
    return list(dict.fromkeys(name for (name,) in rows))


class Known:
    """Ids by offset, the newest remembered: an entry never changes. For all threads of a process
    that work on one hub.
    """

    def __init__(self) -> None:
        self._names: OrderedDict[int, str] = OrderedDict()
        self._lock = threading.Lock()

    def missing(self, offsets: Collection[int]) -> set[int]:
        """Those that are to be asked for."""
        with self._lock:
            return {offset for offset in offsets if offset not in self._names}

    def learn(self, connection: Connection, offsets: Collection[int]) -> None:
        """Asks for all of them in one statement."""
        rows = connection.execute(
            f"SELECT l.ledger_offset, {OF_ENTRY} FROM hub.ledger l"
            " WHERE l.ledger_offset = ANY(%s::bigint[])",
            (numbers(sorted(offsets)),),
        ).fetchall()
        with self._lock:
            self._names.update(rows)
            while len(self._names) > MOST_KEPT:
                self._names.popitem(last=False)

    def names(self, offsets: Collection[int]) -> Mapping[int, str]:
        with self._lock:
            return {offset: self._names[offset] for offset in offsets if offset in self._names}
