"""Rows of snapshots that are kept in quarantine: looked at again with the mapping of today."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from inventory_pipeline.config.policy import Hub
from inventory_pipeline.contracts.mapping import mapping_of
from inventory_pipeline.contracts.values import parse_time
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.ledger import CheckedSnapshot
from inventory_pipeline.core.ports import RawSnapshot
from inventory_pipeline.core.vocabulary import State
from inventory_pipeline.memory.quarantine import Quarantined

STATES = tuple(state.value for state in State)
KEYS = ("as_of", "location", "item")
Row = dict[str, Any]  # of CheckedSnapshot.rows
Key = tuple[str | None, str | None]  # external location, external item: one row of a snapshot
Cell = tuple[str, str]  # our sku, our location
FIRST_ROW = 2  # the header is line 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Recheck:
    """What a kept row is now. `row` is None where its location is not known; `problem` is "" where
    it is good.
    """

    key: Key
    row: Row | None
    problem: str

    @property
    def cell(self) -> Cell | None:
        """Our sku and location, where both are known."""
        if self.row is None or self.row["sku"] is None:
            return None
        return self.row["sku"], self.row["location"]


class LandingGone(HubError):
    """A landed snapshot's file is not where the register says."""


def landed_file(state: Path, path: str, *, system: str, source: str) -> Path:
    """The file of a landed snapshot. Raises LandingGone."""
    found = state / path
    if not found.exists():
        raise LandingGone(
            f"{system}: the landed snapshot {source} is gone: there is no {found}",
            hint="restore landing/ of the state folder from its backup; what is new to the hub "
            "stays as it is until then.",
        )
    return found


def cells_of(kept: Quarantined) -> dict[str, Any]:
    """The row as it stood in its file, column → text; empty if it was not kept as a row."""
    try:
        found = json.loads(kept.raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def key_of(kept: Quarantined) -> Key:
    """The row's own location and item, as its system calls them."""
    cells = cells_of(kept)
    return cells.get("location"), cells.get("item")


def as_of(kept: Quarantined) -> datetime | None:
    """The moment that the row speaks of; None where it cannot be read."""
    try:
        return parse_time(cells_of(kept).get("as_of"))
    except ValueError:
        return None


def belonging_to(kept: Iterable[Quarantined], moment: datetime) -> list[Quarantined]:
    """Those rows of a file that belong to its snapshot of this moment; without a readable time to
    each of them.
    """
    return [row for row in kept if not row.accepted_once and as_of(row) in (moment, None)]


def cell_of(hub: Hub, kept: Quarantined) -> Cell | None:
    """Our sku and location as the row's own identifiers are mapped today; None where they are
    not.
    """
    mapping = mapping_of(hub, kept.system)
    location, item = key_of(kept)
    target = mapping.item(item) if item else None
    place = mapping.location(location) if location else None
    return None if target is None or target.bundle or place is None else (target.sku, place)


def recheck(hub: Hub, kept: Sequence[Quarantined]) -> list[Recheck]:
    """Checks rows of one file and moment by the same contract that found them bad; one result for
    each, in their order.
    """
    if not kept:
        return []
    checked = _check(hub, kept)
    if len(kept) > 1 and (
        len({key_of(row) for row in kept}) < len(kept) or not isinstance(checked, CheckedSnapshot)
    ):
        # They do not make one snapshot: each for itself.
        return [found for row in kept for found in recheck(hub, [row])]
    if not isinstance(checked, CheckedSnapshot):
        return [Recheck(key=key_of(kept[0]), row=None, problem=checked)]
    rows = {(row["external_location"], row["item"]): row for row in checked.rows.to_pylist()}
    bad = {int(one.position) - FIRST_ROW: one for one in checked.bad}
    return [
        Recheck(
            key=key_of(row),
            row=rows.get(key_of(row)),
            problem=f"{bad[place].reason}: {bad[place].message}" if place in bad else "",
        )
        for place, row in enumerate(kept)
    ]


def _check(hub: Hub, kept: Sequence[Quarantined]) -> CheckedSnapshot | str:
    """The rows as a snapshot of their own, or why they are none."""
    import pandas as pd

    from inventory_pipeline.contracts.snapshots import check_rows

    cells = [cells_of(row) for row in kept]
    columns = [*KEYS, *(state for state in STATES if any(state in one for one in cells))]
    values = [[one.get(column) for column in columns] for one in cells]
    frame = pd.DataFrame(values, columns=columns, dtype="str")
    found = check_rows(hub, kept[0].system, RawSnapshot(source="", key="", frame=frame))
    if len(found) > 1:
        return "they speak of different moments"
    return found[0] if isinstance(found[0], CheckedSnapshot) else found[0].message


def hold(rows: Iterable[tuple[Row, bool]]) -> list[Row]:
    """The rows (each with whether it is bad) with `held` set for every row of a cell with a bad
    one: that (sku, location) stays as it was (SEMANTICS §1).
    """
    pairs = list(rows)
    bad = {(row["sku"], row["location"]) for row, wrong in pairs if wrong and row["sku"]}
    return [{**row, "held": wrong or (row["sku"], row["location"]) in bad} for row, wrong in pairs]
