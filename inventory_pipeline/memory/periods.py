"""Pushes in periods of five minutes, and counts of listings: what charts and big hubs are drawn
from.

A latency falls into one of STEPS steps, each a fifth longer than the one before: percentiles of any
number of periods come from their sums, at most a tenth off.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from time import perf_counter

from psycopg.rows import class_row

from inventory_pipeline.memory.postgres import Connection

PERIOD = timedelta(minutes=5)
GROWTH = 1.2
STEPS = 90  # the last one begins at about three hours
KEPT = timedelta(days=14)
# Answers come after their period has ended: what is younger than this is rolled again.
SETTLED = timedelta(minutes=15)
AT_ONCE = timedelta(hours=6)
ROLL_LOCK = 7_301_007


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Attempts that were sent in [begins_at, begins_at + length), over one channel or several."""

    begins_at: datetime
    acked: int
    failed: int
    other: int
    event_steps: Sequence[int]
    answer_steps: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Listings of one channel. `unwell`: waiting, failed or dead, each row counted once."""

    channel: str
    listings: int
    unwell: int
    waiting: int
    failed: int
    dead: int
    counted_at: datetime
    cost_ms: int


def percentile_s(steps: Sequence[int], share: float) -> float | None:
    """The latency in seconds that `share` of these stay below; None where there are none."""
    whole = sum(steps)
    if whole == 0:
        return None
    wanted, seen = max(1, ceil(share * whole)), 0
    for step, count in enumerate(steps):
        if seen + count >= wanted:
            within = (wanted - seen) / count
            return float(GROWTH ** (step + within)) / 1000
        seen += count
    return None


_STEP = (
    f"least({STEPS - 1}, floor(ln(greatest(1, 1000 * extract(epoch FROM {{}}))) / ln({GROWTH})))"
)
_ROLL = f"""
WITH sent AS (
    SELECT channel, outcome,
           date_bin('5 minutes', sent_at, timestamptz '2000-01-01 00:00:00+00') AS begins_at,
           CASE WHEN outcome = 'acked' AND occurred_at IS NOT NULL
                THEN {_STEP.format("answered_at - occurred_at")} END AS event_step,
           CASE WHEN outcome = 'acked'
                THEN {_STEP.format("answered_at - sent_at")} END AS answer_step
    FROM hub.attempts WHERE sent_at >= %(begin)s AND sent_at < %(until)s
), counted AS (
    SELECT channel, begins_at,
           count(*) FILTER (WHERE outcome = 'acked') AS acked,
           count(*) FILTER (WHERE outcome IN ('refused', 'unknown', 'busy')) AS failed,
           count(*) FILTER (
               WHERE outcome IS NULL OR outcome NOT IN ('acked', 'refused', 'unknown', 'busy')
           ) AS other
    FROM sent GROUP BY channel, begins_at
), event_counts AS (
    SELECT channel, begins_at, event_step AS step, count(*)::integer AS n
    FROM sent WHERE event_step IS NOT NULL GROUP BY 1, 2, 3
), answer_counts AS (
    SELECT channel, begins_at, answer_step AS step, count(*)::integer AS n
    FROM sent WHERE answer_step IS NOT NULL GROUP BY 1, 2, 3
)
INSERT INTO hub.channel_periods AS p
SELECT c.channel, c.begins_at, c.acked, c.failed, c.other,
       ARRAY(SELECT coalesce(e.n, 0) FROM generate_series(0, {STEPS - 1}) AS s(step)
             LEFT JOIN event_counts e ON e.channel = c.channel AND e.begins_at = c.begins_at
                  AND e.step = s.step ORDER BY s.step),
       ARRAY(SELECT coalesce(a.n, 0) FROM generate_series(0, {STEPS - 1}) AS s(step)
             LEFT JOIN answer_counts a ON a.channel = c.channel AND a.begins_at = c.begins_at
                  AND a.step = s.step ORDER BY s.step)
FROM counted c
ON CONFLICT (channel, begins_at) DO UPDATE SET
    acked = excluded.acked, failed = excluded.failed, other = excluded.other,
    event_steps = excluded.event_steps, answer_steps = excluded.answer_steps
