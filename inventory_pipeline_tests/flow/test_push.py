"""Sending: read what is not known, send only what is needed, never give a sold unit back."""

from datetime import timedelta

import pytest

from inventory_pipeline.core.errors import ChannelRefused, OutcomeUnknown
from inventory_pipeline.core.ledger import LedgerEvent
from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline.flow.push import push_channel
from inventory_pipeline.memory import attempts, ledger, outbox, sync
from inventory_pipeline_tests.fakes import START, Clock, FakeChannel, busy, context, small_hub


class Bench:
    """A hub with one live channel, driven by hand: desired values in, pushes out."""

    def __init__(self, pg, tmp_path, *, mode=Mode.LIVE, **levels):
        self.clock = Clock()
        self.channel = FakeChannel(self.clock, levels=dict(levels))
        self.ctx = context(small_hub(mode=mode), pg, tmp_path, self.clock, self.channel)
        self.offset = 0
        self.orders = 0
        self.take_over()

    def take_over(self):
        with sync.drain_lock(self.ctx.pg, holder="test", wait=True) as epoch:
            self.epoch = epoch

    def want(self, **desired):
        self.offset += 1
        with self.ctx.pg.connection() as connection:
            rows = [
                {
                    "channel": "web", "bucket": "main", "bucket_external": "1", "external_id": sku,
                    "sku": sku, "units_milli": 1000, "desired_milli": units * 1000,
                    "ledger_offset": self.offset, "occurred_at": self.clock(),
                    "received_at": self.clock(), "listed": True,
                }
                for sku, units in desired.items()
            ]  # fmt: skip
            outbox.store_desired(
                connection, rows, policy_version=1, mapping_version=1, computed_at=self.clock()
            )

    def order(self, sku, units, *, at=None, ingest=True):
        """The shop sells: its number falls at once; the order may reach the ledger later."""
        self.channel.levels[sku] -= units
        self.orders += 1
        event = LedgerEvent(
            system="shop", event_id=f"o{self.orders}", type="order_placed",
            occurred_at=at or self.clock(), received_at=self.clock(), content_hash=b"", raw="{}",
            source="test", position="1", item=sku, sku=sku, quantity_milli=units * 1000,
            order_id=str(self.orders), line_id="1", channel="web",
        )  # fmt: skip
        return self.ingest(event) if ingest else event

    def ingest(self, event):
        with self.ctx.pg.connection() as connection:
            before = ledger.head(connection)
            ledger.append_events(
                connection, [event], [], received_at=event.received_at, mapping_version=1
            )
            head = ledger.head(connection)
            outbox.look_at_own_events(connection, {"shop": ["web"]}, after=before, upto=head)
            sync.move(connection, ledger_offset=head, computed_at=self.clock(), next_wakeup_at=None)

    def push(self):
        return push_channel(self.ctx, "web", self.epoch)

    def waiting(self):
        with self.ctx.pg.connection() as connection:
            return connection.execute("SELECT count(*) FROM hub.outbox WHERE look").fetchone()[0]


@pytest.fixture
def bench(pg, tmp_path):
    return Bench(pg, tmp_path, A=10, B=10, C=0)


def settle(bench):
    """Everything known and as desired, long ago."""
    bench.want(A=10, B=10, C=0)
    bench.push()
    bench.clock.pass_(minutes=1)
    bench.channel.reads.clear()
    bench.channel.writes.clear()


def test_a_listing_seen_for_the_first_time_is_read_before_it_is_written(bench):
    bench.want(A=7, B=10)
    report = bench.push()
    assert sorted(bench.channel.reads) == ["A", "B"]
    assert bench.channel.writes == [("A", 7)]
    assert (report.read, report.acked) == (2, 1)
    assert bench.waiting() == 0


def test_nothing_is_sent_twice(bench):
    settle(bench)
    bench.want(A=4)
    bench.push()
    bench.push()
    assert bench.channel.writes == [("A", 4)]


