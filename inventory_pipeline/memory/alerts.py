"""What is not well and who knows of it; and messages, stored before they are sent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from inventory_pipeline.core.alerts import Alert, Trouble
from inventory_pipeline.core.verdicts import Level
from inventory_pipeline.memory.postgres import Connection

# One process at a time looks and tells; the others find the lock taken and leave it to that one.
_LOCK = 7_301_013


def take_turn(connection: Connection) -> bool:
    """Whether it is this process's turn until its transaction ends."""
    row = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,)).fetchone()
    return row is not None and bool(row[0])


def known(connection: Connection) -> dict[str, Alert]:
    """Every trouble that is not over, by alert."""
    rows = connection.execute(
        "SELECT alert, subject, level, message, href, since, last_seen, well_since, told, told_at"
        " FROM hub.alerts ORDER BY alert"
    )
    return {
        row[0]: Alert(
            trouble=Trouble(
                alert=row[0], subject=row[1], level=Level(row[2]), message=row[3], href=row[4]
            ),
            since=row[5],
            last_seen=row[6],
            well_since=row[7],
            told=Level(row[8]) if row[8] else None,
            told_at=row[9],
        )
        for row in rows
    }


def keep(connection: Connection, alerts: Iterable[Alert], *, ended: Sequence[str]) -> None:
    """Remembers these and forgets those that ended."""
    connection.execute("DELETE FROM hub.alerts WHERE alert = ANY(%s)", (list(ended),))
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO hub.alerts (alert, subject, level, message, href, since, last_seen,"
            " well_since, told, told_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (alert) DO UPDATE SET subject = excluded.subject,"
            " level = excluded.level, message = excluded.message, href = excluded.href,"
            " last_seen = excluded.last_seen, well_since = excluded.well_since,"
            " told = excluded.told, told_at = excluded.told_at",
            [
                (
                    a.trouble.alert, a.trouble.subject, a.trouble.level, a.trouble.message,
                    a.trouble.href, a.since, a.last_seen, a.well_since, a.told, a.told_at,
                )
                for a in alerts
            ],
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to one place; `target` is its name in hub.yaml."""

    notification_id: int
    target: str
    level: Level
    title: str
    body: str
    attempts: int
    made_at: datetime


def store_message(
    connection: Connection,
    targets: Sequence[str],
    *,
    level: Level,
    title: str,
    body: str,
    at: datetime,
) -> None:
    """A message to each of the targets, due now."""
    connection.execute(
        "INSERT INTO hub.notifications (made_at, target, level, title, body, due_at)"
        " SELECT %(at)s, target, %(level)s, %(title)s, %(body)s, %(at)s"
        " FROM unnest(%(targets)s::text[]) AS t(target)",
        {"at": at, "level": level, "title": title, "body": body, "targets": list(targets)},
    )


def next_message(connection: Connection, *, now: datetime) -> Message | None:
    """The oldest message that is due, locked until the caller's transaction ends: no other process
    sends it meanwhile. None: none is due.
    """
    row = connection.execute(
        "SELECT notification_id, target, level, title, body, attempts, made_at"
        " FROM hub.notifications WHERE sent_at IS NULL AND given_up_at IS NULL AND due_at <= %s"
        " ORDER BY notification_id LIMIT 1 FOR UPDATE SKIP LOCKED",
        (now,),
    ).fetchone()
    if row is None:
        return None
    return Message(
        notification_id=row[0], target=row[1], level=Level(row[2]), title=row[3], body=row[4],
        attempts=row[5], made_at=row[6],
    )  # fmt: skip


def sent(connection: Connection, message: Message, *, at: datetime) -> None:
    connection.execute(
        "UPDATE hub.notifications SET sent_at = %s, attempts = attempts + 1, failure = NULL"
        " WHERE notification_id = %s",
        (at, message.notification_id),
    )


def not_sent(
    connection: Connection,
    message: Message,
    failure: str,
    *,
    again_at: datetime | None,
    at: datetime,
) -> None:
    """`again_at` None: it is given up."""
    connection.execute(
        "UPDATE hub.notifications SET attempts = attempts + 1, failure = %s,"
        " due_at = coalesce(%s, due_at), given_up_at = CASE WHEN %s THEN %s END"
        " WHERE notification_id = %s",
        (failure, again_at, again_at is None, at, message.notification_id),
    )


def recent_messages(connection: Connection, *, limit: int = 50) -> list[Mapping[str, object]]:
    """The newest messages and what became of them: made_at, target, level, title, sent_at,
    attempts, failure, given_up_at.
    """
    names = ("made_at", "target", "level", "title", "sent_at", "attempts", "failure", "given_up_at")
    rows = connection.execute(
        f"SELECT {', '.join(names)} FROM hub.notifications ORDER BY notification_id DESC LIMIT %s",
        (limit,),
    )
    return [dict(zip(names, row, strict=True)) for row in rows]
