"""What is to be done about variances, and what was: every heal is recorded (SEMANTICS §9)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from inventory_pipeline.memory.postgres import Connection

HUB = "hub"  # who did it, where nobody did


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """An open variance about which nothing was decided since it was last seen.

    `obstacle`: why its listing cannot be sent now; empty where it can.
    """

    variance_id: int
    comparison: str
    channel: str | None
    bucket: str | None
    external_id: str | None
    cause: str
    repushes: int
    heal: str | None
    base_at: datetime | None
    obstacle: str


_DUE = """
SELECT v.variance_id, v.comparison, v.channel, v.bucket, v.external_id, v.cause, v.repushes,
       v.heal, (v.evidence->>'base_at')::timestamptz AS base_at,
       CASE WHEN o.dead_at IS NOT NULL THEN 'it is in the dead letter'
            WHEN h.channel IS NOT NULL THEN 'the guard holds it'
            WHEN b.state = 'open' THEN 'the breaker of its channel is open'
            WHEN o.open_key IS NOT NULL THEN 'a push is under way'
            ELSE '' END AS obstacle
FROM hub.variances v
LEFT JOIN hub.outbox o ON o.channel = v.channel AND o.bucket = v.bucket
    AND o.external_id = v.external_id
LEFT JOIN hub.holds h ON h.channel = v.channel AND h.bucket = v.bucket
    AND h.external_id = v.external_id AND h.state = 'held'
LEFT JOIN hub.breakers b ON b.channel = v.channel
WHERE v.closed_at IS NULL AND v.healed_at IS NULL
  AND (v.comparison <> 'channel' OR v.channel = ANY(%(channels)s))
  AND (%(only)s::bigint[] IS NULL OR v.variance_id = ANY(%(only)s))
ORDER BY v.first_seen, v.variance_id LIMIT %(limit)s
"""


def due(
    connection: Connection,
    channels: Collection[str],
    *,
    limit: int,
    only: Sequence[int] | None = None,
) -> list[Due]:
    """The oldest first. `channels` are those that may be sent to: nothing is done about others."""
    with connection.cursor(row_factory=class_row(Due)) as cursor:
        return cursor.execute(
            _DUE,
            {
                "channels": sorted(channels), "limit": limit,
                "only": None if only is None else list(only),
            },
        ).fetchall()  # fmt: skip


def decided(
    connection: Connection,
    numbers: Sequence[int],
    action: str,
    *,
    at: datetime,
    by: str,
    result: str,
    sent: bool = False,
    tell: bool = False,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Notes what was done about these variances, and records it where it is something new.

    `sent` counts a repush, `tell` asks for a person. The same wait or reread again is no news.
    """
    connection.execute(
        "WITH was AS (SELECT variance_id, heal FROM hub.variances"
        "  WHERE variance_id = ANY(%(numbers)s)),"
        " changed AS (UPDATE hub.variances SET heal = %(action)s, healed_at = %(at)s,"
        "  repushes = repushes + %(sent)s::integer,"
        "  alert_at = coalesce(alert_at, CASE WHEN %(tell)s THEN %(at)s::timestamptz END)"
        "  WHERE variance_id = ANY(%(numbers)s))"
        " INSERT INTO hub.heals (variance_id, at, by, action, result, detail)"
        " SELECT variance_id, %(at)s, %(by)s, %(action)s, %(result)s, %(detail)s FROM was"
        " WHERE %(sent)s OR heal IS DISTINCT FROM %(action)s",
        {
            "numbers": list(numbers), "action": action, "at": at, "by": by, "result": result,
            "sent": sent, "tell": tell, "detail": Jsonb(dict(detail or {})),
        },
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class HealRow:
    """One thing that was done about a variance, by whom, and what came of it."""

    heal_id: int
    variance_id: int | None
    at: datetime
    by: str
    action: str
    result: str
    detail: dict[str, Any]


def heals_of(
    connection: Connection, *, variance_id: int | None = None, limit: int = 100
) -> list[HealRow]:
    """What was done about one variance, or of late about any; the newest first."""
    with connection.cursor(row_factory=class_row(HealRow)) as cursor:
        return cursor.execute(
            "SELECT heal_id, variance_id, at, by, action, result, detail FROM hub.heals"
            " WHERE (%(number)s::bigint IS NULL OR variance_id = %(number)s)"
            " ORDER BY at DESC, heal_id DESC LIMIT %(limit)s",
            {"number": variance_id, "limit": limit},
        ).fetchall()
