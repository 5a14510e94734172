"""Batches under way: intent and key, stored before the request leaves (SEMANTICS §8).

An intent ends with its answer (memory/attempts.py). One whose outcome is unknown and that has a key
waits to be sent again as it is; one that the channel only accepted waits to be asked about.
Quantities in thousandths of the channel's unit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from inventory_pipeline.core.outbox import PlannedWrite
from inventory_pipeline.core.ports import Receipt
from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline.memory.arrays import join_by_index, numbers, texts
from inventory_pipeline.memory.postgres import Connection

ENDED = "the process that sent it ended before the answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A batch that waits: `places` are (bucket, external id), the others in the same order.

    `quantities` and `compared` are what is offered for sale, `written` what the channel was told:
    on basis on_hand that is more, by what the platform held reserved.
    """

    key: str
    state: str  # sent | again | accepted
    sent_at: datetime
    until: datetime
    tries: int
    receipt: Receipt | None
    places: tuple[tuple[str, str], ...]
    quantities: tuple[int, ...]
    written: tuple[int, ...]
    compared: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """A batch that is about to leave; `written`: what the channel is told, write by write."""

    key: str
    writes: Sequence[PlannedWrite]
    written: Sequence[int]


def store(
    connection: Connection,
    channel: str,
    leaving: Sequence[Leaving],
    *,
    epoch: int,
    mode: Mode,
    sent_at: datetime,
) -> None:
    """Stores batches before they leave; the same one again only counts its tries."""
    connection.execute(
        "INSERT INTO hub.intents AS i (channel, key, epoch, mode, sent_at, buckets, external_ids,"
        " quantities, written, compared)"
        " SELECT %s, b.key, %s, %s, %s, b.buckets::text[], b.ids::text[], b.quantities::bigint[],"
        "  b.written::bigint[], b.compared::bigint[]"
        " FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])"
        "  AS b (key, buckets, ids, quantities, written, compared)"
        " ON CONFLICT (channel, key) DO UPDATE SET epoch = excluded.epoch, state = 'sent',"
        " due_at = NULL, tries = i.tries + 1",
        (
            channel, epoch, mode, sent_at, texts([one.key for one in leaving]),
            texts([texts([w.row.listing.bucket for w in one.writes]) for one in leaving]),
            texts([texts([w.row.listing.external_id for w in one.writes]) for one in leaving]),
            texts([numbers([w.quantity_milli for w in one.writes]) for one in leaving]),
            texts([numbers(one.written) for one in leaving]),
            texts([numbers([w.compare_milli for w in one.writes]) for one in leaving]),
        ),
    )  # fmt: skip


def still_wanted(
    connection: Connection, channel: str, groups: Sequence[Sequence[PlannedWrite]]
) -> list[list[PlannedWrite]]:
    """The groups without the writes whose rows something has marked since they were read."""
    rows = [write.row for group in groups for write in group]
    if not rows:
        return []
    join_by_index(connection)
    marked = connection.execute(
        "SELECT p.bucket, p.external_id FROM unnest(%s::text[], %s::text[], %s::bigint[])"
        " AS p (bucket, external_id, looks) JOIN hub.outbox o ON o.channel = %s"
        " AND o.bucket = p.bucket AND o.external_id = p.external_id"
        " WHERE o.looks <> p.looks OR o.dead_at IS NOT NULL",
        (
            texts([row.listing.bucket for row in rows]),
            texts([row.listing.external_id for row in rows]),
            numbers([row.looks for row in rows]), channel,
        ),
    ).fetchall()  # fmt: skip
    gone = set(marked)
    if not gone:
        return [list(group) for group in groups]
    left = [[write for write in group if write.row.place not in gone] for group in groups]
    return [group for group in left if group]


def wait_to_send_again(
    connection: Connection, channel: str, key: str, *, due_at: datetime, until: datetime
) -> None:
    """Its outcome is unknown: sent again as it is, with the same key, at `due_at`."""
    connection.execute(
        "UPDATE hub.intents SET state = 'again', due_at = %s, until = %s"
        " WHERE channel = %s AND key = %s",
        (due_at, until, channel, key),
    )
    _hold(connection, channel, key)


def wait_for_receipt(connection: Connection, channel: str, key: str, receipt: Receipt) -> None:
    """Accepted, not applied yet: asked about when the receipt says so."""
    connection.execute(
        "UPDATE hub.intents SET state = 'accepted', due_at = %s, until = %s, receipt = %s"
        " WHERE channel = %s AND key = %s",
        (receipt.poll_after, receipt.give_up_at, Jsonb(receipt.body), channel, key),
    )


def ask_later(connection: Connection, channel: str, key: str, due_at: datetime) -> None:
    """Not known yet: asked about again at `due_at`."""
    connection.execute(
        "UPDATE hub.intents SET due_at = %s, tries = tries + 1 WHERE channel = %s AND key = %s",
        (due_at, channel, key),
    )


def keep_only(
    connection: Connection, channel: str, key: str, places: Sequence[tuple[str, str]]
) -> None:
    """The rest of the batch is answered: only these are still waited for."""
    buckets, external_ids = zip(*places, strict=True)
    connection.execute(
        "UPDATE hub.intents i SET (buckets, external_ids, quantities, written, compared) ="
        " (SELECT array_agg(w.b ORDER BY n), array_agg(w.e ORDER BY n),"
        "  array_agg(w.q ORDER BY n), array_agg(w.w ORDER BY n), array_agg(w.c ORDER BY n)"
        "  FROM unnest(i.buckets, i.external_ids, i.quantities, i.written, i.compared)"
        "  WITH ORDINALITY AS w (b, e, q, w, c, n)"
        "  JOIN unnest(%s::text[], %s::text[]) AS p (b, e) USING (b, e))"
        " WHERE i.channel = %s AND i.key = %s",
        (list(buckets), list(external_ids), channel, key),
    )
    _hold(connection, channel, key)


