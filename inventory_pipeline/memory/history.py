"""What the memory tells of one sku at one moment: offsets, versions, pushes, listings, last words.

Every function reads, inside the caller's transaction. Quantities in thousandths: of the channel's
unit for pushes and listings, of the base unit for ledger entries.
"""

from dataclasses import dataclass
from datetime import datetime

from inventory_pipeline.memory.postgres import Connection

# Several processes append: their clocks' order and the offsets' differ within so many entries.
NEIGHBOURS = 50
MAX_LISTINGS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One ledger entry: its place in the sequence and when the hub received it."""

    ledger_offset: int
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of hub.yaml or of catalog/, and the offset from which it counts."""

    version: int
    hash: str
    ledger_offset: int
    activated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """One acknowledged write of one listing; `outcome` is acked, or shadow: nothing was sent."""

    channel: str
    bucket: str
    external_id: str
    quantity_milli: int
    key: str
    outcome: str
    desired_offset: int
    policy_version: int
    sent_at: datetime
    answered_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What the outbox holds of one listing now."""

    channel: str
    bucket: str
    external_id: str
    listed: bool
    desired_milli: int
    desired_offset: int
    policy_version: int
    computed_at: datetime
    base_milli: int | None
    base_kind: str | None
    base_answered_at: datetime | None
    look: bool
    failure: str | None
    dead_at: datetime | None


def entry(connection: Connection, ledger_offset: int) -> Entry | None:
    """The entry at an offset; None where there is none."""
    row = connection.execute(
        "SELECT ledger_offset, received_at FROM hub.ledger WHERE ledger_offset = %s",
        (ledger_offset,),
    ).fetchone()
    return None if row is None else Entry(ledger_offset=row[0], received_at=row[1])


def newest_offset(connection: Connection, at: datetime, *, head: int) -> int:
    """The newest offset whose entry, and those just before it, had been received at `at`; 0 if
    none had.

    Received times rise with the offsets but for a few neighbours, so halving the ledger finds it.
    """
    known, later = 0, head + 1
    while later - known > 1:
        middle = (known + later) // 2
        row = connection.execute(
            "SELECT max(received_at) <= %s FROM hub.ledger"
            " WHERE ledger_offset > %s AND ledger_offset <= %s",
            (at, middle - NEIGHBOURS, middle),
        ).fetchone()
        assert row is not None
        if row[0]:
            known = middle
        else:
            later = middle
    return known


def policy_at(connection: Connection, upto: int) -> Version | None:
    """The version of hub.yaml that counts at this offset."""
    return _version(connection, "policy_versions", upto)


def mapping_at(connection: Connection, upto: int) -> Version | None:
    """The version of catalog/ that counts at this offset."""
    return _version(connection, "mapping_versions", upto)


def _version(connection: Connection, table: str, upto: int) -> Version | None:
    row = connection.execute(
        f"SELECT version, hash, ledger_offset, activated_at FROM hub.{table}"
        " WHERE ledger_offset <= %s ORDER BY ledger_offset DESC, version DESC LIMIT 1",
        (upto,),
    ).fetchone()
    if row is None:
        return None
    return Version(version=row[0], hash=row[1], ledger_offset=row[2], activated_at=row[3])


def policy_text(connection: Connection, version: int) -> str:
    """hub.yaml as it stood in this version."""
    row = connection.execute(
        "SELECT content FROM hub.policy_versions WHERE version = %s", (version,)
    ).fetchone()
    return "" if row is None else str(row[0])


def catalog_texts(connection: Connection, version: int) -> dict[str, str]:
    """The files of catalog/ as they stood in this version, by name."""
    row = connection.execute(
        "SELECT files FROM hub.mapping_versions WHERE version = %s", (version,)
    ).fetchone()
    return {} if row is None else dict(row[0])


def last_heard(connection: Connection, upto: int, at: datetime) -> dict[str, datetime]:
    """Of each system the time of its newest event that is dated at or before `at`.

    Events that the catalogue of offset `upto` does not accept are left out. Looks at every entry.
    """
    rows = connection.execute(
        "WITH remapped AS ("
        " SELECT DISTINCT ON (ledger_offset) ledger_offset, held FROM hub.remaps"
        " WHERE ledger_offset <= %(upto)s AND mapping_offset <= %(upto)s"
        " ORDER BY ledger_offset, mapping_offset DESC)"
        " SELECT l.system, max(l.occurred_at) FROM hub.ledger l LEFT JOIN remapped r"
        " ON r.ledger_offset = l.ledger_offset"
        " WHERE l.kind = 'event' AND l.ledger_offset <= %(upto)s AND l.occurred_at <= %(at)s"
        " AND NOT coalesce(r.held, false) GROUP BY l.system",
        {"upto": upto, "at": at},
    )
    return dict(rows.fetchall())


_PUSHES = """
SELECT DISTINCT ON (channel, bucket, external_id)
       channel, bucket, external_id, quantity_milli, key, outcome, desired_offset, policy_version,
       sent_at, answered_at
FROM hub.attempts
WHERE sku = %(sku)s AND outcome IN ('acked', 'shadow') AND answered_at {when} %(at)s
ORDER BY channel, bucket, external_id, answered_at {order}, sent_at {order}
LIMIT %(limit)s
"""


def pushed_before(connection: Connection, sku: str, at: datetime) -> list[Push]:
    """Of each listing its newest acknowledged write at or before `at`: what stood there then."""
    return _pushes(connection, _PUSHES.format(when="<=", order="DESC"), sku, at)


def pushed_after(connection: Connection, sku: str, at: datetime) -> list[Push]:
    """Of each listing its first acknowledged write after `at`."""
    return _pushes(connection, _PUSHES.format(when=">", order="ASC"), sku, at)


def _pushes(connection: Connection, query: str, sku: str, at: datetime) -> list[Push]:
    rows = connection.execute(query, {"sku": sku, "at": at, "limit": MAX_LISTINGS})
    return [
        Push(
            channel=row[0], bucket=row[1], external_id=row[2], quantity_milli=row[3], key=row[4],
            outcome=row[5], desired_offset=row[6], policy_version=row[7], sent_at=row[8],
            answered_at=row[9],
        )
        for row in rows
    ]  # fmt: skip


def listings(connection: Connection, sku: str) -> list[Listing]:
    """The outbox rows of a sku, by channel, bucket and external id."""
    rows = connection.execute(
        "SELECT channel, bucket, external_id, listed, desired_milli, desired_offset,"
        " policy_version, computed_at, base_milli, base_kind, base_answered_at, look, failure,"
        " dead_at FROM hub.outbox WHERE sku = %s ORDER BY channel, bucket, external_id LIMIT %s",
        (sku, MAX_LISTINGS),
    )
    return [
        Listing(
            channel=row[0], bucket=row[1], external_id=row[2], listed=row[3], desired_milli=row[4],
            desired_offset=row[5], policy_version=row[6], computed_at=row[7], base_milli=row[8],
            base_kind=row[9], base_answered_at=row[10], look=row[11], failure=row[12],
            dead_at=row[13],
        )
        for row in rows
    ]  # fmt: skip
