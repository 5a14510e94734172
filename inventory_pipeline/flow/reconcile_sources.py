"""Compares sources with the ledger and with each other (SEMANTICS §9: ledger, systems).

`ledger`: an owner's newest snapshot against the last one rolled forward by the ledger. `systems`: a
non-owner's observation against the position at the same moment.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import pyarrow.parquet as pq

from inventory_pipeline.core.ports import Progress, Watcher, unwatched
from inventory_pipeline.core.vocabulary import OWNED_STATES, Cause, State
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.reconcile import ReconcileReport, within_tolerance
from inventory_pipeline.flow.replay import replayed
from inventory_pipeline.memory import ledger, variances
from inventory_pipeline.memory.ledger import LandedSnapshot
from inventory_pipeline.memory.postgres import Connection
from inventory_pipeline.memory.variances import Variance

Cell = tuple[str, str, State]  # sku, location, state


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
        cells = dict(_cells(ctx, snapshot, owned=comparison == "ledger"))
        if cells:
            without = [snapshot.ledger_offset] if comparison == "ledger" else []
            expected = _positions(ctx, snapshot.as_of, head, without)
            pairs = [(cell, expected[cell]) for cell in cells if cell in expected]
            compared += len(pairs)
            found += [
                _variance(ctx, comparison, snapshot, cell, expected=was, found=cells[cell])
                for cell, was in pairs
                if not within_tolerance(was, cells[cell], ctx.hub.tolerances)
            ]
    with ctx.pg.connection() as connection:
        variances.record(connection, comparison, None, found, compared=None, at=ctx.clock())
        variances.finish(
            connection, number, at=ctx.clock(), compared=compared, variances=len(found), reread=0
        )
    return ReconcileReport(
        comparison=comparison, channel=None, compared=compared, reread=0, variances=tuple(found)
    )


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


def _cells(ctx: HubContext, snapshot: LandedSnapshot, *, owned: bool) -> Iterator[tuple[Cell, int]]:
    """What the snapshot says, summed per cell: of cells that its system owns, or of the others."""
    states = [state for state in OWNED_STATES if state in snapshot.states]
    table = pq.read_table(ctx.state / snapshot.path)
    sums: dict[Cell, int] = defaultdict(int)
    held: set[tuple[str, str]] = set()
    for row in table.select(["sku", "location", "held", *states]).to_pylist():
        if row["sku"] is None or row["location"] is None:
            continue
        if row["held"]:
            held.add((row["sku"], row["location"]))
        for state in states:
            if row[state] is not None:
                sums[row["sku"], row["location"], state] += row[state]
    owns = {
        (state, location): ctx.hub.owner(state, location) == snapshot.system
        for state in states
        for location in ctx.hub.locations
    }
    for (sku, location, state), units in sums.items():
        if (sku, location) not in held and owns[state, location] == owned:
            yield (sku, location, state), units


def _positions(
    ctx: HubContext, at: datetime, upto: int, without: Sequence[int]
) -> Mapping[Cell, int]:
    """Positions at `at`, of the cells that had a snapshot by then: the others have no start."""
    with replayed(ctx, at=at, upto=upto, without_snapshots=frozenset(without)) as engine:
        rows = engine.positions().to_pylist()
    return {
        (row["sku"], row["location"], state): row[f"{state}_milli"]
        for row in rows
        for state in OWNED_STATES
        if row[f"{state}_taken_at"] is not None
    }


def _variance(
    ctx: HubContext,
    comparison: str,
    snapshot: LandedSnapshot,
    cell: Cell,
    *,
    expected: int,
    found: int,
) -> Variance:
    sku, location, state = cell
    max_age = ctx.hub.systems[snapshot.system].snapshot.max_age
    stale = ctx.clock() - snapshot.as_of > max_age
    return Variance(
        comparison=comparison,
        cause=Cause.STALE_SOURCE if stale else Cause.UNEXPLAINED,
        sku=sku,
        expected_milli=expected,
        found_milli=found,
        system=snapshot.system,
        location=location,
        state=str(state),
        evidence={"snapshot": snapshot.path, "as_of": snapshot.as_of.isoformat()},
    )
