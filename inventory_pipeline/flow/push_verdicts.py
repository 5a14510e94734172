"""What checks decide about sending, reading and computing, from facts alone."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from inventory_pipeline.core.breaker import Breaker
from inventory_pipeline.core.verdicts import Level, Table, Verdict
from inventory_pipeline.flow.guard import GuardState
from inventory_pipeline.flow.verdicts import bad, duration, good, odd, units
from inventory_pipeline.memory.dead import DeadRow
from inventory_pipeline.memory.facts import Backlog
from inventory_pipeline.memory.wellbeing import FailingFeed, Latency, NegativePosition

SLOW_P95_S = 60.0
LATENCY_WINDOW = timedelta(hours=1)
FEWEST_FOR_LATENCY = 20
UNREADABLE_ERROR = timedelta(minutes=15)
BEHIND_WARNING = timedelta(minutes=2)
BEHIND_ERROR = timedelta(minutes=15)


def breaker_closed(breaker: Breaker) -> Verdict:
    """An open breaker means: nothing is sent, because the channel fails as a whole."""
    if not breaker.is_open:
        return good("the channel answers")
    since = breaker.since.isoformat() if breaker.since else "an unknown time"
    probe = breaker.next_probe_at.isoformat() if breaker.next_probe_at else "soon"
    return bad(f"nothing is sent since {since}: {breaker.why}. The next try is at {probe}")


def guard_holds_nothing(state: GuardState) -> Verdict:
    if not state.held or state.since is None:
        return good("nothing is held")
    rows = [
        (row.bucket, row.external_id, row.sku, units(row.from_milli), units(row.desired_milli))
        for row in state.worst
    ]
    return bad(
        f"{state.held} listings are held since {state.since.isoformat()}: look at "
        "`inventory-pipeline guard list`, then release or reject them",
        {"held": state.held},
        worst=Table(header=("bucket", "listing", "sku", "showed", "would show"), rows=rows),
    )


def no_dead_letters(dead: Sequence[DeadRow], *, most: int) -> Verdict:
    """`most`: the longest list that was asked for."""
    if not dead:
        return good("no listing was given up")
    rows = [(row.bucket, row.external_id, row.sku, row.failure.partition("\n")[0]) for row in dead]
    many = f"{len(dead)}{' or more' if len(dead) >= most else ''}"
    return bad(
        f"{many} listings were given up: look at `inventory-pipeline dead list`, mend the cause, "
        "then retry them",
        {"dead": len(dead)},
        newest=Table(header=("bucket", "listing", "sku", "what the channel said"), rows=rows),
    )


def fast_enough(latency: Latency | None) -> Verdict:
    """By what 95 of 100 events took from being received to the channel's answer."""
    if latency is None:
        return good("nothing was sent within the last hour")
    numbers = {
        "acked": latency.acked,
        "p50_seconds": round(latency.p50_s, 3),
        "p95_seconds": round(latency.p95_s, 3),
    }
    said = f"p50 {latency.p50_s:.1f} s, p95 {latency.p95_s:.1f} s over {latency.acked} writes"
    if latency.acked >= FEWEST_FOR_LATENCY and latency.p95_s > SLOW_P95_S:
        return odd(f"{said}: slower than {SLOW_P95_S:.0f} s", numbers)
    return good(said, **numbers)


def can_be_read(failing: Sequence[FailingFeed], *, now: datetime) -> Verdict:
    """A feed that failed for longer than a quarter of an hour is an error."""
    if not failing:
        return good("every feed was read")
    longest = max(now - (feed.read_at or feed.failed_at) for feed in failing)
    first = failing[0]
    return Verdict(
        level=Level.ERROR if longest > UNREADABLE_ERROR else Level.WARNING,
        description=f"{first.feed} cannot be read: {first.failure.partition(chr(10))[0]}",
        numbers={"failing": len(failing), "longest_seconds": longest.total_seconds()},
        tables={
            "failing": Table(
                header=("feed", "last read", "what went wrong"),
                rows=[
                    (feed.feed, feed.read_at.isoformat() if feed.read_at else "", feed.failure)
                    for feed in failing
                ],
            )
        },
    )


def keeps_up(backlog: Backlog, *, waiting_since: datetime | None, now: datetime) -> Verdict:
    """Entries that nobody computes mean that no sync runs."""
    behind = backlog.head - backlog.cursor
    if not behind or waiting_since is None:
        return good(f"everything up to offset {backlog.cursor} is computed", behind=behind)
    waited = now - waiting_since
    numbers = {"behind": behind, "waiting_seconds": waited.total_seconds()}
    if waited <= BEHIND_WARNING:
        return good(f"{behind} entries are being computed", **numbers)
    said = (
        f"{behind} entries wait, the first since {waiting_since.isoformat()}: look whether the "
        "daemon runs and what the newest sync run says"
    )
    return bad(said, numbers) if waited > BEHIND_ERROR else odd(said, numbers)


def nothing_below_zero(count: int, worst: Sequence[NegativePosition]) -> Verdict:
    """More was sold, issued or corrected at a place than its owner ever said was there."""
    if not count:
        return good("no position is below zero")
    rows = [
        (one.sku, one.location, units(one.on_hand_milli), one.since.isoformat(timespec="seconds"))
        for one in worst
    ]
    return odd(
        f"{count} positions are below zero: count them, or look at what `why` says of them",
        {"positions": count},
        worst=Table(header=("sku", "location", "on hand", "since"), rows=rows),
    )


def owners_were_heard(silent: Sequence[tuple[str, str]]) -> Verdict:
    """`silent`: (system, location) of owners of stock that a channel sells, never heard of."""
    if not silent:
        return good("every owner of stock that is sold was heard")
    names = sorted({system for system, _ in silent})
    return odd(
        f"nothing ever came from {', '.join(names)}: what it owns counts as 0",
        {"places": len(silent)},
        silent=Table(header=("system", "location"), rows=list(silent)),
    )


def everything_is_mapped(causes: Sequence[tuple[str, int, str]]) -> Verdict:
    """`causes`: (cause, listings, one of them) of unmapped and not_listed variances."""
    if not causes:
        return good("hub and channel know the same listings")
    said = {"unmapped": "no mapping knows", "not_listed": "the channel does not list"}
    parts = [
        f"{count} that {said.get(cause, cause)} (such as {one})" for cause, count, one in causes
    ]
    return odd(
        f"listings: {'; '.join(parts)}. Correct catalog/identifiers.csv, or list them there",
        {cause: count for cause, count, _ in causes},
    )


def deliveries_are_read(unread_since: datetime | None, *, now: datetime) -> Verdict:
    if unread_since is None or now - unread_since <= BEHIND_WARNING:
        return good("every delivery was read")
    age = duration(timedelta(seconds=int((now - unread_since).total_seconds())))
    said = f"a webhook waits for {age}: look whether an intake runs (`serve --intake` or `poll`)"
    return bad(said) if now - unread_since > BEHIND_ERROR else odd(said)
