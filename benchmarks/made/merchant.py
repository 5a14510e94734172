"""A merchant whose stock one shop sells: a hub folder, open for work, beside its shop's endpoint.

The hub is a real one: its folder is read, its stock lands as a snapshot, its numbers are computed.
Only the base of its listings is set at once, as if each had been sent before.
"""

import csv
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks.harness.process import ROOT
from inventory_pipeline.flow.context import HubContext, open_context
from inventory_pipeline.flow.cycle import run_cycle
from inventory_pipeline.flow.land import land_snapshots
from inventory_pipeline.flow.times import utc_now
from inventory_pipeline.memory.embedded import start_embedded, stop_embedded

STOCK = 40
SECRET = "BENCH_SHOP_TOKEN"
LOCATION = "gid://shopify/Location/1"
_HUB = """\
hub: merchant
locations:
  dc: {{kind: warehouse}}
systems:
  wms:
    connector: files
    options: {{snapshots: "in/*.csv", settle_s: 0}}
    owns: [{{states: [on_hand, damaged, quality_control, incoming], locations: [dc]}}]
  shop:
    connector: shopify
    options: {{url: "{url}", access_token: {{env: {secret}}}, batch_size: {batch}}}
channels:
  web:
    system: shop
    mode: live
    buckets: [{{id: main, external: "gid://shopify/Location/1", locations: [dc]}}]
"""


def sku_of(number: int) -> str:
    return f"SKU-{number:06d}"


def item_of(number: int) -> str:
    return f"gid://shopify/InventoryItem/{number + 1}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A running endpoint (made/endpoint.py)."""

    url: str
    process: subprocess.Popen[bytes]

    def set(self, **wanted: Any) -> None:
        httpx.post(f"{self.url}/control", json=wanted, trust_env=False).raise_for_status()

    def said(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.url}/control", trust_env=False, timeout=60).json()
        return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def shop() -> Iterator[Shop]:
    """An endpoint in a process of its own."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.made.endpoint", str(port)], cwd=ROOT
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                httpx.get(f"{url}/control", trust_env=False)
                break
            except httpx.TransportError:
                assert process.poll() is None, "the endpoint ended"
                assert time.monotonic() < deadline, "the endpoint does not start"
                time.sleep(0.05)
        yield Shop(url=url, process=process)
    finally:
        process.kill()
        process.wait()


@contextmanager
def postgres(scratch: Path) -> Iterator[str]:
    """An embedded server in the scratch folder; its URL."""
    folder = scratch / "pg"
    url = start_embedded(folder)
    try:
        yield url
    finally:
        stop_embedded(folder)
        shutil.rmtree(folder, ignore_errors=True)


def write_merchant(folder: Path, items: int, *, url: str, batch: int, more: str = "") -> Path:
    """The hub folder of a merchant with `items` items; `more` ends its hub.yaml."""
    os.environ[SECRET] = "token"
    (folder / "catalog").mkdir(parents=True)
    (folder / "hub.yaml").write_text(
        _HUB.format(url=url, batch=batch, secret=SECRET) + more, encoding="utf-8"
    )
    _write(
        folder / "catalog" / "items.csv",
        ["sku", "title", "kind", "decimals", "tags"],
        [[sku_of(n), f"Thing {n}", "simple", 0, ""] for n in range(items)],
    )
    _write(
        folder / "catalog" / "identifiers.csv",
        ["system", "external_id", "sku", "units"],
        [["shop", item_of(n), sku_of(n), 1] for n in range(items)],
    )
    return folder


def count_stock(ctx: HubContext, folder: Path, name: str, units: dict[int, int]) -> None:
    """Item number → units on hand: lands as a snapshot dated now."""
    write_stock(folder, name, units)
    landed = land_snapshots(ctx, "wms")
    assert landed.rows == len(units), landed


def write_stock(folder: Path, name: str, units: dict[int, int]) -> None:
    """The file of a snapshot dated now."""
    (folder / "in").mkdir(exist_ok=True)
    path = folder / "in" / f"{name}.csv"
    at = utc_now().isoformat()
    _write(
        path,
        ["as_of", "location", "item", "on_hand"],
        [[at, "dc", sku_of(number), count] for number, count in units.items()],
    )
    # Settled long ago.
    os.utime(path, (1, 1))


@contextmanager
def merchant(
    scratch: Path, pg_url: str, items: int, *, url: str, batch: int
) -> Iterator[HubContext]:
    """An open hub with STOCK units of each item, all of which its shop is known to show."""
    folder = write_merchant(scratch / "hub", items, url=url, batch=batch)
    ctx = open_context(folder, scratch / "state", pg_url)
    try:
        count_stock(ctx, folder, "0", dict.fromkeys(range(items), STOCK))
        run_cycle(ctx)
        show_everything(ctx)
        yield ctx
    finally:
        ctx.close()


def show_everything(ctx: HubContext, at: datetime | None = None) -> None:
    """As if every listing had been sent at `at` (default: now) and answered."""
    at = at or ctx.clock()
    with ctx.pg.connection() as connection:
        connection.execute(
            "UPDATE hub.outbox SET base_milli = desired_milli, base_kind = 'write',"
            " base_sent_at = %s, base_answered_at = %s, unread = false, look = false",
            (at, at),
        )
    with ctx.pg.dedicated() as connection:
        connection.execute("VACUUM (ANALYZE) hub.outbox")


def _write(path: Path, head: list[str], rows: list[list[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)
