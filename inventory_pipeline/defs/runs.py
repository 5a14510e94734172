"""Which runs are active, and when the next one is wanted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from inventory_pipeline.memory.facts import Backlog

# A successor starts and imports meanwhile, and is warm when its predecessor ends.
WARM_UP = timedelta(seconds=30)
MOST_RUNS = 50
ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """A run that has not ended; `started_at` is None while it waits."""

    run_id: str
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether a run is requested now, and why (not)."""

    request: bool
    reason: str


def active_runs(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> list[Active]:
    """Runs with these tags that have not ended, the longest running first."""
    records = instance.get_run_records(
        dg.RunsFilter(statuses=ACTIVE, tags=dict(tags)), limit=MOST_RUNS, ascending=True
    )
    return [
        Active(
            run_id=record.dagster_run.run_id,
            started_at=None
            if record.start_time is None
            else datetime.fromtimestamp(record.start_time, UTC),
        )
        for record in records
    ]


def decide_sync(
    backlog: Backlog,
    active: Sequence[Active],
    *,
    now: datetime,
    idle: timedelta,
    max_run: timedelta,
) -> Decision:
    """At most one sync and its successor, and the successor only while there is traffic."""
    if len(active) > 1:
        return Decision(request=False, reason="a sync is active and its successor waits")
    if not active:
        reason = backlog.reason(now)
        if reason is None:
            return Decision(request=False, reason=f"nothing to do at offset {backlog.head}")
        return Decision(request=True, reason=reason)
    started_at = active[0].started_at
    # A short max_run leaves no room for warming up: then the successor comes after the half.
    ahead = min(WARM_UP, max_run / 2)
    if started_at is None or now < started_at + max_run - ahead:
        return Decision(request=False, reason="a sync is active")
    if not backlog.traffic(now, idle):
        return Decision(request=False, reason="a sync is active and there is no traffic")
    return Decision(request=True, reason="the active sync ends soon: its successor warms up")
