"""What to do about each listing: nothing, read it, write it, or wait (SEMANTICS §8).

Pure decisions over the outbox's rows; quantities in thousandths of the channel's unit.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from inventory_pipeline.core.ports import Basis, Capabilities, ListingRef
from inventory_pipeline.core.vocabulary import MovesAt

_DESIRED = -(1 << 62)  # stands for the row's desired value

# As the column `risk` of hub.outbox has them, which chooses the rows that are looked at.
FALLS_TO_ZERO = 0
FALLS_AT_MOST = 600_000
RISES_FROM_ZERO = 900_000
THE_REST = 1_800_000
SLOWEST_FALL_MILLI = 1_000
ONE_IN = 10  # places of a round, one of which belongs to whatever has waited longest

NEAR_ZERO_MILLI = 5_000
KEPT_REVISIONS = 10  # one in so many of a day's revisions is kept for what prevents overselling


class OutboxRow(NamedTuple):
    """One listing's state. `own_milli` is what the channel did itself since the base (sales <
    0).

    A tuple, since tens of thousands are made a second.
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
    base_kind: str | None = None  # write | reading | shadow
    bases: int = 0  # rises with every base
    falling_milli: int = 0  # by how much desired fell of late
    waiting_since: datetime | None = None  # None: since computed_at
    failing_since: datetime | None = None
    caused_by: int | None = None  # ledger offset of what moved desired; None: time alone
    raise_after: datetime | None = None  # the order behind an unexplained drop has time until then
    own_known: bool = True  # its own events were looked for: it had a base to look from

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

    @property
    def place(self) -> tuple[str, str]:
        """Bucket and external id: the listing within its channel."""
        listing = self.listing
        return (listing.bucket, listing.external_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedWrite:
    """Set the listing of `row` to `quantity_milli`; `compare_milli` is what must stand there.

    The quantity is the row's desired one, unless the guard lets it fall by its own orders only.
    """

    row: OutboxRow
    compare_milli: int
    quantity_milli: int = _DESIRED

    def __post_init__(self) -> None:
        if self.quantity_milli == _DESIRED:
            object.__setattr__(self, "quantity_milli", self.row.desired_milli)


def risk(desired_milli: int, showing_milli: int | None, falling_milli: int) -> int:
    """The smaller, the sooner: a decrease to zero, other decreases by the time that is left at the
    pace of late, increases from zero, the rest (SEMANTICS §8, order under a rate limit).
    """
    if showing_milli is None or desired_milli < showing_milli:
        if desired_milli <= 0:
            return FALLS_TO_ZERO
        pace = max(falling_milli, SLOWEST_FALL_MILLI)
        return 1 + FALLS_AT_MOST * desired_milli // (desired_milli + pace)
    return RISES_FROM_ZERO if showing_milli <= 0 else THE_REST


def plan_writes(rows: Iterable[OutboxRow]) -> list[PlannedWrite]:
    """Writes in the order in which they should leave (SEMANTICS §8, order under a rate limit).

    Only rows that are known (not `needs_reading`, or just read) and differ. By risk, ties by age,
    then by listing; and so that nothing starves, every tenth place is given to whatever has waited
    longest, whatever its risk.
    """
    writes = [
        PlannedWrite(row=row, compare_milli=showing, quantity_milli=row.desired_milli)
        for row in rows
        if (showing := row.showing_milli) is not None
        and showing != row.desired_milli
        and row.listed
    ]
    writes.sort(key=_urgency)
    return _oldest_between(writes) if len(writes) >= ONE_IN else writes


def _urgency(write: PlannedWrite) -> tuple[int, datetime, str, str]:
    row = write.row
    listing = row.listing
    return (
        risk(row.desired_milli, write.compare_milli, row.falling_milli),
        row.waiting_since or row.computed_at,
        listing.bucket,
        listing.external_id,
    )


def _oldest_between(writes: Sequence[PlannedWrite]) -> list[PlannedWrite]:
    """The same writes, in every tenth place the one that has waited longest of those left."""
    oldest = deque(
        sorted(range(len(writes)), key=lambda n: writes[n].row.waiting_since
               or writes[n].row.computed_at)
    )  # fmt: skip
    placed = bytearray(len(writes))
    ordered: list[PlannedWrite] = []
    by_risk = 0
    while len(ordered) < len(writes):
        if len(ordered) % ONE_IN == ONE_IN - 1:
            while placed[oldest[0]]:
                oldest.popleft()
            chosen = oldest.popleft()
        else:
            while placed[by_risk]:
                by_risk += 1
            chosen = by_risk
        placed[chosen] = 1
        ordered.append(writes[chosen])
    return ordered


def offerable(capabilities: Capabilities, quantity_milli: int) -> int:
    """The number that a channel is told instead of `quantity_milli`: never a higher one, so that
    its limits can sell nothing that is not there.
    """
    if capabilities.most_milli is not None and quantity_milli > capabilities.most_milli:
        return capabilities.most_milli
    return quantity_milli if quantity_milli >= capabilities.least_milli else min(quantity_milli, 0)


def must_wait(row: OutboxRow, *, now: datetime, skew: timedelta) -> datetime | None:
    """When an increase must wait until the channel's own events have settled; None: go on.

    Raising a number while an order of the last moments may still be on its way to the ledger would
    give the sold unit back. Lowering never waits.
    """
    showing = row.showing_milli
    if showing is None or row.desired_milli <= showing:
        return None
    waits = [row.raise_after] if row.raise_after is not None else []
    if row.last_own_at is not None:
        waits.append(row.last_own_at + skew)
    return max((calm_at for calm_at in waits if calm_at > now), default=None)


def is_unexplained_drop(row: OutboxRow, reading_milli: int) -> bool:
    """Whether a reading is lower than what the channel must be showing and desired is above it.

    Then the channel most likely sold something whose order has not reached the ledger yet: raising
    its number now would give that unit back.
    """
    expected = row.showing_milli
    return expected is not None and reading_milli < min(expected, row.desired_milli)


def must_be_fresh(capabilities: Capabilities, quantity_milli: int) -> bool:
    """Whether a listing is read just before this quantity is written.

    On basis on_hand always, because what the platform holds reserved is added. Otherwise where the
    channel sells by itself, sets absolute numbers and cannot compare: a number that it sold from
    meanwhile would be raised again. Zero gives nothing back, so zeros leave without it.
    """
    if not capabilities.levels:
        return False
    return capabilities.basis is Basis.ON_HAND or (
        capabilities.moves_at is not MovesAt.NONE
        and not capabilities.compare_and_swap
        and capabilities.write == "absolute"
        and quantity_milli > 0
    )


def must_be_verified(capabilities: Capabilities, quantity_milli: int) -> bool:
    """Whether a write is followed by a reading: the second half of an emulated compare-and-swap."""
    return not capabilities.compare_and_swap and must_be_fresh(capabilities, quantity_milli)


def revision_allowed(write: PlannedWrite, *, spent: int, per_day: int) -> bool:
    """Whether a listing that was revised `spent` times today may be revised once more.

    The last tenth of a day's revisions is kept for decreases to zero or near it.
    """
    kept = max(1, per_day // KEPT_REVISIONS) if per_day > 1 else 0
    if spent < per_day - kept:
        return True
    falls = write.quantity_milli < write.compare_milli
    return falls and write.quantity_milli <= NEAR_ZERO_MILLI and spent < per_day


def intent_key(channel: str, writes: Sequence[PlannedWrite]) -> str:
    """The idempotency key of a batch: from its content, so that the same intent has the same key.

    The base that it starts from is part of it: setting the same number again after something else
    happened in between is another intent, and must not be answered from the channel's memory of
    the first.
    """
    parts = [channel]
    for write in writes:
        row = write.row
        listing = row.listing
        base = row.base_answered_at.isoformat() if row.base_answered_at else ""
        parts.append(
            f"{listing.bucket}\x1f{listing.external_id}\x1f{write.quantity_milli}"
            f"\x1f{write.compare_milli}\x1f{row.desired_offset}\x1f{row.bases}\x1f{base}"
        )
    return hashlib.sha256("\x1e".join(parts).encode()).hexdigest()[:32]
