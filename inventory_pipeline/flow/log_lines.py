"""The lines that follow an event through the hub: recorded, computed (docs/operating.md, Logs).

Nothing is asked or built where nobody reads the line.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from inventory_pipeline.config.logs import in_lines, wanted
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.memory import correlation

if TYPE_CHECKING:
    from inventory_pipeline.flow.cycle import CycleReport

# Of a longer piece of the ledger only its ends are told: `trace` finds every entry in it.
MOST_IDS = 5_000

log = structlog.get_logger("hub")


def recorded(ctx: HubContext, source: str, *, upto: int | None, entries: int) -> None:
    """The newest `entries` up to this offset came from `source`; after their commit."""
    if upto is None or not entries or not wanted(log, logging.INFO):
        return
    after = upto - entries
    for ids in in_lines(_ids(ctx, after, upto)):
        log.info(
            "recorded", source=source, entries=entries, first_offset=after + 1, last_offset=upto,
            correlation_ids=ids,
        )  # fmt: skip


def nothing_new(source: str, ids: Sequence[str]) -> None:
    """These deliveries brought nothing that the ledger did not hold."""
    if wanted(log, logging.INFO):
        for some in in_lines(ids):
            log.info("nothing new", source=source, correlation_ids=some)


def given_up(system: str, name: str, why: str) -> None:
    """A delivery that cannot be understood; it is kept."""
    log.warning(
        "given up", system=system, why=why,
        correlation_ids=[correlation.of_delivery(system, name)],
    )  # fmt: skip


def computed(ctx: HubContext, report: "CycleReport", *, after: int) -> None:
    """A cycle took the numbers from one offset to another, or on in time."""
    if not wanted(log, logging.INFO):
        return
    upto = report.ledger_offset
    ids = _ids(ctx, after, upto) if upto > after else [correlation.of_clock(report.computed_at)]
    for some in in_lines(ids):
        log.info(
            "computed", after_offset=after, last_offset=upto, events=report.events,
            snapshots=report.snapshots, skus=report.skus, full=report.full, changed=report.changed,
            compute_s=round(report.compute_s, 4), store_s=round(report.store_s, 4),
            correlation_ids=some,
        )  # fmt: skip


def _ids(ctx: HubContext, after: int, upto: int) -> list[str]:
    if upto - after > MOST_IDS:
        return []
    with ctx.pg.connection() as connection:
        return correlation.of_entries(connection, after, upto)
