"""From an event's commit to the channel's answer after quiet: a sync run has to be started first.

The whole hub is up: the daemon's sensor sees the event, a run's process starts, imports, and sends.
"""

import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks.harness.figures import Figure, at_most
from benchmarks.harness.process import ROOT
from benchmarks.made.merchant import STOCK, Shop, free_port, shop, write_merchant, write_stock
from benchmarks.made.sales import sell
from inventory_pipeline.flow.context import HubContext, open_context
from inventory_pipeline.memory.embedded import start_embedded
from inventory_pipeline.memory.sync import DRAIN_LOCK

ITEMS = 500
TIMES = 4
PEER_TIMES = 3
BATCH = 100
PATIENCE_S = 120.0
LOOK_S = 0.05
SEED = 5
_QUICK_TO_END = "sync: {idle: 1s}\n"


def run(scratch: Path) -> Iterator[Figure]:
    with shop() as there:
        there.set(stock=0)
        ours = _cold(scratch, there)
        there.set(stock=STOCK)
        theirs = _run_per_event(scratch, there)
    yield Figure(
        name="cold_p95_s",
        value=round(statistics.quantiles(ours, n=100, method="inclusive")[94], 2),
        unit="s",
        against=(
            f"a sensor that starts a run per event and sends in it: median "
            f"{statistics.median(theirs):.1f} s ({min(theirs):.1f} to {max(theirs):.1f} s) for "
            "every event, warm or not"
        ),
        note=(
            f"{TIMES} sales, each after the run before has ended, at random moments of the "
            f"daemon's five seconds; median {statistics.median(ours):.2f} s ({min(ours):.2f} to "
            f"{max(ours):.2f} s); sync.idle is 1 s here, so that a run ends soon"
        ),
        target=at_most(10),
    )


def _cold(scratch: Path, there: Shop) -> list[float]:
    folder = write_merchant(scratch / "hub", ITEMS, url=there.url, batch=BATCH, more=_QUICK_TO_END)
    write_stock(folder, "0", dict.fromkeys(range(ITEMS), STOCK))
    state = scratch / "s"
    chance = random.Random(SEED)
    with _up(folder, state):
        _wait(lambda: len(_answered(there)) == ITEMS, "the first numbers were not sent")
        ctx = open_context(folder, state, start_embedded(state / "postgres"))
        try:
            return [_one(ctx, there, item, chance.uniform(0, 5)) for item in range(TIMES)]
        finally:
            ctx.close()


def _one(ctx: HubContext, there: Shop, item: int, pause_s: float) -> float:
    """Seconds from the commit of a sale to the shop's answer, nothing being at work before."""
    _wait(lambda: not _draining(ctx), "the run does not end")
    time.sleep(pause_s)
    before = _answered(there)[item]
    _wait(lambda: not _draining(ctx), "the run does not end")
    at = sell(ctx, item, item)
    _wait(lambda: _answered(there)[item] > before, "the sale was not sent")
    return _answered(there)[item] - at


def _draining(ctx: HubContext) -> bool:
    with psycopg.connect(ctx.pg.url) as connection:
        row = connection.execute(
            "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s)",
            (DRAIN_LOCK,),
        ).fetchone()
    return bool(row and row[0])


def _answered(there: Shop) -> dict[int, float]:
    """Item number → when its newest number was answered."""
    return {item - 1: at for at, item, _ in there.said()["taken"]}


def _wait(holds, otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(LOOK_S)


@contextmanager
def _up(folder: Path, state: Path) -> Iterator[None]:
    ports = ["--port", str(free_port()), "--dagster-port", str(free_port())]
    argv = [sys.executable, "-m", "inventory_pipeline", "up", str(folder), "--state", str(state)]
    with _process([*argv, *ports], state.with_suffix(".log"), {}):
        yield


def _run_per_event(scratch: Path, there: Shop) -> list[float]:
    events, home = scratch / "events", scratch / "home"
    events.mkdir()
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    module = ["-m", "benchmarks.peers.run_per_event"]
    env = {"DAGSTER_HOME": str(home), "EVENTS": str(events), "SHOP_URL": there.url}
    taken: list[float] = []
    with _process(
        [sys.executable, "-m", "dagster._daemon", "run", *module], scratch / "peer.log", env
    ):
        for item in range(1, PEER_TIMES + 2):
            at = time.monotonic()
            (events / str(item)).touch()
            _wait(lambda item=item: item - 1 in _answered(there), "the simple way sent nothing")
            taken.append(_answered(there)[item - 1] - at)
            time.sleep(1.7)  # so that the next event meets another moment of the daemon's five
    return taken[1:]  # the first one waits for the daemon's start


@contextmanager
def _process(argv: list[str], log: Path, env: dict[str, str]) -> Iterator[None]:
    """Started in a group of its own; stopped as by Ctrl-C. A failure shows the end of its log."""
    with log.open("w") as said:
        process = subprocess.Popen(
            argv,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | env,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{error}: {log.read_text()[-2000:]}") from error
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE_S / 2)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
