"""What a hub did so far, in numbers, and whether every channel shows what it must."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from inventory_pipeline.core.quantities import from_milli
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.derived import derived
from inventory_pipeline.memory.postgres import Connection

# An event that took longer than this to arrive is counted as late.
LATE_AFTER = timedelta(seconds=8)

_LATENCY = """
SELECT count(*),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM answered_at - occurred_at)),
       percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM answered_at - occurred_at)),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM answered_at - received_at)),
       percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM answered_at - received_at))
FROM hub.attempts WHERE outcome = 'acked' AND occurred_at IS NOT NULL
"""

# What a rule keeps back is no promise; an order without a location may leave from anywhere, and the
# widest pool sees all such orders.
_OVERSOLD = """
WITH there AS (
    SELECT sku, sum(on_hand_milli - damaged_milli - quality_control_milli - committed_milli
                    - reserved_milli) AS left_milli
    FROM positions GROUP BY sku
),
promised AS (
    SELECT sku, max(unassigned_milli) AS unassigned_milli
    FROM waterfalls WHERE kind = 'simple' GROUP BY sku
),
short AS (
    SELECT greatest(0, coalesce(p.unassigned_milli, 0) - coalesce(t.left_milli, 0)) AS short_milli
    FROM there t FULL JOIN promised p USING (sku)
)
SELECT coalesce(sum(short_milli), 0), count(*) FILTER (short_milli > 0) FROM short
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Seconds at two percentiles; None where nothing was measured."""

    p50_s: float | None
    p95_s: float | None

    def __str__(self) -> str:
        if self.p50_s is None or self.p95_s is None:
            return "nothing measured"
        return f"{self.p50_s:.2f} s / {self.p95_s:.2f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Counts of rows unless the name says otherwise; `oversold` is exact units, as text."""

    events: int
    duplicates: int
    late: int
    quarantined: int
    snapshots: int
    positions: int
    listings: int
    pushes: int
    since_occurred: Latency
    since_received: Latency
    variances_open: int
    variances_closed: int
    not_in_sync: int
    oversold: str
    oversold_skus: int

    @property
    def all_well(self) -> bool:
        """Every channel shows what it must."""
        return self.variances_open == 0 and self.not_in_sync == 0

    def lines(self) -> list[tuple[str, str]]:
        """For the table that people read."""
        return [
            ("events", f"{self.events:,}"),
            ("duplicates", f"{self.duplicates:,} recognized"),
            ("late", f"{self.late:,} (more than {LATE_AFTER.total_seconds():g} s)"),
            ("quarantined", f"{self.quarantined:,} rows"),
            ("snapshots", f"{self.snapshots:,}"),
            ("positions", f"{self.positions:,}"),
            ("listings", f"{self.listings:,}, {self.not_in_sync:,} not in sync"),
            ("pushes", f"{self.pushes:,} acknowledged"),
            ("happened → acknowledged", f"p50 / p95 {self.since_occurred}"),
            ("received → acknowledged", f"p50 / p95 {self.since_received}"),
            ("variances", f"{self.variances_open:,} open, {self.variances_closed:,} closed"),
            ("oversold", f"{self.oversold} units of {self.oversold_skus:,} SKUs"),
        ]


def summarize(ctx: HubContext) -> Summary:
    """Reads Postgres, and the derived store under its lock."""
    with ctx.pg.connection() as connection:
        counts = _counts(connection, list(ctx.hub.channels))
        latency = connection.execute(_LATENCY).fetchone() or (0, None, None, None, None)
    positions, oversold_milli, oversold_skus = _derived_numbers(ctx)
    return Summary(
        **counts,
        pushes=_pushes(ctx),
        since_occurred=Latency(p50_s=_seconds(latency[1]), p95_s=_seconds(latency[2])),
        since_received=Latency(p50_s=_seconds(latency[3]), p95_s=_seconds(latency[4])),
        positions=positions,
        oversold=f"{from_milli(oversold_milli):,f}",
        oversold_skus=oversold_skus,
    )


def _counts(connection: Connection, channels: list[str]) -> dict[str, int]:
    row = connection.execute(
        """
        SELECT (SELECT count(*) FROM hub.ledger WHERE kind = 'event') AS events,
               (SELECT coalesce(sum(duplicates), 0) FROM hub.intake) AS duplicates,
               (SELECT count(*) FROM hub.ledger
                   WHERE kind = 'event' AND received_at - occurred_at > %(late)s) AS late,
               (SELECT count(*) FROM hub.quarantine WHERE released_at IS NULL) AS quarantined,
               (SELECT count(*) FROM hub.snapshots WHERE status = 'accepted') AS snapshots,
               (SELECT count(*) FROM hub.outbox WHERE channel = ANY(%(channels)s)) AS listings,
               (SELECT count(*) FROM hub.outbox WHERE channel = ANY(%(channels)s)
                   AND (look OR dead_at IS NOT NULL OR failure IS NOT NULL)) AS not_in_sync,
               (SELECT count(*) FROM hub.variances
                   WHERE comparison = 'channel' AND closed_at IS NULL) AS variances_open,
               (SELECT count(*) FROM hub.variances
                   WHERE comparison = 'channel' AND closed_at IS NOT NULL) AS variances_closed
        """,
        {"late": LATE_AFTER, "channels": channels},
    ).fetchone()
    names = (
        "events", "duplicates", "late", "quarantined", "snapshots", "listings", "not_in_sync",
        "variances_open", "variances_closed",
    )  # fmt: skip
    assert row is not None
    return {name: int(value) for name, value in zip(names, row, strict=True)}


def _pushes(ctx: HubContext) -> int:
    with ctx.pg.connection() as connection:
        row = connection.execute(
            "SELECT count(*) FROM hub.attempts WHERE outcome = 'acked'"
        ).fetchone()
    return int(row[0]) if row else 0


def _derived_numbers(ctx: HubContext) -> tuple[int, int, int]:
    """Positions; units promised beyond what is there, in thousandths; and of how many SKUs."""
    import duckdb

    with derived(ctx) as engine:
        positions, waterfalls = engine.positions(), engine.ats()
    with duckdb.connect() as connection:
        connection.register("positions", positions)
        connection.register("waterfalls", waterfalls)
        row = connection.execute(_OVERSOLD).fetchone()
    assert row is not None
    return positions.num_rows, int(row[0]), int(row[1])


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)
