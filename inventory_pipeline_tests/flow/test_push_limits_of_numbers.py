"""Numbers that a channel cannot be told: too small, too large, zero; and writes one at a time."""

import threading
import time
from dataclasses import replace

import pytest

from inventory_pipeline.core.outbox import offerable
from inventory_pipeline.core.ports import Capabilities
from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline.flow.cycle import run_cycle
from inventory_pipeline.flow.push import push_channel
from inventory_pipeline.flow.push_calls import Batch, call
from inventory_pipeline.memory import sync
from inventory_pipeline_tests.fakes import (
    SELLING_WITH_COMPARE,
    START,
    Clock,
    FakeChannel,
    context,
    land,
    small_hub,
)


class Bench:
    """A warehouse, a live channel, and what the hub makes of both."""

    def __init__(self, pg, tmp_path, levels, **able):
        self.clock = Clock()
        self.channel = FakeChannel(
            self.clock, levels=levels, capabilities=replace(SELLING_WITH_COMPARE, **able)
        )
        self.ctx = context(small_hub(mode=Mode.LIVE), pg, tmp_path, self.clock, self.channel)

    def stock(self, **units):
        self.clock.pass_(minutes=1)
        land(self.ctx, **units)
        run_cycle(self.ctx)
        with sync.drain_lock(self.ctx.pg, holder="test", wait=True) as epoch:
            for _ in range(3):
                push_channel(self.ctx, "web", epoch)
                self.clock.pass_(seconds=30)

    def rows(self, columns):
        with self.ctx.pg.connection() as connection:
            found = connection.execute(f"SELECT {columns} FROM hub.outbox ORDER BY sku")
            return found.fetchall()


def test_more_than_a_channel_takes_is_told_as_the_most_that_it_takes(pg, tmp_path):
    bench = Bench(pg, tmp_path, {"A": 1, "B": 1, "C": 1}, most_milli=100_000)
    bench.stock(A=100, B=101, C=5_000)
    assert bench.channel.levels == {"A": 100, "B": 100, "C": 100}
    assert bench.rows("desired_milli, look") == [(100_000, False)] * 3
    told = len(bench.channel.writes)
    bench.stock(A=100, B=100, C=4_000)
    assert len(bench.channel.writes) == told, "what it shows already is not told again"


def test_less_than_a_channel_takes_is_told_as_zero_and_never_as_more(pg, tmp_path):
    bench = Bench(pg, tmp_path, {"A": 9, "B": 9, "C": 9}, least_milli=3_000)
    bench.stock(A=2, B=3, C=0)
    assert bench.channel.levels == {"A": 0, "B": 3, "C": 0}
    assert bench.rows("desired_milli, look") == [(0, False), (3_000, False), (0, False)]


def test_a_zero_that_a_channel_refuses_reaches_a_person_and_not_the_channel(pg, tmp_path):
    bench = Bench(pg, tmp_path, {"A": 9, "B": 9, "C": 9}, takes_zero=False)
    bench.stock(A=0, B=4, C=0)
    assert bench.channel.levels == {"A": 9, "B": 4, "C": 9}
    assert bench.channel.writes == [("B", 4)]
    failures = [failure for (failure,) in bench.rows("failure")]
    assert failures[1] is None
    for sku, failure in (("A", failures[0]), ("C", failures[2])):
        assert f"shop: write_levels [{sku}]: it takes no quantity of zero" in failure
        assert "end the listing there" in failure
    bench.stock(A=2, B=4, C=0)
    assert bench.channel.levels["A"] == 2, "goes on by itself once there is some"


@pytest.mark.parametrize(
    ("least", "most", "wanted", "told"),
    [
        (0, None, 7_000, 7_000), (0, None, 0, 0), (0, 5_000, 7_000, 5_000),
        (0, 5_000, 5_000, 5_000),
        (3_000, None, 2_999, 0), (3_000, None, 3_000, 3_000), (3_000, 5_000, 0, 0),
        (3_000, 5_000, -1_000, -1_000),
    ],
)  # fmt: skip
def test_no_limit_makes_a_number_higher(least, most, wanted, told):
    able = Capabilities(least_milli=least, most_milli=most)
    assert offerable(able, wanted) == told <= wanted


@pytest.mark.parametrize(("alone", "most"), [(True, 1), (False, 3)])
def test_one_write_at_a_time_counts_all_channels_of_the_system(alone, most):
    """Two lanes of one system: their calls meet, or they do not."""
    together = threading.Barrier(3)
    under_way, highest, lock = [0], [0], threading.Lock()

    class Bulk(FakeChannel):
        def write_levels(self, writes, *, key):
            with lock:
                under_way[0] += 1
                highest[0] = max(highest[0], under_way[0])
            if alone:
                time.sleep(0.1)  # the others had time to come in
            else:
                together.wait(10)  # all three are in here, or this fails
            with lock:
                under_way[0] -= 1
            return []

    able = Capabilities(one_write_at_a_time=alone)
    channel = Bulk(Clock(), system="bulk", capabilities=able)
    batch = Batch(key="k", writes=[], held_back=[], sent_at=START, base_sent_at=START)
    calls = [threading.Thread(target=call, args=(channel, batch, Clock())) for _ in range(3)]
    for one in calls:
        one.start()
    for one in calls:
        one.join(20)
    assert highest[0] == most