def test_a_sale_of_the_channel_itself_needs_no_write(bench):
    settle(bench)
    bench.order("A", 2)
    bench.want(A=8)
    bench.push()
    assert bench.channel.writes == []
    assert bench.waiting() == 0


def test_a_sale_that_leaves_desired_as_it_is_gets_its_units_back(bench):
    """A cap keeps desired at 10 while the channel sold 2 of them: it must be raised again."""
    settle(bench)
    bench.order("A", 2)
    bench.push()
    assert bench.channel.writes == [], "a raise waits until the sale has settled"
    bench.clock.pass_(seconds=6)
    bench.push()
    assert bench.channel.writes == [("A", 10)]


def test_an_order_that_is_still_on_its_way_is_not_given_back(bench):
    settle(bench)
    late = bench.order("A", 3, ingest=False)
    bench.want(A=10)  # something else touched the sku; the order is not in it yet
    bench.want(A=11)
    bench.push()
    assert bench.channel.levels["A"] == 7, "compare-and-swap refused, and the raise waits"
    bench.clock.pass_(seconds=3)
    bench.ingest(late)
    bench.want(A=8)
    bench.clock.pass_(seconds=8)
    bench.push()
    assert bench.channel.levels["A"] == 8


def test_an_order_counts_in_what_is_expected_only_once_desired_has_it_too(bench):
    settle(bench)
    event = bench.order("A", 2, ingest=False)
    with bench.ctx.pg.connection() as connection:
        ledger.append_events(
            connection, [event], [], received_at=event.received_at, mapping_version=1
        )
        head = ledger.head(connection)
    assert expected_of(bench, "A") == 10_000
    with bench.ctx.pg.connection() as connection:
        outbox.look_at_own_events(connection, {"shop": ["web"]}, after=head - 1, upto=head)
        sync.move(connection, ledger_offset=head, computed_at=bench.clock(), next_wakeup_at=None)
    assert expected_of(bench, "A") == 8_000


def expected_of(bench, sku):
    with bench.ctx.pg.connection() as connection:
        rows = outbox.rows_to_look_at(
            connection, bench.ctx.hub.channels["web"], bench.channel.capabilities,
            now=bench.clock(), limit=10, everything=True,
        )  # fmt: skip
    [row] = [row for row in rows if row.sku == sku]
    return row.showing_milli


def test_an_order_near_the_write_makes_the_row_uncertain_until_it_is_read_again(bench):
    settle(bench)
    bench.want(A=5)
    bench.push()
    bench.order("A", 1, at=bench.clock.at + timedelta(seconds=1))
    bench.channel.reads.clear()
    bench.want(A=4)
    bench.push()
    assert bench.channel.reads == ["A"]
    bench.clock.pass_(seconds=10)
    bench.push()
    assert bench.channel.levels["A"] == 4
    assert bench.waiting() == 0


def test_a_busy_channel_is_left_alone_until_it_says_so(bench):
    settle(bench)
    bench.channel.failures = [busy(retry_after_s=30)]
    bench.want(A=1)
    assert bench.push().busy == 1
    assert bench.push().acked == 0
    bench.clock.pass_(seconds=31)
    assert bench.push().acked == 1
    assert bench.channel.levels["A"] == 1


def test_an_unknown_outcome_is_read_and_not_repeated(bench):
    settle(bench)
    bench.channel.fail_after_applying = [OutcomeUnknown("timeout", system="shop", call="write")]
    bench.want(A=3)
    assert bench.push().unknown == 1
    bench.clock.pass_(seconds=2)
    bench.push()
    assert bench.channel.writes == [("A", 3)]
    assert bench.channel.reads == ["A"]
    assert bench.waiting() == 0


def test_a_refused_write_is_dead_until_its_number_changes(bench):
    settle(bench)
    bench.channel.failures = [ChannelRefused("no such item", system="shop", call="write")]
    bench.want(A=3)
    assert bench.push().refused == 1
    bench.clock.pass_(days=1)
    assert bench.push().acked == 0
    bench.want(A=2)
    assert bench.push().acked == 1


