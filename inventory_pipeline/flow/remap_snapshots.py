"""Landed snapshots under a changed catalogue: a new file stands beside the landed one.

Each is made from the snapshot as it landed and from the rows that were released since, so that it
is what would have landed with this catalogue; a catalogue that is changed back gives the same rows.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from inventory_pipeline.config.policy import Hub
from inventory_pipeline.contracts import mapping as contracts
from inventory_pipeline.contracts.cells import MAX_MILLI
from inventory_pipeline.contracts.mapping import Target
from inventory_pipeline.contracts.values import EXACT, base_milli, printable
from inventory_pipeline.core.ledger import BadRow, CheckedSnapshot
from inventory_pipeline.core.quantities import MILLI, InexactQuantity
from inventory_pipeline.core.vocabulary import Reason
from inventory_pipeline.flow.kept_rows import (
    STATES,
    Recheck,
    Row,
    belonging_to,
    hold,
    key_of,
    landed_file,
    recheck,
)
from inventory_pipeline.flow.landing_files import write_parquet
from inventory_pipeline.memory import quarantine, remaps
from inventory_pipeline.memory.postgres import Connection
from inventory_pipeline.memory.quarantine import Quarantined
from inventory_pipeline.memory.remaps import Snapshot

MappingAt = Callable[[int], contracts.Mapping | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """How many snapshots have a new file, and rows that left and that came back with them."""

    files: int = 0
    put_out: int = 0
    taken_back: int = 0


def remap_snapshots(
    connection: Connection,
    hub: Hub,
    state: Path,
    system: str,
    changes: Mapping[str, tuple[Target | None, Target | None]],
    *,
    before: MappingAt,
    offset: int,
    at: datetime,
) -> Files:
    """Writes the snapshots of this system anew that hold a row of a changed item.

    `before` gives the mapping of a version, `offset` is that of the change. The new files are
    durable before the caller commits.
    """
    accepted = {item for item, (was, _) in changes.items() if _stocked(was)}
    known: dict[int, contracts.Mapping | None] = {}
    total = Files()
    for snapshot in remaps.snapshots_of(connection, system):
        kept = belonging_to(
            quarantine.of_source(connection, system, snapshot.source), snapshot.as_of
        )
        released = [r for r in kept if _belongs(r, snapshot)]
        # What nothing mapped before is in no number, but where a catalogue put it out.
        wanted = set(changes) if snapshot.remapped else accepted
        path = landed_file(state, snapshot.path, system=system, source=snapshot.source)
        if not _names(path, released, wanted):
            continue
        if snapshot.mapping_version not in known:
            known[snapshot.mapping_version] = before(snapshot.mapping_version)
        landed_with = known[snapshot.mapping_version]
        if landed_with is None:
            continue
        one = _One(snapshot=snapshot, hub=hub, was=landed_with, now=contracts.Mapping(hub, system))
        total = _add(total, _rewrite(connection, state, one, released, offset=offset, at=at))
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class _One:
    """A snapshot, the mapping that it landed with, and today's."""

    snapshot: Snapshot
    hub: Hub
    was: contracts.Mapping
    now: contracts.Mapping


def _rewrite(
    connection: Connection,
    state: Path,
    one: _One,
    released: list[Quarantined],
    *,
    offset: int,
    at: datetime,
) -> Files:
    snapshot = one.snapshot
    landed = pq.read_table(state / snapshot.path)
    rechecked = list(zip(released, recheck(one.hub, released), strict=True))
    rows, refused = _remapped(landed, one, [found for _, found in rechecked])
    if not (refused or snapshot.remapped or released) and rows.equals(landed):
        return Files()
    path = write_parquet(
        state,
        CheckedSnapshot(
            system=snapshot.system, feed=snapshot.feed, as_of=snapshot.as_of,
            complete=snapshot.complete, states=snapshot.states, source=snapshot.source,
            key=f"{snapshot.key}\nmapped at {offset}", rows=rows, data_rows=snapshot.data_rows,
        ),
    )  # fmt: skip
    remaps.amend(
        connection, snapshot, path=path.relative_to(state).as_posix(), mapping_offset=offset
    )
    out, back = _move(connection, one, rechecked, refused, offset=offset, at=at)
    return Files(files=1, put_out=out, taken_back=back)


def _remapped(
    landed: pa.Table, one: _One, released: Iterable[Recheck]
) -> tuple[pa.Table, list[BadRow]]:
    """The snapshot's rows under today's mapping, and those that it does not accept."""
    overlay = {found.key: found for found in released}
    items = [item for item in pc.unique(landed["item"]).to_pylist() if item is not None]
    changed = {
        item: (one.was.item(item), one.now.item(item))
        for item in items
        if _stocked(one.was.item(item)) and one.was.item(item) != one.now.item(item)
    }
    skus = {target.sku for pair in changed.values() for target in pair if target}
    skus |= {found.cell[0] for found in overlay.values() if found.cell}
    named = [*changed, *(item for _, item in overlay if item is not None)]
    touched = pc.or_(_among(landed["item"], named), _among(landed["sku"], sorted(skus)))
    pairs: list[tuple[Row, bool]] = []
    refused: list[BadRow] = []
    for row in landed.filter(touched).to_pylist():
        bad = row["held"] and all(row[state] is None for state in STATES)
        if (row["external_location"], row["item"]) in overlay:
            continue
        if row["item"] not in changed:
            pairs.append((row, bad))
            continue
        mapped, problem = _remapped_row(row, *changed[row["item"]], bad=bad)
        if problem is None:
            pairs.append((mapped, bad))
        else:
            pairs.append(({**mapped, **dict.fromkeys(STATES)}, True))
            refused.append(_bad_row(one, mapped, problem))
    pairs += [(f.row, bool(f.problem)) for f in overlay.values() if f.row is not None]
    again = pa.Table.from_pylist(hold(pairs), schema=landed.schema)
    return pa.concat_tables([landed.filter(pc.invert(touched)), again]), refused


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    reason: Reason
    message: str
    raw: str


