"""How long the operators' pages and the API take over a million skus."""

import contextlib
import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg

from benchmarks.harness.figures import Figure, at_most
from benchmarks.made.hub import make_hub, place_of, sku_of
from inventory_pipeline.memory.embedded import start_embedded, stop_embedded
from inventory_pipeline.memory.postgres import migrate

SKUS = 1_000_000
ENTRIES = 1_000_000
ATTEMPTS = 300_000
VARIANCES = 20_000
PAGES = (
    "/", "/variances", "/variances?cause=lost_update", "/variances?closed=1", "/pushes",
    "/pushes?channel=web", "/feeds", "/latency", "/latency?span=7d", "/audit",
    "/sku?sku=sku-00123", "/sku?sku=nowhere",
)  # fmt: skip
API = (
    "/v1/ats?sku={sku}", "/v1/ats?sku={sku}&channel=web", "/v1/health",
    "/v1/channels/web/ats?limit=100", "/v1/channels/web/ats?limit=100&since=999990",
)  # fmt: skip
TIMES = 15
API_TIMES = 100


def run(_scratch: Path) -> Iterator[Figure]:
    folder = Path(tempfile.mkdtemp(prefix="hubp"))
    url = start_embedded(folder / "pg")
    try:
        migrate(url)
        begin = time.perf_counter()
        with psycopg.connect(url, autocommit=True) as connection:
            _fill(connection)
            floor_ms = _floor_ms(connection)
        made_s = time.perf_counter() - begin
        with _server(url) as address, httpx.Client(base_url=address, timeout=60) as http:
            _warm(http)
            pages = _timed(http, PAGES, TIMES)
            first, whole = _sku_pages(http)
            api = _timed(http, API, API_TIMES)
    finally:
        stop_embedded(folder / "pg")
        shutil.rmtree(folder, ignore_errors=True)
    worst = max(pages, key=lambda path: _percentile(pages[path], 0.95))
    everything = [one for some in pages.values() for one in some] + first
    yield Figure(
        name="page_p95_ms",
        value=round(_percentile(everything, 0.95), 1),
        unit="ms",
        against=f"counting the outbox once: {floor_ms:.0f} ms",
        note=f"{len(PAGES)} pages {TIMES} times each, and {len(first)} SKU pages until all that"
        f" Postgres knows is sent; {SKUS:,} skus, {ENTRIES:,} ledger entries, {ATTEMPTS:,}"
        f" attempts (made in {made_s:.0f} s); slowest {worst}:"
        f" {_percentile(pages[worst], 0.95):.0f} ms; the whole SKU page with its explanation:"
        f" {_percentile(whole, 0.5):.0f} ms (p50)",
        target=at_most(200),
    )
    of_api = [one for some in api.values() for one in some]
    worst = max(api, key=lambda path: _percentile(api[path], 0.99))
    yield Figure(
        name="api_p99_ms",
        value=round(_percentile(of_api, 0.99), 1),
        unit="ms",
        against=f"p50 of the same run: {_percentile(of_api, 0.5):.1f} ms",
        note=f"{len(API)} requests {API_TIMES} times each over {SKUS:,} skus; slowest {worst}:"
        f" {_percentile(api[worst], 0.99):.1f} ms",
        target=at_most(20),
    )


