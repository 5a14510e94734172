"""What a poll reads again because it looks back a little: recognized before it costs anything."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from inventory_pipeline.core.ports import RawEvent

MOST_REMEMBERED = 100_000


class Repeats:
    """Remembers what this process has stored; the ledger recognizes everything else by its id.

    The same event from the same place with the same content is our own reading again, and no
    duplicate that the system sent.
    """

    def __init__(self) -> None:
        self._stored: OrderedDict[bytes, None] = OrderedDict()

    def new_among(self, system: str, events: Iterable[RawEvent]) -> list[RawEvent]:
        """Those that are not remembered, in their order."""
        return [event for event in events if _key(system, event) not in self._stored]

    def remember(self, system: str, events: Sequence[RawEvent]) -> None:
        """Called once they are committed; the oldest are forgotten first."""
        self._stored.update((_key(system, event), None) for event in events)
        while len(self._stored) > MOST_REMEMBERED:
            self._stored.popitem(last=False)


def _key(system: str, event: RawEvent) -> bytes:
    body = json.dumps(event.body, sort_keys=True, default=str)
    text = f"{system}\x1f{event.source}\x1f{event.position}\x1f{event.text}\x1f{body}"
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
