"""Waiting until nothing is under way: everything read, computed and pushed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from inventory_pipeline.core.errors import HubError, PostgresUnavailable, SourceError
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.land import land_changes, land_inbox, land_snapshots

LOOK_EVERY_S = 0.5
CEILING = timedelta(minutes=10)
# Seen quiet this often in a row: a channel's answer may still bring something new.
CALM_LOOKS = 3
# A listing that the channel lacks is asked for again minutes later: that is not work under way.
SOON = timedelta(minutes=1)


class NotQuiet(HubError):
    """Something is still under way after the longest wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is under way: counts of ledger entries, deliveries and listings."""

    behind: int
    inbox: int
    looks: int
    sending: int

    @property
    def total(self) -> int:
        return self.behind + self.inbox + self.looks + self.sending

    def __str__(self) -> str:
        return (
            f"{self.behind} ledger entries to compute, {self.inbox} deliveries to read,"
            f" {self.looks} listings to look at, {self.sending} answers awaited"
        )


def work_under_way(ctx: HubContext, at: datetime) -> Work:
    """One look at Postgres."""
    with ctx.pg.connection() as connection:
        row = connection.execute(
            """
            SELECT (SELECT ledger_offset FROM hub.counter) - s.ledger_offset,
                   (SELECT count(*) FROM hub.inbox WHERE done_at IS NULL),
                   (SELECT count(*) FROM hub.outbox WHERE look AND dead_at IS NULL
                       AND channel = ANY(%(channels)s)
                       AND (look_after IS NULL OR look_after <= %(soon)s)),
                   greatest(
                       (SELECT count(*) FROM hub.outbox WHERE open_key IS NOT NULL
                           AND dead_at IS NULL AND channel = ANY(%(channels)s)),
                       (SELECT count(*) FROM hub.intents WHERE channel = ANY(%(channels)s)))
            FROM hub.sync_cursor AS s
            """,
            {"channels": list(ctx.hub.channels), "soon": at + SOON},
        ).fetchone()
    assert row is not None
    return Work(behind=row[0], inbox=row[1], looks=row[2], sending=row[3])


def read_to_the_end(ctx: HubContext) -> list[str]:
    """Asks every system once for all that it has now; returns what could not be read, as text.

    Pollers do the same on their own time; a feed is read by one of both at a time.
    """
    troubles = []
    for name in ctx.hub.systems:
        can = ctx.connectors[name].capabilities
        try:
            if can.snapshots:
                land_snapshots(ctx, name)
            if can.changes:
                land_changes(ctx, name)
        except SourceError as error:
            troubles.append(str(error))
    land_inbox(ctx)
    return troubles


def wait_until_quiet(
    ctx: HubContext, *, show: Callable[[Work], None], check: Callable[[], None]
) -> None:
    """Returns once nothing is under way. `check` may raise to end the waiting. Raises NotQuiet."""
    until = ctx.clock() + CEILING
    calm = 0
    while calm < CALM_LOOKS:
        check()
        now = ctx.clock()
        try:
            work = work_under_way(ctx, now)
        except PostgresUnavailable:
            calm = 0
        else:
            show(work)
            calm = calm + 1 if work.total == 0 else 0
        if now > until:
            raise NotQuiet(
                f"the hub is not quiet after {CEILING}",
                hint="look at the Health page and at the runs of the job `sync` in Dagster.",
            )
        time.sleep(LOOK_EVERY_S)
