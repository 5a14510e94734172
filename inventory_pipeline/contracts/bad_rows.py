"""Rows of a snapshot on their way to quarantine, with what a person needs to put them right."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from inventory_pipeline.contracts.cells import REASONS, Ints
from inventory_pipeline.contracts.values import clean, printable
from inventory_pipeline.core.ledger import BadRow
from inventory_pipeline.core.ports import RawSnapshot
from inventory_pipeline.core.vocabulary import Reason, State

FIRST_ROW = 2  # the header is line 1
_STATES = tuple(state.value for state in State)


def bad_rows(raw: RawSnapshot, system: str, rows: Ints, reasons: Ints) -> Iterator[BadRow]:
    """The rows that have a reason against them, as they stood in the file."""
    places = np.flatnonzero(reasons)
    frame = raw.frame.iloc[rows[places]].astype(object)
    frame = frame.where(frame.notna(), None)
    names = [str(name) for name in frame.columns]
    for place, cells in zip(places, frame.itertuples(index=False, name=None), strict=True):
        row = int(rows[place])
        reason = REASONS[reasons[place]]
        assert reason is not None
        row_as_read = dict(zip(names, cells, strict=True))
        yield BadRow(
            system=system,
            kind="snapshot_row",
            source=raw.source,
            position=str(row + FIRST_ROW),
            reason=reason,
            message=_why(reason, row_as_read),
            raw=printable(row_as_read),
        )


def _why(reason: Reason, raw: dict[str, Any]) -> str:
    """What a person needs to put the row right."""
    item, location = raw.get("item"), raw.get("location")
    match reason:
        case Reason.MISSING_KEY:
            said = "as_of, location and item are needed"
        case Reason.BAD_TIME:
            said = f"as_of {raw.get('as_of')!r} is no time with an offset"
        case Reason.UNKNOWN_LOCATION:
            said = f"location {location!r} is not mapped in hub.yaml"
        case Reason.UNKNOWN_ITEM:
            said = f"item {item!r} is not mapped in catalog/identifiers.csv"
        case Reason.BUNDLE_HAS_NO_STOCK:
            said = f"item {item!r} is a bundle: send its components instead"
        case Reason.BAD_NUMBER:
            said = f"one of these is no usable number: {_numbers(raw)}"
        case Reason.FRACTION_OF_INDIVISIBLE:
            said = f"item {item!r} is not divisible so far: {_numbers(raw)}"
        case Reason.NEGATIVE_QUANTITY:
            said = f"only on_hand may be below 0: {_numbers(raw)}"
        case _:
            raise KeyError(reason)
    return clean(said)


def _numbers(raw: dict[str, Any]) -> str:
    return ", ".join(f"{name} {raw[name]!r}" for name in _STATES if raw.get(name) is not None)
