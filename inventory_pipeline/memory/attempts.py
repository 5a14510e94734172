"""Attempts: intent and key stored before a request leaves, and what became of it (SEMANTICS §8).

An answer moves its listing's base. Quantities in thousandths of the channel's unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from inventory_pipeline.core.errors import SystemFailure
from inventory_pipeline.core.outbox import PlannedWrite
from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline.memory.places import UNTOUCHED, each, place, seen
from inventory_pipeline.memory.postgres import Connection


def store_intents(
    connection: Connection,
    writes: Sequence[PlannedWrite],
    *,
    key: str,
    epoch: int,
    mode: Mode,
    sent_at: datetime,
) -> None:
    """Stores intent and key before the request leaves (SEMANTICS §8)."""
    each(
        connection,
        "INSERT INTO hub.attempts (key, channel, bucket, external_id, sku, epoch, quantity_milli,"
        " compare_milli, desired_offset, policy_version, mode, occurred_at, received_at,"
        " computed_at, sent_at) VALUES"
        " (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (channel, bucket, external_id, key) DO UPDATE SET epoch = excluded.epoch,"
        " sent_at = excluded.sent_at, answered_at = NULL, outcome = NULL, error = NULL",
        [
            (
                key, *place(w.row), w.row.sku, epoch, w.row.desired_milli, w.compare_milli,
                w.row.desired_offset, w.row.policy_version, mode, w.row.occurred_at,
                w.row.received_at, w.row.computed_at, sent_at,
            )
            for w in writes
        ],
    )  # fmt: skip
    each(
        connection,
        "UPDATE hub.outbox SET open_key = %s"
        " WHERE channel = %s AND bucket = %s AND external_id = %s",
        [(key, *place(w.row)) for w in writes],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one write, as the outbox remembers it."""

    write: PlannedWrite
    outcome: str  # acked | stale | split | busy | refused | unknown | shadow
    error: SystemFailure | None = None


def store_answers(
    connection: Connection,
    answers: Sequence[Answer],
    *,
    key: str,
    sent_at: datetime,
    answered_at: datetime,
    look_again_at: datetime,
) -> None:
    """Closes the attempts and moves each listing's base as its outcome says.

    acked, shadow: the value is the base. stale, unknown: read first. busy: as it was. split: as it
    was, and sent again at once without the item that spoiled its batch. refused: dead until its
    desired value or its mapping changes. Failures look again at `look_again_at`.
    """
    each(
        connection,
        "UPDATE hub.attempts SET answered_at = %s, outcome = %s, error = %s"
        " WHERE channel = %s AND bucket = %s AND external_id = %s AND key = %s",
        [
            (answered_at, a.outcome, str(a.error) if a.error else None, *place(a.write.row), key)
            for a in answers
        ],
    )
    acked = [a for a in answers if a.outcome in {"acked", "shadow"}]
    # Still looked at once more: an own event near the write would make it uncertain.
    each(
        connection,
        "UPDATE hub.outbox SET base_milli = %s, base_kind = 'write', base_sent_at = %s,"
        " base_answered_at = %s, unread = false, open_key = NULL, attempts = 0, failure = NULL,"
        " look_after = NULL WHERE channel = %s AND bucket = %s AND external_id = %s",
        [(a.write.row.desired_milli, sent_at, answered_at, *place(a.write.row)) for a in acked],
    )
    failed = [a for a in answers if a.outcome in {"stale", "busy", "unknown", "refused"}]
    each(
        connection,
        "UPDATE hub.outbox SET open_key = NULL, attempts = attempts + %s, failure = %s,"
        " unread = unread OR %s WHERE channel = %s AND bucket = %s AND external_id = %s",
        [
            (
                0 if a.outcome == "stale" else 1,
                str(a.error),
                a.outcome in {"stale", "unknown"},
                *place(a.write.row),
            )
            for a in failed
        ],
    )
    each(
        connection,
        f"UPDATE hub.outbox SET look_after = %s, dead_at = %s WHERE {UNTOUCHED}",
        [
            (
                None if a.outcome == "stale" else look_again_at,
                answered_at if a.outcome == "refused" else None,
                *seen(a.write.row),
            )
            for a in failed
        ],
    )


def abandon_open_attempts(connection: Connection, *, epoch: int, at: datetime) -> int:
    """Attempts that an earlier drain left unanswered: outcome unknown, so their rows are read
    first.
    """
    rows = connection.execute(
        "UPDATE hub.attempts SET answered_at = %s, outcome = 'unknown',"
        " error = 'the process that sent it ended before the answer'"
        " WHERE outcome IS NULL AND epoch < %s RETURNING channel, bucket, external_id",
        (at, epoch),
    ).fetchall()
    each(
        connection,
        "UPDATE hub.outbox SET unread = true, open_key = NULL, look = true, looks = looks + 1,"
        " look_after = NULL"
        " WHERE channel = %s AND bucket = %s AND external_id = %s",
        rows,
    )
    return len(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWrite:
    """The newest attempt of a listing, and what stood there before the newest acknowledged one."""

    outcome: str | None  # None: under way
    failure: str
    before_milli: int | None
    acked_at: datetime | None


def last_writes(connection: Connection, channel: str) -> dict[tuple[str, str], LastWrite]:
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
    return {
        (bucket, external_id): LastWrite(
            outcome=outcome, failure=failure, before_milli=before, acked_at=acked_at
        )
        for bucket, external_id, outcome, failure, before, acked_at in rows
    }