def serve(url: str, port: int) -> None:
    """The application over the made hub, in a process of its own."""
    import uvicorn

    from inventory_pipeline.config.policy import Bucket, Channel, Ownership
    from inventory_pipeline.core.vocabulary import Mode, State
    from inventory_pipeline.flow.connecting import build_connectors
    from inventory_pipeline.flow.context import HubContext
    from inventory_pipeline.memory.postgres import Postgres
    from inventory_pipeline.server.app import create_app

    hub = make_hub(SKUS)
    states = (State.ON_HAND, State.DAMAGED, State.QUALITY_CONTROL, State.INCOMING)
    owned = Ownership(states=states, locations=tuple(hub.locations))
    bucket = Bucket(id="main", external="", locations=(place_of(0), place_of(1)))
    hub = replace(
        hub,
        systems={**hub.systems, "wms": replace(hub.systems["wms"], owns=(owned,))},
        channels={
            "web": Channel(
                id="web", system="shop", mode=Mode.LIVE, buckets=(bucket,), decimals=0,
                canary_skus=(),
            )
        },
        policy_hash="p",
        catalog_hash="c",
    )  # fmt: skip
    ctx = HubContext(
        hub=hub, pg=Postgres(url), state=Path(tempfile.mkdtemp(prefix="hubp")),
        clock=lambda: datetime.now(UTC), connectors=build_connectors(hub), policy_version=1,
        mapping_version=1,
    )  # fmt: skip
    gc.freeze()
    uvicorn.run(create_app(ctx), port=port, log_level="error", access_log=False)


@contextlib.contextmanager
def _server(url: str) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = f"from benchmarks.pages import serve; serve({url!r}, {port})"
    process = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ))
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 120
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{address}/v1/health").status_code == 200:
                    break
            if time.monotonic() > until or process.poll() is not None:
                raise RuntimeError("the server did not start")
            time.sleep(0.3)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _warm(http: httpx.Client) -> None:
    """Every page once, and the first roll-up done."""
    for path in PAGES:
        _ok(http.get(path))
    until = time.monotonic() + 60
    while '"c-p95"' not in http.get("/latency").text and time.monotonic() < until:
        time.sleep(1)


def _timed(http: httpx.Client, paths: tuple[str, ...], times: int) -> dict[str, list[float]]:
    """Milliseconds of each path, in turns."""
    taken: dict[str, list[float]] = {path: [] for path in paths}
    for number in range(times):
        for path in paths:
            address = path.format(sku=sku_of(number * 7919 % SKUS))
            begin = time.perf_counter()
            _ok(http.get(address))
            taken[path].append(1000 * (time.perf_counter() - begin))
    return taken


def _sku_pages(http: httpx.Client) -> tuple[list[float], list[float]]:
    """Milliseconds until the part that Postgres knows is there, and until the end."""
    first, whole = [], []
    for number in range(TIMES):
        begin = time.perf_counter()
        with http.stream("GET", f"/sku/{sku_of(number * 104_729 % SKUS)}") as answer:
            pieces = answer.iter_text()
            text = next(pieces)
            first.append(1000 * (time.perf_counter() - begin))
            text += "".join(pieces)
            whole.append(1000 * (time.perf_counter() - begin))
        assert "Positions, and who spoke last" in text, text[-2000:]
    return first, whole


def _ok(answer: httpx.Response) -> None:
    assert answer.status_code in {200, 303, 304}, answer.text


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _floor_ms(connection: psycopg.Connection) -> float:
    begin = time.perf_counter()
    connection.execute("SELECT channel, count(*) FROM hub.outbox WHERE listed GROUP BY channel")
    return 1000 * (time.perf_counter() - begin)


def _fill(connection: psycopg.Connection) -> None:
    """Rows of every kind, as they stand after some weeks."""
    numbers = {"skus": SKUS, "entries": ENTRIES, "attempts": ATTEMPTS, "variances": VARIANCES}
    for statement in _ROWS.split(";\n"):
        if statement.strip():
            connection.execute(statement, numbers)  # type: ignore[arg-type]
    connection.execute("VACUUM ANALYZE")


