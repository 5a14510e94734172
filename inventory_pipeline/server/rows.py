"""What pages and API read from Postgres: one frozen row type for each query.

Quantities are integers in thousandths (`*_milli`) of the channel's unit for outbox and attempts, of
the base unit for ledger entries. Latencies are seconds. Times are timezone-aware UTC.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from inventory_pipeline.core.breaker import Breaker


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncState:
    """How far the computation is behind the ledger, and what waits before it."""

    ledger_head: int
    sync_offset: int
    computed_at: datetime | None
    next_wakeup_at: datetime | None
    holder: str
    waiting_since: datetime | None  # when the first entry that is not computed was received
    inbox_waiting: int
    inbox_failed: int

    @property
    def behind(self) -> int:
        """Ledger entries that no computation has seen yet."""
        return self.ledger_head - self.sync_offset


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelState:
    channel: str
    listings: int
    in_sync: int
    waiting: int
    failed: int
    dead: int
    counted_at: datetime  # of the numbers above
    failure: str  # what one of the failing listings says; "" where none fails
    open_variances: int
    oldest_variance: datetime | None
    held: int  # by the guard
    held_since: datetime | None
    breaker: Breaker | None
    last_push: datetime | None
    acked_last_hour: int
    failed_last_hour: int
    p50_s: float | None
    p95_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedState:
    """One feed of one system: where it was read to, and its last trouble."""

    system: str
    feed: str
    read_at: datetime | None
    as_of: datetime | None
    failed_at: datetime | None
    failure: str | None

    @property
    def failing(self) -> bool:
        """The last attempt to read it failed."""
        return self.failed_at is not None and (
            self.read_at is None or self.failed_at > self.read_at
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemState:
    """The newest of everything that one system sent."""

    system: str
    snapshot_as_of: datetime | None
    rejected_last_day: int
    last_event_at: datetime | None
    quarantined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    channel: str
    bucket: str
    external_id: str
    sku: str
    quantity_milli: int
    mode: str
    sent_at: datetime
    answered_at: datetime | None
    outcome: str | None
    error: str | None
    occurred_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """A listing whose last attempt failed; `look_after`: when it is tried again."""

    channel: str
    bucket: str
    external_id: str
    sku: str
    desired_milli: int
    base_milli: int | None
    attempts: int
    failure: str
    failing_since: datetime | None
    look_after: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingState:
    """One outbox row: what the hub wants shown, and the last quantity known to stand there."""

    channel: str
    bucket: str
    external_id: str
    sku: str
    units_milli: int
    desired_milli: int
    desired_offset: int
    computed_at: datetime
    base_milli: int | None
    base_kind: str | None
    base_answered_at: datetime | None
    listed: bool
    look: bool
    failure: str | None
    dead_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    ledger_offset: int
    kind: str
    system: str | None
    event_id: str | None
    type: str | None
    occurred_at: datetime
    received_at: datetime
    sku: str | None
    quantity_milli: int | None
    location: str | None
    to_location: str | None
    order_id: str | None
    line_id: str | None
    channel: str | None
    source: str
    correlation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Variance:
    variance_id: int
    comparison: str
    channel: str | None
    bucket: str | None
    external_id: str | None
    system: str | None
    location: str | None
    state: str | None
    sku: str | None
    expected_milli: int | None
    found_milli: int | None
    cause: str
    first_seen: datetime
    last_seen: datetime
    heal: str | None
    healed_at: datetime | None
    closed_at: datetime | None
    evidence: dict[str, Any]

    @property
    def units_milli(self) -> int:
        """How far off, in thousandths; 0 where one side has no number."""
        if self.expected_milli is None or self.found_milli is None:
            return 0
        return abs(self.found_milli - self.expected_milli)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Open variances that have one thing in common: `name` (cause, channel …) is `value`."""

    name: str
    value: str
    count: int
    oldest: datetime
    channel: str | None  # where all of them are of one


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRow:
    system: str
    feed: str
    source: str
    as_of: datetime | None
    status: str
    reason: str | None
    message: str | None
    data_rows: int
    quarantined_rows: int
    landed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedRow:
    quarantine_id: int
    system: str
    kind: str
    source: str
    position: str
    reason: str
    message: str
    raw: str
    received_at: datetime
