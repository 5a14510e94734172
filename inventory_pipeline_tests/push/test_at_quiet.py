"""Whatever a channel does to it, at quiet every listing shows what it must, and nothing was sent
for nothing.
"""

import os
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from inventory_pipeline.core.ports import Basis, Capabilities, Completion, Write
from inventory_pipeline.core.vocabulary import MovesAt
from inventory_pipeline_tests.push.channel import FAULTS, POLL, SKUS, run

EXAMPLES = max(5, int(os.environ.get("HUB_EXAMPLES", "100")) // 4)
skus = st.sampled_from(SKUS)
units = st.integers(0, 6)


@st.composite
def capabilities(draw):
    """What there is in the world: a delta needs a key or a compare value."""
    write = draw(st.sampled_from([Write.ABSOLUTE, Write.DELTA]))
    keys = draw(st.booleans())
    compares = draw(st.booleans())
    if write is Write.DELTA and not (keys or compares):
        keys = True
    basis = draw(st.sampled_from(Basis)) if write is Write.ABSOLUTE else Basis.AVAILABLE
    return Capabilities(
        levels=True,
        write=write,
        basis=basis,
        compare_and_swap=compares,
        idempotency=timedelta(hours=1) if keys else None,
        batch_size=draw(st.integers(1, 3)),
        atomic_batch=draw(st.booleans()),
        completion=draw(st.sampled_from([Completion.SYNC, Completion.JOB])),
        moves_at=MovesAt.ORDER,
        restores_on=frozenset({"cancel"} if draw(st.booleans()) else ()),
        parallel=draw(st.integers(1, 2)),
    )


class Pushing(RuleBasedStateMachine):
    """A merchant and a channel; `bench` (set by the test) gives a merchant on a clean database."""

    bench = None

    @initialize(can=capabilities(), first=st.tuples(units, units, units))
    def open_shop(self, can, first):
        self.merchant = self.bench(can)
        self.channel = self.merchant.channel
        self.edited = set()
        for sku, number in zip(SKUS, first, strict=True):
            self.channel.on_hand[sku] = number
        self.merchant.count_stock(**dict.fromkeys(SKUS, 3))

    @rule(sku=skus, number=units)
    def stock_is_counted(self, sku, number):
        self.merchant.count_stock(**{sku: number + self.merchant.bought[sku]})

    @rule(sku=skus, number=st.integers(1, 2))
    def it_sells(self, sku, number):
        self.merchant.sold(sku, number)

    @rule(sku=skus, lag=st.integers(1, 4))
    def it_sells_and_its_number_falls_a_little_later(self, sku, lag):
        self.merchant.sold(sku, 1, lag_s=lag)

    @precondition(lambda self: self.merchant.standing)
    @rule(place=st.integers(0, 9), whole=st.booleans())
    def somebody_cancels(self, place, whole):
        self.merchant.cancel(place, whole=whole)

    @rule(sku=skus, number=st.integers(1, 6))
    def no_more_than_so_many_are_offered(self, sku, number):
        self.merchant.cap(sku, number)

    @precondition(lambda self: self.merchant.pending)
    @rule(place=st.integers(0, 9))
    def an_order_comes_in(self, place):
        self.merchant.deliver(place)

    @rule(sku=skus)
    def it_ships(self, sku):
        self.channel.ship(sku)

    @rule(sku=skus, number=units)
    def somebody_edits(self, sku, number):
        self.channel.on_hand[sku] = number + self.channel.held[sku]
        self.edited.add(sku)

    @rule(sku=skus)
    def it_is_read_again(self, sku):
        self.merchant.reconcile(sku)

    @rule(fault=st.sampled_from(FAULTS))
    def something_goes_wrong_next(self, fault):
        self.channel.faults.append(fault)
        if fault == "late":
            self.edited.update(SKUS)  # applied when nobody expects it any more

    @rule(sku=skus)
    def it_sells_during_the_next_write(self, sku):
        self.channel.sells_meanwhile.append(sku)

    @rule(seconds=st.sampled_from([0.5, 1, 4, 6, 11]))
    def time_passes(self, seconds):
        self.merchant.clock.pass_(seconds=seconds)

    @rule()
    def it_pushes(self):
        self.merchant.push()

    @rule()
    def the_process_ends(self):
        self.merchant.take_over()

    def teardown(self):
        if not hasattr(self, "merchant"):
            return
        try:
            self._come_to_rest()
            self._check_rest()
            self._check_that_a_sale_needs_no_write()
            self._check_sales_beside_a_write()
            self._check_cancels_that_change_nothing()
        finally:
            self.merchant.ctx.pg.close()

    def _come_to_rest(self):
        self.channel.faults.clear()
        self.channel.sells_meanwhile.clear()
        # Reconciliation names an edit and has it sent again.
        self._rest(reread=sorted(self.edited))

    def _rest(self, reread=()):
        merchant = self.merchant
        self._deliver_all()
        for turn in range(30):
            merchant.clock.pass_(seconds=POLL + 1)
            if turn == 2 and reread:
                merchant.clock.pass_(minutes=6)
                merchant.reconcile(*reread)
            merchant.push()
            if turn > (3 if reread else 1) and not self._waiting():
                return

    def _deliver_all(self):
        while self.merchant.pending:
            self.merchant.deliver()

    def _waiting(self):
        [(waiting,)] = self.merchant.rows(
            "SELECT (SELECT count(*) FROM hub.outbox WHERE look OR open_key IS NOT NULL"
            " OR dead_at IS NOT NULL) + (SELECT count(*) FROM hub.intents)"
        )
        return waiting

    def _check_rest(self):
        shown = {sku: self.channel.available(sku) for sku in SKUS}
        assert shown == {sku: self.merchant.desired(sku) for sku in SKUS}
        assert self._waiting() == 0
        before = len(self.channel.writes), len(self.channel.reads)
        self.merchant.push()
        assert (len(self.channel.writes), len(self.channel.reads)) == before, "it was at rest"

    def _check_that_a_sale_needs_no_write(self):
        for sku in list(self.merchant.most):
            self.merchant.cap(sku, 99)
        self._rest()
        self.merchant.clock.pass_(minutes=1)
        before = len(self.channel.writes)
        for sku in SKUS:
            self.merchant.sold(sku)
        self._deliver_all()
        self.merchant.clock.pass_(seconds=1)
        self.merchant.push()
        assert len(self.channel.writes) == before, "the channel lowered its number itself"
        assert self._waiting() == 0

    def _check_sales_beside_a_write(self):
        """Dated so near to a write or a reading that nobody knows whether that number has them; and
        what is desired stays as it is.
        """
        merchant = self.merchant
        for sku in SKUS:
            merchant.count_stock(**{sku: merchant.bought[sku] + 9})
            merchant.cap(sku, 4)
        self._rest()
        merchant.clock.pass_(minutes=1)
        # Before the write that is sent; its number falls after it.
        merchant.sold("B", lag_s=3)
        # Before the reading; its number falls after it.
        merchant.sold("C", lag_s=3)
        self._deliver_all()
        merchant.reconcile("C")
        merchant.cap("A", 3)
        merchant.cap("B", 2)
        merchant.push()
        # After the write.
        merchant.sold("A")
        self._deliver_all()
        merchant.push()
        self._rest()
        assert {sku: self.channel.available(sku) for sku in SKUS} == {"A": 3, "B": 2, "C": 4}

    def _check_cancels_that_change_nothing(self):
        """What is desired stays; a channel that gives the units back shows too many of them."""
        for sku in "AB":
            self.merchant.sold(sku)
        self._rest()
        self.merchant.clock.pass_(minutes=1)
        self.merchant.cancel(-1, whole=True)
        self.merchant.cancel(-1)
        self._rest()
        assert {sku: self.channel.available(sku) for sku in SKUS} == {"A": 3, "B": 2, "C": 4}


def test_at_quiet_every_listing_shows_what_it_must(bench):
    run(Pushing, bench, examples=EXAMPLES)