def _remapped_row(
    row: Row, was: Target | None, now: Target | None, *, bad: bool
) -> tuple[Row, _Problem | None]:
    """The row under `now`; with why it is not accepted, where it is not. A bad one stays bad."""
    assert was is not None
    sku = now.sku if _stocked(now) and now else None
    mapped = {**row, "sku": sku, "units_milli": _units_milli(now)}
    if bad:
        return mapped, None
    external = {state: _external(row[state], was) for state in STATES}
    raw = printable(
        {
            "as_of": row["as_of"].isoformat(), "location": row["external_location"],
            "item": row["item"],
            **{state: None if n is None else f"{n:f}" for state, n in external.items()},
        }
    )  # fmt: skip
    if now is None:
        said = f"item {row['item']!r} is not mapped any more"
        return mapped, _Problem(reason=Reason.UNKNOWN_ITEM, message=said, raw=raw)
    if now.bundle:
        said = f"{now.sku} is a bundle now: send its components instead"
        return mapped, _Problem(reason=Reason.BUNDLE_HAS_NO_STOCK, message=said, raw=raw)
    for state, number in external.items():
        if number is None:
            continue
        try:
            mapped[state] = base_milli(number, units=now.units, decimals=now.decimals)
        except InexactQuantity as error:
            said = f"{state} {number:f}: {error}"
            problem = _Problem(reason=Reason.FRACTION_OF_INDIVISIBLE, message=said, raw=raw)
            return mapped, problem
        except ValueError as error:
            said = f"{state} {number:f}: {error}"
            return mapped, _Problem(reason=Reason.BAD_NUMBER, message=said, raw=raw)
    return mapped, None


def _move(
    connection: Connection,
    one: _One,
    rechecked: list[tuple[Quarantined, Recheck]],
    refused: list[BadRow],
    *,
    offset: int,
    at: datetime,
) -> tuple[int, int]:
    """Quarantine as this catalogue leaves it: (rows that went in, rows that came out)."""
    snapshot = one.snapshot
    out = {row.position for row in refused}
    held = [
        row
        for row in quarantine.of_source(connection, snapshot.system, snapshot.source)
        if row.open and row.accepted_once and row.ledger_offset == snapshot.ledger_offset
    ]
    quarantine.put_out(
        connection,
        [(row, snapshot.ledger_offset) for row in refused],
        mapping_offset=offset,
        at=at,
    )
    gone = [(row.quarantine_id, found.problem) for row, found in rechecked if found.problem]
    quarantine.reopen(connection, gone, mapping_offset=offset)
    back = [row.quarantine_id for row in held if row.position not in out]
    back += [row.quarantine_id for row, found in rechecked if row.open and not found.problem]
    quarantine.release(connection, back, at=at, offset=offset)
    new = len(out - {row.position for row in held})
    return new + sum(not row.open for row, found in rechecked if found.problem), len(back)


def _belongs(row: Quarantined, snapshot: Snapshot) -> bool:
    """Was released into this snapshot, even if a catalogue put it out again since."""
    return row.ledger_offset == snapshot.ledger_offset


def _names(path: Path, released: Iterable[Quarantined], wanted: set[str]) -> bool:
    """Whether a row of the file, or one that was released into it, is about one of these items."""
    if any(key_of(row)[1] in wanted for row in released):
        return True
    if not wanted:
        return False
    items = pq.read_table(path, columns=["item"])["item"]
    return bool(pc.any(_among(items, sorted(wanted))).as_py())


def _bad_row(one: _One, row: Row, problem: _Problem) -> BadRow:
    return BadRow(
        system=one.snapshot.system,
        kind="snapshot_row",
        source=one.snapshot.source,
        position=f"{row['as_of']:%Y-%m-%dT%H:%M:%SZ} location {row['external_location']}, "
        f"item {row['item']}",
        reason=problem.reason,
        message=problem.message,
        raw=problem.raw,
    )


def _among(column: Any, values: Iterable[str]) -> Any:
    return pc.is_in(column, value_set=pa.array(list(values), pa.string()))


def _stocked(target: Target | None) -> bool:
    """Whether a snapshot row of it is accepted."""
    return target is not None and not target.bundle


def _external(milli: int | None, target: Target) -> Decimal | None:
    """The number as its system sent it."""
    if milli is None:
        return None
    with localcontext(EXACT):
        return Decimal(milli) / MILLI / target.units


def _units_milli(target: Target | None) -> int:
    return MILLI if target is None else min(int(target.units * MILLI), MAX_MILLI)


def _add(total: Files, more: Files) -> Files:
    return replace(
        total,
        files=total.files + more.files,
        put_out=total.put_out + more.put_out,
        taken_back=total.taken_back + more.taken_back,
    )
