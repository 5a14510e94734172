"""What is measured, each in a process of its own: the engine, the floor, and the two peers.

Each function gives JSON: seconds of what it did several times, after a first time that is not
counted; the most memory that its process had; and a digest of the offers that it came to.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.harness.figures import timed
from benchmarks.harness.process import peak_rss_mib
from benchmarks.made.chain import AT, make_store
from benchmarks.made.chain_events import chain_events
from benchmarks.peers.tables import NET, THREADS, Tables, connect, read_tables, write_long_stock
from inventory_pipeline.compute.engine import Engine, open_engine

Found = dict[str, Any]
# The order of rows has no part in it, their types have none either.
_DIGEST = (
    "SELECT count(*) || ' rows, '"
    " || sum(hash(item_no::INTEGER, bucket_no::SMALLINT, available_milli::BIGINT)) FROM "
)
_FLOOR = f"CREATE OR REPLACE TEMP TABLE floor AS SELECT item_no, sum({NET}) AS net_milli"
_FLOOR += " FROM long_stock GROUP BY item_no"


def made(folder: str, items: int) -> str:
    """The store's path."""
    return str(make_store(Path(folder), items))


def long_stock(store: str, path: str) -> int:
    """Writes the same stock as a long table in a file of its own; its number of rows."""
    return write_long_stock(Path(store), Path(path))


def ours(store: str, times: int) -> Found:
    """From positions and rules to the stored offers of the whole catalogue."""
    with _opened(store) as engine, _taken_back(engine):
        _scope(engine, AT)
        seconds = _repeated(times, lambda: engine._calculation.offers(at=_naive(AT)))
        peak = peak_rss_mib()
        [digest] = engine._db.row(f"{_DIGEST} offers_now")
    return {"seconds": seconds, "peak_rss_mib": peak, "digest": digest}


def floor(path: str, times: int) -> Found:
    """DuckDB only adding stock rows up by item, into a table."""
    with connect(path, read_only=True) as connection:
        seconds = _repeated(times, lambda: connection.execute(_FLOOR))
    return {"seconds": seconds, "peak_rss_mib": peak_rss_mib(), "digest": ""}


def peer(name: str, store: str, path: str, times: int) -> Found:
    """The same formula, in memory from stock rows to a frame; reading is not timed."""
    os.environ["POLARS_MAX_THREADS"] = str(THREADS)
    tables = read_tables(Path(store), Path(path))
    offers = contender(name, tables).offers
    frames: list[Any] = []

    def compute() -> None:
        frames[:] = []  # the one before is not kept beside the next
        frames.append(offers())

    seconds = _repeated(times, compute)
    peak = peak_rss_mib()
    with connect(":memory:") as connection:
        connection.register("offered", frames[0] if name == "pandas" else frames[0].to_arrow())
        found = connection.execute(f"{_DIGEST} offered").fetchone()
    assert found is not None
    return {"seconds": seconds, "peak_rss_mib": peak, "digest": found[0]}


def full_run(store: str, times: int) -> Found:
    """The whole run after a change of rules, committed."""
    with _opened(store) as engine:

        def whole() -> None:
            with engine.transaction():
                engine.compute(at=AT, ledger_offset=engine.ledger_offset(), full=True)

        seconds = _repeated(times, whole)
        peak = peak_rss_mib()
        [digest] = engine._db.row(f"{_DIGEST} offers_now")
    return {"seconds": seconds, "peak_rss_mib": peak, "digest": digest}


def incremental(store: str, items: int, count: int, batches: int) -> Found:
    """Batches of events on an open engine, each until it is committed; and what opening costs."""
    begin = perf_counter()
    opened = _opened(store)
    engine = opened.__enter__()
    opening = perf_counter() - begin
    try:
        seconds = [batch(engine, items, count, seed=turn + 1) for turn in range(batches)]
    finally:
        opened.__exit__(None, None, None)
    return {
        "opening": opening,
        "first": seconds[0],
        "seconds": seconds[1:],
        "peak_rss_mib": peak_rss_mib(),
    }


def moment(seed: int) -> datetime:
    """The time of a batch: a minute after the one before."""
    return AT + timedelta(minutes=seed)


def batch(engine: Engine, items: int, count: int, *, seed: int) -> float:
    """Seconds until `count` new events are part of the offers."""
    offset = engine.ledger_offset() + 1
    since, now = moment(seed - 1), moment(seed)
    events = chain_events(items, count, seed=seed, ledger_offset=offset, at=since)

    def computed() -> None:
        with engine.transaction():
            engine.append_events(events)
            engine.touched(now)
            engine.compute(at=now, ledger_offset=offset, full=False)

    seconds = timed(computed)
    with engine.transaction():  # what the outbox has taken, in the cycle's next transaction
        if engine.pending().num_rows == 0:
            raise AssertionError(f"{count} events changed no offer: nothing was measured")
        engine.clear_pending()
    return seconds


@contextmanager
def _opened(store: str) -> Iterator[Engine]:
    with open_engine(Path(store)) as engine:
        engine._db.run(f"SET threads = {THREADS}")
        yield engine


@contextmanager
def _taken_back(engine: Engine) -> Iterator[None]:
    """What is measured here does not stay in the file."""
    engine._db.run("BEGIN")
    try:
        yield
    finally:
        engine._db.run("ROLLBACK")


def _scope(engine: Engine, at: datetime) -> None:
    """Everything that a full run does before offers; none of it is large when nothing is new."""
    engine._calculation.everything(at=_naive(at))
    engine._calculation.rules(at=_naive(at))
    engine._calculation.positions(at=_naive(at), reached=engine.ledger_offset(), since=_naive(at))


def _naive(at: datetime) -> datetime:
    return at.replace(tzinfo=None)


def _repeated(times: int, function: Callable[[], Any]) -> list[float]:
    function()
    return [timed(function) for _ in range(times)]


def contender(name: str, tables: Tables) -> Any:
    """InPolars or InPandas, with frames in memory: `offers()` computes."""
    if name == "polars":
        from benchmarks.peers.in_polars import InPolars

        return InPolars(tables)
    from benchmarks.peers.in_pandas import InPandas

    return InPandas(tables)
