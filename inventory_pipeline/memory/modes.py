"""Modes that people set below those of hub.yaml: a switch that counts within seconds."""

from dataclasses import dataclass
from datetime import datetime

from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline.memory import audit
from inventory_pipeline.memory.postgres import LEDGER_NOTIFICATION, Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One channel's mode as a person set it, and who did so, when and why."""

    channel: str
    mode: Mode
    set_at: datetime
    set_by: str
    reason: str


def overrides(connection: Connection) -> dict[str, Override]:
    """Channel → its override, for those that have one."""
    rows = connection.execute(
        "SELECT channel, mode, set_at, set_by, reason FROM hub.mode_overrides ORDER BY channel"
    )
    return {
        row[0]: Override(
            channel=row[0], mode=Mode(row[1]), set_at=row[2], set_by=row[3], reason=row[4]
        )
        for row in rows
    }


def set_override(
    connection: Connection, channel: str, mode: Mode, *, by: str, reason: str, at: datetime
) -> None:
    """The channel goes no further than `mode` until this is lifted; waiting processes are woken."""
    connection.execute(
        "INSERT INTO hub.mode_overrides VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT (channel) DO UPDATE SET mode = excluded.mode, set_at = excluded.set_at,"
        " set_by = excluded.set_by, reason = excluded.reason",
        (channel, mode, at, by, reason),
    )
    _tell(connection, channel, str(mode), by=by, reason=reason, at=at)


def lift_override(
    connection: Connection, channel: str, *, by: str, reason: str, at: datetime
) -> bool:
    """hub.yaml's own mode counts again; False if nothing was set."""
    lifted = connection.execute("DELETE FROM hub.mode_overrides WHERE channel = %s", (channel,))
    if lifted.rowcount:
        _tell(connection, channel, None, by=by, reason=reason, at=at)
    return bool(lifted.rowcount)


def _tell(
    connection: Connection, channel: str, mode: str | None, *, by: str, reason: str, at: datetime
) -> None:
    audit.record(
        connection,
        by=by,
        action="mode.set" if mode else "mode.lift",
        subject=channel,
        detail={"mode": mode, "reason": reason},
        at=at,
    )
    # What a shadow noted is to be looked at with the new mode.
    connection.execute(
        "UPDATE hub.outbox SET look = true, looks = looks + 1, look_after = NULL"
        " WHERE channel = %s AND base_kind = 'shadow'",
        (channel,),
    )
    connection.execute("SELECT pg_notify(%s, '')", (LEDGER_NOTIFICATION,))
