"""What Dagster shows of a verdict."""

import dagster as dg

from inventory_pipeline.core.verdicts import Level, Table, Verdict
from inventory_pipeline.defs import checks
from inventory_pipeline.flow.checks import Check

CHECK = Check(
    asset=("push", "web"), name="no_dead_letters", says="None.", page="/pushes?channel=web",
    judge=lambda _: Verdict(level=Level.GOOD, description=""),
)  # fmt: skip


def evaluated(verdict: Verdict) -> dg.AssetCheckEvaluation:
    return checks.evaluation(CHECK, verdict)


def test_a_warning_warns_and_an_error_is_an_error():
    warned = evaluated(Verdict(level=Level.WARNING, description="look"))
    assert (warned.passed, warned.severity) == (False, dg.AssetCheckSeverity.WARN)
    failed = evaluated(Verdict(level=Level.ERROR, description="act"))
    assert (failed.passed, failed.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert failed.asset_key == dg.AssetKey(["push", "web"])
    assert evaluated(Verdict(level=Level.GOOD, description="well")).passed


def test_other_peoples_text_cannot_break_out_of_its_cell():
    table = Table(header=("listing", "said"), rows=[("A|1", "<b>two\nlines</b>")])
    shown = checks.markdown(table).value
    assert shown.splitlines() == [
        "| listing | said |",
        "| --- | --- |",
        r"| A\|1 | &lt;b>two lines&lt;/b> |",
    ]


def test_a_verdict_links_to_the_page_that_tells_more(monkeypatch):
    monkeypatch.delenv("HUB_URL", raising=False)
    verdict = Verdict(level=Level.ERROR, description="act", numbers={"dead": 3})
    assert set(evaluated(verdict).metadata) == {"dead"}
    monkeypatch.setenv("HUB_URL", "http://127.0.0.1:8400/")
    link = evaluated(verdict).metadata["page"]
    assert link.value == "http://127.0.0.1:8400/pushes?channel=web"
