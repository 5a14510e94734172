"""What each check decides, from facts alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from inventory_pipeline.core.quantities import MILLI
from inventory_pipeline.core.verdicts import Level, Number, Table, Verdict
from inventory_pipeline.core.vocabulary import Rejection
from inventory_pipeline.core.wording import counted
from inventory_pipeline.memory.facts import Landed, LedgerShape, OpenVariance, Variances

SCHEMA_REASONS = frozenset({Rejection.MISSING_COLUMNS, Rejection.UNREADABLE, Rejection.EMPTY})
# Plausible means: nothing here proves an error, everything beyond it wants a person's look.
MAX_QUARANTINED_PERCENT = 5
MAX_CHANGE_PERCENT = 50
MAX_NEGATIVE_PERCENT = 5
MAX_AHEAD = timedelta(minutes=5)
QUARANTINE_WINDOW = timedelta(hours=1)


def good(description: str, **numbers: Number) -> Verdict:
    return Verdict(level=Level.GOOD, description=description, numbers=numbers)


def odd(description: str, numbers: Mapping[str, Number] | None = None, **tables: Table) -> Verdict:
    """A warning."""
    return Verdict(
        level=Level.WARNING, description=description, numbers=numbers or {}, tables=tables
    )


def bad(description: str, numbers: Mapping[str, Number] | None = None, **tables: Table) -> Verdict:
    """An error."""
    return Verdict(level=Level.ERROR, description=description, numbers=numbers or {}, tables=tables)


def snapshot_schema(snapshots: Sequence[Landed]) -> Verdict:
    """Fails while a feed's newest snapshot could not be read or lacks columns."""
    return _newest_rejected(snapshots, schema=True) or good(
        "every feed's newest snapshot is readable"
    )


def snapshot_completeness(snapshots: Sequence[Landed]) -> Verdict:
    """Fails while a feed's newest snapshot was refused for its rows: too few, or at odds."""
    return _newest_rejected(snapshots, schema=False) or good(
        "no feed's newest snapshot lost too many rows or contradicts itself"
    )


def _newest_rejected(snapshots: Sequence[Landed], *, schema: bool) -> Verdict | None:
    rejected = [
        landed
        for landed in _newest_by_feed(snapshots)
        if not landed.accepted and (landed.reason in SCHEMA_REASONS) is schema
    ]
    if not rejected:
        return None
    first = rejected[0]
    return bad(
        f"{first.source} was rejected ({first.reason}): {first.message}. The last good one stays.",
        rejected=Table(
            header=("feed", "file", "reason", "what is wrong"),
            rows=[(one.feed, one.source, one.reason, one.message) for one in rejected],
        ),
    )


