"""When each listing was last compared, and which ones a light comparison looks at (SEMANTICS §9).

A whole comparison sees everything, so only what light ones saw since is kept row by row.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from inventory_pipeline.core.ports import ListingRef
from inventory_pipeline.memory.postgres import Connection

Place = tuple[str, str]  # bucket, external id

# An hour's comparison looks at so great a part of a catalogue that 24 of them see all of it, and
# still do if a few of them fail.
PARTS_OF_A_DAY = 20
DAY = timedelta(days=1)

_SEEN_AT = (
    "coalesce(s.seen_at, (SELECT max(started_at) FROM hub.reconciliations r"
    " WHERE r.comparison = 'channel' AND r.channel = %(channel)s AND r.whole"
    " AND r.finished_at IS NOT NULL))"
)
_LISTINGS = (
    "hub.outbox o LEFT JOIN hub.sightings s USING (channel, bucket, external_id)"
    " WHERE o.channel = %(channel)s AND o.listed"
)
# Written, sold or found to differ since it was seen: where something moves, something goes wrong.
_TOUCHED = f"""
SELECT o.bucket, o.bucket_external, o.external_id FROM {_LISTINGS} AND (
    (o.bucket, o.external_id) IN (SELECT v.bucket, v.external_id FROM hub.variances v
        WHERE v.closed_at IS NULL AND v.comparison = 'channel' AND v.channel = %(channel)s)
    OR o.base_answered_at > greatest({_SEEN_AT}, %(since)s)
    OR o.sku IN (SELECT l.sku FROM hub.ledger l WHERE l.system = %(system)s AND l.kind = 'event'
        AND l.ledger_offset > (SELECT coalesce(max(r.ledger_offset), 0)
            FROM hub.reconciliations r WHERE r.comparison = 'channel'
            AND r.channel = %(channel)s AND r.finished_at IS NOT NULL)))
ORDER BY o.base_answered_at DESC NULLS LAST, o.bucket, o.external_id LIMIT %(limit)s
"""
_UNSEEN = f"""
SELECT o.bucket, o.bucket_external, o.external_id FROM {_LISTINGS}
ORDER BY {_SEEN_AT} NULLS FIRST, o.bucket, o.external_id LIMIT %(limit)s
"""


def hourly(listings: int, *, least: int) -> int:
    """How many of a channel's listings an hour's comparison looks at beside those just touched."""
    return max(least, -(-listings // PARTS_OF_A_DAY))


def chosen(
    connection: Connection, channel: str, system: str, *, now: datetime, least: int
) -> list[ListingRef]:
    """What a light comparison looks at: what was touched since the last comparison or differs, and
    those that were not seen for longest; at most twice an hour's part of the catalogue.
    """
    row = connection.execute(
        "SELECT count(*) FROM hub.outbox WHERE channel = %s AND listed", (channel,)
    ).fetchone()
    assert row is not None
    limit = hourly(row[0], least=least)
    values = {"channel": channel, "system": system, "limit": limit, "since": now - DAY}
    found = dict.fromkeys(
        (*connection.execute(_UNSEEN, values).fetchall(),
         *connection.execute(_TOUCHED, values).fetchall())
    )  # fmt: skip
    return [ListingRef(bucket=b, bucket_external=x, external_id=e) for b, x, e in found]


def saw(
    connection: Connection, channel: str, places: Sequence[Place] | None, *, at: datetime
) -> None:
    """These were compared at `at`; None: all of the channel, as its registered comparison says."""
    if places is None:
        connection.execute(
            "DELETE FROM hub.sightings WHERE channel = %s AND seen_at <= %s", (channel, at)
        )
        return
    connection.execute(
        "INSERT INTO hub.sightings SELECT %s, b, e, %s FROM unnest(%s::text[], %s::text[])"
        " AS p (b, e) ON CONFLICT (channel, bucket, external_id) DO UPDATE SET"
        " seen_at = greatest(sightings.seen_at, excluded.seen_at)",
        (channel, at, [bucket for bucket, _ in places], [external for _, external in places]),
    )


def last_seen(
    connection: Connection, channel: str, places: Sequence[Place]
) -> dict[Place, datetime]:
    """When these listings were last compared; those that never were are left out."""
    rows = connection.execute(
        f"SELECT o.bucket, o.external_id, {_SEEN_AT} FROM {_LISTINGS}"
        " AND (o.bucket, o.external_id) IN"
        " (SELECT * FROM unnest(%(buckets)s::text[], %(ids)s::text[]))",
        {
            "channel": channel,
            "buckets": [bucket for bucket, _ in places],
            "ids": [external for _, external in places],
        },
    )
    return {(bucket, external): at for bucket, external, at in rows if at is not None}


def oldest_seen(connection: Connection, channel: str) -> datetime | None:
    """When the listing that was not seen for longest was seen; None: one never was."""
    row = connection.execute(
        f"SELECT bool_or({_SEEN_AT} IS NULL), min({_SEEN_AT}) FROM {_LISTINGS}",
        {"channel": channel},
    ).fetchone()
    assert row is not None
    return None if row[0] else row[1]
