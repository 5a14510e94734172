"""The dead letter: listings that are not sent any more until a person, or a newer number, says so.

A row dies when the channel says that its write can never succeed, or when it failed too often or
too long (`push` in hub.yaml). Whatever computes another desired value for it revives it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from inventory_pipeline.memory.postgres import Connection

Place = tuple[str, str, str]  # channel, bucket, external id


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadRow:
    """One dead listing. Quantities in thousandths of the channel's unit; `base_milli` is the newest
    acknowledged write or reading, None where nothing is known. `failure` is the last error's text.
    """

    channel: str
    bucket: str
    external_id: str
    sku: str
    desired_milli: int
    base_milli: int | None
    attempts: int
    failure: str
    dead_at: datetime


def dead_rows(
    connection: Connection, channel: str | None = None, *, limit: int = 1_000
) -> list[DeadRow]:
    """Dead listings of a channel, or of all; the newest deaths first, then by place."""
    rows = connection.execute(
        "SELECT channel, bucket, external_id, sku, desired_milli, base_milli, attempts,"
        " coalesce(failure, ''), dead_at FROM hub.outbox"
        " WHERE dead_at IS NOT NULL AND (%(channel)s::text IS NULL OR channel = %(channel)s)"
        " ORDER BY dead_at DESC, channel, bucket, external_id LIMIT %(limit)s",
        {"channel": channel, "limit": limit},
    )
    return [
        DeadRow(
            channel=row[0], bucket=row[1], external_id=row[2], sku=row[3], desired_milli=row[4],
            base_milli=row[5], attempts=row[6], failure=row[7], dead_at=row[8],
        )
        for row in rows
    ]  # fmt: skip


def revive(connection: Connection, places: Sequence[Place]) -> int:
    """Gives dead listings another chance: read first, then sent where they differ, with all their
    attempts before them. Returns how many were dead; places that are not dead stay as they are.
    """
    return _change(
        connection,
        places,
        "dead_at = NULL, failure = NULL, attempts = 0, failing_since = NULL, unread = true,"
        " look = true, looks = looks + 1, look_after = NULL",
    )


def drop_dead(connection: Connection, places: Sequence[Place]) -> int:
    """Takes dead listings out of the dead letter without sending them: the channel goes on showing
    what it shows, until another desired value is computed or the channel sells.

    Returns how many were dead; places that are not dead stay as they are. Reconciliation goes on
    comparing them.
    """
    return _change(
        connection,
        places,
        "dead_at = NULL, failure = NULL, attempts = 0, failing_since = NULL, unread = true,"
        " look = false, looks = looks + 1, look_after = NULL",
    )


def _change(connection: Connection, places: Sequence[Place], changes: str) -> int:
    if not places:
        return 0
    channels, buckets, external_ids = zip(*places, strict=True)
    return connection.execute(
        f"UPDATE hub.outbox o SET {changes}"
        " FROM unnest(%s::text[], %s::text[], %s::text[]) AS p (channel, bucket, external_id)"
        " WHERE o.channel = p.channel AND o.bucket = p.bucket"
        " AND o.external_id = p.external_id AND o.dead_at IS NOT NULL",
        (list(channels), list(buckets), list(external_ids)),
    ).rowcount
