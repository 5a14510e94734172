"""What a limiter lets pass, who goes first, and what it learns from the system that it limits."""

import threading
import time

import pytest

from inventory_pipeline.connectors.headers import rate_header, window_headers
from inventory_pipeline.connectors.http import Caller, Kind, Purpose, Trouble
from inventory_pipeline.connectors.limiter import InProcessLimiter
from inventory_pipeline.connectors.shopify_graphql import COST, FIRST_GUESS, Graphql
from inventory_pipeline.core.errors import ChannelBusy, ChannelRefused
from inventory_pipeline.core.limits import AGE_S, Pauses, TokenBucket, Window
from inventory_pipeline_tests.connectors.servers import Reply, closed_port, scripted

BUCKET = TokenBucket(name="cost", capacity=10, per_second=2)
WINDOW = Window(name="store", units=3, seconds=30)


class Time:
    """A clock that runs only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []
        self.while_asleep = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds
        self.while_asleep()


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
def limiter(clock):
    return InProcessLimiter("shop", sleep=clock.sleep, monotonic=clock.monotonic)


def take(limiter, cost=1, limit=BUCKET, *, patience_s=100, **more):
    return limiter.take(limit, cost, patience_s=patience_s, **more)


def test_a_full_bucket_makes_nobody_wait_and_an_empty_one_as_long_as_it_refills(clock, limiter):
    for _ in range(10):
        take(limiter)
    assert clock.sleeps == []
    take(limiter, 3)
    assert clock.sleeps == [1.5]
    clock.now += 2
    take(limiter, 4)
    assert clock.sleeps == [1.5]


def test_beyond_patience_nothing_is_taken(clock, limiter):
    take(limiter, 10)
    with pytest.raises(ChannelBusy, match=r"shop: .*cost.*asks for 2\.0 s") as error:
        take(limiter, 4, patience_s=1.9)
    assert error.value.retry_after_s == 2
    assert clock.sleeps == []
    take(limiter, 4, patience_s=2)
    assert clock.sleeps == [2]


def test_a_cost_above_the_capacity_counts_as_all_of_it(limiter):
    assert take(limiter, 500) == 10


def test_a_window_gives_its_units_and_then_waits_for_the_next(clock, limiter):
    for _ in range(3):
        take(limiter, limit=WINDOW)
        clock.now += 4
    take(limiter, limit=WINDOW)
    assert clock.sleeps == [18]
    for _ in range(2):
        take(limiter, limit=WINDOW)
    assert clock.sleeps == [18]
    take(limiter, limit=WINDOW)
    assert clock.sleeps == [18, 30]


def test_what_is_promised_of_the_next_window_is_not_given_twice(clock, limiter):
    asleep = []

    def others():  # while one waits for the next window, five more come
        clock.while_asleep = lambda: None
        clock.now -= 30
        for _ in range(5):
            take(limiter, limit=WINDOW)
            asleep.append(clock.now - 1000)
            clock.now = 1000

    for _ in range(3):
        take(limiter, limit=WINDOW)
    clock.while_asleep = others
    take(limiter, limit=WINDOW)
    assert asleep == [30, 30, 60, 60, 60]


def test_a_pause_holds_everybody_also_who_waits_already(clock, limiter):
    limiter.pause(BUCKET, 7)
    with pytest.raises(ChannelBusy):
        take(limiter, patience_s=6)
    take(limiter)
    assert clock.sleeps == [7]
    take(limiter, 10)
    clock.sleeps.clear()
    clock.while_asleep = lambda: limiter.pause(BUCKET, 5) if len(clock.sleeps) == 1 else None
    take(limiter)
    assert clock.sleeps == [pytest.approx(0.5), 5]


def test_who_gives_up_in_a_pause_puts_back_what_was_promised(clock, limiter):
    take(limiter, 10)
    clock.while_asleep = lambda: limiter.pause(BUCKET, 50)
    with pytest.raises(ChannelBusy) as error:
        take(limiter, 4, patience_s=3)
    assert error.value.retry_after_s == 50
    assert limiter.remaining() == {"cost": 4}


def test_a_pause_of_a_system_without_numbers_is_kept(clock, limiter):
    quiet = Pauses()
    for _ in range(1000):
        take(limiter, limit=quiet)
    limiter.pause(quiet, 3)
    take(limiter, limit=quiet)
    assert clock.sleeps == [3]
    assert limiter.remaining() == {}


def test_who_can_wait_leaves_a_fifth_to_who_cannot(clock, limiter):
    for _ in range(8):
        take(limiter, urgent=False)
    assert clock.sleeps == []
    with pytest.raises(ChannelBusy):
        take(limiter, urgent=False, patience_s=0)
    take(limiter, 2, patience_s=0)
    assert clock.sleeps == []


def test_nobody_starves_behind_those_who_are_urgent(clock, limiter):
    """A bucket that urgent callers keep empty."""
    take(limiter, 10)
    clock.while_asleep = lambda: limiter.told(BUCKET, remaining=0)
    take(limiter, urgent=False, patience_s=30)
    assert sum(clock.sleeps) == pytest.approx(AGE_S + 0.5)


def test_a_limit_of_one_unit_is_open_to_who_can_wait(clock, limiter):
    single = TokenBucket(name="feeds", capacity=1, per_second=0.0083)
    take(limiter, limit=single, urgent=False, patience_s=0)
    with pytest.raises(ChannelBusy):
        take(limiter, limit=single, urgent=False, patience_s=0)


def test_the_systems_word_lowers_the_count_and_never_raises_it(clock, limiter):
    take(limiter)
    limiter.told(BUCKET, remaining=4)
    assert limiter.remaining() == {"cost": 4}
    limiter.told(BUCKET, remaining=9)
    assert limiter.remaining() == {"cost": 4}
    limiter.told(BUCKET, remaining=4, taken_meanwhile=3)
    assert limiter.remaining() == {"cost": 1}
    limiter.told(BUCKET, put_back=2)
    assert limiter.remaining() == {"cost": 3}
    limiter.told(BUCKET, put_back=-2)
    assert limiter.remaining() == {"cost": 1}
    limiter.put_back(BUCKET, 500)
    assert limiter.remaining() == {"cost": 10}


def test_numbers_are_learnt_until_the_connector_declares_others(clock, limiter):
    take(limiter, 4)
    limiter.told(TokenBucket(name="cost", capacity=100, per_second=50), remaining=96)
    assert limiter.remaining() == {"cost": 96}
    limiter.told(BUCKET, remaining=96)  # the limit that was taken from says nothing of numbers
    take(limiter, 96)
    clock.now += 1
    assert limiter.remaining() == {"cost": 50}
    take(limiter, 1, limit=TokenBucket(name="cost", capacity=20, per_second=1))
    assert limiter.remaining() == {"cost": 19}


def test_a_smaller_bucket_than_was_thought_keeps_what_is_out(limiter):
    take(limiter, 8)
    limiter.told(TokenBucket(name="cost", capacity=5, per_second=1), remaining=4)
    assert limiter.remaining() == {"cost": 0}


def test_a_window_begins_anew_when_the_system_says_so(clock, limiter):
    take(limiter, limit=WINDOW)
    limiter.told(WINDOW, remaining=0, resets_in_s=12)
    take(limiter, limit=WINDOW)
    assert clock.sleeps == [12]


def test_a_window_of_the_system_that_began_after_ours_is_full(clock, limiter):
    for _ in range(3):
        take(limiter, limit=WINDOW)
    clock.now += 29  # theirs has just begun, ours ends in a second
    limiter.told(WINDOW, remaining=2, resets_in_s=29.9)
    for _ in range(2):
        take(limiter, limit=WINDOW)
    assert clock.sleeps == []
    take(limiter, limit=WINDOW)
    assert clock.sleeps == [pytest.approx(29.9)]


def test_a_word_about_the_same_window_does_not_fill_it(clock, limiter):
    for _ in range(2):
        take(limiter, limit=WINDOW)
    clock.now += 3
    limiter.told(WINDOW, remaining=3, resets_in_s=28.5)  # it began 1.5 s later than was thought
    assert limiter.remaining() == {"store": 1}
    for _ in range(2):
        take(limiter, limit=WINDOW)
    assert clock.sleeps == [28.5]


def test_an_answer_of_the_last_window_says_nothing_of_this_one(clock, limiter):
    for _ in range(3):
        take(limiter, limit=WINDOW)
    take(limiter, limit=WINDOW)  # after the wait for the next one
    limiter.told(WINDOW, remaining=0, resets_in_s=0.2)
    take(limiter, limit=WINDOW)
    assert clock.sleeps == [30]
    take(limiter, limit=WINDOW)
    take(limiter, limit=WINDOW)
    assert clock.sleeps == [30, 30]


def test_a_clock_that_was_set_back_stops_nothing_for_long(clock, limiter):
    take(limiter, 10)
    limiter.pause(BUCKET, 3600)
    clock.now -= 86_400
    with pytest.raises(ChannelBusy) as error:
        take(limiter)
    assert error.value.retry_after_s <= 3600
    clock.now += 3600
    take(limiter)
    assert clock.sleeps == []


def test_threads_together_take_no_more_than_there_is():
    limiter = InProcessLimiter("shop")
    limit = TokenBucket(name="x", capacity=20, per_second=200)
    began, passed = time.monotonic(), []

    def work():
        while time.monotonic() - began < 1:
            limiter.take(limit, patience_s=5)
            passed.append(time.monotonic() - began)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for count, moment in enumerate(sorted(passed), start=1):
        assert count <= 20 + 200 * moment + 1
    assert len(passed) >= 0.9 * (20 + 200 * max(passed))


def test_a_push_does_not_wait_behind_a_catalogue_that_is_read():
    """Six readers want more than there is; a write now and then finds its units there."""
    limiter = InProcessLimiter("shop")
    limit = TokenBucket(name="x", capacity=30, per_second=100)
    over, read, waits = threading.Event(), [], []

    def work():
        while not over.is_set():
            read.append(limiter.take(limit, 5, patience_s=5, urgent=False))

    readers = [threading.Thread(target=work) for _ in range(6)]
    for reader in readers:
        reader.start()
    time.sleep(0.3)
    for _ in range(20):
        began = time.monotonic()
        limiter.take(limit, 3, patience_s=5)
        waits.append(time.monotonic() - began)
        time.sleep(0.05)
    over.set()
    for reader in readers:
        reader.join()
    assert sorted(waits)[len(waits) // 2] < 0.01
    assert sum(read) > 40


@pytest.mark.parametrize("text", ["", "soon", "-1", "nan", "inf", "0"])
def test_a_rate_that_is_none_is_not_heard(text):
    assert rate_header("x-rate")({"x-rate": text}, BUCKET) is None


def test_headers_tell_rates_and_windows():
    said = rate_header("x-amzn-ratelimit-limit")({"x-amzn-ratelimit-limit": "0.5"}, BUCKET)
    assert said.limit == TokenBucket(name="cost", capacity=10, per_second=0.5)
    assert said.remaining is None
    hear = window_headers(left="left", resets_in_ms="reset", units="quota", window_ms="window")
    said = hear({"left": "7", "reset": "1500", "quota": "450", "window": "30000"}, WINDOW)
    assert said.limit == Window(name="store", units=450, seconds=30)
    assert (said.remaining, said.resets_in_s) == (7, 1.5)
    assert hear({}, WINDOW) is None
    assert hear({"left": "7"}, BUCKET) is None


@pytest.fixture
def calling():
    opened = []

    def call(url, **more):
        opened.append(Caller(system="shop", base_url=url, timeout_s=2, **more))
        return opened[-1]

    yield call
    for caller in opened:
        caller.close()


def test_a_pause_that_one_caller_is_told_is_kept_by_all(calling, limiter, clock):
    busy = Reply(status=429, headers={"Retry-After": "9"})
    with scripted(busy, Reply(body={})) as script:
        one, other = (calling(script.url, limiter=limiter, patience_s=5) for _ in range(2))
        with pytest.raises(Trouble):
            one.once("GET", "/x")
        with pytest.raises(Trouble, match=r"asks for 9\.0 s of patience") as error:
            other.once("GET", "/x")
        assert (error.value.kind, error.value.retry_after_s) == (Kind.BUSY, 9)
        assert len(script.asked) == 1
        clock.now += 5
        other.once("GET", "/x")
        assert clock.sleeps == [4]


def test_a_503_with_a_time_is_a_pause_and_one_without_is_not(calling, limiter, clock):
    with scripted(
        Reply(status=503), Reply(status=503, headers={"Retry-After": "3"}), Reply(body={})
    ) as script:
        caller = calling(script.url, limiter=limiter)
        for _ in range(2):
            with pytest.raises(Trouble):
                caller.once("GET", "/x")
            assert clock.sleeps == []
        caller.once("GET", "/x")
    assert clock.sleeps == [3]


def test_too_many_requests_without_a_time_empties_the_bucket(calling, limiter, clock):
    with scripted(Reply(status=429), Reply(body={})) as script:
        caller = calling(script.url, limiter=limiter)
        with pytest.raises(Trouble):
            caller.once("GET", "/x", limit=BUCKET)
        assert limiter.remaining() == {"cost": 0}
        caller.once("GET", "/x", limit=BUCKET, cost=4)
    assert clock.sleeps == [2]


def test_a_call_takes_its_cost_and_one_that_reached_nobody_gives_it_back(calling, limiter):
    with scripted(Reply(body={})) as script:
        calling(script.url, limiter=limiter).once("GET", "/x", limit=BUCKET, cost=4)
    assert limiter.remaining() == {"cost": 6}
    with pytest.raises(Trouble):
        calling(closed_port(), limiter=limiter).once("GET", "/x", limit=BUCKET, cost=4)
    assert limiter.remaining() == {"cost": 6}


def test_what_the_headers_say_is_heard_by_all(calling, limiter, clock):
    headers = {"X-Rate-Limit-Requests-Left": "1", "X-Rate-Limit-Time-Reset-Ms": "8000"}
    hears = window_headers(
        left="x-rate-limit-requests-left", resets_in_ms="x-rate-limit-time-reset-ms"
    )
    with scripted(Reply(body={}, headers=headers)) as script:
        calling(script.url, limiter=limiter, hears=hears).once("GET", "/x", limit=WINDOW)
    take(limiter, limit=WINDOW)
    assert clock.sleeps == []
    take(limiter, limit=WINDOW)
    assert clock.sleeps == [8]


def priced(requested, actual, left, most=1000.0, data=True, **more):
    status = {"maximumAvailable": most, "currentlyAvailable": left, "restoreRate": 50.0}
    cost = {
        "requestedQueryCost": requested,
        "actualQueryCost": actual,
        "throttleStatus": status,
    }
    body = {"data": {"ok": 1}} if data else {}
    return Reply(body=body | {"extensions": {"cost": cost}} | more)


THROTTLED = [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]


@pytest.fixture
def graphql(calling, limiter, clock):
    return lambda url, wait=10: Graphql(
        calling(url, limiter=limiter), path="/g", max_wait_s=wait,
        sleep=clock.sleep, monotonic=clock.monotonic,
    )  # fmt: skip


def run(graphql, document="query { a }", variables=None, **more):
    return graphql.run(document, variables or {}, call="ask", purpose=Purpose.LEVELS, **more)


def test_a_query_costs_what_it_cost_and_the_next_is_expected_to_cost_what_it_may(graphql, limiter):
    with scripted(priced(60, 12, 988), priced(60, 12, 976)) as script:
        shop = graphql(script.url)
        run(shop)
        assert limiter.remaining() == {"cost": 988}
        asked = []
        limiter.take, known = (
            (lambda limit, cost, **more: asked.append(cost) or known(limit, cost, **more)),
            limiter.take,
        )
        run(shop)
        run(shop, "query { another }")
    assert [cost for cost in asked if cost != 1] == [60, FIRST_GUESS]
    assert limiter.remaining() == {"cost": 964}


def test_the_bucket_of_the_shop_is_learnt_from_its_first_answer(graphql, limiter):
    with scripted(priced(10, 10, 19_990, most=20_000)) as script:
        run(graphql(script.url))
    assert limiter.remaining() == {"cost": 19_990}


def test_a_throttled_call_costs_nothing_and_waits_for_just_what_it_needs(graphql, limiter, clock):
    with scripted(
        priced(200, None, 50, data=False, errors=THROTTLED), priced(200, 200, 0)
    ) as script:
        assert run(graphql(script.url)) == {"ok": 1}
    assert clock.sleeps == [pytest.approx(3)]
    assert limiter.remaining() == {"cost": 0}


def test_a_call_that_was_throttled_for_no_visible_reason_is_asked_again_more_slowly(
    graphql, limiter, clock
):
    with scripted(priced(20, None, 1000, data=False, errors=THROTTLED)) as script:
        with pytest.raises(ChannelBusy, match="throttled 5 times"):
            run(graphql(script.url))
        assert len(script.asked) == 5
    assert clock.sleeps == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6])
    assert limiter.remaining() == {"cost": 1000}


def test_a_shop_that_tells_no_prices_is_simply_asked(graphql, clock):
    with scripted(Reply(body={"data": {"ok": 1}})) as script:
        shop = graphql(script.url)
        for _ in range(30):
            run(shop)
    assert clock.sleeps == []


def test_a_query_that_reached_nobody_costs_nothing(graphql, limiter):
    with pytest.raises(ChannelBusy, match="cannot be reached"):
        run(graphql(closed_port()))
    assert limiter.remaining() == {"cost": 1000}


def test_a_200_with_errors_is_an_error_that_says_what_to_do(graphql):
    denied = {"message": "Access denied", "extensions": {"code": "ACCESS_DENIED"}}
    with (
        scripted(Reply(body={"errors": [denied], "data": None})) as script,
        pytest.raises(ChannelRefused, match="shop: ask: ACCESS_DENIED") as error,
    ):
        run(graphql(script.url))
    assert "write_inventory" in str(error.value)


def test_a_page_of_a_long_reading_leaves_the_reserve_to_others(graphql, limiter, clock):
    limiter.take(COST, 850, patience_s=0)
    with scripted(priced(10, 10, 1000)) as script:
        shop = graphql(script.url, wait=0)
        with pytest.raises(ChannelBusy):
            run(shop, variables={"after": None})
        assert script.asked == []
        run(shop)
        run(shop, variables={"after": None}, urgent=True)
        assert len(script.asked) == 2