def _newest_by_feed(snapshots: Sequence[Landed]) -> list[Landed]:
    newest: dict[str, Landed] = {}
    for landed in snapshots:  # newest first
        # One that was too broken to say which feed it is of is past once a good one has landed.
        if landed.feed or not any(later.accepted for later in newest.values()):
            newest.setdefault(landed.feed, landed)
    return list(newest.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What an accepted snapshot adds up to; units in thousandths of the base unit."""

    on_hand_milli: int
    rows: int
    negative_rows: int


def snapshot_plausibility(
    newest: Landed | None, totals: Totals | None, before: Totals | None
) -> Verdict:
    """Warns about an accepted snapshot that looks like a mistake; it counts all the same."""
    if newest is None:
        return good("no snapshot yet")
    doubts = [
        *_rows_doubts(newest),
        *(_totals_doubts(totals, before) if totals is not None else ()),
    ]
    if not doubts:
        return good(f"{newest.source} looks as expected", rows=newest.data_rows)
    return odd(f"{newest.source}: " + "; ".join(doubts), {"rows": newest.data_rows})


def _rows_doubts(newest: Landed) -> list[str]:
    doubts = []
    if newest.as_of is not None and newest.as_of > newest.landed_at + MAX_AHEAD:
        doubts.append(f"it is dated {newest.as_of.isoformat()}, ahead of the clock here")
    if newest.quarantined_rows * 100 > newest.data_rows * MAX_QUARANTINED_PERCENT:
        doubts.append(f"{newest.quarantined_rows} of {newest.data_rows} rows are in quarantine")
    return doubts


def _totals_doubts(totals: Totals, before: Totals | None) -> list[str]:
    doubts = []
    if totals.negative_rows * 100 > totals.rows * MAX_NEGATIVE_PERCENT:
        doubts.append(f"{totals.negative_rows} of {totals.rows} rows have negative stock")
    if before is not None and before.on_hand_milli > 0:
        moved = abs(totals.on_hand_milli - before.on_hand_milli)
        if moved * 100 > before.on_hand_milli * MAX_CHANGE_PERCENT:
            doubts.append(
                f"on hand went from {units(before.on_hand_milli)} units "
                f"to {units(totals.on_hand_milli)}"
            )
    return doubts


def freshness(newest: Mapping[str, datetime], *, max_age: timedelta, now: datetime) -> Verdict:
    """By the source's own as_of: a file that arrives late is old, however new its arrival."""
    if not newest:
        return odd("no snapshot was accepted yet")
    ages = {feed: now - as_of for feed, as_of in newest.items()}
    feed, age = max(ages.items(), key=lambda pair: pair[1])
    seconds = {"age_seconds": age.total_seconds(), "max_age_seconds": max_age.total_seconds()}
    if age > max_age:
        return odd(
            f"feed {feed} speaks of {newest[feed].isoformat()}: older than {duration(max_age)}",
            seconds,
        )
    return good(f"the oldest feed speaks of {newest[feed].isoformat()}", **seconds)


def no_negative_ats(negative: Sequence[tuple[str, str, str, int]]) -> Verdict:
    """No listing may be told a quantity below zero (SEMANTICS §6, step 10)."""
    if not negative:
        return good("no listing is below zero")
    return bad(
        f"{len(negative)} or more listings would show less than nothing: the calculation is wrong",
        worst=Table(
            header=("bucket", "listing", "sku", "quantity"),
            rows=[(bucket, listing, sku, units(n)) for bucket, listing, sku, n in negative],
        ),
    )


def shows_what_it_must(
    found: Variances,
    *,
    escalate_after: timedelta,
    now: datetime,
    place: tuple[str, str] = ("bucket", "listing"),
) -> Verdict:
    """Open variances warn at first; they are an error once the oldest passes `escalate_after`.
    `place`: what the first two columns of their table are called.
    """
    if found.finished_at is None:
        return good("not compared yet: `inventory-pipeline reconcile` does it now")
    if found.total == 0 or found.oldest is None:
        return good(f"no variance at {_second(found.finished_at)}", variances=found.total)
    age = now - found.oldest
    return Verdict(
        level=Level.ERROR if age > escalate_after else Level.WARNING,
        description=f"{counted(found.total, 'variance')}, the oldest since {_second(found.oldest)}",
        numbers={"variances": found.total, "oldest_seconds": age.total_seconds()},
        tables={
            "worst": Table(
                header=(*place, "sku", "must show", "shows", "cause", "since"),
                rows=[_variance_row(one) for one in found.worst],
            )
        },
    )


def cannot_be_asked(system: str) -> Verdict:
    return good(f"{system} cannot be asked what it shows: nothing to compare")


def _variance_row(one: OpenVariance) -> tuple[str, ...]:
    return (
        one.bucket,
        one.external_id,
        one.sku,
        units(one.expected_milli),
        units(one.found_milli),
        one.cause,
        _second(one.first_seen),
    )


def _second(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def gapless(shape: LedgerShape) -> Verdict:
    """Every offset up to the counter has exactly one entry."""
    numbers = {"counter": shape.counter, "greatest_offset": shape.greatest, "rows": shape.rows}
    if shape.counter == shape.greatest == shape.rows:
        return good(f"offsets 1 to {shape.counter} are all there", **numbers)
    return bad(
        f"the counter says {shape.counter}, the greatest offset is {shape.greatest}, "
        f"and there are {shape.rows} entries: entries were removed or added by hand",
        numbers,
    )


def quarantine_grows(held: int, fresh: int, commonest: Sequence[tuple[str, str, int]]) -> Verdict:
    """Warns while rows keep coming into quarantine; old ones alone are only counted."""
    if not fresh:
        return good(f"{counted(held, 'row')} held, none of them new", held=held, fresh=fresh)
    rows = [(system, reason, str(count)) for system, reason, count in commonest]
    return odd(
        f"{counted(fresh, 'row')} came into quarantine within {duration(QUARANTINE_WINDOW)}, "
        f"{held} held in all",
        {"held": held, "fresh": fresh},
        commonest=Table(header=("system", "reason", "rows"), rows=rows),
    )


def duration(span: timedelta) -> str:
    """As hub.yaml writes it: an integer and d, h, m or s."""
    seconds = int(span.total_seconds())
    for letter, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length}{letter}"
    return f"{seconds}s"


def units(milli: int | None) -> str:
    """Thousandths as a plain decimal number; empty for nothing."""
    if milli is None:
        return ""
    whole, rest = divmod(abs(milli), MILLI)
    sign = "-" if milli < 0 else ""
    return f"{sign}{whole}" + (f".{rest:03d}".rstrip("0") if rest else "")
