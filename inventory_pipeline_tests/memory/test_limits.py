"""One bucket for all processes: in real Postgres, under real processes and a shop that counts."""

import math
import multiprocessing
import os
import random
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from inventory_pipeline.connectors.limiter import InProcessLimiter
from inventory_pipeline.core.errors import ChannelBusy, PostgresUnavailable
from inventory_pipeline.core.limits import (
    Pauses,
    TokenBucket,
    Window,
    filling_of,
    numbers_of,
)
from inventory_pipeline.memory.limits import PAUSE_LOOK_S, SharedLimits, budgets
from inventory_pipeline.simulate import shopify
from inventory_pipeline.simulate.shopify_cost import Bucket
from inventory_pipeline.simulate.webhooks import DeliveryFaults
from inventory_pipeline_tests.connectors.servers import serving
from inventory_pipeline_tests.connectors.shops import CATALOG, LOCATION
from inventory_pipeline_tests.memory.askers import ask_for, take_for_ever

SLOW = TokenBucket(name="cost", capacity=10, per_second=0.001)
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def shared(pg_url):
    """Makes limiters as different processes have them: each with a connection of its own."""
    opened = []

    def make(**more):
        opened.append(SharedLimits(pg_url))
        return opened[-1].of("shop", **more)

    yield make
    for limits in opened:
        limits.close()


def test_two_processes_draw_from_one_bucket(shared):
    one, other = shared(), shared()
    assert one.take(SLOW, 6, patience_s=0) == 6
    with pytest.raises(ChannelBusy, match="cost") as error:
        other.take(SLOW, 6, patience_s=1)
    assert error.value.retry_after_s == pytest.approx(2000, rel=0.01)
    other.take(SLOW, 4, patience_s=0)
    assert one.remaining() == {"cost": pytest.approx(0, abs=0.1)}
    other.put_back(SLOW, 3)
    assert one.remaining() == {"cost": pytest.approx(3, abs=0.1)}


def test_what_one_process_is_told_counts_for_all(shared):
    one, other = shared(), shared()
    one.take(SLOW, patience_s=0)
    one.told(TokenBucket(name="cost", capacity=500, per_second=0.001), remaining=499)
    other.take(SLOW, 400, patience_s=0)
    one.pause(SLOW, 30)
    with pytest.raises(ChannelBusy) as error:
        other.take(SLOW, 1, patience_s=1)
    assert error.value.retry_after_s == pytest.approx(30, abs=2)
    one.take(Window(name="store", units=2, seconds=30), 2, patience_s=0)
    with pytest.raises(ChannelBusy):
        other.take(Window(name="store", units=2, seconds=30), patience_s=1)


def test_a_pause_of_a_system_without_numbers_reaches_all_within_a_moment(shared):
    now = [100.0]
    one, other = (shared(monotonic=lambda: now[0]) for _ in range(2))
    calls = Pauses()
    for limiter in (one, other):
        limiter.take(calls, patience_s=0)
    one.pause(calls, 30)
    with pytest.raises(ChannelBusy):
        one.take(calls, patience_s=1)
    now[0] += PAUSE_LOOK_S
    with pytest.raises(ChannelBusy):
        other.take(calls, patience_s=1)
    other.pause(Pauses(name="others"), 30)
    with pytest.raises(ChannelBusy):
        other.take(Pauses(name="others"), patience_s=1)


def test_a_system_that_tells_no_numbers_costs_no_look_for_each_call(shared):
    limiter = shared(monotonic=lambda: 100.0)
    asked, ask = [], limiter._limits.ask
    limiter._limits.ask = lambda *query: asked.append(query) or ask(*query)
    for _ in range(50):
        limiter.take(Pauses(), patience_s=0)
    assert len(asked) == 1


def test_one_systems_limits_are_not_anothers(shared, pg_url):
    shared().take(SLOW, 10, patience_s=0)
    limits = SharedLimits(pg_url)
    limits.of("market").take(SLOW, 10, patience_s=0)
    limits.close()


def test_the_wait_is_by_postgres_clock_whatever_a_process_thinks_the_time_is(shared):
    slept = []
    here = shared(sleep=slept.append, monotonic=lambda: 5.0)
    there = shared(sleep=slept.append, monotonic=lambda: 9e9)
    here.take(SLOW, 10, patience_s=0)
    there.take(SLOW, 0.01, patience_s=20)
    assert slept == [pytest.approx(10, abs=1)]


