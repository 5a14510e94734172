"""Timeouts, receipts and keys: what is repeated, what is asked about, and what is read."""

from datetime import timedelta

from inventory_pipeline.core.ports import Completion, Write

HOUR = timedelta(hours=1)


def test_with_a_key_the_same_batch_goes_again_under_the_same_key(merchant):
    shop = merchant(idempotency=HOUR, compare_and_swap=True)
    shop.channel.faults = ["after"]
    shop.count_stock(A=5, B=4)
    assert shop.push().unknown == 2
    assert shop.rows("SELECT state FROM hub.intents") == [("again",)]
    shop.clock.pass_(seconds=2)
    assert shop.push().acked == 2
    assert [write[0] for write in shop.channel.writes] == ["B", "A"], "applied once"
    assert len(shop.channel.known_keys) == 1
    assert shop.channel.reads == []
    assert shop.rows("SELECT outcome FROM hub.attempts WHERE quantity_milli IN (5000, 4000)") == [
        ("acked",), ("acked",)
    ]  # fmt: skip


def test_after_the_keys_lifetime_it_is_read_instead(merchant):
    shop = merchant(idempotency=timedelta(seconds=10), compare_and_swap=True)
    shop.channel.faults = ["before"]
    shop.count_stock(A=5)
    shop.push()
    shop.clock.pass_(seconds=11)
    shop.push()
    assert shop.channel.reads == ["A"]
    assert shop.channel.writes == [("A", 9, 5)]


def test_a_newer_number_waits_until_the_unknown_one_is_settled(merchant):
    shop = merchant(idempotency=HOUR, compare_and_swap=True)
    shop.channel.faults = ["before"]
    shop.count_stock(A=5)
    shop.push()
    shop.count_stock(A=2)
    shop.push()
    assert shop.channel.writes == []
    shop.clock.pass_(seconds=2)
    shop.push()
    assert shop.channel.writes == [("A", 9, 5), ("A", 5, 2)]


def test_three_times_without_an_answer_it_is_read(merchant):
    shop = merchant(idempotency=HOUR, compare_and_swap=True)
    shop.channel.faults = ["before"] * 3
    shop.count_stock(A=5)
    for _ in range(12):
        shop.push()
        shop.clock.pass_(seconds=5)
    assert "A" in shop.channel.reads
    assert shop.channel.writes == [("A", 9, 5)]
    assert len(shop.channel.contents) == 2, "what was read makes another intent"


def test_without_a_key_an_unknown_outcome_is_read(merchant):
    shop = merchant(compare_and_swap=True)
    shop.channel.faults = ["after"]
    shop.count_stock(A=5)
    shop.push()
    shop.clock.pass_(seconds=3)
    shop.push()
    assert shop.channel.reads == ["A"]
    assert shop.channel.writes == [("A", 9, 5)]


def test_a_job_is_neither_shown_nor_sent_again_until_its_receipt_says_so(merchant):
    shop = merchant(completion=Completion.JOB, compare_and_swap=True)
    shop.count_stock(A=5)
    assert shop.push().accepted == 1
    shop.count_stock(A=3)
    shop.push()
    assert shop.rows("SELECT outcome FROM hub.attempts WHERE quantity_milli = 5000") == [
        ("accepted",)
    ]
    assert shop.rows("SELECT base_milli FROM hub.outbox WHERE sku = 'A'") == [(9000,)]
    shop.clock.pass_(seconds=3)
    shop.push()
    assert shop.channel.writes == [("A", 9, 5)]
    shop.clock.pass_(seconds=3)
    shop.push()
    shop.clock.pass_(seconds=3)
    shop.push()
    assert shop.channel.writes == [("A", 9, 5), ("A", 5, 3)]
    assert shop.rows("SELECT count(*) FROM hub.intents") == [(0,)]


def test_a_job_that_nobody_answers_is_read_when_its_window_ends(merchant):
    shop = merchant(completion=Completion.JOB, compare_and_swap=True)
    shop.count_stock(A=5)
    shop.push()
    shop.channel.late.clear()
    shop.clock.pass_(seconds=31)
    shop.push()
    assert shop.channel.reads == ["A"]
    [(outcome,)] = shop.rows(
        "SELECT outcome FROM hub.attempts WHERE quantity_milli = 5000 ORDER BY sent_at LIMIT 1"
    )
    assert outcome == "unknown"


def test_a_job_survives_the_process_that_handed_it_in(merchant):
    shop = merchant(completion=Completion.JOB, compare_and_swap=True)
    shop.count_stock(A=5)
    shop.push()
    shop.take_over()
    shop.clock.pass_(seconds=3)
    assert shop.push().acked == 1
    assert shop.channel.reads == []


def test_an_eventual_channel_is_asked_once_more_whether_it_shows_it(merchant):
    shop = merchant(completion=Completion.EVENTUAL, compare_and_swap=True)
    shop.count_stock(A=5)
    shop.push()
    shop.channel.on_hand["A"] = 9  # lost on the way
    shop.push()
    assert shop.channel.reads == []
    shop.clock.pass_(seconds=31)
    shop.push()
    assert shop.channel.reads == ["A"]
    assert shop.channel.on_hand["A"] == 5


def test_a_delta_keeps_the_sales_that_nobody_told_yet(merchant):
    shop = merchant(write=Write.DELTA, idempotency=HOUR)
    shop.sold("A", 2)
    shop.count_stock(A=12)
    shop.push()
    assert shop.channel.on_hand["A"] == 10, "9 - 2 + 3: the sold ones are not given back"
    shop.clock.pass_(seconds=20)
    shop.deliver()
    shop.push()
    assert shop.channel.on_hand["A"] == 10
    assert len(shop.channel.writes) == 1
