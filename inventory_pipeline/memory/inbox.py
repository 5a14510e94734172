"""Webhooks: durable before they are answered, parsed afterwards, kept until they are done."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from inventory_pipeline.core.ports import Delivery, Verified
from inventory_pipeline.memory.correlation import delivery_name
from inventory_pipeline.memory.postgres import Connection

INBOX_NOTIFICATION = "hub_inbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxRow:
    inbox_id: int
    system: str
    topic: str
    delivery: Delivery
    delivery_id: str = ""

    @property
    def name(self) -> str:
        """What its correlation id calls it."""
        return delivery_name(
            Verified(topic=self.topic, delivery_id=self.delivery_id), self.delivery
        )


def put(connection: Connection, system: str, verified: Verified, delivery: Delivery) -> None:
    """Stores one verified delivery; once the caller has committed, it may be answered."""
    connection.execute(
        "INSERT INTO hub.inbox (system, topic, delivery_id, headers, body, url, received_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (
            system, verified.topic, verified.delivery_id, Jsonb(dict(delivery.headers)),
            delivery.body, delivery.url, delivery.received_at,
        ),
    )  # fmt: skip


_COLUMNS = ("text", "text", "text", "jsonb", "bytea", "text", "timestamptz")


def put_all(connection: Connection, rows: Iterable[tuple[str, Verified, Delivery]]) -> None:
    """As `put`, many at once: (system, names, delivery). All are stored, or none."""
    with connection.cursor().copy(
        "COPY hub.inbox (system, topic, delivery_id, headers, body, url, received_at)"
        " FROM STDIN (FORMAT binary)"
    ) as copy:
        copy.set_types(_COLUMNS)
        for system, verified, delivery in rows:
            copy.write_row((
                system, verified.topic, verified.delivery_id, Jsonb(dict(delivery.headers)),
                delivery.body, delivery.url, delivery.received_at,
            ))  # fmt: skip


def take(connection: Connection, limit: int) -> list[InboxRow]:
    """The oldest deliveries not done, locked until the caller commits; other takers pass them
    over.
    """
    rows = connection.execute(
        "SELECT inbox_id, system, topic, headers, body, received_at, url, delivery_id"
        " FROM hub.inbox"
        " WHERE done_at IS NULL ORDER BY inbox_id LIMIT %s FOR UPDATE SKIP LOCKED",
        (limit,),
    )
    return [
        InboxRow(
            inbox_id=inbox_id,
            system=system,
            topic=topic,
            delivery=Delivery(headers=headers, body=bytes(body), received_at=received_at, url=url),
            delivery_id=delivery_id,
        )
        for inbox_id, system, topic, headers, body, received_at, url, delivery_id in rows
    ]


def done(connection: Connection, inbox_ids: Sequence[int], at: datetime) -> None:
    """Marks deliveries whose events are in the ledger (same transaction)."""
    connection.execute(
        "UPDATE hub.inbox SET done_at = %s WHERE inbox_id = ANY(%s)", (at, list(inbox_ids))
    )


def fail(connection: Connection, inbox_id: int, message: str, at: datetime) -> None:
    """Gives a delivery up that can't be parsed; its body stays for a person."""
    connection.execute(
        "UPDATE hub.inbox SET done_at = %s, failure = %s WHERE inbox_id = %s",
        (at, message, inbox_id),
    )


def waiting(connection: Connection) -> int:
    """Deliveries not done yet."""
    row = connection.execute("SELECT count(*) FROM hub.inbox WHERE done_at IS NULL").fetchone()
    return int(row[0]) if row else 0
