"""Reads systems into the memory: snapshots, changes, and webhooks that wait in the inbox.

What is stored and how far was read move in one transaction, so that nothing is skipped or lost when
a process dies in between; what is read twice is recognized by its key or id.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from inventory_pipeline.contracts.events import check_events
from inventory_pipeline.core.errors import SourceError, SystemFailure, WebhookRefused
from inventory_pipeline.core.ledger import (
    CheckedSnapshot,
    IngestCount,
    LedgerEvent,
    RejectedSnapshot,
)
from inventory_pipeline.core.ports import (
    Connector,
    LevelHint,
    Progress,
    RawEvent,
    RawSnapshot,
    Watcher,
    unwatched,
)
from inventory_pipeline.core.vocabulary import EventType, MovesAt
from inventory_pipeline.flow import log_lines
from inventory_pipeline.flow.connecting import MAX_PAGES
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.hints import hints_of, keep_hints
from inventory_pipeline.flow.landing_files import write_parquet
from inventory_pipeline.memory import correlation, feeds, inbox, ledger, versions
from inventory_pipeline.memory.postgres import Connection

SNAPSHOTS = "snapshots"
CHANGES = "changes"
# Events that a shop's own customers cause: they belong to the channel that the shop is.
SELLING = frozenset({EventType.ORDER_PLACED, EventType.RESERVED})


class TooManyPages(SystemFailure):
    """A change feed that does not come to an end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LandReport:
    """What became of a system's new snapshots. `as_of` is the newest that was accepted; None: none
    new.
    """

    system: str
    accepted: tuple[CheckedSnapshot, ...] = ()
    rejected: tuple[RejectedSnapshot, ...] = ()
    rows: int = 0
    quarantined: int = 0
    as_of: datetime | None = None
    files: int = 0

    @property
    def reasons(self) -> dict[str, int]:
        """Quarantined rows per reason."""
        counts: dict[str, int] = {}
        for snapshot in self.accepted:
            for row in snapshot.bad:
                counts[row.reason.value] = counts.get(row.reason.value, 0) + 1
        return dict(sorted(counts.items()))

    @property
    def rejections(self) -> list[dict[str, str]]:
        """One for each refused snapshot: source, as_of, reason and message."""
        return [
            {
                "source": one.source,
                "as_of": one.as_of.isoformat() if one.as_of else "",
                "reason": one.reason,
                "message": one.message,
            }
            for one in self.rejected
        ]


def land_snapshots(ctx: HubContext, system: str, watch: Watcher = unwatched) -> LandReport:
    """Lands every new snapshot of a system; those that are refused are remembered with their
    reason.

    Each file is one transaction: all of its snapshots, or none. Raises SourceError where the system
    cannot be read; what landed before that stays.
    """
    connector = ctx.connectors[system]
    if not connector.capabilities.snapshots:
        return LandReport(system=system)
    report = LandReport(system=system)
    with _failures_kept(ctx, system, SNAPSHOTS):
        with ctx.pg.connection() as connection:
            seen = ledger.seen_snapshots(connection, system)
        for raw in connector.snapshots(seen):
            report = _land_file(ctx, system, raw, report)
            watch(Progress(step=f"snapshots of {system}", done=report.files))
        with ctx.pg.connection() as connection:
            feeds.move(connection, system, SNAPSHOTS, {}, read_at=ctx.clock(), as_of=report.as_of)
    return report


def land_changes(ctx: HubContext, system: str) -> IngestCount:
    """Reads a system's change feed to its end, a page a transaction; one reader at a time.

    Raises SourceError where it cannot be read; pages before that are kept.
    """
    connector = ctx.connectors[system]
    if not connector.capabilities.changes:
        return IngestCount()
    count = IngestCount()
    with _failures_kept(ctx, system, CHANGES):
        for _ in range(MAX_PAGES):
            with ctx.pg.connection() as connection:
                page = connector.changes(feeds.cursor(connection, system, CHANGES))
                new = ctx.repeats.new_among(system, page.events)
                appended = _append(ctx, connection, {system: new})
                keep_hints(ctx, connection, {system: page.hints})
                feeds.move(connection, system, CHANGES, page.cursor, read_at=ctx.clock())
            ctx.repeats.remember(system, new)
            count += appended
            log_lines.recorded(
                ctx, f"poll {system}", upto=appended.last_offset, entries=appended.accepted
            )
            if not page.more:
                return count
        raise TooManyPages(
            f"no end after {MAX_PAGES} pages",
            system=system,
            call="changes",
            hint="it goes on from here at the next poll; report it if it comes again.",
        )


