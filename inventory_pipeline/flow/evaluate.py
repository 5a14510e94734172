"""What every channel may sell at a moment, from the hub folder's files alone (SEMANTICS §1, §6).

No Postgres, no Dagster, nothing sent: it is how rules are tried out.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from inventory_pipeline.compute.engine import Engine, open_engine
from inventory_pipeline.compute.tables import EVENTS_SCHEMA
from inventory_pipeline.config.findings import did_you_mean
from inventory_pipeline.config.load import load_hub
from inventory_pipeline.config.policy import Hub, System
from inventory_pipeline.connectors import build
from inventory_pipeline.contracts.events import check_events
from inventory_pipeline.contracts.snapshots import RowCounts, check_rows
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.ledger import (
    BadRow,
    CheckedSnapshot,
    LedgerEvent,
    RejectedSnapshot,
    conflicting_duplicate,
)
from inventory_pipeline.core.ports import Connector, Cursor, Opening
from inventory_pipeline.flow.connecting import MAX_PAGES, doubts, external_ids
from inventory_pipeline.flow.landing_files import write_parquet
from inventory_pipeline.flow.times import time_of, utc_now

if TYPE_CHECKING:
    from inventory_pipeline.flow.told import Told

FILES = "files"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """`rows` is the waterfall of every (channel, bucket, sku), in that order, in `*_milli`."""

    at: datetime
    rows: list[dict[str, Any]]
    bad: tuple[BadRow, ...]
    rejected: tuple[RejectedSnapshot, ...]
    skipped: tuple[str, ...]  # systems that keep nothing in files
    missing: tuple[str, ...]  # globs without a file, and owners of which nothing was known yet
    told: "tuple[Told, ...]"  # of each row, where it was asked for

    @property
    def incomplete(self) -> bool:
        """Whether something that the files hold, or should hold, is not in the numbers."""
        return bool(self.bad or self.rejected or self.missing)


@dataclass(slots=True)
class _Found:
    snapshots: list[CheckedSnapshot]
    events: list[LedgerEvent]
    bad: list[BadRow]
    rejected: list[RejectedSnapshot]
    missing: list[str]


def evaluate(
    folder: Path, *, as_of: str = "", sku: str = "", channel: str = "", told: bool = False
) -> Evaluation:
    """Computes the hub at `as_of` (ISO 8601 with an offset; "" means now).

    Only what is dated at or before that moment counts. `told` asks for each row's explanation, too.
    Raises ConfigInvalid, or HubError for a time without an offset and for an unknown sku or
    channel.
    """
    at = time_of(as_of, option="--as-of") if as_of else utc_now()
    hub = load_hub(folder)
    _require_known(hub, sku, channel)
    found = _Found([], [], [], [], [])
    read = [system for system in hub.systems.values() if system.connector == FILES]
    for system in read:
        _read(hub, system, at, found)
    with tempfile.TemporaryDirectory() as scratch, open_engine(None) as engine:
        _compute(engine, hub, found, at, Path(scratch))
        rows = [
            row
            for row in engine.ats().to_pylist()
            if sku in ("", row["sku"]) and channel in ("", row["channel"])
        ]
        explained = _told(engine, hub, rows) if told else ()
    return Evaluation(
        at=at,
        rows=rows,
        bad=tuple(found.bad),
        rejected=tuple(found.rejected),
        skipped=tuple(s.id for s in hub.systems.values() if s.connector != FILES),
        missing=tuple(found.missing),
        told=explained,
    )


def _told(engine: Engine, hub: Hub, rows: Sequence[dict[str, Any]]) -> "tuple[Told, ...]":
    from inventory_pipeline.flow.told import tell_rows  # what only some ask for is not waited for

    return tuple(tell_rows(engine, hub, rows))


def _require_known(hub: Hub, sku: str, channel: str) -> None:
    if sku and sku not in hub.catalog.items:
        near = did_you_mean(sku, hub.catalog.items)
        hint = f"look at {hub.folder / 'catalog' / 'items.csv'}."
        raise HubError(f"there is no sku {sku} in this hub{near}", hint=hint)
    if channel and channel not in hub.channels:
        near = did_you_mean(channel, hub.channels)
        hint = f"one of: {', '.join(hub.channels)}."
        raise HubError(f"there is no channel {channel} in this hub{near}", hint=hint)


def _read(hub: Hub, system: System, at: datetime, found: _Found) -> None:
    connector = build(
        Opening(
            system=system.id,
            # A file is taken as it is: nobody waits for one that may still be written.
            options={**system.options, "settle_s": 0},
            hub_folder=str(hub.folder),
            external_ids=external_ids(hub, system.id),
        ),
        system.connector,
    )
    try:
        found.missing += doubts([connector])
        _read_snapshots(hub, system, connector, at, found)
        _read_events(hub, system, connector, at, found)
    finally:
        connector.close()


def _read_snapshots(
    hub: Hub, system: System, connector: Connector, at: datetime, found: _Found
) -> None:
    """In the order of as_of, ties by path: so max_drop compares as a running hub would have."""
    if not connector.capabilities.snapshots:
        return
    files = connector.snapshots(frozenset())
    checked = [one for raw in files for one in check_rows(hub, system.id, raw)]
    dated = [one for one in checked if one.as_of is None or one.as_of <= at]
    counts = RowCounts(system, lambda _: None)
    for one in sorted(dated, key=lambda c: (c.as_of or at, c.source)):
        judged = counts.judge(one)
        if isinstance(judged, RejectedSnapshot):
            found.rejected.append(judged)
        else:
            found.snapshots.append(judged)
            found.bad += judged.bad
    later = [one.as_of for one in checked if one.as_of is not None and one.as_of > at]
    if system.owns and later and not any(one.system == system.id for one in found.snapshots):
        found.missing.append(
            f"{system.id}: nothing was known of it yet at {at.isoformat()}; its first snapshot is "
            f"of {min(later).isoformat()}"
        )


def _read_events(
    hub: Hub, system: System, connector: Connector, at: datetime, found: _Found
) -> None:
    """The first valid event with an id that is dated at or before `at` takes it (SEMANTICS §3)."""
    if not connector.capabilities.changes:
        return
    held: dict[str, bytes] = {}
    for page in _pages(connector):
        events, bad = check_events(hub, system.id, page, at)
        found.bad += bad
        for event in events:
            if event.occurred_at > at:
                continue
            if event.event_id not in held:
                held[event.event_id] = event.content_hash
                found.events.append(event)
            elif held[event.event_id] != event.content_hash:
                found.bad.append(conflicting_duplicate(event))


def _pages(connector: Connector) -> Iterator[Sequence[Any]]:
    cursor: Cursor = {}
    for _ in range(MAX_PAGES):
        page = connector.changes(cursor)
        yield page.events
        if not page.more:
            return
        cursor = page.cursor


def _compute(engine: Engine, hub: Hub, found: _Found, at: datetime, scratch: Path) -> None:
    with engine.transaction():
        engine.load_policy(hub, policy_version=1, mapping_version=1)
        for offset, snapshot in enumerate(found.snapshots, start=1):
            engine.append_snapshot(
                ledger_offset=offset,
                system=snapshot.system,
                as_of=snapshot.as_of,
                complete=snapshot.complete,
                states=snapshot.states,
                parquet=write_parquet(scratch, replace(snapshot, bad=())),
                source=snapshot.source,
            )
        if found.events:
            engine.append_events(_table(found.events, after=len(found.snapshots)))
        head = len(found.snapshots) + len(found.events)
        engine.compute(at=at, ledger_offset=head, full=True)


def _table(events: Sequence[LedgerEvent], *, after: int) -> pa.Table:
    columns: dict[str, list[Any]] = {
        name: [getattr(event, name) for event in events]
        for name in EVENTS_SCHEMA.names
        if name != "ledger_offset"
    }
    columns["ledger_offset"] = list(range(after + 1, after + len(events) + 1))
    fields = [
        pa.field(f.name, pa.timestamp("us", tz="UTC")) if pa.types.is_timestamp(f.type) else f
        for f in EVENTS_SCHEMA
    ]
    return pa.Table.from_pydict(
        {name: columns[name] for name in EVENTS_SCHEMA.names}, schema=pa.schema(fields)
    )
