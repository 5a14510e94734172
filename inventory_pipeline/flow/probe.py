"""Tries a system out: credentials, mapping, and one dry read of each kind. It never writes.

Nothing is stored either: what a probe reads is counted, shown and forgotten.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any, Protocol

from inventory_pipeline.config.policy import Hub
from inventory_pipeline.contracts.mapping import Mapping, mapping_of
from inventory_pipeline.core.errors import SystemFailure, WebhookRefused
from inventory_pipeline.core.ports import (
    Capabilities,
    ChangePage,
    Cursor,
    Delivery,
    Level,
    ListingRef,
    RawSnapshot,
    Verified,
)

SAMPLES = 5
LEVELS = 1000


class Readable(Protocol):
    """As much of a connector as a probe may touch: nothing here changes anything."""

    system: str
    capabilities: Capabilities

    def snapshots(self, seen: frozenset[str]) -> Iterator[RawSnapshot]: ...
    def changes(self, cursor: Cursor) -> ChangePage: ...
    def verify(self, delivery: Delivery) -> Verified: ...
    def read_levels(self, listings: Sequence[ListingRef] | None) -> Iterator[Level]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many of some identifiers the hub maps, with samples of those that it does not."""

    what: str  # "items", "locations", "our listings there"
    known: int
    unknown: int
    samples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One dry read. `problem` says why there is none; `whole` is False where it was cut short."""

    what: str  # snapshots | changes | levels | webhooks
    rows: int = 0
    seconds: float = 0
    whole: bool = True
    said: str = ""
    coverage: tuple[Coverage, ...] = ()
    quarantined: tuple[tuple[str, int, str], ...] = ()  # reason, rows, an example
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """What one system answered."""

    system: str
    connector: str
    capabilities: Capabilities
    readings: tuple[Reading, ...]

    @property
    def usable(self) -> bool:
        return not any(reading.problem for reading in self.readings)


def probe(
    hub: Hub, connector: Readable, *, now: datetime, most_levels: int = LEVELS
) -> ProbeReport:
    """Reads once whatever the system offers. Never raises for what the system does.

    Of snapshots the first is read, of changes the first page (from the beginning, or from the
    connector's own `…_since`), of levels at most `most_levels`.
    """
    able = connector.capabilities
    mapping = mapping_of(hub, connector.system)
    readings = []
    if able.snapshots:
        readings.append(_timed("snapshots", lambda: _snapshots(hub, connector, mapping)))
    if able.changes:
        readings.append(_timed("changes", lambda: _changes(hub, connector, mapping, now)))
    if able.levels:
        readings.append(_timed("levels", lambda: _levels(hub, connector, mapping, most_levels)))
    if able.webhooks:
        readings.append(_timed("webhooks", lambda: _webhooks(connector, now)))
    return ProbeReport(
        system=connector.system,
        connector=hub.systems[connector.system].connector,
        capabilities=able,
        readings=tuple(readings),
    )


def _timed(what: str, read: Callable[[], Reading]) -> Reading:
    started = time.monotonic()
    try:
        found = read()
    except SystemFailure as error:
        found = Reading(what=what, problem=str(error))
    return replace(found, seconds=round(time.monotonic() - started, 3))


def _snapshots(hub: Hub, connector: Readable, mapping: Mapping) -> Reading:
    from inventory_pipeline.contracts.snapshots import check_rows
    from inventory_pipeline.core.ledger import RejectedSnapshot

    raw = next(iter(connector.snapshots(frozenset())), None)
    if raw is None:
        return Reading(what="snapshots", said="there is none now")
    if raw.frame is None:
        return Reading(what="snapshots", problem=f"{raw.source} cannot be read: {raw.error}")
    checked = check_rows(hub, connector.system, raw)
    refused = [one for one in checked if isinstance(one, RejectedSnapshot)]
    bad = [row for one in checked if not isinstance(one, RejectedSnapshot) for row in one.bad]
    return Reading(
        what="snapshots",
        rows=len(raw.frame),
        said=raw.source,
        coverage=(
            _covered("items", _texts(raw.frame, "item"), mapping.item),
            _covered("locations", _texts(raw.frame, "location"), mapping.location),
        ),
        quarantined=_reasons((row.reason.value, row.message) for row in bad),
        problem="; ".join(one.message for one in refused),
    )


def _changes(hub: Hub, connector: Readable, mapping: Mapping, now: datetime) -> Reading:
    from inventory_pipeline.contracts.events import check_events

    page = connector.changes({})
    _, bad = check_events(hub, connector.system, page.events, now)
    bodies = [event.body for event in page.events if event.body]
    items = (str(body["item"]) for body in bodies if body.get("item"))
    places = (str(b[n]) for b in bodies for n in ("location", "to_location") if b.get(n))
    types = Counter(str(body.get("type")) for body in bodies)
    return Reading(
        what="changes",
        rows=len(page.events),
        whole=not page.more,
        said=", ".join(f"{count} {name}" for name, count in sorted(types.items())),
        coverage=(
            _covered("items", items, mapping.item),
            _covered("locations", places, mapping.location),
        ),
        quarantined=_reasons((row.reason.value, row.message) for row in bad),
    )


def _levels(hub: Hub, connector: Readable, mapping: Mapping, most: int) -> Reading:
    levels = list(islice(connector.read_levels(None), most + 1))
    whole = len(levels) <= most
    shown = {level.listing.external_id for level in levels}
    places = {level.listing.bucket_external for level in levels} - {""}
    buckets = {
        bucket.external
        for channel in hub.channels.values()
        if channel.system == connector.system
        for bucket in channel.buckets
    }
    coverage = [_covered("items", sorted(shown), mapping.item)]
    if places:
        coverage.append(_covered("places", sorted(places), lambda place: place in buckets))
    ours = _listings(hub, connector.system)
    if whole and ours:
        coverage.append(_covered("our listings there", ours, lambda item: item in shown))
    return Reading(
        what="levels", rows=min(len(levels), most), whole=whole, coverage=tuple(coverage)
    )


def _webhooks(connector: Readable, now: datetime) -> Reading:
    """Whether webhooks could be believed at all: an unsigned one must be refused for its
    signature.
    """
    try:
        connector.verify(Delivery(headers={}, body=b"{}", received_at=now))
    except WebhookRefused as error:
        if error.status == 403:  # no secret is set
            return Reading(what="webhooks", said=f"refused: {error.message}")
        return Reading(what="webhooks", said="signatures are checked; an unsigned one was refused")
    return Reading(what="webhooks", problem="an unsigned delivery was accepted")


def _listings(hub: Hub, system: str) -> list[str]:
    """External ids of the listings that the hub has in a channel's system."""
    if not any(channel.system == system for channel in hub.channels.values()):
        return []
    return [row.external_id for row in hub.catalog.identifiers if row.system == system]


def _covered(what: str, found: Iterable[str], known: Callable[[str], object]) -> Coverage:
    unique = dict.fromkeys(found)
    unknown = [one for one in unique if not known(one)]
    return Coverage(
        what=what,
        known=len(unique) - len(unknown),
        unknown=len(unknown),
        samples=tuple(unknown[:SAMPLES]),
    )


def _reasons(bad: Iterable[tuple[str, str]]) -> tuple[tuple[str, int, str], ...]:
    examples: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for reason, message in bad:
        examples.setdefault(reason, message)
        counts[reason] += 1
    return tuple((reason, counts[reason], examples[reason]) for reason in sorted(counts))


def _texts(frame: Any, column: str) -> Iterable[str]:
    if column not in frame.columns:
        return []
    return [str(value) for value in frame[column].dropna().unique()]
