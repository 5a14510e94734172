"""Events as the lines that Postgres' COPY reads: what costs time is done before the counter's lock.

A column at a time in Arrow, of so few events that what they hold stays in the processor's cache: a
line costs a few microseconds.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from inventory_pipeline.core.ledger import LedgerEvent

NULL = "\\N"
CHUNK_LINES = 1000
_TEXTS = (
    "system", "event_id", "type", "item", "sku", "external_location", "location",
    "external_to_location", "to_location", "reference", "order_id", "line_id", "reservation_id",
    "channel", "disposition", "reason", "source", "position", "raw",
    "delivery",
)  # fmt: skip
_TIMES = ("occurred_at", "received_at", "expires_at", "expected_at")
_GETTERS = {name: attrgetter(name) for name in (*_TEXTS, *_TIMES, "quantity_milli", "content_hash")}
_UTC = pa.timestamp("us", tz="UTC")
_ESCAPES = ((b"\\", "\\", "\\\\"), (b"\t", "\t", "\\t"), (b"\n", "\n", "\\n"), (b"\r", "\r", "\\r"))


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLines:
    """A batch of events, each ready to be sent; columns in which nothing stands are left out.

    `repeats` maps the place of an event whose id came before in this batch to the first one's
    place. `pieces` are Arrow arrays of lines, each of CHUNK_LINES events but the last.
    """

    events: Sequence[LedgerEvent]
    columns: tuple[str, ...]
    pieces: Sequence[Any]
    systems: Sequence[str]
    event_ids: Sequence[str]
    repeats: dict[int, int]

    @classmethod
    def of(cls, events: Sequence[LedgerEvent]) -> "EventLines":
        starts = range(0, len(events), CHUNK_LINES)
        spelled = [_spelled(events[start : start + CHUNK_LINES]) for start in starts]
        filled = tuple(
            name
            for name in _GETTERS
            if any(piece[name].null_count < len(piece[name]) for piece in spelled)
        )
        systems = [event.system for event in events]
        event_ids = [event.event_id for event in events]
        return cls(
            events=events,
            columns=filled,
            pieces=[_lines([piece[name] for name in filled]) for piece in spelled],
            systems=systems,
            event_ids=event_ids,
            repeats=_repeats(systems, event_ids),
        )

    def places_of_systems(self) -> dict[str, Sequence[int]]:
        """Each system with the places of its events."""
        systems = set(self.systems)
        if len(systems) == 1:
            return {self.systems[0]: range(len(self.systems))}
        places: dict[str, list[int]] = {system: [] for system in sorted(systems)}
        for place, system in enumerate(self.systems):
            places[system].append(place)
        return dict(places)

    def numbered(
        self, without: Collection[int], *, after: int, mapping_version: int
    ) -> Iterator[memoryview]:
        """Pieces of COPY text for (ledger_offset, kind, mapping_version, *columns): every event
        but those at the places `without`, with the offsets that follow `after`.
        """
        left_out = sorted(without)
        common = f"\tevent\t{mapping_version}\t"
        start = 0
        for lines in self.pieces:
            end = start + len(lines)
            here = left_out[bisect_left(left_out, start) : bisect_left(left_out, end)]
            kept = _all_but(lines, [place - start for place in here]) if here else lines
            start = end
            offsets = pa.array(range(after + 1, after + 1 + len(kept)), pa.int64())
            after += len(kept)
            if len(kept):
                yield _bytes(
                    pc.binary_join_element_wise(offsets.cast(pa.string()), common, kept, "\n", "")
                )


def _repeats(systems: Sequence[str], event_ids: Sequence[str]) -> dict[int, int]:
    if len(set(event_ids)) == len(event_ids):
        return {}
    first: dict[tuple[str, str], int] = {}
    found = {}
    for place, key in enumerate(zip(systems, event_ids, strict=True)):
        earlier = first.setdefault(key, place)
        if earlier != place:
            found[place] = earlier
    return found


def _spelled(events: Sequence[LedgerEvent]) -> dict[str, Any]:
    """Each column as an array of what COPY's text format writes, null where nothing stands."""
    found = {}
    for name, get in _GETTERS.items():
        cells = list(map(get, events))
        if name in _TIMES:
            found[name] = _times(cells)
        elif name == "content_hash":
            found[name] = pa.array(["\\\\x" + cell.hex() for cell in cells], pa.string())
        elif name == "quantity_milli":
            found[name] = pa.array(cells, pa.int64()).cast(pa.string())
        else:
            found[name] = _escaped(pa.array(cells, pa.string()))
    return found


def _times(cells: Sequence[datetime | None]) -> Any:
    """Often all are the very same moment, and spelling it is what costs."""
    if cells[0] is None and cells.count(None) == len(cells):
        return pa.nulls(len(cells), pa.string())
    same = cells.count(cells[0]) == len(cells)
    moments = pa.array(cells[:1] if same else cells, _UTC).cast(pa.timestamp("us"))
    spelled = pc.binary_join_element_wise(moments.cast(pa.string()), "+00", "")
    return pa.repeat(spelled[0], len(cells)) if same else spelled


def _escaped(texts: Any) -> Any:
    held = texts.buffers()[2]
    if held is None:
        return texts
    together = held.to_pybytes()
    for byte, sign, escape in _ESCAPES:
        if byte in together:
            texts = pc.replace_substring(texts, sign, escape)
    return texts


def _lines(columns: Sequence[Any]) -> Any:
    return pc.binary_join_element_wise(
        *columns, "\t", null_handling="replace", null_replacement=NULL
    )


def _all_but(lines: Any, places: Sequence[int]) -> Any:
    kept = bytearray(b"\x01") * len(lines)
    for place in places:
        kept[place] = 0
    return lines.filter(pa.array(kept, pa.uint8()).cast(pa.bool_()))


def _bytes(texts: Any) -> memoryview:
    """The texts of a new array, one after the other."""
    _, ends, held = texts.buffers()
    return memoryview(held)[: memoryview(ends).cast("i")[len(texts)]]
