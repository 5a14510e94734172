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
        finally:
            self.merchant.ctx.pg.close()

    def _come_to_rest(self):
        merchant, channel = self.merchant, self.channel
        channel.faults.clear()
        channel.sells_meanwhile.clear()
        while merchant.pending:
            merchant.deliver()
        for turn in range(30):
            merchant.clock.pass_(seconds=POLL + 1)
            if turn == 2:
                merchant.clock.pass_(minutes=6)
                # Reconciliation names an edit and has it sent again.
                merchant.reconcile(*sorted(self.edited))
            merchant.push()
            if turn > 3 and not self._waiting():
                return

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
        self.merchant.clock.pass_(minutes=1)
        before = len(self.channel.writes)
        for sku in SKUS:
            self.merchant.sold(sku)
        while self.merchant.pending:
            self.merchant.deliver()
        self.merchant.clock.pass_(seconds=1)
        self.merchant.push()
        assert len(self.channel.writes) == before, "the channel lowered its number itself"
        assert self._waiting() == 0


def test_at_quiet_every_listing_shows_what_it_must(bench):
    run(Pushing, bench, examples=EXAMPLES)
