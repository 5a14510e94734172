"""Lets a quarantined row in: checked again with today's mapping, applied with its own time.

An event is one transaction, and so are the rows of one snapshot. What is still bad stays where it
is, with the reason that holds now.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from inventory_pipeline.contracts.events import check_events
from inventory_pipeline.core.ledger import CheckedSnapshot
from inventory_pipeline.core.ports import Progress, RawEvent, Watcher, unwatched
from inventory_pipeline.core.vocabulary import Reason
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.kept_rows import (
    Cell,
    Key,
    Recheck,
    Row,
    as_of,
    belonging_to,
    cell_of,
    hold,
    key_of,
    landed_file,
    recheck,
)
from inventory_pipeline.flow.land import with_channel
from inventory_pipeline.flow.landing_files import write_parquet
from inventory_pipeline.memory import ledger, quarantine, versions
from inventory_pipeline.memory.ledger import LandedSnapshot
from inventory_pipeline.memory.postgres import Connection
from inventory_pipeline.memory.quarantine import Quarantined

MAX_BATCH = 1_000
ADJUST = "the first stays; correct the stock with an `adjusted` event that has an id of its own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one row. `ledger_offset` is None where nothing was stored."""

    quarantine_id: int
    system: str
    reason: str
    released: bool
    message: str
    ledger_offset: int | None = None


class _Refused(Exception):
    """The row stays; the text says why and what to do."""


def release_rows(
    ctx: HubContext,
    quarantine_ids: Iterable[int],
    *,
    dry_run: bool = False,
    watch: Watcher = unwatched,
) -> list[Outcome]:
    """Releases each of these rows, or says why not, in their order; `dry_run` stores nothing."""
    ids = list(dict.fromkeys(quarantine_ids))
    with ctx.pg.connection() as connection:
        found = {row.quarantine_id: row for row in quarantine.some(connection, ids)}
    outcomes: dict[int, Outcome] = {}
    for batch in _batches(row for number in ids if (row := found.get(number))):
        watch(Progress(step="releasing", done=len(outcomes), total=len(ids)))
        with ctx.pg.connection() as connection:
            numbers = [row.quarantine_id for row in batch]
            rows = quarantine.some(connection, numbers, lock=not dry_run)
            done = _release(ctx, connection, rows, dry_run=dry_run)
            if not dry_run:
                versions.require_mapping(connection, ctx.mapping_version)
            outcomes |= {one.quarantine_id: one for one in done}
    return [outcomes.get(number) or _unknown(number) for number in ids]


def _batches(rows: Iterable[Quarantined]) -> Iterable[list[Quarantined]]:
    """Events one by one; the rows of one snapshot together, at most MAX_BATCH of them."""
    of_snapshot: dict[object, list[Quarantined]] = {}
    for row in rows:
        if row.kind == "event":
            yield [row]
        else:
            of_snapshot.setdefault((row.system, row.source, as_of(row)), []).append(row)
    for together in of_snapshot.values():
        for start in range(0, len(together), MAX_BATCH):
            yield together[start : start + MAX_BATCH]


