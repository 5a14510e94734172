"""The calculation as of a moment, from the ledger and the landing files, in memory.

The same SQL as the running hub's, over a choice of entries; it takes no lock and changes nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from inventory_pipeline.compute.engine import Engine, open_engine
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.cycle import append_entries, load_policy


@contextmanager
def replayed(
    ctx: HubContext,
    *,
    at: datetime,
    upto: int,
    without_snapshots: frozenset[int] = frozenset(),
) -> Iterator[Engine]:
    """An engine that computed everything up to ledger offset `upto`, evaluated at `at`.

    Snapshots with an offset in `without_snapshots` are left out, as if they had not come.
    """
    with open_engine(None) as engine:
        with engine.transaction():
            load_policy(ctx, engine)
            append_entries(ctx, engine, 0, upto, without_snapshots=without_snapshots)
            engine.compute(at=at, ledger_offset=upto, full=True)
        yield engine
