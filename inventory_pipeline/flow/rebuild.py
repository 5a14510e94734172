"""Makes the derived store again from the ledger and the landing files (architecture: derived)."""

from dataclasses import dataclass
from time import perf_counter

from inventory_pipeline.compute.engine import open_engine
from inventory_pipeline.core.ports import Progress, Watcher, unwatched
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.cycle import append_entries, load_policy, store_pending
from inventory_pipeline.flow.derived import delete_derived
from inventory_pipeline.memory import ledger, sync


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildReport:
    """What was replayed: counts of ledger entries and of outbox rows; time in seconds."""

    ledger_offset: int
    events: int
    snapshots: int
    rows: int
    seconds: float


def rebuild(ctx: HubContext, watch: Watcher = unwatched) -> RebuildReport:
    """Deletes the DuckDB file and computes everything again; every row is then pending once.

    Safe at any moment: a drain waits for the file meanwhile, and the outbox takes no older value.
    """
    started = perf_counter()
    with sync.derived_lock(ctx.pg):
        delete_derived(ctx)
        with ctx.pg.connection() as connection:
            head = ledger.head(connection)
        with open_engine(ctx.duckdb_path) as engine:
            with engine.transaction():
                load_policy(ctx, engine)
                read = append_entries(ctx, engine, 0, head, watch)
                watch(Progress(step="computing", done=head, total=head))
                engine.compute(at=ctx.clock(), ledger_offset=head, full=True)
            rows = sum(store_pending(ctx, engine, epoch=None).values())
    return RebuildReport(
        ledger_offset=head,
        events=read.events,
        snapshots=read.snapshots,
        rows=rows,
        seconds=perf_counter() - started,
    )
