"""Sync runs in processes of their own that start at once: everything is imported before they fork.

`python -m inventory_pipeline_tests.end_to_end.kill_runs HUB STATE POSTGRES_URL CLOCK` reads a line
of JSON for each run, {"env": {...}}, and answers with one, {"code": exit code, negative for a
signal}. CLOCK is a file that holds by how many seconds the hub's clock is ahead (`Ahead`).
"""

import gc
import json
import mmap
import os
import struct
import sys
import traceback
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
from httpx._transports import default

from inventory_pipeline.compute.models import models
from inventory_pipeline.connectors import shopify, woocommerce
from inventory_pipeline.contracts import snapshots
from inventory_pipeline.core import faults
from inventory_pipeline.flow import context
from inventory_pipeline.flow.drain import drain
from inventory_pipeline.flow.land import land_changes, land_snapshots

LONGEST_RUN = timedelta(seconds=30)


class Ahead:
    """A clock that several processes set forward, so that nobody sleeps until time has passed."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(struct.pack("d", 0.0))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8)

    def __call__(self) -> datetime:
        (ahead_s,) = struct.unpack("d", self._memory[:8])
        return datetime.now(UTC) + timedelta(seconds=ahead_s)

    def pass_(self, seconds: float) -> None:
        (ahead_s,) = struct.unpack("d", self._memory[:8])
        self._memory[:8] = struct.pack("d", ahead_s + seconds)


def run(folder: Path, state: Path, url: str, clock: Ahead) -> None:
    """What lands and sync do: reads every system, then computes and sends until all is quiet."""
    _watch_requests()
    ctx = context.open_context(folder, state, url, clock)
    for system in ctx.hub.systems:
        land_snapshots(ctx, system)
        land_changes(ctx, system)
    drain(ctx, idle=timedelta(0), max_run=LONGEST_RUN, report=lambda *_: None)
    ctx.close()


def _watch_requests() -> None:
    """A fault point before each request leaves, and one when its answer is there and not read."""
    send = httpx.HTTPTransport.handle_request

    def watched(transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        what = "write" if _is_write(request) else "read"
        faults.point(f"{what} sent")
        response = send(transport, request)
        faults.point(f"{what} applied")
        return response

    httpx.HTTPTransport.handle_request = watched  # type: ignore[method-assign]


def _is_write(request: httpx.Request) -> bool:
    return request.method != "GET" and b"query Hub" not in request.content


def _in_a_fork(env: dict[str, str], *arguments: Any) -> int:
    """Exit code of a run with these variables; negative: the signal that ended it."""
    child = os.fork()
    if child == 0:
        os.environ.update(env)
        try:
            run(*arguments)
            sys.stderr.flush()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - whatever it was: the parent says so
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _prepare() -> None:
    """What each run would import, read or make by itself: once, for all of them."""
    assert all((pd, shopify, woocommerce, snapshots))
    models()
    # The database is a copy of one that was migrated.
    context.migrate = lambda _url: None
    # All shops are on this machine and speak plain HTTP.
    default.create_ssl_context = cache(default.create_ssl_context)
    default.create_ssl_context()
    gc.freeze()


def _one_clock(clock: Ahead) -> None:
    """Readings are dated by the clock that dates writes, as on any machine."""
    for connector in (shopify.ShopifyConnector, woocommerce.WooCommerceConnector):
        defaults = connector.__init__.__kwdefaults__
        assert "clock" in defaults
        defaults["clock"] = clock


def main() -> None:
    _prepare()
    folder, state, url, path = sys.argv[1:]
    clock = Ahead(Path(path))
    _one_clock(clock)
    arguments = (Path(folder), Path(state), url, clock)
    for line in sys.stdin:
        code = _in_a_fork(json.loads(line)["env"], *arguments)
        sys.stdout.write(json.dumps({"code": code}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
