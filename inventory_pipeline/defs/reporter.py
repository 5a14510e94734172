"""What a drain did, as materializations and check results on the assets' keys."""

import contextlib
import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import reduce
from operator import add
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.exc import SQLAlchemyError

from inventory_pipeline.defs import checks, keys, lineage
from inventory_pipeline.defs.reports import push_metadata
from inventory_pipeline.flow.checks import Look, checks_of

if TYPE_CHECKING:
    from inventory_pipeline.flow.context import HubContext
    from inventory_pipeline.flow.cycle import CycleReport
    from inventory_pipeline.flow.push import PushReport

Event = dg.AssetMaterialization | dg.AssetCheckEvaluation

# Checks cost a query each, so they follow at a distance; a run always ends with them.
CHECK_EVERY = timedelta(seconds=30)
# Without Dagster's storage a drain goes on; this many of its newest reports wait for it.
MAX_WAITING = 1_000

log = logging.getLogger(__name__)


class Reporter:
    """Sums up what happened since the last call: at most one materialization an asset and call."""

    def __init__(self, write: Callable[[Any], None], ctx: "HubContext") -> None:
        self._write = write
        self._pg = ctx.pg
        self._clock = ctx.clock
        self._hub = ctx.hub
        self._state = ctx.state
        self._lineage = lineage.load(ctx.state, make=False)
        self._described: set[dg.AssetKey] = set()
        self._waiting: deque[Event] = deque(maxlen=MAX_WAITING)
        self._checked_at = ctx.clock()
        able = {name: connector.capabilities for name, connector in ctx.connectors.items()}
        self._checks_of_hub = checks_of(ctx.hub, able)
        self._moved: set[tuple[str, ...]] = set()

    def report(self, cycles: "Sequence[CycleReport]", pushes: "Sequence[PushReport]") -> None:
        """Called by the drain, never between a computation and its push."""
        if cycles:
            self._numbers(cycles)
        for channel in sorted({push.channel for push in pushes}):
            summed = reduce(add, [push for push in pushes if push.channel == channel])
            self._moved.add(("push", channel))
            self._materialized(keys.push(channel), push_metadata(summed))
        if self._clock() - self._checked_at >= CHECK_EVERY:
            self._checks()
        self._flush()

    def close(self) -> None:
        """The last checks of a run."""
        self._checks()
        self._flush()

    def _numbers(self, cycles: "Sequence[CycleReport]") -> None:
        offset = cycles[-1].ledger_offset
        entries = {
            "offset": offset,
            "cycles": len(cycles),
            "events": sum(cycle.events for cycle in cycles),
            "snapshots": sum(cycle.snapshots for cycle in cycles),
        }
        if entries["events"] or entries["snapshots"]:
            self._moved.add(("ledger",))
            self._materialized(keys.LEDGER, entries)
        self._moved.add(("positions",))
        self._materialized(
            keys.POSITIONS,
            {
                **entries,
                "skus": sum(cycle.skus for cycle in cycles),
                "compute_seconds": round(sum(cycle.compute_s for cycle in cycles), 3),
                "store_seconds": round(sum(cycle.store_s for cycle in cycles), 3),
            },
        )
        changed: Counter[str] = Counter()
        for cycle in cycles:
            changed.update(cycle.changed)
        for channel, listings in sorted(changed.items()):
            self._moved.add(("ats", channel))
            self._materialized(keys.ats(channel), {"offset": offset, "listings_changed": listings})

    def _checks(self) -> None:
        """The checks of what moved since the last time."""
        self._checked_at = self._clock()
        moved, self._moved = self._moved, set()
        with self._pg.connection() as connection:
            look = Look(
                connection=connection, hub=self._hub, state=self._state, now=self._checked_at
            )
            found = [
                checks.evaluation(check, check.judge(look))
                for check in self._checks_of_hub
                if check.asset in moved
            ]
        self._waiting.extend(found)

    def _materialized(self, asset: dg.AssetKey, metadata: Mapping[str, Any]) -> None:
        if asset not in self._described:
            # Once a run: it is large, and always the same.
            self._described.add(asset)
            metadata = {**metadata, **lineage.metadata(asset, self._hub, self._lineage)}
        self._waiting.append(dg.AssetMaterialization(asset_key=asset, metadata=metadata))

    def _flush(self) -> None:
        try:
            while self._waiting:
                self._write(self._waiting[0])
                self._waiting.popleft()
        except (SQLAlchemyError, DagsterPostgresException) as error:
            log.warning("%d reports wait for Dagster's storage: %s", len(self._waiting), error)


class Beside:
    """A reporter in a thread of its own: a drain computes on while Dagster stores its reports."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._queue: SimpleQueue[tuple[Sequence[CycleReport], Sequence[PushReport]] | None] = (
            SimpleQueue()
        )
        self._thread = Thread(target=self._run, name="reports", daemon=True)
        self._thread.start()

    def report(self, cycles: "Sequence[CycleReport]", pushes: "Sequence[PushReport]") -> None:
        self._queue.put((cycles, pushes))

    def close(self) -> None:
        """Everything is reported, the last checks too."""
        self._queue.put(None)
        self._thread.join()
        self._reporter.close()

    def _run(self) -> None:
        while (done := self._queue.get()) is not None:
            try:
                self._reporter.report(*done)
            except Exception:
                # One report less; the next is stored all the same, and the numbers are elsewhere.
                log.exception("a report of a drain could not be made")


def pool_connections(instance: dg.DagsterInstance) -> None:
    """Keeps Dagster's connections open in this process: reporting then costs a quarter.

    Dagster offers this to its webserver. Where a storage cannot do it, reports are only slower.
    """
    with contextlib.suppress(AttributeError, TypeError):
        instance.optimize_for_webserver(statement_timeout=30_000, pool_recycle=3600, max_overflow=4)
