"""How far the derived store is, who may drain, and who may open the DuckDB file.

A lock alone does not fence: if its connection dies, the process lives on beside its successor. So
taking the lock raises an epoch, and every write of a drain checks it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from psycopg import errors

from inventory_pipeline.core.errors import HubError
from inventory_pipeline.memory.postgres import LEDGER_NOTIFICATION, Connection, Postgres

# Any constants will do; they only have to be ours and distinct.
DRAIN_LOCK = 7_301_010
DERIVED_LOCK = 7_301_011


class Superseded(HubError):
    """Another drain has taken over: this one stops without writing anything more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncState:
    """The sync cursor. `behind` is the number of ledger entries not computed yet."""

    ledger_offset: int
    head: int
    computed_at: datetime | None
    next_wakeup_at: datetime | None
    epoch: int
    holder: str

    @property
    def behind(self) -> int:
        return self.head - self.ledger_offset


def state(connection: Connection) -> SyncState:
    row = connection.execute(
        "SELECT s.ledger_offset, c.ledger_offset, s.computed_at, s.next_wakeup_at, s.epoch,"
        " s.holder"
        " FROM hub.sync_cursor s, hub.counter c"
    ).fetchone()
    assert row is not None
    return SyncState(
        ledger_offset=row[0], head=row[1], computed_at=row[2], next_wakeup_at=row[3], epoch=row[4],
        holder=row[5],
    )  # fmt: skip


@contextmanager
def drain_lock(pg: Postgres, *, holder: str, wait: bool) -> Iterator[int | None]:
    """The right to drain: yields the new epoch, or None where another drain has it and `wait` is
    false.
    """
    with pg.dedicated() as connection:
        if wait:
            connection.execute("SELECT pg_advisory_lock(%s)", (DRAIN_LOCK,))
        else:
            got = connection.execute("SELECT pg_try_advisory_lock(%s)", (DRAIN_LOCK,)).fetchone()
            if not (got and got[0]):
                yield None
                return
        row = connection.execute(
            "UPDATE hub.sync_cursor SET epoch = epoch + 1, holder = %s RETURNING epoch", (holder,)
        ).fetchone()
        assert row is not None
        yield int(row[0])


def end_drain(pg: Postgres, *, patience_s: float) -> bool:
    """Asks a running drain to end after what it is at; True if none runs any more in `patience_s`.

    It ends as superseded by nobody: its run succeeds, and the sensor may start the next.
    """
    with pg.dedicated() as connection:
        connection.execute("UPDATE hub.sync_cursor SET epoch = epoch + 1, holder = ''")
        connection.execute("SELECT pg_notify(%s, '')", (LEDGER_NOTIFICATION,))
        connection.execute(f"SET lock_timeout = {int(patience_s * 1000)}")
        try:
            connection.execute("SELECT pg_advisory_lock(%s)", (DRAIN_LOCK,))
        except errors.LockNotAvailable:
            return False
        return True


def epoch(connection: Connection) -> int:
    """The epoch of the drain that counts now; it may have moved on by the time this is read."""
    row = connection.execute("SELECT epoch FROM hub.sync_cursor").fetchone()
    assert row is not None
    return int(row[0])


def check_epoch(connection: Connection, epoch: int) -> None:
    """Holds the epoch still until the caller commits. Raises Superseded if it has moved on."""
    row = connection.execute("SELECT epoch, holder FROM hub.sync_cursor FOR SHARE").fetchone()
    assert row is not None
    if row[0] != epoch:
        raise Superseded(
            f"drain with epoch {epoch} was superseded by epoch {row[0]} ({row[1]})",
            hint="nothing: the newer drain goes on from the same rows.",
        )


def move(
    connection: Connection,
    *,
    ledger_offset: int,
    computed_at: datetime,
    next_wakeup_at: datetime | None,
) -> None:
    """Moves the cursor in the transaction that stored what was computed up to there."""
    connection.execute(
        "UPDATE hub.sync_cursor SET ledger_offset = greatest(ledger_offset, %s), computed_at = %s,"
        " next_wakeup_at = %s",
        (ledger_offset, computed_at, next_wakeup_at),
    )


@contextmanager
def derived_lock(pg: Postgres) -> Iterator[None]:
    """The right to open the DuckDB file, for this opening only."""
    with pg.connection() as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (DERIVED_LOCK,))
        yield
