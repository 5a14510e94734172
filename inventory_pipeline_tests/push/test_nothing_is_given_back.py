"""A unit that the channel sold is never offered again by a write, as long as its order comes in
within one polling interval: the reference waits for it that long.
"""

import os
from dataclasses import replace
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from inventory_pipeline.core.ports import Basis, Write
from inventory_pipeline_tests.push.channel import MOVING, POLL, SKUS, run

EXAMPLES = max(5, int(os.environ.get("HUB_EXAMPLES", "100")) // 6)
skus = st.sampled_from(SKUS)
ABLE = (
    replace(MOVING, compare_and_swap=True),
    replace(MOVING, compare_and_swap=True, atomic_batch=True, batch_size=3),
    MOVING,
    replace(MOVING, write=Write.DELTA, idempotency=timedelta(hours=1)),
    replace(MOVING, basis=Basis.ON_HAND),
    replace(MOVING, compare_and_swap=True, restores_on=frozenset({"cancel"})),
    replace(MOVING, restores_on=frozenset({"cancel"})),
)


class Selling(RuleBasedStateMachine):
    """Sales at any moment, orders in any order, each within POLL seconds."""

    bench = None

    @initialize(can=st.sampled_from(ABLE))
    def open_shop(self, can):
        self.merchant = self.bench(can)
        self.merchant.count_stock(**dict.fromkeys(SKUS, 4))
        self.merchant.push()
        self.pass_time(60)
        self.merchant.push()
        self.merchant.channel._set = self.watched(self.merchant.channel._set)

    def watched(self, set_level):
        def checked(write):
            sku = write.listing.external_id
            before = self.merchant.channel.available(sku)
            set_level(write)
            after = self.merchant.channel.available(sku)
            limit = self.merchant.stock[sku] - self.merchant.bought[sku]
            assert after <= max(before, limit, 0), (sku, before, after, limit)

        return checked

    def pass_time(self, seconds):
        """Orders come in before they are older than a polling interval."""
        for _ in range(int(seconds * 2)):
            self.merchant.clock.pass_(seconds=0.5)
            late = self.merchant.clock() - timedelta(seconds=POLL - 2)
            for place, event in reversed(list(enumerate(self.merchant.pending))):
                if event.occurred_at <= late:
                    self.merchant.deliver(place)

    @rule(sku=skus, number=st.integers(0, 6))
    def stock_is_counted(self, sku, number):
        self.merchant.count_stock(**{sku: number + self.merchant.bought[sku]})

    @rule(sku=skus, number=st.integers(1, 2))
    def it_sells(self, sku, number):
        self.merchant.sold(sku, number)

    @precondition(lambda self: self.merchant.standing)
    @rule(place=st.integers(0, 9), whole=st.booleans())
    def somebody_cancels(self, place, whole):
        self.merchant.cancel(place, whole=whole)

    @rule(sku=skus)
    def it_sells_and_its_stock_is_counted_before_the_order_comes(self, sku):
        self.merchant.sold(sku)
        self.merchant.count_stock(**{sku: self.merchant.bought[sku] + 5})
        self.merchant.push()

    @precondition(lambda self: self.merchant.pending)
    @rule(place=st.integers(0, 9))
    def an_order_comes_in(self, place):
        self.merchant.deliver(place)

    @rule(fault=st.sampled_from(["busy", "refused"]))
    def something_goes_wrong_next(self, fault):
        self.merchant.channel.faults.append(fault)

    @rule(seconds=st.sampled_from([0.5, 2, 6, 11]))
    def time_passes(self, seconds):
        self.pass_time(seconds)

    @rule()
    def it_pushes(self):
        self.merchant.push()

    def teardown(self):
        if hasattr(self, "merchant"):
            self.merchant.ctx.pg.close()


def test_no_write_offers_a_sold_unit_again(bench):
    run(Selling, bench, examples=EXAMPLES)


def test_another_count_does_not_end_the_wait_for_an_order_behind_a_drop(bench):
    shop = type("Shop", (Selling,), {"bench": staticmethod(bench)})()
    shop.open_shop(ABLE[0])
    shop.it_sells_and_its_stock_is_counted_before_the_order_comes(sku="A")
    shop.stock_is_counted(sku="A", number=3)
    shop.it_pushes()
    assert shop.merchant.channel.available("A") == 3
    shop.pass_time(60)
    shop.it_pushes()
    assert shop.merchant.channel.available("A") == 3
    shop.teardown()
