"""A shop's webhooks: queued in the transaction that caused them, sent until somebody answers 2xx.

Delivery is at least once and in no order: a share is delivered twice and a share late, chosen by
the event's content, so that the same orders give the same deliveries.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import sqlite3
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import httpx

from inventory_pipeline.core.ports import Clock
from inventory_pipeline.simulate.shop import parse_time

NAMES = uuid.UUID("5b0e0f0e-5d3c-4f6f-9d1a-2f6a3d2c9b11")
TABLE = """
CREATE TABLE IF NOT EXISTS webhooks (
    delivery INTEGER PRIMARY KEY, event_id TEXT NOT NULL, topic TEXT NOT NULL,
    resource TEXT NOT NULL, body BLOB NOT NULL, triggered_at TEXT NOT NULL, due_at TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, delivered_at TEXT, given_up INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS webhooks_due ON webhooks (due_at)
    WHERE delivered_at IS NULL AND given_up = 0;
"""
PAUSE_S = 0.05
CONCURRENT = 8
FIRST_RETRY_S = 0.25
LAST_RETRY_S = 15.0
ANSWER_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFaults:
    """Shares in percent of deliveries; `late_s` is how late the late ones are."""

    duplicate_percent: int = 0
    late_percent: int = 0
    late_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A delivery that is due."""

    delivery: int
    event_id: str
    topic: str
    resource: str
    body: bytes
    triggered_at: str
    attempts: int


# The headers of one delivery, signature included; each platform has its own.
Headers = Callable[[Queued], Mapping[str, str]]


def sign(secret: str, body: bytes) -> str:
    """base64 of HMAC-SHA256 over the raw body."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


class WebhookQueue:
    """Deliveries in the shop's own SQLite file."""

    def __init__(
        self, connection: sqlite3.Connection, *, clock: Clock, faults: DeliveryFaults
    ) -> None:
        self.connection = connection
        self.clock = clock
        self.faults = faults
        connection.executescript(TABLE)

    def put(self, topic: str, resource: str, body: Mapping[str, object]) -> None:
        """Queues an event inside the caller's transaction; `resource` names what it is about."""
        raw = json.dumps(body, separators=(",", ":")).encode()
        (count,) = self.connection.execute(
            "SELECT count(DISTINCT event_id) FROM webhooks WHERE topic = ? AND resource = ?",
            (topic, resource),
        ).fetchone()
        event_id = str(uuid.uuid5(NAMES, f"{topic}/{resource}/{count}"))
        now = self.clock()
        late = _share(event_id, "late") < self.faults.late_percent
        due = now + timedelta(seconds=self.faults.late_s) if late else now
        copies = 2 if _share(event_id, "twice") < self.faults.duplicate_percent else 1
        for copy in range(copies):
            self.connection.execute(
                "INSERT INTO webhooks (event_id, topic, resource, body, triggered_at, due_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    event_id,
                    topic,
                    resource,
                    raw,
                    now.isoformat(timespec="microseconds"),
                    (due + timedelta(milliseconds=500 * copy)).isoformat(timespec="microseconds"),
                ),
            )

    def due(self, limit: int) -> list[Queued]:
        rows = self.connection.execute(
            "SELECT * FROM webhooks WHERE delivered_at IS NULL AND given_up = 0 AND due_at <= ? "
            "ORDER BY due_at, delivery LIMIT ?",
            (self._stamp(0), limit),
        ).fetchall()
        return [
            Queued(
                delivery=row["delivery"],
                event_id=row["event_id"],
                topic=row["topic"],
                resource=row["resource"],
                body=row["body"],
                triggered_at=row["triggered_at"],
                attempts=row["attempts"],
            )
            for row in rows
        ]

    def delivered(self, delivery: int) -> None:
        self.connection.execute(
            "UPDATE webhooks SET attempts = attempts + 1, delivered_at = ? WHERE delivery = ?",
            (self._stamp(0), delivery),
        )

    def failed(self, queued: Queued, *, again: bool) -> None:
        """Puts the delivery back, later each time; without `again` it is given up."""
        wait = min(FIRST_RETRY_S * 2**queued.attempts, LAST_RETRY_S)
        self.connection.execute(
            "UPDATE webhooks SET attempts = attempts + 1, due_at = ?, given_up = ? "
            "WHERE delivery = ?",
            (self._stamp(wait), 0 if again else 1, queued.delivery),
        )

    def counts(self) -> dict[str, int]:
        row = self.connection.execute(
            "SELECT count(*) AS queued, count(delivered_at) AS delivered, "
            "coalesce(sum(attempts), 0) AS attempts, coalesce(sum(given_up), 0) AS given_up, "
            "count(DISTINCT event_id) AS events FROM webhooks"
        ).fetchone()
        waiting = row["queued"] - row["delivered"] - row["given_up"]
        return {f"webhook_{name}": row[name] for name in row.keys()} | {"webhook_waiting": waiting}  # noqa: SIM118

    def age_s(self, queued: Queued) -> float:
        """Seconds since the event happened."""
        return (self.clock() - parse_time(queued.triggered_at)).total_seconds()

    def _stamp(self, ahead_s: float) -> str:
        return (self.clock() + timedelta(seconds=ahead_s)).isoformat(timespec="microseconds")


class WebhookSender:
    """Sends what is due, a few at a time, until it is cancelled."""

    def __init__(
        self, queue: WebhookQueue, *, url: str, headers: Headers, retries: bool = True
    ) -> None:
        self.queue = queue
        self.url = url
        self.headers = headers
        self.retries = retries

    async def run(self) -> None:
        async with httpx.AsyncClient(timeout=ANSWER_S, trust_env=False) as client:
            while True:
                due = self.queue.due(CONCURRENT)
                await asyncio.gather(*(self._send(client, queued) for queued in due))
                if not due:
                    await asyncio.sleep(PAUSE_S)

    async def _send(self, client: httpx.AsyncClient, queued: Queued) -> None:
        try:
            answer = await client.post(
                self.url,
                content=queued.body,
                headers={"Content-Type": "application/json", **self.headers(queued)},
            )
        except httpx.HTTPError:
            self.queue.failed(queued, again=self.retries)
            return
        if answer.is_success:
            self.queue.delivered(queued.delivery)
        else:
            self.queue.failed(queued, again=self.retries)


def _share(event_id: str, purpose: str) -> int:
    """0 to 99, always the same for the same event and purpose."""
    return int.from_bytes(hashlib.sha256(f"{purpose}/{event_id}".encode()).digest()[:4]) % 100
