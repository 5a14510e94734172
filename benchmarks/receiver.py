"""How many signed webhooks become durable in Postgres, with the sender on the same machine."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from benchmarks.harness.figures import Figure, at_least, at_most, timed
from inventory_pipeline.memory.embedded import start_embedded, stop_embedded
from inventory_pipeline.memory.postgres import Postgres, migrate

DELIVERIES = 20_000
CONNECTIONS = 96
PACED_S = 5.0
SECRET = "shared with the shop"
ORDER = {
    "id": 820982911946154500, "name": "#9999", "created_at": "2026-03-02T12:00:00Z",
    "updated_at": "2026-03-02T12:00:00Z", "cancelled_at": None, "financial_status": "paid",
    "line_items": [
        {"id": 866550311766439000 + n, "sku": f"SKU-{n:05}", "quantity": 1, "variant_id": 808950810,
         "title": "IPod Nano - 8GB", "price": "199.00", "fulfillable_quantity": 1}
        for n in range(3)
    ],
    "shipping_address": {"city": "Ottawa", "country": "Canada", "zip": "40003"},
}  # fmt: skip


def run(_scratch: Path) -> Iterator[Figure]:
    folder = Path(tempfile.mkdtemp(prefix="hubb"))
    url = start_embedded(folder / "pg")
    try:
        migrate(url)
        with _receiver(url) as port:
            asyncio.run(_send(port, 2_000))  # warm
            seconds = asyncio.run(_send(port, DELIVERIES))[0]
            rate = DELIVERIES / seconds
            paced = asyncio.run(_paced(port, rate / 2))
            stored = _stored(url)
        assert stored == 2_000 + DELIVERIES + len(paced), stored
        one_by_one = _one_by_one(url)
    finally:
        stop_embedded(folder / "pg")
        shutil.rmtree(folder, ignore_errors=True)
    yield Figure(
        name="receiver_per_s",
        value=round(rate),
        unit="/s",
        against=f"one commit a delivery, without HTTP and signature: {one_by_one:,.0f}/s",
        note=f"{DELIVERIES:,} orders of {len(json.dumps(ORDER)):,} bytes over {CONNECTIONS}"
        " connections, signed, checked, durable before 200; the sender runs beside it",
        target=at_least(4_000),
    )
    paced.sort()
    p99 = paced[int(len(paced) * 0.99)] * 1000
    yield Figure(
        name="receiver_p99_ms",
        value=round(p99, 1),
        unit="ms",
        against=f"p50 of the same run: {paced[len(paced) // 2] * 1000:.1f} ms",
        note=f"at half of receiver_per_s: {len(paced):,} deliveries in {PACED_S:g} s, each timed"
        " from when it was due",
        target=at_most(25),
    )


def serve(url: str, port: int) -> None:
    """The receiver alone, in a process of its own."""
    from inventory_pipeline.config.secrets import Secret
    from inventory_pipeline.connectors.signatures import check_signature
    from inventory_pipeline.core.ports import Capabilities, Delivery, Verified
    from inventory_pipeline.server.hooks import Limits, Receiver
    from inventory_pipeline.server.intake import GroupedInbox
    from inventory_pipeline.server.rates import Rate

    class Shop:
        """Checks signatures as the coded shops do."""

        system = "shop"
        capabilities = Capabilities(webhooks=True)
        secrets = (Secret(SECRET),)

        def verify(self, delivery: Delivery) -> Verified:
            check_signature(
                delivery, header="x-shopify-hmac-sha256", secrets=self.secrets, system="shop"
            )
            return Verified(topic="orders/create", delivery_id=delivery.headers["x-id"])

    import uvicorn

    unlimited = Limits(
        deliveries=Rate(per_second=1e9, burst=1e9), forgeries=Rate(per_second=1e9, burst=1e9)
    )
    group = GroupedInbox(Postgres(url))
    app = Receiver({"shop": Shop()}, group, lambda: datetime.now(UTC), unlimited)
    uvicorn.run(app, port=port, log_level="error", access_log=False, lifespan="off")


@contextlib.contextmanager
def _receiver(url: str) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = f"from benchmarks.receiver import serve; serve({url!r}, {port})"
    process = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ), cwd=Path.cwd())
    try:
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if time.monotonic() > until or process.poll() is not None:
                raise RuntimeError("the receiver did not start")
            time.sleep(0.1)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _requests(count: int) -> list[bytes]:
    """Whole requests, signed before the clock runs: the sender's own work is not measured."""
    made = []
    for number in range(count):
        body = json.dumps(ORDER | {"id": number}).encode()
        digest = hmac.new(SECRET.encode(), body, hashlib.sha256).digest()
        head = (
            "POST /hooks/shop HTTP/1.1\r\nHost: hub\r\nContent-Type: application/json\r\n"
            f"X-Shopify-Hmac-Sha256: {base64.b64encode(digest).decode()}\r\nX-Id: {number}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


async def _send(port: int, count: int) -> tuple[float, list[float]]:
    """(seconds, each answer's seconds) for as fast as it goes."""
    waiting = _requests(count)
    begin = time.perf_counter()
    taken = await asyncio.gather(*(_connection(port, waiting) for _ in range(CONNECTIONS)))
    return time.perf_counter() - begin, [one for some in taken for one in some]


async def _connection(port: int, waiting: list[bytes]) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    taken = []
    while waiting:
        request = waiting.pop()
        begin = time.perf_counter()
        await _one(reader, writer, request)
        taken.append(time.perf_counter() - begin)
    writer.close()
    return taken


async def _paced(port: int, per_second: float) -> list[float]:
    """Seconds from when each delivery was due to its answer, at a steady rate."""
    waiting = list(enumerate(_requests(int(per_second * PACED_S))))
    waiting.reverse()
    begin = time.perf_counter() + 0.2
    taken: list[float] = []

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while waiting:
            number, request = waiting.pop()
            due = begin + number / per_second
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            await _one(reader, writer, request)
            taken.append(time.perf_counter() - due)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return taken


async def _one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    await reader.readexactly(length)


def _stored(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM hub.inbox").fetchone()
    return int(row[0])


def _one_by_one(url: str) -> float:
    body = json.dumps(ORDER).encode()
    count = 1_000

    def store() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            for number in range(count):
                connection.execute(
                    "INSERT INTO hub.inbox (system, topic, delivery_id, headers, body, url,"
                    " received_at) VALUES ('shop', 'orders', %s, '{}', %s, '', now())",
                    (str(number), body),
                )

    return count / timed(store)