"""


def roll(connection: Connection, *, at: datetime) -> None:
    """Brings the periods up to `at`, a few hours at most in one call; forgets the oldest.

    Repeating it is harmless; while another process does it, nothing is done.
    """
    mine = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (ROLL_LOCK,)).fetchone()
    if mine is None or not mine[0]:
        return
    row = connection.execute("SELECT rolled_to FROM hub.periods_cursor").fetchone()
    rolled_to: datetime | None = row[0] if row else None
    begin = (at - timedelta(days=1)) if rolled_to is None else rolled_to - SETTLED
    begin = _floor(max(begin, at - KEPT))
    until = min(at + PERIOD, begin + AT_ONCE)
    connection.execute(_ROLL, {"begin": begin, "until": until})
    connection.execute("UPDATE hub.periods_cursor SET rolled_to = %s", (min(until, at),))
    connection.execute("DELETE FROM hub.channel_periods WHERE begins_at < %s", (at - KEPT,))


def rolled_up(connection: Connection, *, at: datetime) -> bool:
    """Whether `roll` has reached `at`, give or take a period."""
    row = connection.execute("SELECT rolled_to FROM hub.periods_cursor").fetchone()
    return row is not None and row[0] is not None and row[0] > at - PERIOD


def periods(
    connection: Connection,
    channels: Sequence[str],
    *,
    since: datetime,
    until: datetime,
    length: timedelta = PERIOD,
) -> dict[str, list[Period]]:
    """Per channel, its periods of `length` (a multiple of five minutes), oldest first.

    Periods without attempts are left out.
    """
    found = connection.execute(
        "SELECT channel, date_bin(%s, begins_at, timestamptz '2000-01-01 00:00:00+00') AS bin,"
        " acked, failed, other, event_steps, answer_steps FROM hub.channel_periods"
        " WHERE channel = ANY(%s) AND begins_at >= %s AND begins_at < %s ORDER BY channel, bin",
        (length, list(channels), since, until),
    ).fetchall()
    grouped: dict[tuple[str, datetime], Period] = {}
    for channel, begins_at, acked, failed, other, event_steps, answer_steps in found:
        old = grouped.get((channel, begins_at))
        grouped[channel, begins_at] = Period(
            begins_at=begins_at,
            acked=acked + (old.acked if old else 0),
            failed=failed + (old.failed if old else 0),
            other=other + (old.other if old else 0),
            event_steps=_sum(old.event_steps, event_steps) if old else event_steps,
            answer_steps=_sum(old.answer_steps, answer_steps) if old else answer_steps,
        )
    told: dict[str, list[Period]] = {channel: [] for channel in channels}
    for (channel, _), period in grouped.items():
        told[channel].append(period)
    return told


def together(of: Sequence[Period]) -> Period | None:
    """Several periods as one, beginning with the first; None of none."""
    if not of:
        return None
    event_steps, answer_steps = of[0].event_steps, of[0].answer_steps
    for period in of[1:]:
        event_steps = _sum(event_steps, period.event_steps)
        answer_steps = _sum(answer_steps, period.answer_steps)
    return Period(
        begins_at=of[0].begins_at,
        acked=sum(period.acked for period in of),
        failed=sum(period.failed for period in of),
        other=sum(period.other for period in of),
        event_steps=event_steps,
        answer_steps=answer_steps,
    )


def count_listings(
    connection: Connection, channels: Sequence[str], *, at: datetime
) -> dict[str, Counts]:
    """Counts all listings of these channels: a scan of the outbox."""
    begin = perf_counter()
    found = connection.execute(
        """
        SELECT w.channel, count(o.channel),
               count(o.channel) FILTER (
                   WHERE o.look OR o.failure IS NOT NULL OR o.dead_at IS NOT NULL),
               count(o.channel) FILTER (WHERE o.look AND o.dead_at IS NULL),
               count(o.channel) FILTER (WHERE o.failure IS NOT NULL AND o.dead_at IS NULL),
               count(o.channel) FILTER (WHERE o.dead_at IS NOT NULL)
        FROM unnest(%s::text[]) AS w(channel)
        LEFT JOIN hub.outbox o ON o.channel = w.channel AND o.listed
        GROUP BY w.channel
        """,
        (list(channels),),
    ).fetchall()
    cost_ms = ceil(1000 * (perf_counter() - begin))
    return {
        channel: Counts(
            channel=channel, listings=listings, unwell=unwell, waiting=waiting, failed=failed,
            dead=dead, counted_at=at, cost_ms=cost_ms,
        )
        for channel, listings, unwell, waiting, failed, dead in found
    }  # fmt: skip


def keep_counts(connection: Connection, counts: Iterable[Counts]) -> None:
    """Keeps them for `counted`, in place of older ones."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO hub.channel_counts (channel, listings, unwell, waiting, failed, dead,"
            " counted_at, cost_ms) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (channel) DO UPDATE SET listings = excluded.listings,"
            " unwell = excluded.unwell, waiting = excluded.waiting, failed = excluded.failed,"
            " dead = excluded.dead, counted_at = excluded.counted_at, cost_ms = excluded.cost_ms",
            [
                (
                    c.channel,
                    c.listings,
                    c.unwell,
                    c.waiting,
                    c.failed,
                    c.dead,
                    c.counted_at,
                    c.cost_ms,
                )
                for c in sorted(counts, key=lambda c: c.channel)
            ],
        )


def counted(connection: Connection, channels: Sequence[str]) -> dict[str, Counts]:
    """What `keep_counts` kept, of those channels that it has counted."""
    with connection.cursor(row_factory=class_row(Counts)) as cursor:
        found = cursor.execute(
            "SELECT channel, listings, unwell, waiting, failed, dead, counted_at, cost_ms"
            " FROM hub.channel_counts WHERE channel = ANY(%s)",
            (list(channels),),
        ).fetchall()
    return {one.channel: one for one in found}


def _sum(a: Sequence[int], b: Sequence[int]) -> list[int]:
    return [x + y for x, y in zip(a, b, strict=True)]


def _floor(at: datetime) -> datetime:
    return at - timedelta(minutes=at.minute % 5, seconds=at.second, microseconds=at.microsecond)
