"""One cycle: new ledger entries → positions and ATS of what they touch → outbox.

Three steps, each repeatable, so that nothing is lost between the two stores (architecture: crash
safety): (1) one DuckDB transaction computes and appends changed rows to `pending`; (2) one
Postgres transaction upserts them into the outbox and moves the sync cursor; (3) the next DuckDB
transaction empties `pending`. Every cycle repeats (2) first if a predecessor left something.
"""

import logging
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter
from typing import Any

import duckdb

from inventory_pipeline.compute.engine import Engine
from inventory_pipeline.core.outbox import offerable
from inventory_pipeline.core.ports import Progress, Watcher, unwatched
from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline.flow import log_lines
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.derived import derived
from inventory_pipeline.memory import ledger, outbox, remaps, sync, wellbeing
from inventory_pipeline.memory.ledger import LandedSnapshot
from inventory_pipeline.memory.postgres import Connection

# One cycle reads at most this much, so that a backlog is worked off in pieces that show progress.
MAX_ENTRIES = 50_000
# Of positions below zero people look at the lowest.
MOST_NEGATIVE = 10_000
# Not about what was computed: a database that fails inside refuses every statement after that, the
# rollback too (FatalException), until it is opened again.
ENGINE_FAULTS = (duckdb.InternalException, duckdb.FatalException)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleReport:
    """What one cycle did. `changed` is channel → listings whose desired value changed; times in
    s.
    """

    ledger_offset: int
    computed_at: datetime
    events: int = 0
    snapshots: int = 0
    skus: int = 0
    positions: int = 0
    full: bool = False
    changed: dict[str, int] = field(default_factory=dict)
    next_wakeup_at: datetime | None = None
    compute_s: float = 0.0
    store_s: float = 0.0

    @property
    def idle(self) -> bool:
        return not (self.events or self.snapshots or self.skus or self.changed)


def idle_cycle(ctx: HubContext, state: sync.SyncState) -> CycleReport:
    """A cycle that found nothing to do."""
    return CycleReport(
        ledger_offset=state.ledger_offset,
        computed_at=ctx.clock(),
        next_wakeup_at=state.next_wakeup_at,
    )


def run_cycle(ctx: HubContext, epoch: int | None = None) -> CycleReport:
    """Brings positions, ATS and outbox up to the ledger's head (at most MAX_ENTRIES further).

    `epoch` fences a drain (memory/sync.py); None for work that any process may repeat. Raises
    Superseded. A fault inside DuckDB itself is met by opening it again, once.
    """
    try:
        return _cycle(ctx, epoch)
    except ENGINE_FAULTS as error:
        log.warning("DuckDB failed in a cycle, which is repeated with a new engine: %s", error)
        return _cycle(ctx, epoch)


def _cycle(ctx: HubContext, epoch: int | None) -> CycleReport:
    now = ctx.clock()
    with ctx.pg.connection() as connection:
        state = sync.state(connection)
        if epoch is not None:
            sync.check_epoch(connection, epoch)
    with derived(ctx) as engine:
        if engine.pending().num_rows or state.ledger_offset < engine.ledger_offset():
            # A predecessor ended between the two stores: its step (2) first.
            store_pending(ctx, engine, epoch)
        return _advance(ctx, engine, now=now, head=state.head, epoch=epoch)


def _advance(
    ctx: HubContext, engine: Engine, *, now: datetime, head: int, epoch: int | None
) -> CycleReport:
    started = perf_counter()
    after = engine.ledger_offset()
    wakeup = engine.next_wakeup()
    with engine.transaction():
        full = load_policy(ctx, engine)
        if not full and after >= head and (wakeup is None or wakeup > now):
            return CycleReport(ledger_offset=after, computed_at=now, next_wakeup_at=wakeup)
        # An empty store catches up in one go: numbers of a moment long ago are of no use.
        upto = head if after == 0 else min(head, after + MAX_ENTRIES)
        read = append_entries(ctx, engine, after, upto)
        # What was withdrawn is in no scope.
        full = full or read.remapped > 0
        if not full:
            engine.touched(at=now)
        computed = engine.compute(at=now, ledger_offset=upto, full=full)
    computed_s = perf_counter()
    changed = store_pending(ctx, engine, epoch)
    report = CycleReport(
        ledger_offset=upto,
        computed_at=now,
        events=read.events,
        snapshots=read.snapshots,
        skus=computed.skus,
        positions=computed.positions,
        full=full,
        changed=changed,
        next_wakeup_at=computed.next_wakeup,
        compute_s=computed_s - started,
        store_s=perf_counter() - computed_s,
    )
    log_lines.computed(ctx, report, after=after)
    return report