def land_inbox(
    ctx: HubContext, limit: int = 500, *, hinted: Callable[[str], None] = lambda _: None
) -> IngestCount:
    """Reads waiting webhooks into the ledger, oldest first, in one transaction. `hinted` is called
    afterwards for each source that says that its levels changed.

    A delivery that cannot be understood is given up with its reason and kept. One whose system must
    be asked something and does not answer waits for the next time; the others go on.
    """
    given_up: list[tuple[inbox.InboxRow, str]] = []
    read: list[str] = []
    with ctx.pg.connection() as connection:
        rows = inbox.take(connection, limit)
        found: dict[str, list[RawEvent]] = {}
        told: dict[str, list[LevelHint]] = {}
        done: list[int] = []
        silent: set[str] = set()
        for row in rows:
            if row.system in silent:
                continue
            try:
                connector = _connector(ctx, row.system)
                events = connector.parse(row.topic, row.delivery)
                hints = hints_of(connector, row.topic, row.delivery)
            except WebhookRefused as error:
                inbox.fail(connection, row.inbox_id, str(error), ctx.clock())
                given_up.append((row, str(error)))
            except SourceError as error:
                silent.add(row.system)
                feeds.failed(connection, row.system, CHANGES, str(error), ctx.clock())
            else:
                found.setdefault(row.system, []).extend(
                    replace(event, delivery=row.name) for event in events
                )
                told.setdefault(row.system, []).extend(hints)
                done.append(row.inbox_id)
                read.append(correlation.of_delivery(row.system, row.name))
        count = _append(ctx, connection, found)
        sources = keep_hints(ctx, connection, told)
        inbox.done(connection, done, ctx.clock())
    for system in sorted(sources):
        hinted(system)
    for row, why in given_up:
        log_lines.given_up(row.system, row.name, why)
    log_lines.recorded(ctx, "inbox", upto=count.last_offset, entries=count.accepted)
    if read and not count.accepted:
        log_lines.nothing_new("inbox", read)
    return count


def _connector(ctx: HubContext, system: str) -> Connector:
    """The connector of a delivery's system. Raises WebhookRefused if hub.yaml has none (any
    more).
    """
    if system not in ctx.connectors:
        raise WebhookRefused("hub.yaml has no such system", system=system, status=404)
    return ctx.connectors[system]


def _append(
    ctx: HubContext, connection: Connection, found: dict[str, list[RawEvent]]
) -> IngestCount:
    """Checks events of each system and appends them together."""
    events: list[LedgerEvent] = []
    bad = []
    for system, raw in found.items():
        checked, failed = check_events(ctx.hub, system, raw, ctx.clock())
        events += with_channel(ctx, system, checked)
        bad += failed
    if not events and not bad:
        return IngestCount()
    count = ledger.append_events(
        connection, events, bad, received_at=ctx.clock(), mapping_version=ctx.mapping_version
    )
    versions.require_mapping(connection, ctx.mapping_version)
    return count


def with_channel(
    ctx: HubContext, system: str, events: Sequence[LedgerEvent]
) -> Iterable[LedgerEvent]:
    """A shop's orders name no channel: they belong to the one channel that the shop is."""
    if ctx.connectors[system].capabilities.moves_at is MovesAt.NONE:
        return events
    channels = [channel.id for channel in ctx.hub.channels.values() if channel.system == system]
    if len(channels) != 1:
        return events
    return [
        replace(event, channel=channels[0])
        if event.type in SELLING and event.channel is None
        else event
        for event in events
    ]


def _land_file(ctx: HubContext, system: str, raw: RawSnapshot, report: LandReport) -> LandReport:
    """One file: checked, its Parquet durable, then registered, all in one transaction."""
    from inventory_pipeline.contracts.snapshots import check_snapshot

    accepted: list[CheckedSnapshot] = []
    rejected: list[RejectedSnapshot] = []
    offsets: list[int] = []
    with ctx.pg.connection() as connection:
        checked = check_snapshot(
            ctx.hub,
            system,
            raw,
            last_rows=lambda feed: ledger.last_accepted_rows(connection, system, feed),
        )
        for snapshot in checked:
            if isinstance(snapshot, RejectedSnapshot):
                ledger.reject_snapshot(connection, snapshot, landed_at=ctx.clock())
                rejected.append(snapshot)
                continue
            path = write_parquet(ctx.state, snapshot)
            offset = ledger.register_snapshot(
                connection,
                snapshot,
                path=path.relative_to(ctx.state).as_posix(),
                landed_at=ctx.clock(),
                mapping_version=ctx.mapping_version,
            )
            if offset is not None:
                accepted.append(snapshot)
                offsets.append(offset)
        versions.require_mapping(connection, ctx.mapping_version)
    for offset in offsets:
        log_lines.recorded(ctx, f"snapshots of {system}", upto=offset, entries=1)
    newest = max(
        [s.as_of for s in accepted] + ([report.as_of] if report.as_of else []), default=None
    )
    return replace(
        report,
        accepted=(*report.accepted, *accepted),
        rejected=(*report.rejected, *rejected),
        rows=report.rows + sum(snapshot.data_rows for snapshot in accepted),
        quarantined=report.quarantined + sum(len(snapshot.bad) for snapshot in accepted),
        as_of=newest,
        files=report.files + 1,
    )


@contextmanager
def _failures_kept(ctx: HubContext, system: str, feed: str) -> Iterator[None]:
    """Records why a feed could not be read, beside the feed, before the error goes on."""
    try:
        yield
    except SystemFailure as error:
        with ctx.pg.connection() as connection:
            feeds.failed(connection, system, feed, str(error), ctx.clock())
        raise
