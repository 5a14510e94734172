"""Keeps pages quick on a big hub: one thread rolls up pushes, judges dear checks, and counts
listings now and then.
"""

import threading
from collections.abc import Callable
from time import perf_counter

import structlog

from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.errors import PostgresUnavailable
from inventory_pipeline.flow.checks import Look
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.memory import periods
from inventory_pipeline.memory.postgres import Postgres
from inventory_pipeline.server.judging import Judging

LOOK_EVERY_S = 15.0
# Counting takes at most this share of the time, however many listings there are.
COUNTING_SHARE = 0.02

log = structlog.get_logger("upkeep")


class Upkeep:
    """Started and stopped with the application."""

    def __init__(
        self, pg: Postgres, current_hub: Callable[[], Hub], ctx: HubContext, judging: Judging
    ) -> None:
        self._pg = pg
        self._current_hub = current_hub
        self._clock = ctx.clock
        self._ctx = ctx
        self._judging = judging
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)
        self._count_at = 0.0
        self._failing = ""

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, patience_s: float = 5.0) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(patience_s)

    def work(self) -> None:
        """Rolls up what was pushed, judges, and counts listings where it is time for that."""
        with self._pg.connection() as connection:
            periods.roll(connection, at=self._clock())
        with self._pg.connection() as connection:
            look = Look(
                connection=connection, hub=self._current_hub(), state=self._ctx.state,
                now=self._clock(),
            )  # fmt: skip
            self._judging.renew(look, self._ctx.connectors)
        begin = perf_counter()
        if begin < self._count_at:
            return
        channels = list(self._current_hub().channels)
        with self._pg.connection() as connection:
            found = periods.count_listings(connection, channels, at=self._clock())
            periods.keep_counts(connection, found.values())
        took_s = perf_counter() - begin
        self._count_at = perf_counter() + took_s / COUNTING_SHARE

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.work()
            except PostgresUnavailable:
                pass  # the intake and every page say so already
            except Exception as error:  # a thread that dies would be silent
                if repr(error) != self._failing:
                    log.error("failing", why=repr(error), exc_info=error)
                self._failing = repr(error)
            else:
                self._failing = ""
            self._stopping.wait(LOOK_EVERY_S)
