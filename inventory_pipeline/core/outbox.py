"""What to do about each listing: nothing, read it, write it, or wait (SEMANTICS §8).

Pure decisions over the outbox's rows; quantities in thousandths of the channel's unit.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from inventory_pipeline.core.ports import ListingRef


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """One listing's state. `own_milli` is what the channel did itself since the base (sales <
    0).
    """

    channel: str
    listing: ListingRef
    sku: str
    desired_milli: int
    desired_offset: int
    policy_version: int
    computed_at: datetime
    occurred_at: datetime | None
    received_at: datetime | None
    base_milli: int | None
    base_sent_at: datetime | None
    base_answered_at: datetime | None
    own_milli: int
    uncertain: bool  # an own event may or may not be in the base
    last_own_at: datetime | None
    attempts: int
    looks: int = 0  # rises whenever something marks the row for a look
    unread: bool = False  # a write's outcome is unknown or its compare failed
    listed: bool = True

    @property
    def showing_milli(self) -> int | None:
        """What the channel must be showing; None where nothing is known of it."""
        return None if self.base_milli is None else self.base_milli + self.own_milli

    @property
    def needs_reading(self) -> bool:
        """Read first, even if desired equals what it must show."""
        return self.base_milli is None or self.uncertain or self.unread

    @property
    def settled(self) -> bool:
        """Nothing to do: it is known to show what it must."""
        return not self.needs_reading and self.showing_milli == self.desired_milli


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedWrite:
    """Set the listing of `row` to its desired value; `compare_milli` is what must stand there."""

    row: OutboxRow
    compare_milli: int


def plan_writes(rows: Iterable[OutboxRow]) -> list[PlannedWrite]:
    """Writes in the order in which they should leave (SEMANTICS §8, order under a rate limit).

    Only rows that are known (not `needs_reading`, or just read) and differ. Decreases first,
    nearest to zero first; then increases from zero; then the rest; ties by age, then by listing.
    """
    writes = [
        PlannedWrite(row=row, compare_milli=row.showing_milli)
        for row in rows
        if row.showing_milli is not None and row.showing_milli != row.desired_milli and row.listed
    ]
    return sorted(writes, key=_risk)


def _risk(write: PlannedWrite) -> tuple[int, int, datetime, str, str]:
    row = write.row
    if row.desired_milli < write.compare_milli:
        urgency, size = 0, row.desired_milli  # an oversell costs more than a late restock
    elif write.compare_milli <= 0:
        urgency, size = 1, 0
    else:
        urgency, size = 2, 0
    return (urgency, size, row.computed_at, row.listing.bucket, row.listing.external_id)


def must_wait(row: OutboxRow, *, now: datetime, skew: timedelta) -> datetime | None:
    """When an increase must wait until the channel's own events have settled; None: go on.

    Raising a number while an order of the last moments may still be on its way to the ledger would
    give the sold unit back. Lowering never waits.
    """
    showing = row.showing_milli
    if showing is None or row.desired_milli <= showing or row.last_own_at is None:
        return None
    calm_at = row.last_own_at + skew
    return calm_at if calm_at > now else None


def is_unexplained_drop(row: OutboxRow, reading_milli: int) -> bool:
    """Whether a reading is lower than what the channel must be showing and desired is above it.

    Then the channel most likely sold something whose order has not reached the ledger yet: raising
    its number now would give that unit back.
    """
    expected = row.showing_milli
    return expected is not None and reading_milli < min(expected, row.desired_milli)


def intent_key(channel: str, writes: Sequence[PlannedWrite]) -> str:
    """The idempotency key of a batch: from its content, so that the same intent has the same key.

    The base's time is part of it: setting the same number again after something else happened in
    between is another intent, and must not be answered from the channel's memory of the first.
    """
    digest = hashlib.sha256(channel.encode())
    for write in writes:
        row = write.row
        base = row.base_answered_at.isoformat() if row.base_answered_at else ""
        place = f"{row.listing.bucket}\x1f{row.listing.external_id}"
        digest.update(
            f"\x1e{place}\x1f{row.desired_milli}\x1f{write.compare_milli}"
            f"\x1f{row.desired_offset}\x1f{base}".encode()
        )
    return digest.hexdigest()[:32]
