"""Row counts and sums for metadata and checks; the files are read by column, never whole."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inventory_pipeline.defs.facts import Landed
from inventory_pipeline.defs.verdicts import Totals

if TYPE_CHECKING:
    from inventory_pipeline.flow.context import HubContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Rows of the derived tables at one ledger offset; `ats` is channel → listings."""

    ledger_offset: int
    positions: int
    ats: dict[str, int]


def snapshot_totals(state: Path, landed: Landed | None) -> Totals | None:
    """Sums of one landed file; None where there is none, or where it says nothing of on_hand."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if landed is None or landed.path is None:
        return None
    on_hand = pq.read_table(state / landed.path, columns=["on_hand"])["on_hand"].drop_null()
    if not len(on_hand):
        return None
    return Totals(
        on_hand_milli=pc.sum(on_hand).as_py(),
        rows=len(on_hand),
        negative_rows=pc.sum(pc.less(on_hand, 0)).as_py(),
    )


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
