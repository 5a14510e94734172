"""Compares systems with the ledger and with each other (SEMANTICS §9, ledger and systems).

`ledger`: each owner's newest snapshot against the position without it, at its moment. `systems`: a
non-owner's observation against the position at the same moment, and items that nobody mapped.
"""

import json
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

import pyarrow as pa

from inventory_pipeline.core.ports import Progress, Watcher, unwatched
from inventory_pipeline.core.quantities import MILLI
from inventory_pipeline.core.vocabulary import OWNED_STATES, Cause, Reason
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.reconcile import ReconcileReport
from inventory_pipeline.flow.reconcile_cells import CellDifference, differing_cells
from inventory_pipeline.flow.reconcile_source_causes import explain_cells
from inventory_pipeline.flow.replay import replayed
from inventory_pipeline.memory import ledger, variances
from inventory_pipeline.memory.ledger import LandedSnapshot
from inventory_pipeline.memory.postgres import Connection
from inventory_pipeline.memory.variances import Variance

MOST_UNMAPPED = 10_000


def reconcile_ledger(ctx: HubContext, watch: Watcher = unwatched) -> ReconcileReport:
    """What each owner's newest snapshot says that the ledger did not foresee."""
    return _compare(ctx, "ledger", watch)


def reconcile_systems(ctx: HubContext, watch: Watcher = unwatched) -> ReconcileReport:
    """What systems report of stock that another system owns, against the position."""
    return _compare(ctx, "systems", watch)


def _compare(ctx: HubContext, comparison: str, watch: Watcher) -> ReconcileReport:
    started = ctx.clock()
    with ctx.pg.connection() as connection:
        head = ledger.head(connection)
        number = variances.start(connection, comparison, None, at=started, offset=head)
        newest = _newest_snapshots(connection)
    found: list[Variance] = []
    compared = 0
    for done, snapshot in enumerate(newest):
        watch(Progress(step=f"comparing {snapshot.system}", done=done, total=len(newest)))
        cells, differing = _differing(ctx, comparison, snapshot, head)
        compared += cells
        found += explain_cells(ctx, comparison, snapshot, differing, head=head)
        if comparison == "systems":
            found += _unmapped(ctx, snapshot)
    with ctx.pg.connection() as connection:
        recorded = variances.record(
            connection, comparison, None, found, places=None, at=ctx.clock()
        )
        variances.finish(
            connection, number, at=ctx.clock(), compared=compared, variances=len(found), reread=0
        )
    return ReconcileReport(
        comparison=comparison, channel=None, compared=compared, reread=0, variances=tuple(found),
        opened=recorded.opened, closed=recorded.closed,
    )  # fmt: skip


def _newest_snapshots(connection: Connection) -> list[LandedSnapshot]:
    """Of each feed the newest accepted snapshot, as the newest catalogue maps it."""
    offsets = connection.execute(
        "SELECT DISTINCT ON (system, feed) ledger_offset FROM hub.snapshots"
        " WHERE status = 'accepted' ORDER BY system, feed, as_of DESC, ledger_offset DESC"
    )
    return [
        snapshot
        for (offset,) in offsets.fetchall()
        for snapshot in ledger.read_snapshots(connection, offset - 1, offset)
    ]


def _differing(
    ctx: HubContext, comparison: str, snapshot: LandedSnapshot, head: int
) -> tuple[int, list[CellDifference]]:
    owned = comparison == "ledger"
    pairs = _pairs(ctx, snapshot, owned=owned)
    if not pairs:
        return 0, []
    point = snapshot.snapshot_offset
    without = frozenset({point}) if owned else frozenset()
    now = _positions(ctx, snapshot, upto=head, without=without)
    then = None
    if _came_later(ctx, snapshot):
        then = _positions(ctx, snapshot, upto=point, without=without)
    return differing_cells(
        ctx.state / snapshot.path, snapshot.states, pairs, now=now, then=then,
        complete=snapshot.complete and owned, tolerances=ctx.hub.tolerances,
    )  # fmt: skip


def _pairs(ctx: HubContext, snapshot: LandedSnapshot, *, owned: bool) -> list[tuple[str, str]]:
    """(state, location) of which the system is the owner, or of which another one is."""
    if snapshot.system not in ctx.hub.systems:
        return []
    return [
        (str(state), location)
        for state in OWNED_STATES
        if state in snapshot.states
        for location in ctx.hub.locations
        if (ctx.hub.owner(state, location) == snapshot.system) == owned
    ]


def _positions(
    ctx: HubContext, snapshot: LandedSnapshot, *, upto: int, without: frozenset[int]
) -> pa.Table:
    """Positions at the snapshot's moment by what the ledger has up to an offset."""
    with replayed(ctx, at=snapshot.as_of, upto=upto, without_snapshots=without) as engine:
        return engine.positions()


def _came_later(ctx: HubContext, snapshot: LandedSnapshot) -> bool:
    """Whether the ledger took anything after the snapshot that happened before it."""
    with ctx.pg.connection() as connection:
        row = connection.execute(
            "SELECT EXISTS (SELECT 1 FROM hub.ledger WHERE ledger_offset > %s"
            " AND kind = 'event' AND occurred_at <= %s)",
            (snapshot.snapshot_offset, snapshot.as_of),
        ).fetchone()
    return bool(row and row[0])


def _unmapped(ctx: HubContext, snapshot: LandedSnapshot) -> Iterator[Variance]:
    """Items of the snapshot that no mapping knows: they wait in quarantine."""
    with ctx.pg.connection() as connection:
        rows = connection.execute(
            "SELECT quarantine_id, raw FROM hub.quarantine WHERE system = %s AND source = %s"
            " AND kind = 'snapshot_row' AND reason = %s AND released_at IS NULL"
            " ORDER BY quarantine_id LIMIT %s",
            (snapshot.system, snapshot.source, Reason.UNKNOWN_ITEM, MOST_UNMAPPED),
        ).fetchall()
    seen: set[tuple[str, str]] = set()
    for number, text in rows:
        raw = _object(text)
        key = (str(raw.get("item", "")), str(raw.get("location", "")))
        if key in seen:
            continue
        seen.add(key)
        yield Variance(
            comparison="systems", cause=Cause.UNMAPPED, sku=None, expected_milli=None,
            found_milli=_milli(raw.get("on_hand")), system=snapshot.system, external_id=key[0],
            location=key[1], alert=True,
            evidence={
                "quarantine": number, "snapshot": snapshot.path,
                "as_of": snapshot.as_of.isoformat(),
            },
        )  # fmt: skip


def _object(text: str) -> dict[str, object]:
    try:
        raw = json.loads(text)
    except ValueError:
        return {}
    return raw if isinstance(raw, dict) else {}


def _milli(number: object) -> int | None:
    try:
        return int(Decimal(str(number)) * MILLI)
    except (InvalidOperation, ValueError, OverflowError):
        return None
