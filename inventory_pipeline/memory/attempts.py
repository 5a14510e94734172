"""Attempts: what became of every write (SEMANTICS §8). An answer moves its listing's base.

Quantities in thousandths of the channel's unit. A batch without an answer is in memory/intents.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from inventory_pipeline.core.errors import SystemFailure
from inventory_pipeline.core.outbox import PlannedWrite
from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline.memory import intents
from inventory_pipeline.memory.arrays import flags, moments, numbers, texts
from inventory_pipeline.memory.postgres import Connection

LONGEST_ERROR = 2_000
_DONE = frozenset({"acked", "shadow"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one write, as the outbox remembers it.

    `alone`: the channel judged this very item, or it was sent alone, so that the failure is its
    own; `later`: when a failed one is tried again, None for at once.
    """

    write: PlannedWrite
    outcome: str  # acked | accepted | stale | split | busy | refused | unknown | shadow
    error: SystemFailure | None = None
    alone: bool = False
    later: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One batch as it left and was answered: the base lies within [base_sent_at, answered_at]."""

    channel: str
    key: str
    epoch: int
    mode: Mode
    sent_at: datetime
    answered_at: datetime
    base_sent_at: datetime
    verify_at: datetime | None = None  # an eventual channel is asked then whether it shows it
    adds: bool = False  # a delta: the base stays that of its moment, and changes by as much
    calm_after: datetime | None = None  # own events since then are near the write


@dataclass(frozen=True, slots=True, kw_only=True)
class GivingUp:
    """When a failing listing goes to the dead letter (`push` in hub.yaml). `acked_at`: when the
    channel last accepted anything; a channel that accepts nothing says nothing about a listing.
    """

    max_attempts: int
    give_up: timedelta
    acked_at: datetime | None


_Batch = tuple[Sequence[Answer], Sent]

_LOG = (
    "INSERT INTO hub.attempts (key, channel, bucket, external_id, sku, epoch, quantity_milli,"
    " compare_milli, desired_offset, policy_version, mode, occurred_at, received_at, computed_at,"
    " sent_at, answered_at, outcome, error, caused_by) "
)
_AGAIN = (
    " ON CONFLICT (channel, bucket, external_id, key) DO UPDATE SET epoch = excluded.epoch,"
    " answered_at = excluded.answered_at, outcome = excluded.outcome, error = excluded.error"
)
# A newer desired value may have come since: its times are not those of what was sent.
_TIMES = (
    "CASE WHEN o.desired_offset = a.desired_offset THEN o.occurred_at END AS occurred_at,"
    " CASE WHEN o.desired_offset = a.desired_offset THEN o.received_at END AS received_at,"
    " CASE WHEN o.desired_offset = a.desired_offset THEN o.caused_by END AS caused_by,"
    " CASE WHEN o.desired_offset = a.desired_offset THEN o.computed_at"
    " ELSE least(o.computed_at, {sent_at}) END AS computed_at"
)
_PLACE = "o.channel = %(channel)s AND o.bucket = a.bucket AND o.external_id = a.external_id"

# One statement for all that these batches changed: bases, looks, and the entries in the log. A row
# is looked at once more only if something marked it meanwhile, or if an own event is near it. `n`:
# which of the batches a listing was in; keys and times are theirs.
_ACKED = f"""
WITH a AS MATERIALIZED (
    SELECT p.*, (%(keys)s::text[])[n] AS key, (%(sent)s::timestamptz[])[n] AS sent_at,
        (%(answered)s::timestamptz[])[n] AS answered_at, (%(read)s::timestamptz[])[n] AS read_at,
        (%(verify)s::timestamptz[])[n] AS verify_at
    FROM unnest(%(buckets)s::text[], %(ids)s::text[], %(quantities)s::bigint[],
        %(compares)s::bigint[], %(offsets)s::bigint[], %(policies)s::integer[],
        %(looks)s::bigint[], %(calm)s::boolean[], %(n)s::integer[]) AS p (bucket, external_id,
        quantity, compare, desired_offset, policy_version, looks, calm, n)
), moved AS (
    UPDATE hub.outbox o SET
        base_milli = CASE WHEN %(adds)s::boolean THEN o.base_milli + a.quantity - a.compare
                          ELSE a.quantity END,
        base_sent_at = CASE WHEN %(adds)s::boolean THEN o.base_sent_at ELSE a.read_at END,
        base_answered_at = CASE WHEN %(adds)s::boolean THEN o.base_answered_at
                                ELSE a.answered_at END,
        base_kind = %(kind)s::text, bases = o.bases + 1, verify_at = a.verify_at,
        unread = false, open_key = NULL, attempts = 0, failure = NULL, failing_since = NULL,
        waiting_since = NULL,
        look = NOT (a.calm AND o.looks = a.looks AND a.quantity = o.desired_milli)
               OR a.verify_at IS NOT NULL,
        look_after = CASE WHEN o.looks = a.looks AND a.quantity = o.desired_milli AND a.calm
                          THEN a.verify_at END
    FROM a WHERE {_PLACE}
    RETURNING o.bucket, o.external_id, o.sku, a.quantity, a.compare, a.desired_offset,
        a.policy_version, a.key, a.sent_at, a.answered_at, {_TIMES.format(sent_at="a.sent_at")}
)
{_LOG}
SELECT key, %(channel)s, bucket, external_id, sku, %(epoch)s, quantity, compare, desired_offset,
    policy_version, %(mode)s, occurred_at, received_at, computed_at, sent_at, answered_at,
    %(outcome)s, NULL, caused_by FROM moved
{_AGAIN}
"""

# Dead: what the channel will never take, and what failed too often or too long of itself.
_FAILED = f"""
WITH a AS MATERIALIZED (
    SELECT * FROM unnest(%(buckets)s::text[], %(ids)s::text[], %(quantities)s::bigint[],
        %(compares)s::bigint[], %(offsets)s::bigint[], %(policies)s::integer[],
        %(looks)s::bigint[], %(outcomes)s::text[], %(errors)s::text[], %(alone)s::boolean[],
        %(later)s::timestamptz[])
        AS a (bucket, external_id, quantity, compare, desired_offset, policy_version, looks,
              outcome, error, alone, later)
), judged AS (
    SELECT a.*, o.sku, {_TIMES.format(sent_at="%(sent_at)s::timestamptz")},
        o.attempts + (a.later IS NOT NULL AND a.outcome IN ('unknown', 'busy', 'refused'))::integer
            AS tried,
        CASE WHEN a.outcome IN ('unknown', 'busy', 'refused') AND a.later IS NOT NULL
             THEN coalesce(o.failing_since, %(answered_at)s::timestamptz)
             ELSE o.failing_since END AS since
    FROM a JOIN hub.outbox o ON {_PLACE}
), moved AS (
    UPDATE hub.outbox o SET
        open_key = CASE WHEN a.outcome IN ('split', 'accepted')
            OR a.outcome = 'unknown' AND a.later IS NULL THEN o.open_key END,
        attempts = a.tried, failing_since = a.since,
        failure = CASE WHEN a.outcome = 'split' THEN o.failure ELSE a.error END,
        unread = o.unread OR a.outcome = 'stale'
            OR a.outcome = 'unknown' AND a.later IS NOT NULL,
        look_after = CASE WHEN o.looks = a.looks AND a.outcome <> 'split' THEN a.later
                          ELSE o.look_after END,
        dead_at = CASE
            WHEN o.looks <> a.looks OR a.outcome NOT IN ('unknown', 'busy', 'refused')
                OR a.later IS NULL THEN o.dead_at
            WHEN a.outcome = 'refused'
                OR a.tried >= %(max_attempts)s AND (a.alone OR a.since < %(acked_at)s::timestamptz)
                OR a.since + %(give_up)s::interval <= %(answered_at)s::timestamptz
            THEN %(answered_at)s::timestamptz END
    FROM judged a WHERE {_PLACE}
)
{_LOG}
SELECT %(key)s::text, %(channel)s, bucket, external_id, sku, %(epoch)s, quantity, compare,
    desired_offset, policy_version, %(mode)s, occurred_at, received_at, computed_at,
    %(sent_at)s::timestamptz, %(answered_at)s::timestamptz, outcome, error, caused_by FROM judged
{_AGAIN}
"""


def store_answers(
    connection: Connection, answered: Sequence[tuple[Sequence[Answer], Sent]], giving_up: GivingUp
) -> None:
    """Logs the attempts and moves each listing's base as its outcome says. One listing is in one of
    the batches at most.

    acked, shadow: the value is the base. accepted: as it was, until its receipt says more. stale,
    unknown: read first. busy: as it was. split: as it was, and sent again at once in a smaller
    batch. refused: dead until its desired value or its mapping changes. A failure counts as one of
    the listing's attempts if it has a `later`; without one it is the channel's, not the listing's,
    and an unknown outcome without one waits to be sent again with its key.
    """
    done = [([a for a in answers if a.outcome in _DONE], sent) for answers, sent in answered]
    for alike in _alike([(answers, sent) for answers, sent in done if answers]):
        _store_done(connection, alike)
    for answers, sent in answered:
        failed = [a for a in answers if a.outcome not in _DONE]
        if failed:
            _store_failed(connection, failed, sent, giving_up)


def _alike(done: Sequence[_Batch]) -> Iterator[Sequence[_Batch]]:
    """Batches that one statement stores."""
    groups: dict[tuple[object, ...], list[_Batch]] = {}
    for answers, sent in done:
        kind = (answers[0].outcome, sent.channel, sent.epoch, sent.mode, sent.adds)
        groups.setdefault(kind, []).append((answers, sent))
    yield from groups.values()


def _store_done(connection: Connection, batches: Sequence[_Batch]) -> None:
    answers = [a for some, _ in batches for a in some]
    sents = [sent for _, sent in batches]
    first, outcome = sents[0], answers[0].outcome
    connection.execute(
        _ACKED,
        _values(answers, first) | {
            "n": numbers([n for n, (some, _) in enumerate(batches, 1) for _ in some]),
            "calm": flags([_is_calm(a.write, s.calm_after) for some, s in batches for a in some]),
            "keys": texts([sent.key for sent in sents]),
            "sent": moments([sent.sent_at for sent in sents]),
            "answered": moments([sent.answered_at for sent in sents]),
            "read": moments([sent.base_sent_at for sent in sents]),
            "verify": moments([sent.verify_at for sent in sents]),
            "adds": first.adds, "outcome": outcome,
            "kind": "shadow" if outcome == "shadow" else "write",
        },
    )  # fmt: skip


def _store_failed(
    connection: Connection, failed: Sequence[Answer], sent: Sent, giving_up: GivingUp
) -> None:
    values = _values(failed, sent) | {
        "key": sent.key, "sent_at": sent.sent_at, "answered_at": sent.answered_at,
        "outcomes": [a.outcome for a in failed],
        "errors": [str(a.error)[:LONGEST_ERROR] if a.error else None for a in failed],
        "alone": flags([a.alone for a in failed]),
        "later": moments([a.later for a in failed]),
        "max_attempts": giving_up.max_attempts, "give_up": giving_up.give_up,
        "acked_at": giving_up.acked_at,
    }  # fmt: skip
    connection.execute(_FAILED, values)


def _is_calm(write: PlannedWrite, after: datetime | None) -> bool:
    """Whether none of the listing's own events is dated near the write."""
    row = write.row
    if after is None:
        return True
    return row.own_known and (row.last_own_at is None or row.last_own_at < after)


