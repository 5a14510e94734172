"""Starts a landing for each system that has something new."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Self

import dagster as dg

from inventory_pipeline.config.policy import Hub, System
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.defs import keys
from inventory_pipeline.defs.resources import HubResource
from inventory_pipeline.defs.runs import active_runs
from inventory_pipeline.defs.sensors import TICK_S
from inventory_pipeline.flow.connecting import build_connectors
from inventory_pipeline.flow.times import utc_now
from inventory_pipeline.memory import facts
from inventory_pipeline.memory.postgres import Postgres

# The receiver asks for changes; a system that nobody has asked for so many polls is asked by a run.
MISSED_POLLS = 3
# The receiver reads a delivery within a second; one that lies longer is read by a run.
UNREAD_FOR = timedelta(seconds=15)


def land_sensor(hub: Hub, systems: list[System]) -> dg.SensorDefinition:
    policy = hub

    @dg.sensor(
        name="land_sensor",
        job_name=keys.LAND,
        minimum_interval_seconds=TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a landing for a system that has a new snapshot; where no receiver "
        "runs, also for polled changes and for deliveries.",
    )
    def land_sensor(context: dg.SensorEvaluationContext, hub: HubResource) -> dg.SensorResult:
        now = utc_now()
        looks = Looks.read(context.cursor)
        requests: list[dg.RunRequest] = []
        notes: list[str] = []
        with hub.memory() as memory:
            for system in systems:
                if not looks.due(system, now):
                    continue
                if active_runs(context.instance, {keys.SYSTEM_TAG: system.id}):
                    notes.append(f"{system.id} is being read")
                    continue
                looks.at[system.id] = now
                try:
                    news = _news(memory, policy, system, now)
                except HubError as error:
                    notes.append(str(error))
                    continue
                if news:
                    requests.append(landing_request(system.id, news))
            requests += _unread(context, memory, now)
        return dg.SensorResult(
            run_requests=requests or None,
            skip_reason=None
            if requests
            else dg.SkipReason("; ".join(notes) or "no system has anything new"),
            cursor=looks.write(),
        )

    return land_sensor


def landing_request(system: str, reason: str) -> dg.RunRequest:
    """A run that lands one system; the queue holds a second one of it back."""
    return dg.RunRequest(
        asset_selection=[keys.landing(system)],
        tags={keys.SYSTEM_TAG: system, keys.REASON_TAG: reason},
    )


class Looks:
    """When each system was looked at: at most once a poll. Kept as the sensor's cursor."""

    def __init__(self, at: dict[str, datetime]) -> None:
        self.at = at

    @classmethod
    def read(cls, cursor: str | None) -> Self:
        saved: Mapping[str, str] = json.loads(cursor) if cursor else {}
        return cls({system: datetime.fromisoformat(at) for system, at in saved.items()})

    def write(self) -> str:
        return json.dumps({system: at.isoformat() for system, at in sorted(self.at.items())})

    def due(self, system: System, now: datetime) -> bool:
        last = self.at.get(system.id)
        return last is None or now - last >= system.poll


def _news(memory: Postgres, hub: Hub, system: System, now: datetime) -> str:
    """What is new at this system, "" for nothing. Raises HubError when it cannot be asked."""
    from inventory_pipeline.memory.ledger import seen_snapshots

    with memory.connection() as connection:
        seen = seen_snapshots(connection, system.id)
        last_read = facts.feed_reads(connection, system.id)
    connectors = build_connectors(hub)
    try:
        connector = connectors[system.id]
        if connector.capabilities.snapshots:
            found = next(iter(connector.snapshots(seen)), None)
            if found is not None:
                return f"new snapshot {found.source}"
    finally:
        for one in connectors.values():
            one.close()
    if connector.capabilities.changes and (
        last_read is None or now - last_read > MISSED_POLLS * system.poll
    ):
        return "nobody asked it for changes lately"
    return ""


def _unread(
    context: dg.SensorEvaluationContext, memory: Postgres, now: datetime
) -> list[dg.RunRequest]:
    """The run that reads deliveries which no receiver reads."""
    with memory.connection() as connection:
        since = facts.unread_since(connection)
    if since is None or now - since < UNREAD_FOR:
        return []
    if active_runs(context.instance, {keys.SYSTEM_TAG: keys.INBOX}):
        return []
    return [
        dg.RunRequest(
            asset_selection=[keys.LEDGER],
            tags={
                keys.SYSTEM_TAG: keys.INBOX,
                keys.REASON_TAG: f"deliveries wait since {since.isoformat()}",
            },
        )
    ]