def _hold(connection: Connection, channel: str, key: str) -> None:
    """Its listings are neither read nor sent until it is answered."""
    connection.execute(
        "UPDATE hub.outbox o SET open_key = i.key"
        " FROM hub.intents i, unnest(i.buckets, i.external_ids) AS p (bucket, external_id)"
        " WHERE i.channel = %s AND i.key = %s"
        " AND o.channel = i.channel AND o.bucket = p.bucket AND o.external_id = p.external_id",
        (channel, key),
    )


def end(connection: Connection, channel: str, keys: Sequence[str]) -> None:
    """These are answered."""
    connection.execute(
        "DELETE FROM hub.intents WHERE channel = %s AND key = ANY(%s)", (channel, list(keys))
    )


def let_go(
    connection: Connection, channel: str, keys: Sequence[str] | None, *, why: str, at: datetime
) -> None:
    """Waits for these no longer (None: for none of the channel's): their listings are read first,
    and `why` says what became of their attempts.
    """
    connection.execute(
        "WITH gone AS (DELETE FROM hub.intents WHERE channel = %(channel)s"
        "  AND state <> 'sent' AND (%(keys)s::text[] IS NULL OR key = ANY(%(keys)s)) RETURNING *),"
        " listings AS (SELECT g.key, p.bucket, p.external_id FROM gone g,"
        "  unnest(g.buckets, g.external_ids) AS p (bucket, external_id)),"
        " logged AS (UPDATE hub.attempts a SET outcome = 'unknown', answered_at = %(at)s,"
        "  error = %(why)s FROM listings p WHERE a.channel = %(channel)s AND a.bucket = p.bucket"
        "  AND a.external_id = p.external_id AND a.key = p.key)"
        " UPDATE hub.outbox o SET open_key = NULL, unread = true, look = true,"
        "  looks = o.looks + 1, look_after = NULL, failure = %(why)s FROM listings p"
        "  WHERE o.channel = %(channel)s AND o.bucket = p.bucket"
        "  AND o.external_id = p.external_id",
        {"channel": channel, "keys": None if keys is None else list(keys), "why": why, "at": at},
    )


def due(connection: Connection, channel: str, *, now: datetime, limit: int) -> list[Intent]:
    """Batches to send again or to ask about, the oldest first."""
    rows = connection.execute(
        "SELECT key, state, sent_at, due_at, until, tries, receipt, buckets, external_ids,"
        " quantities, written, compared FROM hub.intents"
        " WHERE channel = %s AND due_at <= %s ORDER BY sent_at, key LIMIT %s",
        (channel, now, limit),
    )
    return [_intent(row) for row in rows]


def _intent(row: tuple[Any, ...]) -> Intent:
    receipt = None
    if row[6] is not None:
        receipt = Receipt(body=row[6], poll_after=row[3], give_up_at=row[4])
    return Intent(
        key=row[0], state=row[1], sent_at=row[2], until=row[4], tries=row[5], receipt=receipt,
        places=tuple(zip(row[7], row[8], strict=True)), quantities=tuple(row[9]),
        written=tuple(row[10]), compared=tuple(row[11]),
    )  # fmt: skip


def abandon(connection: Connection, *, epoch: int, at: datetime) -> int:
    """Batches that an earlier drain left unanswered: outcome unknown, so their listings are read
    first. Returns how many writes it were. Those that wait with a key or a receipt go on waiting.
    """
    values: Mapping[str, Any] = {"epoch": epoch, "at": at, "why": ENDED}
    listings = (
        "SELECT i.*, p.bucket, p.external_id, p.quantity, p.compared_to FROM gone i,"
        " unnest(i.buckets, i.external_ids, i.quantities, i.compared)"
        " AS p (bucket, external_id, quantity, compared_to)"
    )
    return connection.execute(
        "WITH gone AS (DELETE FROM hub.intents WHERE state = 'sent' AND epoch < %(epoch)s"
        f" RETURNING *), listings AS ({listings}), marked AS ("
        " UPDATE hub.outbox o SET unread = true, open_key = NULL, look = true,"
        "  looks = o.looks + 1, look_after = NULL FROM listings p"
        "  WHERE o.channel = p.channel AND o.bucket = p.bucket AND o.external_id = p.external_id"
        "  RETURNING o.*, p.key, p.epoch, p.mode, p.sent_at, p.quantity, p.compared_to)"
        " INSERT INTO hub.attempts (key, channel, bucket, external_id, sku, epoch,"
        "  quantity_milli, compare_milli, desired_offset, policy_version, mode, occurred_at,"
        "  received_at, computed_at, sent_at, answered_at, outcome, error, caused_by)"
        " SELECT key, channel, bucket, external_id, sku, epoch, quantity, compared_to,"
        "  desired_offset, policy_version, mode, occurred_at, received_at,"
        "  least(computed_at, sent_at), sent_at, %(at)s, 'unknown', %(why)s, caused_by FROM marked"
        " ON CONFLICT (channel, bucket, external_id, key) DO UPDATE SET"
        "  answered_at = excluded.answered_at, outcome = 'unknown', error = excluded.error",
        values,
    ).rowcount