def test_a_batch_that_is_refused_because_of_one_item_is_halved_until_that_item_is_alone(bench):
    settle(bench)
    bench.channel.spoils = {"B"}
    bench.want(A=3, B=4, C=1)
    report = bench.push()
    assert sorted(bench.channel.writes) == [("A", 3), ("C", 1)]
    assert report.refused == 1
    with bench.ctx.pg.connection() as connection:
        assert [row.external_id for row in outbox.dead_rows(connection)] == ["B"]


def test_a_stale_item_does_not_hold_up_the_rest_of_its_batch(bench):
    settle(bench)
    bench.channel.all_or_nothing = True
    bench.channel.levels["A"] = 3
    bench.want(A=1, B=4)
    report = bench.push()
    assert ("B", 4) in bench.channel.writes
    assert report.stale == 1
    assert bench.channel.levels == {"A": 1, "B": 4, "C": 0}


def test_a_listing_that_the_channel_does_not_have_is_reported_and_asked_again_later(bench):
    del bench.channel.levels["C"]
    bench.want(A=10, C=5)
    assert bench.push().not_listed == 1
    bench.channel.levels["C"] = 0
    bench.clock.pass_(minutes=6)
    bench.push()
    assert bench.channel.levels["C"] == 5


def test_an_attempt_without_an_answer_is_read_by_the_successor(bench):
    settle(bench)
    bench.want(A=3)

    def die(*_, **__):
        raise KeyboardInterrupt

    bench.channel.write_levels, alive = die, bench.channel.write_levels
    with pytest.raises(KeyboardInterrupt):
        bench.push()
    bench.channel.write_levels = alive
    bench.take_over()
    with bench.ctx.pg.connection() as connection:
        assert attempts.abandon_open_attempts(connection, epoch=bench.epoch, at=bench.clock()) == 1
    bench.push()
    assert bench.channel.reads == ["A"]
    assert bench.channel.writes == [("A", 3)]


def test_a_superseded_drain_writes_nothing_more(bench):
    settle(bench)
    old = bench.epoch
    bench.take_over()
    bench.want(A=3)
    with pytest.raises(sync.Superseded):
        push_channel(bench.ctx, "web", old)
    assert bench.channel.writes == []


def test_shadow_records_what_it_would_have_sent_and_sends_nothing(pg, tmp_path):
    bench = Bench(pg, tmp_path, mode=Mode.SHADOW, A=10)
    bench.want(A=7)
    assert bench.push().shadow == 1
    assert (bench.channel.reads, bench.channel.writes) == ([], [])
    with pg.connection() as connection:
        row = connection.execute("SELECT quantity_milli, outcome, mode FROM hub.attempts")
        assert row.fetchall() == [(7000, "shadow", "shadow")]


def test_a_mark_that_comes_while_a_row_is_worked_on_is_not_lost(bench):
    settle(bench)
    with bench.ctx.pg.connection() as connection:
        bench.want(A=11)
        [row] = outbox.rows_to_look_at(
            connection, bench.ctx.hub.channels["web"], bench.channel.capabilities,
            now=bench.clock(), limit=10,
        )  # fmt: skip
    bench.want(A=9)
    with bench.ctx.pg.connection() as connection:
        outbox.settle(connection, [row])
    assert bench.waiting() == 1


def test_the_same_desired_value_again_is_no_news(bench):
    settle(bench)
    bench.want(A=10, B=10, C=0)
    assert bench.waiting() == 0


def test_an_older_desired_value_never_replaces_a_newer_one(bench):
    bench.offset = 10
    bench.want(A=7)
    bench.offset = 5
    bench.want(A=3)
    bench.push()
    assert bench.channel.levels["A"] == 7
    assert bench.clock.at == START
