"""What the ledger remembers: values that rooms hand to each other on the way in."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from inventory_pipeline.core.vocabulary import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEvent:
    """One valid event, mapped; quantities in thousandths of the base unit.

    `item`, `external_location`, `external_to_location` are as received; `content_hash` is of the
    JSON as received, numbers by value, and decides what a duplicate is (SEMANTICS §3).
    """

    system: str
    event_id: str
    type: str
    occurred_at: datetime
    received_at: datetime
    content_hash: bytes
    raw: str  # canonical JSON as received
    source: str
    position: str
    item: str | None = None
    sku: str | None = None
    quantity_milli: int | None = None
    external_location: str | None = None
    location: str | None = None
    external_to_location: str | None = None
    to_location: str | None = None
    reference: str | None = None
    order_id: str | None = None
    line_id: str | None = None
    reservation_id: str | None = None
    channel: str | None = None
    expires_at: datetime | None = None
    expected_at: datetime | None = None
    disposition: str | None = None
    reason: str | None = None
    delivery: str | None = None  # the id of the webhook that brought it


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """A row kept in quarantine: where it stood, what it was, and why it failed."""

    system: str
    kind: str  # event | snapshot_row
    source: str
    position: str
    reason: Reason
    message: str
    raw: str


def conflicting_duplicate(event: LedgerEvent) -> BadRow:
    """An event whose id came before with other content: kept aside (SEMANTICS §3)."""
    return BadRow(
        system=event.system,
        kind="event",
        source=event.source,
        position=event.position,
        reason=Reason.CONFLICTING_DUPLICATE,
        message=f"event_id {event.event_id} came before with other content; the first stays",
        raw=event.raw,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedSnapshot:
    """A snapshot that passed its shape checks, ready to land.

    `rows` is a pyarrow Table at the grain of the system's own rows: as_of timestamp[us, UTC]; item,
    external_location, sku, location string; units_milli int64; on_hand, damaged, quality_control,
    committed, reserved, incoming int64 in thousandths of the base unit, null where the cell was
    empty; held bool (true: a row of this (sku, location) is in quarantine, so its last value
    stays). A row that is itself in quarantine but whose sku and location are known is kept with
    held=true and null states.
    """

    system: str
    feed: str
    as_of: datetime
    complete: bool
    states: tuple[str, ...]  # the states carried
    source: str
    key: str
    rows: Any
    data_rows: int  # all data rows of this as_of, quarantined ones too: what max_drop counts
    bad: tuple[BadRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedSnapshot:
    """A snapshot refused whole; the last good one stays."""

    system: str
    feed: str
    source: str
    key: str
    reason: str
    message: str
    as_of: datetime | None = None
    data_rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestCount:
    """What became of a batch of events: shapes and units are counts of events."""

    accepted: int = 0
    duplicates: int = 0
    conflicting: int = 0
    quarantined: int = 0
    last_offset: int | None = None

    def __add__(self, other: "IngestCount") -> "IngestCount":
        return IngestCount(
            accepted=self.accepted + other.accepted,
            duplicates=self.duplicates + other.duplicates,
            conflicting=self.conflicting + other.conflicting,
            quarantined=self.quarantined + other.quarantined,
            last_offset=other.last_offset if other.last_offset is not None else self.last_offset,
        )