def _values(answers: Sequence[Answer], sent: Sent) -> dict[str, object]:
    rows = [a.write.row for a in answers]
    listings = [row.listing for row in rows]
    return {
        "channel": sent.channel, "epoch": sent.epoch, "mode": sent.mode,
        "buckets": texts([listing.bucket for listing in listings]),
        "ids": texts([listing.external_id for listing in listings]),
        "quantities": numbers([a.write.quantity_milli for a in answers]),
        "compares": numbers([a.write.compare_milli for a in answers]),
        "offsets": numbers([row.desired_offset for row in rows]),
        "policies": numbers([row.policy_version for row in rows]),
        "looks": numbers([row.looks for row in rows]),
    }  # fmt: skip


def abandon_open_attempts(connection: Connection, *, epoch: int, at: datetime) -> int:
    """Attempts that an earlier drain left unanswered: outcome unknown, so their rows are read
    first. Returns how many.
    """
    return intents.abandon(connection, epoch=epoch, at=at)


def revisions_since(
    connection: Connection, channel: str, places: Sequence[tuple[str, str]], since: datetime
) -> dict[tuple[str, str], int]:
    """(bucket, external id) → how often it was revised since; what was refused or not sent does
    not count, what may have been applied does.
    """
    if not places:
        return {}
    buckets, external_ids = zip(*places, strict=True)
    rows = connection.execute(
        "SELECT a.bucket, a.external_id, count(*) FROM hub.attempts a"
        " JOIN unnest(%s::text[], %s::text[]) AS p (bucket, external_id)"
        " USING (bucket, external_id) WHERE a.channel = %s AND a.sent_at >= %s"
        " AND a.outcome IN ('acked', 'accepted', 'unknown') GROUP BY a.bucket, a.external_id",
        (list(buckets), list(external_ids), channel, since),
    )
    return {(bucket, external_id): count for bucket, external_id, count in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWrite:
    """The newest attempt of a listing, and what stood there before the newest acknowledged one."""

    outcome: str | None  # None: under way; accepted: not applied yet
    failure: str
    before_milli: int | None
    acked_at: datetime | None


def last_writes(connection: Connection, channel: str) -> Mapping[tuple[str, str], LastWrite]:
    """(bucket, external id) → its last write, for every listing of the channel that was written."""
    rows = connection.execute(
        "SELECT DISTINCT ON (a.bucket, a.external_id) a.bucket, a.external_id, a.outcome,"
        " coalesce(o.failure, ''), k.compare_milli, k.answered_at"
        " FROM hub.attempts a JOIN hub.outbox o USING (channel, bucket, external_id)"
        " LEFT JOIN LATERAL (SELECT compare_milli, answered_at FROM hub.attempts k"
        "  WHERE k.channel = a.channel AND k.bucket = a.bucket AND k.external_id = a.external_id"
        "  AND k.outcome = 'acked' ORDER BY k.sent_at DESC LIMIT 1) k ON true"
        " WHERE a.channel = %s ORDER BY a.bucket, a.external_id, a.sent_at DESC",
        (channel,),
    )
    found = {
        (bucket, external_id): LastWrite(
            outcome=outcome, failure=failure, before_milli=before, acked_at=acked_at
        )
        for bucket, external_id, outcome, failure, before, acked_at in rows
    }
    under_way = connection.execute(
        "SELECT p.bucket, p.external_id FROM hub.intents i,"
        " unnest(i.buckets, i.external_ids) AS p (bucket, external_id)"
        " WHERE i.channel = %s AND i.state <> 'accepted'",
        (channel,),
    )
    nothing = LastWrite(outcome=None, failure="", before_milli=None, acked_at=None)
    for place in under_way.fetchall():
        was = found.get(place, nothing)
        found[place] = LastWrite(
            outcome=None, failure=was.failure, before_milli=was.before_milli, acked_at=was.acked_at
        )
    return found
