"""Simulated shops as processes of their own, on free ports of this machine."""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import uvicorn

CATALOG = "sku,title,price,available\n101,Milk,1.20,10\n102,Eggs,2.50,5\nTEA,Tea,3.00,3\n"
LOCATION = "gid://shopify/Location/1"
READY_S = 30


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Server:
    """A simulated shop that can be killed and started again on the same state."""

    module: str
    arguments: list[str]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    def start(self) -> "Server":
        argv = [sys.executable, "-m", f"inventory_pipeline.simulate.{self.module}"]
        self.process = subprocess.Popen([*argv, "--port", str(self.port), *self.arguments])
        self.client = httpx.Client(base_url=self.url, timeout=20, trust_env=False)
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            try:
                if self.client.get("/control/ready").status_code == 200:
                    return self
            except httpx.HTTPError:
                time.sleep(0.05)
        raise AssertionError(f"{self.module} did not come up on port {self.port}")

    def kill(self) -> None:
        """Ends the process as a crash would; `start` brings it back."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.client.close()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # -- the storefront and the levers --------------------------------------------------------

    def order(self, order_id: str, *lines: tuple[str, int], **more) -> httpx.Response:
        wanted = [{"sku": sku, "quantity": quantity} for sku, quantity in lines]
        body = {"order_id": order_id, "lines": wanted, **more}
        return self.client.post("/storefront/orders", json=body)

    def fault(self, mode: str, **more) -> None:
        assert self.client.post("/control/faults", json={"mode": mode, **more}).status_code == 200

    def state(self) -> dict:
        return self.client.get("/control/state").json()

    def shows(self, sku: str) -> int:
        (level,) = [level for level in self.state()["levels"] if level["sku"] == sku]
        return level["available"]

    # -- Shopify's API ------------------------------------------------------------------------

    def graphql(self, document: str, /, version: str = "2026-10", **variables) -> httpx.Response:
        return self.client.post(
            f"/admin/api/{version}/graphql.json",
            json={"query": document, "variables": variables},
            headers={"X-Shopify-Access-Token": "T"},
        )


class InThread(Server):
    """The same shop behind the same HTTP, quicker to start: for tests that kill nothing."""

    def start(self) -> "InThread":
        shop_of = importlib.import_module(f"inventory_pipeline.simulate.{self.module}").shop_of
        app, _ = shop_of(["--port", "0", *self.arguments])
        config = uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        deadline = time.monotonic() + READY_S
        while not self.server.started:
            assert time.monotonic() < deadline, f"{self.module} did not come up"
            time.sleep(0.005)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self.client = httpx.Client(base_url=self.url, timeout=20, trust_env=False)
        return self

    def stop(self) -> None:
        self.client.close()
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    path = tmp_path / "items.csv"
    path.write_text(CATALOG)
    return path


@pytest.fixture
def start(tmp_path: Path, catalog: Path) -> Iterator:
    """Starts a shop: start("shopify", "--bucket", "30"); `process=True` for one to be killed."""
    started: list[Server] = []

    def begin(module: str, *more: str, process: bool = False, listing: Path = catalog) -> Server:
        own = {
            "shopify": ["--token", "T", "--location", LOCATION],
            "woocommerce": ["--consumer-key", "ck", "--consumer-secret", "cs"],
        }[module]
        state = tmp_path / f"{module}.sqlite"
        files = ["--state", str(state), "--catalog", str(listing)]
        server = (Server if process else InThread)(module, [*files, *own, *more])
        started.append(server)
        return server.start()

    yield begin
    for server in started:
        server.stop()


@dataclass
class Heard:
    """One webhook as it came in."""

    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.body)


class Listener:
    """A receiver of webhooks; answers 503 for as many deliveries as `failing` says."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.failing = 0
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with outer.lock:
                    outer.heard.append(Heard(headers, body))
                    fails = outer.failing > 0
                    outer.failing -= fails
                self.send_response(503 if fails else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args) -> None:
                """Keeps quiet."""

        class Listening(ThreadingHTTPServer):
            request_queue_size = 1024  # a burst of webhooks overruns the default of five

        self.server = Listening(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def wait_for(self, count: int, seconds: float = 20) -> list[Heard]:
        """The deliveries, as soon as there are so many."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and len(self.heard) < count:
            time.sleep(0.02)
        assert len(self.heard) >= count, f"heard {len(self.heard)} of {count} webhooks"
        return list(self.heard)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listening = Listener()
    yield listening
    listening.close()


@pytest.fixture(autouse=True)
def package_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Child processes find the package where this one found it."""
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