def load_policy(ctx: HubContext, engine: Engine) -> bool:
    """Puts the current policy into the derived store; True if everything must be computed."""
    return engine.load_policy(
        ctx.hub, policy_version=ctx.policy_version, mapping_version=ctx.mapping_version
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """How many ledger entries were appended to the derived store; `remapped` of them were there
    before, as an older catalogue had mapped them.
    """

    events: int
    snapshots: int
    remapped: int = 0


def append_entries(
    ctx: HubContext,
    engine: Engine,
    after: int,
    upto: int,
    watch: Watcher = unwatched,
    *,
    without_snapshots: frozenset[int] = frozenset(),
) -> Appended:
    """Appends ledger entries with after < offset <= upto to the derived store (same
    transaction), and again those before that a catalogue among them mapped anew.
    """
    remapped = _append_again(ctx, engine, after, upto, watch)
    events = snapshots = 0
    for start in range(after, upto, MAX_ENTRIES):
        end = min(upto, start + MAX_ENTRIES)
        watch(Progress(step="replaying the ledger", done=start, total=upto))
        with ctx.pg.connection() as connection:
            table = ledger.read_events(connection, start, end)
            landed = [
                snapshot
                for snapshot in ledger.read_snapshots(connection, start, end)
                if snapshot.snapshot_offset not in without_snapshots
            ]
        for snapshot in landed:
            _append_snapshot(ctx, engine, snapshot)
        if table.num_rows:
            engine.append_events(table)
        events += table.num_rows
        snapshots += len(landed)
    return Appended(events=events, snapshots=snapshots, remapped=remapped)


def _append_again(ctx: HubContext, engine: Engine, after: int, upto: int, watch: Watcher) -> int:
    """Replaces what the store holds of entries that were mapped anew; returns how many.

    All snapshots of a touched system come again: the store has forgotten those that newer ones
    replaced, and under another mapping it may need them.
    """
    with ctx.pg.connection() as connection:
        again = remaps.events_between(connection, after, upto)
        systems = remaps.systems_between(connection, after, upto)
        of_systems = remaps.snapshot_offsets(connection, systems, upto=after)
    if not again and not systems:
        return 0
    watch(Progress(step="mapping again", total=len(again) + len(of_systems)))
    engine.withdraw([*again, *of_systems])
    for start in range(0, len(again), MAX_ENTRIES):
        with ctx.pg.connection() as connection:
            table = ledger.read_entries(connection, again[start : start + MAX_ENTRIES])
        if table.num_rows:
            engine.append_events(table)
    if systems:
        with ctx.pg.connection() as connection:
            landed = ledger.read_snapshots(connection, 0, after, systems=systems)
        for snapshot in landed:
            _append_snapshot(ctx, engine, snapshot)
    return len(again) + len(of_systems)


def _append_snapshot(ctx: HubContext, engine: Engine, snapshot: LandedSnapshot) -> None:
    engine.append_snapshot(
        ledger_offset=snapshot.ledger_offset,
        system=snapshot.system,
        as_of=snapshot.as_of,
        complete=snapshot.complete,
        states=snapshot.states,
        parquet=ctx.state / snapshot.path,
        source=snapshot.source,
    )


def store_pending(ctx: HubContext, engine: Engine, epoch: int | None) -> dict[str, int]:
    """Steps (2) and (3); returns channel → rows stored."""
    rows = engine.pending().to_pylist()
    with ctx.pg.connection() as connection:
        _store_in(connection, ctx, engine, rows, epoch)
    if rows:
        with engine.transaction():
            engine.clear_pending()
    changed: dict[str, int] = {}
    for row in rows:
        changed[row["channel"]] = changed.get(row["channel"], 0) + 1
    return changed


def _store_in(
    connection: Connection,
    ctx: HubContext,
    engine: Engine,
    rows: list[dict[str, Any]],
    epoch: int | None,
) -> None:
    if epoch is not None:
        sync.check_epoch(connection, epoch)
    reached = engine.ledger_offset()
    now = ctx.clock()
    if rows:
        outbox.store_desired(
            connection,
            as_offered(ctx, rows),
            policy_version=ctx.policy_version,
            mapping_version=ctx.mapping_version,
            computed_at=now,
        )
    wellbeing.store_negative_positions(
        connection, engine.below_zero(most=MOST_NEGATIVE), ledger_offset=reached, at=now
    )
    before = sync.state(connection).ledger_offset
    outbox.look_at_own_events(connection, selling_systems(ctx), after=before, upto=reached)
    sync.move(
        connection, ledger_offset=reached, computed_at=now, next_wakeup_at=engine.next_wakeup()
    )


def as_offered(ctx: HubContext, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with numbers that their channels can be told (core.outbox.offerable)."""
    limited = {}
    for channel in ctx.hub.channels.values():
        connector = ctx.connectors.get(channel.system)
        if connector is None:
            continue
        able = connector.capabilities
        if able.least_milli > 0 or able.most_milli is not None:
            limited[channel.id] = able
    if not limited:
        return rows
    return [
        row | {"desired_milli": offerable(limited[row["channel"]], row["desired_milli"])}
        if row["channel"] in limited
        else row
        for row in rows
    ]


def selling_systems(ctx: HubContext) -> dict[str, list[str]]:
    """System → its channels, for those channels that have listings."""
    systems: dict[str, list[str]] = {}
    for channel in ctx.hub.channels.values():
        if channel.mode is not Mode.OFF:
            systems.setdefault(channel.system, []).append(channel.id)
    return systems