def test_a_lost_connection_is_made_anew(shared, pg_url):
    limiter = shared()
    limiter.take(SLOW, patience_s=0)
    with psycopg.connect(pg_url, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    assert ended == [(True,)]
    limiter.take(SLOW, patience_s=0)
    assert limiter.remaining()["cost"] == pytest.approx(8, abs=0.1)


def test_no_server_is_said_to_be_none(tmp_path):
    nowhere = SharedLimits(f"postgresql://hub:secret@/hub?host={tmp_path}")
    with pytest.raises(PostgresUnavailable) as error:
        nowhere.of("shop").take(SLOW, patience_s=0)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_dies_or_stops_while_it_takes_holds_up_nobody(shared, pg_url, how):
    limit = TokenBucket(name="cost", capacity=1000, per_second=1)
    busy = SPAWN.Event()
    process = SPAWN.Process(target=take_for_ever, args=(pg_url, limit, busy), daemon=True)
    process.start()
    limiter = shared()
    try:
        assert busy.wait(60)
        for _ in range(5):  # somewhere in its calls
            os.kill(process.pid, signal.SIGCONT)
            time.sleep(0.01 + random.random() / 50)
            os.kill(process.pid, how)
            began = time.monotonic()
            for _ in range(20):
                limiter.take(limit, 1, patience_s=0)
            assert time.monotonic() - began < 5
            if how is signal.SIGKILL:
                break
    finally:
        process.kill()
        process.join()


def test_budgets_are_there_to_be_shown(shared, pg):
    before = datetime.now(UTC)
    limiter = shared()
    limiter.take(TokenBucket(name="cost", capacity=1000, per_second=1), 400, patience_s=0)
    limiter.take(Window(name="store", units=150, seconds=30), 150, patience_s=0)
    limiter.pause(Pauses(), 60)
    with pg.connection() as connection:
        calls, cost, store = budgets(connection)
    assert [b.limit for b in (calls, cost, store)] == ["calls", "cost", "store"]
    assert {b.system for b in (calls, cost, store)} == {"shop"}
    assert (calls.remaining, calls.capacity, calls.per_second) == (None, None, None)
    assert calls.paused_until is not None
    assert timedelta(seconds=50) < calls.paused_until - before < timedelta(seconds=70)
    assert (cost.capacity, cost.per_second, cost.paused_until) == (1000, 1, None)
    assert cost.remaining == pytest.approx(600, abs=5)
    assert (store.remaining, store.capacity, store.per_second) == (0, 150, 5)


def test_a_call_is_one_statement(shared):
    limiter = shared()
    asked, ask = [], limiter._limits.ask
    limiter._limits.ask = lambda *query: asked.append(query) or ask(*query)
    for _ in range(10):
        limiter.take(SLOW, patience_s=0)
    limiter.told(SLOW, remaining=5)
    assert len(asked) == 11


# The arithmetic stands in Python and in SQL: both do the same with the same steps.
LIMITS = (
    TokenBucket(name="a", capacity=10, per_second=2),
    Window(name="a", units=7, seconds=10),
    TokenBucket(name="a", capacity=0.5, per_second=0.01),
    Pauses(name="a"),
)


def array(limit):
    numbers = numbers_of(limit)
    return [float(numbers.capacity), float(numbers.per_second), float(numbers.window_s)]


class Both:
    """The same steps in Python and in Postgres."""

    def __init__(self, connection, system, limit, now):
        self.connection, self.system = connection, system
        self.declared = limit
        self.filling = replace(filling_of(limit, now), quiet_until=0.0)

    def take(self, now, limit, cost=1.0, *, patience_s=0.0, urgent=True):
        if limit != self.declared:
            self.declared = limit
            filled = self.filling.at(now)
            self.filling = filled.declared(numbers_of(limit), now, level=filled.level)
        self.filling, grant = self.filling.ask(cost, now, patience_s=patience_s, urgent=urgent)
        found = self.connection.execute(
            "SELECT granted, wait_s, cost FROM hub.limit_take("
            "%s, 'a', %s, %s, %s, %s, to_timestamp(%s))",
            (self.system, array(limit), cost, patience_s, urgent, now),
        ).fetchone()
        assert found == (grant.granted, pytest.approx(grant.wait_s, abs=1e-5), grant.cost)

    def told(self, now, *, numbers, remaining, meanwhile, put_back, resets_in_s, quiet_s):
        self.filling = self.filling.heard(
            numbers and numbers_of(numbers), now, remaining=remaining, taken_meanwhile=meanwhile,
            put_back=put_back, resets_in_s=resets_in_s,
        )  # fmt: skip
        if quiet_s is not None:
            until = max(self.filling.quiet_until, now + min(quiet_s, 3600))
            self.filling = replace(self.filling, quiet_until=until)
        self.connection.execute(
            "SELECT hub.limit_told(%s, 'a', %s, %s, %s, %s, %s, %s, %s, to_timestamp(%s))",
            (
                self.system, array(self.declared), numbers and array(numbers), remaining,
                meanwhile, put_back, resets_in_s, quiet_s, now,
            ),
        )  # fmt: skip

    def compare(self):
        found = self.connection.execute(
            "SELECT capacity, per_second, window_s, level, extract(epoch FROM as_of)::float8,"
            " extract(epoch FROM quiet_until)::float8 FROM hub.limits WHERE system = %s",
            (self.system,),
        ).fetchone()
        ours = self.filling
        wanted = (
            ours.capacity, ours.per_second, ours.window_s, ours.level, ours.as_of,
            ours.quiet_until,
        )  # fmt: skip
        for mine, theirs in zip(wanted, found, strict=True):
            assert mine == theirs or math.isclose(mine, theirs, rel_tol=0, abs_tol=1e-4)


def test_python_and_postgres_count_alike(pg_url):
    with psycopg.connect(pg_url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit TO off")
        for seed in range(100):
            live(connection, seed)


def live(connection, seed):
    chance = random.Random(seed)
    now = 1_700_000_000.0
    both = Both(connection, f"s{seed}", chance.choice(LIMITS), now)
    both.take(now, both.declared)
    for _ in range(60):
        # Sixteenths are the same number in binary and in microseconds.
        now += chance.choice([0, 0.0625, 0.5, 3, 11, 40, -2, -500])
        if chance.random() < 0.6:
            both.take(
                now,
                both.declared if chance.random() < 0.95 else chance.choice(LIMITS),
                chance.choice([0.25, 1.0, 3.0, 20.0]),
                patience_s=chance.choice([0.0, 1.0, 60.0]),
                urgent=chance.random() < 0.6,
            )
        else:
            both.told(
                now,
                numbers=chance.choice([None, None, *LIMITS[:2]]),
                remaining=chance.choice([None, 0.0, 2.0, 9.0]),
                meanwhile=chance.choice([0.0, 1.0]),
                put_back=chance.choice([0.0, 0.5, -1.0]),
                resets_in_s=chance.choice([None, 0.5, 4.0, 9.5, 99.0]),
                quiet_s=chance.choice([None, None, 5.0, 9999.0]),
            )
        both.compare()


def test_the_limiter_of_one_process_is_the_same_machine():
    """InProcessLimiter over Filling: what the comparison above compares is what it uses."""
    limiter = InProcessLimiter("shop", monotonic=lambda: 50.0)
    limiter.take(LIMITS[0], 4, patience_s=0)
    _, grant = filling_of(LIMITS[0], 50.0).ask(4, 50.0, patience_s=0, urgent=True)
    assert grant.granted
    assert limiter.remaining() == {"a": 6}


SECONDS = 10.0


@pytest.fixture
def counted(tmp_path):
    """A simulated shop, and its bucket that counts what is spent and refused."""
    (tmp_path / "items.csv").write_text(CATALOG)
    bucket = Bucket(maximum=2000, restore=1000, timer=time.monotonic)
    app = shopify.build_shop(
        state=tmp_path / "shop.sqlite",
        catalog=tmp_path / "items.csv",
        token="token",
        locations=[LOCATION],
        bucket=bucket,
        webhook_url="",
        webhook_secret="",
        delivery=DeliveryFaults(),
        clock=lambda: datetime.now(UTC),
    )
    with serving(app) as url:
        yield bucket, url


def test_two_processes_use_a_shopify_plus_bucket_whole_and_are_not_throttled(counted, pg_url):
    bucket, url = counted
    start = SPAWN.Barrier(3)
    processes = [
        SPAWN.Process(target=ask_for, args=(url, pg_url, SECONDS, 6, start)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    start.wait(60)
    bucket.reset()
    time.sleep(SECONDS)
    used, spent, refused = bucket.used_percent(), bucket.spent, bucket.refused
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert 95 <= used <= 100, f"{spent:g} points"
    # A query costs some thirty points: fewer than one of a hundred may be refused.
    assert refused <= spent / 30 / 100
