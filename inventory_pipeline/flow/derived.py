"""Opening the derived store: under its lock, for one piece of work only."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from inventory_pipeline.compute.engine import DerivedOutdated, Engine, open_engine
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.memory import sync


@contextmanager
def derived(ctx: HubContext) -> Iterator[Engine]:
    """The DuckDB file; other openers wait.

    A file of another version of the calculation is deleted: the next cycle makes it again.
    """
    with sync.derived_lock(ctx.pg), ExitStack() as stack:
        try:
            engine = stack.enter_context(open_engine(ctx.duckdb_path))
        except DerivedOutdated:
            delete_derived(ctx)
            engine = stack.enter_context(open_engine(ctx.duckdb_path))
        yield engine


def delete_derived(ctx: HubContext) -> None:
    """Removes the derived store; the caller holds its lock."""
    for leftover in (ctx.duckdb_path, ctx.duckdb_path.with_suffix(".duckdb.wal")):
        leftover.unlink(missing_ok=True)
