"""Dear checks are judged in the background and kept; cheap ones are judged at every look."""

from pathlib import Path

import pytest

from inventory_pipeline.core.verdicts import Level, Verdict
from inventory_pipeline.flow.checks import Check, Look
from inventory_pipeline.server import judging
from inventory_pipeline.server.judging import Judging
from inventory_pipeline_tests.server.conftest import NOW


class Watch:
    """Seconds that pass only where somebody lets them."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch(monkeypatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr(judging, "perf_counter", watch)
    return watch


@pytest.fixture
def ask(ctx, monkeypatch, watch):
    """Looks at one check that takes `took_s`; `ask.judged` counts how often it was judged."""

    def call(took_s: float, *, renew: bool = False) -> Verdict | None:
        def judge(_: Look) -> Verdict:
            call.judged += 1
            watch.now += took_s
            if call.lost:
                raise FileNotFoundError("snapshot.parquet")
            return Verdict(level=Level.GOOD, description=str(call.judged))

        check = Check(asset=("ledger",), name="one", says="", judge=judge, page="/")
        monkeypatch.setattr(judging, "checks_of", lambda *_: [check])
        look = Look(connection=None, hub=ctx.hub, state=Path(), now=NOW)  # type: ignore[arg-type]
        if renew:
            kept.renew(look, {})
            return None
        return kept.verdicts(look, {})[0].verdict

    kept = Judging()
    call.judged = 0
    call.lost = False
    return call


def test_a_cheap_check_is_judged_at_every_look(ask):
    assert [ask(0.001).description for _ in range(3)] == ["1", "2", "3"]


def test_the_word_of_a_dear_check_counts_for_a_while_and_no_longer(ask, watch):
    ask(0.1)
    watch.now += 39
    assert ask(0.1).description == "1"
    watch.now += 2
    assert ask(0.1).description == "2"


def test_a_dear_check_is_renewed_before_a_page_has_to_wait(ask, watch):
    ask(0.1, renew=True)
    for _ in range(20):
        watch.now += 15
        ask(0.1, renew=True)
        before = ask.judged
        ask(0.1)
        assert ask.judged == before
    assert ask.judged <= 11  # every second round


def test_a_check_whose_file_is_gone_says_so_and_the_page_is_drawn(ask):
    ask.lost = True
    verdict = ask(0.001)
    assert (verdict.level, "snapshot.parquet" in verdict.description) == (Level.WARNING, True)
