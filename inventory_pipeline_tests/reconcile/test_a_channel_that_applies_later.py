"""A channel that accepts batches and applies them later: what it shows meanwhile is no fault."""

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from inventory_pipeline.core.ports import Completion, Receipt, WriteOutcome
from inventory_pipeline.core.vocabulary import Cause
from inventory_pipeline.flow import reconcile as reconcile_module
from inventory_pipeline.flow.heal import heal
from inventory_pipeline.flow.reconcile import reconcile_channel
from inventory_pipeline.memory import variance_views as views
from inventory_pipeline_tests.fakes import SELLING_WITH_COMPARE, FakeChannel
from inventory_pipeline_tests.flow.test_push import Bench


@dataclass
class LaterChannel(FakeChannel):
    """Gives a receipt at once; the numbers stand there before it says so."""

    def write_levels(self, writes, *, key):
        outcomes = super().write_levels(writes, key=key)
        receipt = Receipt(
            body={"feed": key},
            poll_after=self.clock() + timedelta(minutes=30),
            give_up_at=self.clock() + timedelta(hours=2),
        )
        return [replace(outcome, receipt=receipt) for outcome in outcomes]

    def poll_receipt(self, receipt, writes):
        return [WriteOutcome(write=write, error=None) for write in writes]


@pytest.fixture
def bench(pg, tmp_path, monkeypatch):
    bench = Bench(pg, tmp_path, A=10, B=10)
    later = LaterChannel(bench.clock, levels=dict(bench.channel.levels))
    later.capabilities = replace(SELLING_WITH_COMPARE, completion=Completion.JOB)
    bench.channel = bench.ctx.connectors["shop"] = later
    monkeypatch.setattr(reconcile_module.time, "sleep", lambda s: bench.clock.pass_(seconds=s))
    return bench


def test_a_batch_that_was_accepted_is_waited_for_and_the_variance_closes(bench):
    bench.want(A=7, B=10)
    bench.push()
    bench.clock.pass_(minutes=5)
    [variance] = reconcile_channel(bench.ctx, "web").variances
    assert (variance.external_id, variance.cause) == ("A", Cause.NOT_YET_APPLIED)
    assert variance.evidence["receipt_until"]
    assert heal(bench.ctx) == {}
    bench.clock.pass_(minutes=30)
    bench.push()
    bench.clock.pass_(minutes=1)
    assert reconcile_channel(bench.ctx, "web").variances == ()
    with bench.ctx.pg.connection() as connection:
        [row] = views.history(connection)
    assert (row.cause, row.heal, row.closed_at is not None) == ("not_yet_applied", "reread", True)
