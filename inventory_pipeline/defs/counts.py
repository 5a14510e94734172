"""Row counts for metadata."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inventory_pipeline.flow.context import HubContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Rows of the derived tables at one ledger offset; `ats` is channel → listings."""

    ledger_offset: int
    positions: int
    ats: dict[str, int]


def count_numbers(ctx: "HubContext") -> Numbers:
    from inventory_pipeline.flow.derived import derived

    with ctx.pg.connection() as connection:
        ats = dict(
            connection.execute(
                "SELECT channel, count(*) FROM hub.outbox GROUP BY channel ORDER BY channel"
            ).fetchall()
        )
    with derived(ctx) as engine:
        return Numbers(
            ledger_offset=engine.ledger_offset(),
            positions=engine.position_count(),
            ats=ats,
        )
