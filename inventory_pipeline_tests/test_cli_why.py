"""`inventory-pipeline why`: what a person reads, what a script gets, and clear errors."""

import json
import sys
from datetime import timedelta
from decimal import Decimal

import pytest

from inventory_pipeline import cli
from inventory_pipeline.flow.context import open_context
from inventory_pipeline.flow.cycle import run_cycle
from inventory_pipeline.flow.times import utc_now
from inventory_pipeline_tests.fakes import happened, land

HUB = """\
hub: acme
locations: {dc: {}}
systems:
  wms:
    connector: files
    options: {snapshots: "landing/*.csv"}
    owns: [{states: [on_hand, damaged, quality_control, incoming], locations: [dc]}]
channels:
  web: {system: wms, mode: shadow, buckets: [{id: main, locations: [dc]}]}
rules:
  - {id: keep-two, kind: safety_stock, locations: [dc], units: 2}
"""
ITEMS = "sku,title,kind,decimals,tags\nMUG,Mug,simple,0,\nTEA,Tea,simple,2,\n"


@pytest.fixture
def run(monkeypatch, capsys, pg_url, tmp_path):
    """Runs `why` in this process; returns its status, stdout and stderr."""
    for name in ("HUB_FOLDER", "HUB_STATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HUB_POSTGRES_URL", pg_url)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["inventory-pipeline", "why", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture
def hub(tmp_path):
    folder = tmp_path / "hub"
    (folder / "catalog").mkdir(parents=True)
    (folder / "hub.yaml").write_text(HUB)
    (folder / "catalog" / "items.csv").write_text(ITEMS)
    return folder


@pytest.fixture
def remembered(hub, pg_url, run):
    """A hub that has seen ten mugs and sold one."""
    ctx = open_context(hub, hub / ".state", pg_url)
    land(ctx, MUG=10, TEA=3)
    happened(ctx, "order_placed", "MUG", 1, system="wms", channel="web", order_id="1001",
             line_id="1", location="dc", event_id="sold")  # fmt: skip
    run_cycle(ctx)
    ctx.close()
    return run


def test_a_person_reads_term_after_term(hub, remembered):
    status, out, err = remembered("MUG", hub)
    assert (status, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "web / main (shadow) may sell 7" in lines
    terms = [line for line in lines if line[:1].isdigit()]
    assert terms == [
        "1 dc: on hand +10 10",
        "1 dc: committed -1 9",
        "1 dc: safety stock -2 7 keep-two",
        "1 all locations +7 7",
        "10 may be sold 0 7",
    ]
    assert "rules version 1, catalogue version 1" in out
    assert "order_placed sold of wms" in out
    assert "the outbox now wants 7" in out


def test_a_script_gets_exact_decimals_as_text(hub, remembered):
    status, out, _ = remembered("TEA", hub, "--json", "--channel", "web")
    answer = json.loads(out, parse_float=lambda text: pytest.fail(f"a float: {text}"))
    assert status == 0
    [bucket] = answer["buckets"]
    changes = [Decimal(line["change"]) for line in bucket["lines"]]
    assert sum(changes) == Decimal(bucket["terms"]["available"]) == 1
    assert bucket["locations"][0]["lines"][-1] == {
        "step": 1, "term": "safety_stock", "change": "-2", "after": "1", "rules": ["keep-two"],
        "note": "",
    }  # fmt: skip
    assert bucket["listings"][0]["outbox"]["desired"] == "1"
    assert answer["moment"]["policy"]["version"] == 1


def test_a_past_offset_is_said_to_be_past(hub, remembered):
    status, out, _ = remembered("MUG", hub, "--offset", 3)
    assert status == 0
    assert "may sell 8" in out
    assert "(the ledger is at 4 now)" in out


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["MUGG"], "did you mean 'MUG'"),
        (["MUG", "--channel", "wep"], "did you mean 'web'"),
        (["MUG", "--offset", "77"], "the ledger has no offset 77"),
        (["MUG", "--at", "2020-01-01T00:00:00Z"], "the ledger was empty"),
        (["MUG", "--at", "yesterday"], "--at yesterday is no time"),
        (["MUG", "--at", "2026-03-02T10:00:00"], "has no offset"),
    ],
)
def test_what_cannot_be_explained_is_a_clear_error(hub, remembered, asked, said):
    status, out, err = remembered(asked[0], hub, *asked[1:])
    assert (status, out) == (2, "")
    assert said in err
    assert "What to do:" in err


def test_a_hub_that_never_ran_is_a_clear_error(hub, run):
    status, _, err = run("MUG", hub)
    assert status == 2
    assert "the ledger is empty" in err


def test_asking_does_not_activate_a_changed_hub_folder(hub, remembered):
    (hub / "hub.yaml").write_text(HUB.replace("units: 2", "units: 5"))
    _, out, _ = remembered("MUG", hub, "--json")
    answer = json.loads(out)
    assert answer["moment"]["policy"]["version"] == 1
    assert answer["buckets"][0]["terms"]["available"] == "7"


def test_a_moment_to_come_counts_with_what_is_known(hub, remembered):
    later = utc_now() + timedelta(days=1)
    status, out, _ = remembered("MUG", hub, "--at", later.isoformat())
    assert status == 0
    assert "may sell 7" in out
