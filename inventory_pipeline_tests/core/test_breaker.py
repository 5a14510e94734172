"""When a channel is not asked any more, and when it is tried again."""

from datetime import UTC, datetime, timedelta

from inventory_pipeline.core.breaker import BUSY_OPENS_AFTER, LAST_PROBE, Breaker, answered, failed

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


def fail(breaker, *listings, at=NOW, **more):
    places = {("main", listing) for listing in listings}
    return failed(breaker, "502", listings=places, call="write", now=at, **more)


def streak(*batches):
    breaker = Breaker(channel="web")
    for batch in batches:
        breaker = fail(breaker, *batch)
    return breaker


def test_three_failures_without_a_listing_in_common_open_it():
    assert not streak("AB", "CD").is_open
    opened = streak("AB", "CD", "EF")
    assert opened.is_open
    assert (opened.why, opened.since) == ("502", NOW)
    assert opened.waits_until(NOW) == opened.next_probe_at


def test_one_bad_item_never_opens_it_and_holds_up_the_others_only_briefly():
    bad = streak(*["AB", "BC", "B", "B", "B", "B"])
    assert not bad.is_open
    assert bad.waits_until(NOW) == NOW + timedelta(seconds=1)


def test_the_pause_grows_when_no_item_can_be_to_blame():
    assert streak("A", "B").waits_until(NOW) == NOW + timedelta(seconds=2)


def test_a_channel_that_refuses_us_opens_it_at_once():
    assert fail(Breaker(channel="web"), "A", certain=True).is_open


def test_a_busy_channel_is_left_alone_for_as_long_as_it_asks():
    busy = fail(Breaker(channel="web"), "A", busy=True, pause=timedelta(seconds=30))
    assert not busy.is_open
    assert busy.waits_until(NOW) == NOW + timedelta(seconds=30)
    assert busy.waits_until(NOW + timedelta(seconds=30)) is None
    for _ in range(BUSY_OPENS_AFTER):
        busy = fail(busy, "A", busy=True, pause=timedelta(seconds=1))
    assert busy.is_open


def test_probes_come_less_and_less_often_up_to_a_limit():
    breaker = streak("A", "B", "C")
    pauses = []
    for _ in range(10):
        at = breaker.next_probe_at
        breaker = fail(breaker, "A", at=at)
        pauses.append(breaker.next_probe_at - at)
    assert pauses == sorted(pauses)
    assert pauses[-1] == LAST_PROBE
    assert breaker.since == NOW


def test_an_acknowledged_write_closes_it():
    closed = answered(streak("A", "B", "C"), call="write", now=NOW, acked=True)
    assert closed == Breaker(channel="web", acked_at=NOW)


def test_a_reading_says_nothing_about_writes_that_fail():
    opened = streak("A", "B", "C")
    assert answered(opened, call="read", now=NOW) == opened
    unread = Breaker(channel="web")
    for listing in "ABC":
        unread = failed(unread, "502", listings={("main", listing)}, call="read", now=NOW)
    assert unread.is_open
    assert not answered(unread, call="read", now=NOW).is_open
