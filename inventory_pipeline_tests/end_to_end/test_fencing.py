"""Two runs never drain at once: one that lost its lock in the middle of a send writes no more."""

import threading
from dataclasses import dataclass, field
from datetime import timedelta

import psycopg
import pytest

from inventory_pipeline.flow.drain import drain
from inventory_pipeline.flow.times import utc_now
from inventory_pipeline.memory import sync
from inventory_pipeline.memory.postgres import Postgres
from inventory_pipeline_tests.fakes import FakeChannel, context, land, small_hub

STOCK = {"A": 10, "B": 5, "C": 3}
PATIENCE_S = 30


@dataclass
class HeldChannel(FakeChannel):
    """Its first write waits, on its way there or on its way back; `senders` are the threads."""

    answered_late: bool = False
    under_way: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)
    senders: list[str] = field(default_factory=list)

    def write_levels(self, writes, *, key):
        holding = not self.senders
        self.senders.append(threading.current_thread().name)
        if holding and not self.answered_late:
            self._hold()
        outcomes = super().write_levels(writes, key=key)
        if holding and self.answered_late:
            self._hold()
        return outcomes

    def _hold(self):
        self.under_way.set()
        assert self.let_go.wait(PATIENCE_S), "nobody let it go"


@pytest.mark.parametrize("answered_late", [False, True], ids=["not there yet", "answer on its way"])
def test_who_lost_the_lock_in_the_middle_of_a_send_writes_no_more(pg, tmp_path, answered_late):
    channel = HeldChannel(utc_now, levels=dict.fromkeys(STOCK, 0), answered_late=answered_late)
    first = context(small_hub(), pg, tmp_path, utc_now, channel)
    land(first, **STOCK)
    ended = []
    thread = threading.Thread(target=lambda: ended.append(quick_drain(first, "first")))
    thread.start()
    try:
        assert channel.under_way.wait(PATIENCE_S), "nothing was sent"
        end_the_lock(pg)
        other = Postgres(pg.url)
        successor = context(small_hub(), other, tmp_path, utc_now, channel)
        assert quick_drain(successor, "second").ended == "idle"
        assert channel.levels == STOCK
        by_then, written = requests_by(channel), everything(pg)
    finally:
        channel.let_go.set()
        thread.join(PATIENCE_S)
    assert [one.ended for one in ended] == ["superseded"]
    assert requests_by(channel) == by_then
    assert everything(pg) == written
    assert channel.levels == STOCK
    other.close()


def quick_drain(ctx, holder):
    return drain(
        ctx,
        idle=timedelta(0),
        max_run=timedelta(seconds=PATIENCE_S),
        report=lambda *_: None,
        holder=holder,
    )


def end_the_lock(pg):
    """As when a network forgets a connection: its process goes on."""
    with psycopg.connect(pg.url, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            " AND objid = %s AND database = (SELECT oid FROM pg_database"
            "  WHERE datname = current_database())",
            (sync.DRAIN_LOCK,),
        ).fetchall()
    assert ended == [(True,)]


def requests_by(channel):
    return list(channel.senders)


def everything(pg):
    """All that a drain could write to the memory."""
    tables = ("outbox", "intents", "attempts", "sync_cursor")
    with psycopg.connect(pg.url) as connection:
        return {
            table: sorted(map(repr, connection.execute(f"SELECT * FROM hub.{table}").fetchall()))
            for table in tables
        }