def _release(
    ctx: HubContext, connection: Connection, rows: Sequence[Quarantined], *, dry_run: bool
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    possible: list[Quarantined] = []
    for row in rows:
        try:
            _require_possible(ctx, row)
        except _Refused as problem:
            outcomes.append(_outcome(row, problem))
        else:
            possible.append(row)
    try:
        if possible and possible[0].kind == "event":
            said, offset = _release_event(ctx, connection, possible[0], dry_run=dry_run)
            outcomes.append(_outcome(possible[0], said, offset=offset))
        elif possible:
            outcomes += _release_snapshot_rows(ctx, connection, possible, dry_run=dry_run)
    except _Refused as problem:
        outcomes += [_outcome(row, problem) for row in possible]
    return outcomes


def _outcome(row: Quarantined, said: str | _Refused, *, offset: int | None = None) -> Outcome:
    return Outcome(
        quarantine_id=row.quarantine_id, system=row.system, reason=row.reason,
        released=not isinstance(said, _Refused), message=str(said), ledger_offset=offset,
    )  # fmt: skip


def _unknown(number: int) -> Outcome:
    message = "there is no such row: look at `inventory-pipeline quarantine list HUB --all`"
    return Outcome(quarantine_id=number, system="", reason="", released=False, message=message)


def _require_possible(ctx: HubContext, row: Quarantined) -> None:
    if not row.open:
        raise _Refused(f"it was released at {row.released_at:%Y-%m-%d %H:%M:%S} UTC already")
    if row.system not in ctx.hub.systems:
        raise _Refused(f"hub.yaml has no system {row.system} any more: name it there again")
    if row.accepted_once:
        raise _Refused(
            f"{row.message}; it was in the numbers until the catalogue changed, and comes back by "
            "itself with a catalogue that accepts it: mend catalog/ and start the hub again"
        )


# -- events ---------------------------------------------------------------------------------------


def _release_event(
    ctx: HubContext, connection: Connection, row: Quarantined, *, dry_run: bool
) -> tuple[str, int | None]:
    try:
        body = json.loads(row.raw, parse_float=Decimal)
    except ValueError:
        body = None
    raw = RawEvent(body=body, source=row.source, position=row.position, text=row.raw)
    at = ctx.clock()
    events, bad = check_events(ctx.hub, row.system, [raw], at)
    if bad:
        raise _Refused(f"still {bad[0].reason}: {bad[0].message}")
    [event] = with_channel(ctx, row.system, events)
    known = ledger.find_event(connection, event.system, event.event_id)
    if known is not None and known[1] != event.content_hash:
        raise _Refused(
            f"event_id {event.event_id} of {event.system} is in the ledger with other content "
            f"(offset {known[0]:,}): {ADJUST}"
        )
    if known is not None:
        if not dry_run:
            quarantine.release(
                connection, [row.quarantine_id], at=at, offset=known[0], ledger_offset=known[0]
            )
        return f"it has come in again meanwhile, at offset {known[0]:,}", known[0]
    applied = f"{event.type} of {event.occurred_at:%Y-%m-%d %H:%M:%S} UTC"
    if dry_run:
        return f"{applied} would be applied", None
    count = ledger.append_events(
        connection, [event], [], received_at=at, mapping_version=ctx.mapping_version
    )
    if count.last_offset is None:
        raise _Refused(f"event_id {event.event_id} came in just now with other content: {ADJUST}")
    quarantine.release(
        connection, [row.quarantine_id], at=at, offset=count.last_offset,
        ledger_offset=count.last_offset,
    )  # fmt: skip
    return f"{applied} applied at offset {count.last_offset:,}", count.last_offset


# -- rows of snapshots ----------------------------------------------------------------------------


def _release_snapshot_rows(
    ctx: HubContext, connection: Connection, rows: Sequence[Quarantined], *, dry_run: bool
) -> list[Outcome]:
    """Rows of one snapshot: their cells are computed again, and stored in one file."""
    snapshot = _snapshot_of(connection, rows[0])
    outcomes: list[Outcome] = []
    good: list[tuple[Quarantined, Recheck]] = []
    for row, found in zip(rows, recheck(ctx.hub, rows), strict=True):
        if found.problem or found.cell is None:
            outcomes.append(_outcome(row, _Refused(f"still {found.problem}")))
        else:
            good.append((row, found))
    if not good:
        return outcomes
    kept = belonging_to(
        quarantine.of_source(connection, snapshot.system, snapshot.source), snapshot.as_of
    )
    cells, waiting = _cells(ctx, snapshot, good, kept)
    offset = None
    if not dry_run:
        released = [row for row, _ in good]
        offset = _store(ctx, connection, released, snapshot, cells)
    outcomes += [
        _outcome(row, _said(snapshot, found, waiting, offset), offset=offset) for row, found in good
    ]
    return outcomes


def _said(
    snapshot: LandedSnapshot,
    found: Recheck,
    waiting: Mapping[Cell, list[Quarantined]],
    offset: int | None,
) -> str:
    assert found.cell is not None
    sku, location = found.cell
    what = f"{sku} at {location} as of {snapshot.as_of:%Y-%m-%d %H:%M:%S} UTC"
    what += " would be applied" if offset is None else f" applied at offset {offset:,}"
    if found.cell in waiting:
        numbers = ", ".join(str(one.quarantine_id) for one in waiting[found.cell])
        what += (
            f"; it stays as it was until row {numbers} of the same sku and location is "
            "released, too"
        )
    return what


def _snapshot_of(connection: Connection, row: Quarantined) -> LandedSnapshot:
    """The accepted snapshot that the row came with, from the file that counts now."""
    moment = as_of(row)
    if moment is None:
        raise _Refused(
            f"the as_of of {row.source}, row {row.position}, cannot be read, so nobody knows which "
            "moment it speaks of: correct the file and send it again"
        )
    found = connection.execute(
        "SELECT status, ledger_offset FROM hub.snapshots"
        " WHERE system = %s AND source = %s AND as_of = %s"
        " ORDER BY ledger_offset DESC NULLS LAST LIMIT 1",
        (row.system, row.source, moment),
    ).fetchone()
    if found is None or found[0] != "accepted":
        raise _Refused(
            f"the snapshot {row.source} as of {moment:%Y-%m-%d %H:%M:%S} UTC was refused as a "
            "whole, so none of its rows counts: correct the file and send it again"
        )
    offset = found[1]
    [snapshot] = [
        one
        for one in ledger.read_snapshots(connection, offset - 1, offset, systems=[row.system])
        if one.ledger_offset == offset
    ]
    return snapshot


def _cells(
    ctx: HubContext,
    snapshot: LandedSnapshot,
    good: Sequence[tuple[Quarantined, Recheck]],
    kept: Sequence[Quarantined],
) -> tuple[list[Row], dict[Cell, list[Quarantined]]]:
    """All rows of these rows' cells, and for each cell the rows that still hold it.

    Different identifiers of one sku add up (SEMANTICS §1).
    """
    cells = {found.cell for _, found in good}
    skus = pa.array(sorted({cell[0] for cell in cells if cell}), pa.string())
    path = landed_file(ctx.state, snapshot.path, system=snapshot.system, source=snapshot.source)
    landed = pq.read_table(path, filters=pc.field("sku").isin(skus))
    rows: dict[Key, Row] = {
        (row["external_location"], row["item"]): row
        for row in landed.to_pylist()
        if (row["sku"], row["location"]) in cells
    }
    mine = {found.key for _, found in good}
    others = [r for r in kept if key_of(r) not in mine and cell_of(ctx.hub, r) in cells]
    waiting: dict[Cell, list[Quarantined]] = {}
    for other, found in zip(others, recheck(ctx.hub, others), strict=True):
        if found.row is not None:
            rows[found.key] = found.row
        cell = cell_of(ctx.hub, other)
        if other.open and cell is not None:
            waiting.setdefault(cell, []).append(other)
    rows |= {found.key: found.row for _, found in good if found.row is not None}
    bad = {key_of(other) for held in waiting.values() for other in held}
    return hold((row, key in bad) for key, row in rows.items()), waiting


def _store(
    ctx: HubContext,
    connection: Connection,
    released: Sequence[Quarantined],
    snapshot: LandedSnapshot,
    cells: list[Row],
) -> int:
    """The cells in a file of their own, durable, and an entry that says from when they count."""
    offset = ledger.next_offset(connection)
    # Sorts right after the snapshot's own name: of one moment the later name counts.
    source = f"{snapshot.source} +{offset:012d}"
    columns = pq.read_schema(ctx.state / snapshot.path)
    path = write_parquet(
        ctx.state,
        CheckedSnapshot(
            system=snapshot.system, feed="", as_of=snapshot.as_of, complete=False,
            states=snapshot.states, source=source, key=f"released at {offset}",
            rows=pa.Table.from_pylist(cells, schema=columns), data_rows=len(cells),
        ),
    )  # fmt: skip
    at = ctx.clock()
    position = released[0].position + (f" and {len(released) - 1} more" if released[1:] else "")
    ledger.append_release(
        connection, snapshot, released_source=source,
        path=path.relative_to(ctx.state).as_posix(), position=position, at=at,
        mapping_version=ctx.mapping_version,
    )  # fmt: skip
    quarantine.release(
        connection, [row.quarantine_id for row in released], at=at, offset=offset,
        ledger_offset=snapshot.snapshot_offset,
    )  # fmt: skip
    return offset


# -- what a person reads --------------------------------------------------------------------------

_ADVICE = {
    Reason.UNKNOWN_ITEM: "map the item in catalog/identifiers.csv (or add its sku to items.csv), "
    "start the hub again, then release the row.",
    Reason.UNKNOWN_LOCATION: "map the location under `locations` of the system in hub.yaml, start "
    "the hub again, then release the row.",
    Reason.FRACTION_OF_INDIVISIBLE: "if the item is divisible, raise its decimals in "
    "catalog/items.csv, start the hub again and release the row; if not, send a whole number.",
    Reason.BUNDLE_HAS_NO_STOCK: "a bundle has no stock of its own: send its components, or make "
    "the item simple in catalog/items.csv.",
    Reason.CONFLICTING_DUPLICATE: f"an event with this id and other content came before: {ADJUST}.",
    Reason.UNKNOWN_TYPE: "send it again with a type that the hub knows and a new event_id.",
    Reason.BAD_JSON: "the line is no JSON object: correct it at its source and send it again.",
}
_SEND_AGAIN = "correct it at its source and send it again; this row then stays as a record."


def advice(row: Quarantined) -> str:
    """What to do about a row, for a person."""
    if row.accepted_once and row.open:
        return (
            "the catalogue put it out of the numbers: mend catalog/ and start the hub again, and "
            "it comes back by itself."
        )
    try:
        return _ADVICE.get(Reason(row.reason), _SEND_AGAIN)
    except ValueError:
        return _SEND_AGAIN
