"""A small hub, a system that signs its webhooks, and the real application on a real port."""

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import uvicorn

from inventory_pipeline.config.load import load_hub
from inventory_pipeline.core.errors import WebhookRefused
from inventory_pipeline.core.ports import (
    Capabilities,
    ChangePage,
    Cursor,
    Delivery,
    RawEvent,
    Verified,
)
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.memory.postgres import Postgres

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SECRET = b"shared with the shop"

HUB = """\
hub: acme
locations:
  dc: {kind: warehouse}
systems:
  wms:
    connector: files
    options: {snapshots: "landing/*.csv", events: "landing/*.jsonl"}
    owns: [{states: [on_hand, damaged, quality_control, incoming], locations: [dc]}]
    snapshot: {max_age: 30m}
  shop:
    connector: files
    options: {snapshots: "shop/*.csv"}
    poll: 1s
channels:
  web: {system: shop, mode: live, buckets: [{id: main, locations: [dc]}]}
  market: {system: shop, mode: shadow, buckets: [{id: main, locations: [dc]}]}
"""
ITEMS = """\
sku,title,kind,decimals,tags
SHIRT-S,"Shirt <b>small</b>",simple,0,apparel
ROPE/2,Rope by the metre,simple,2,
"""


class SignedShop:
    """A system whose webhooks carry a hex HMAC-SHA256 of the body, and whose changes are a list."""

    system = "shop"
    capabilities = Capabilities(changes=True, webhooks=True)

    def __init__(self) -> None:
        self.pages: list[ChangePage] = []

    def verify(self, delivery: Delivery) -> Verified:
        signature = delivery.headers.get("x-signature", "")
        wanted = hmac.new(SECRET, delivery.body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature, wanted):
            raise WebhookRefused("the signature does not fit", system=self.system)
        return Verified(topic="orders", delivery_id=delivery.headers.get("x-delivery", ""))

    def parse(self, topic: str, delivery: Delivery) -> Sequence[RawEvent]:
        body = json.loads(delivery.body)
        return [RawEvent(body=body, source=f"webhook {topic}", position=str(body["event_id"]))]

    def changes(self, cursor: Cursor) -> ChangePage:
        return self.pages.pop(0) if self.pages else ChangePage(events=[], cursor=cursor, more=False)

    def close(self) -> None: ...


class Landing:
    """A system whose files land elsewhere: nobody asks it here."""

    system = "wms"
    capabilities = Capabilities(snapshots=True)

    def close(self) -> None: ...


class Receiver:
    """The application as its senders see it."""

    def __init__(self, url: str, app: object) -> None:
        self.url = url
        self.app = app
        self.http = httpx.Client(base_url=url, timeout=20)

    def signed(self, body: bytes) -> dict[str, str]:
        signature = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
        return {"X-Signature": signature, "X-Delivery": "d1"}

    def send(
        self, body: bytes, *, signature: str | None = None, to: str = "shop"
    ) -> httpx.Response:
        headers = self.signed(body)
        if signature is not None:
            headers["X-Signature"] = signature
        return self.http.post(f"/hooks/{to}", content=body, headers=headers)


def order(event_id: str, **more: object) -> bytes:
    """The body of a webhook that says an order was placed."""
    fields = {
        "event_id": event_id, "type": "order_placed", "occurred_at": "2026-03-02T11:59:00Z",
        "order_id": "1", "line_id": "1", "item": "SHIRT-S", "quantity": 2, "channel": "web",
    }  # fmt: skip
    return json.dumps(fields | more).encode()


@pytest.fixture
def hub_folder(tmp_path: Path) -> Path:
    (tmp_path / "catalog").mkdir()
    (tmp_path / "hub.yaml").write_text(HUB)
    (tmp_path / "catalog" / "items.csv").write_text(ITEMS)
    return tmp_path


@pytest.fixture
def shop() -> SignedShop:
    return SignedShop()


@pytest.fixture
def ctx(hub_folder: Path, pg: Postgres, shop: SignedShop) -> HubContext:
    return HubContext(
        hub=load_hub(hub_folder),
        pg=pg,
        state=hub_folder / ".state",
        clock=lambda: NOW,
        connectors={"shop": shop, "wms": Landing()},  # type: ignore[dict-item]
        policy_version=1,
        mapping_version=1,
    )


@contextmanager
def listening(app: object) -> Iterator[str]:
    """The application behind a real socket, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = datetime.now(UTC) + timedelta(seconds=15)
    while not server.started:
        assert thread.is_alive(), "the server ended"
        assert datetime.now(UTC) < deadline, "the server did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def serve() -> Iterator[Callable[[object], Receiver]]:
    """Starts applications; all of them end with the test."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(app: object) -> Receiver:
            receiver = Receiver(stack.enter_context(listening(app)), app)
            stack.callback(receiver.http.close)
            return receiver

        yield start