_ROWS = """
SET synchronous_commit TO off;
INSERT INTO hub.policy_versions VALUES (1, 'p', 0, now() - interval '30 days', 'bench', '');
INSERT INTO hub.mapping_versions VALUES (1, 'c', 0, now() - interval '30 days', '{}');
INSERT INTO hub.ledger (ledger_offset, kind, system, event_id, type, occurred_at, received_at,
    item, sku, quantity_milli, location, order_id, line_id, channel, mapping_version, source,
    position)
SELECT n, 'event', CASE n %% 2 WHEN 0 THEN 'wms' ELSE 'shop' END, 'e' || n,
       CASE n %% 2 WHEN 0 THEN 'goods_received' ELSE 'order_placed' END,
       now() - (%(entries)s - n) * interval '1 second',
       now() - (%(entries)s - n) * interval '1 second',
       'SKU-' || lpad((n %% %(skus)s)::text, 7, '0'),
       'SKU-' || lpad((n %% %(skus)s)::text, 7, '0'),
       5000, CASE n %% 2 WHEN 0 THEN 'dc-00' END,
       CASE n %% 2 WHEN 1 THEN 'o' || n END, CASE n %% 2 WHEN 1 THEN '1' END,
       CASE n %% 2 WHEN 1 THEN 'web' END, 1, 'made', n::text
FROM generate_series(1, %(entries)s::bigint) n;
UPDATE hub.counter SET ledger_offset = %(entries)s;
UPDATE hub.sync_cursor SET ledger_offset = %(entries)s, computed_at = now();
INSERT INTO hub.outbox (channel, bucket, external_id, bucket_external, sku, units_milli,
    desired_milli, desired_offset, policy_version, mapping_version, computed_at, base_milli,
    base_kind, base_sent_at, base_answered_at, look, failure, dead_at)
SELECT 'web', 'main', 'gid://shopify/InventoryItem/' || n, '', 'SKU-' || lpad(n::text, 7, '0'),
       1000, 5000, n + 1, 1, 1, now(), 5000, 'write', now(), now(), n %% 2000 = 0,
       CASE WHEN n %% 5000 = 0 THEN 'the listing is archived' END,
       CASE WHEN n %% 50000 = 0 THEN now() END
FROM generate_series(0, %(skus)s::bigint - 1) n;
INSERT INTO hub.attempts (key, channel, bucket, external_id, sku, epoch, quantity_milli,
    desired_offset, policy_version, mode, occurred_at, received_at, computed_at, sent_at,
    answered_at, outcome)
SELECT 'k' || n, 'web', 'main', 'gid://shopify/InventoryItem/' || n %% %(skus)s,
       'SKU-' || lpad((n %% %(skus)s)::text, 7, '0'), 1, 5000, n, 1, 'live',
       at - interval '1 second', at, at, at, at + n %% 900 * interval '1 millisecond',
       CASE WHEN n %% 50 = 0 THEN 'busy' ELSE 'acked' END
FROM (SELECT n, now() - n * interval '2 seconds' AS at
      FROM generate_series(1, %(attempts)s::bigint) n) made;
INSERT INTO hub.variances (comparison, channel, bucket, external_id, sku, expected_milli,
    found_milli, cause, evidence, first_seen, last_seen, closed_at, heal)
SELECT 'channel', 'web', 'main', 'gid://shopify/InventoryItem/' || n,
       'SKU-' || lpad(n::text, 7, '0'), 5000, 6000,
       (ARRAY['lost_update', 'external_edit', 'unexplained'])[1 + n %% 3], '{"attempt": "k1"}',
       now() - n * interval '1 minute', now(), CASE WHEN n %% 2 = 0 THEN now() END, 'repush'
FROM generate_series(1, %(variances)s::bigint) n;
INSERT INTO hub.snapshots (system, feed, source, key, as_of, status, reason, message, data_rows,
    landed_at)
SELECT 'wms', 'wms', 'landing/' || n, 'k' || n, now() - n * interval '15 minutes',
       CASE WHEN n %% 40 = 0 THEN 'rejected' ELSE 'accepted' END, NULL, NULL, 1000000,
       now() - n * interval '15 minutes'
FROM generate_series(1, 5000) n;
INSERT INTO hub.quarantine (system, kind, source, position, reason, message, raw, received_at)
SELECT 'wms', 'snapshot_row', 'landing/1', n::text, 'unknown_item', 'no such item', 'x,' || n, now()
FROM generate_series(1, 20000) n;
INSERT INTO hub.audit (at, by, action, subject, detail)
SELECT now(), 'maria', 'dead.retry', 'web', '{}' FROM generate_series(1, 20000) n;
"""
