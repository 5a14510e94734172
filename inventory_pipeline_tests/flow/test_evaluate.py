"""Numbers from the hub folder's files alone."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from inventory_pipeline.cli import main
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.flow.evaluate import evaluate

HUB = """
hub: tiny
locations:
  dc: {kind: warehouse}
  nyc: {kind: store}
systems:
  wms:
    connector: files
    options: {snapshots: "landing/*.csv", events: "landing/*.jsonl"}
    owns: [{states: [on_hand, damaged, quality_control, incoming], locations: [dc, nyc]}]
    snapshot: {complete: false}
channels:
  web: {system: wms, buckets: [{id: main, locations: [dc, nyc]}]}
  wholesale: {system: wms, buckets: [{id: main, locations: [dc]}]}
rules:
  - {id: s1, kind: safety_stock, locations: [dc], units: 2}
  - {id: s2, kind: location_reserve, locations: [nyc], units: 1}
  - {id: p1, kind: protect, for: wholesale, skus: ["SHIRT"], units: 5}
  - {id: b1, kind: buffer, channels: [web], percent: 10}
"""
SNAPSHOT = """as_of,location,item,on_hand,damaged
2026-03-02T08:00:00Z,dc,SHIRT,40,1
2026-03-02T08:00:00Z,nyc,SHIRT,5,0
2026-03-02T08:00:00Z,dc,NOBODY,5,0
"""


def placed(number: int, quantity: int, minute: int = 5) -> str:
    return json.dumps(
        {
            "event_id": f"e{number}", "type": "order_placed", "item": "SHIRT", "quantity": quantity,
            "occurred_at": f"2026-03-02T08:{minute:02d}:00Z", "order_id": str(number),
            "line_id": "1", "location": "dc",
        }
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Example A of the semantics: 40 and 5 on hand, 4 promised, and four rules."""
    for name in ("catalog", "landing"):
        (tmp_path / name).mkdir()
    (tmp_path / "hub.yaml").write_text(HUB)
    (tmp_path / "catalog" / "items.csv").write_text(
        "sku,title,kind,decimals,tags,price\nSHIRT,A shirt,simple,0,,\n"
    )
    (tmp_path / "landing" / "stock.csv").write_text(SNAPSHOT)
    lines = [placed(1, 4), placed(1, 4), placed(1, 9), placed(2, 1, minute=50)]
    (tmp_path / "landing" / "orders.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def shown(folder: Path, as_of: str) -> dict[str, int]:
    rows = evaluate(folder, as_of=as_of).rows
    return {row["channel"]: row["desired_milli"] // 1000 for row in rows}


def test_example_a_of_the_semantics_comes_out(folder):
    assert shown(folder, "2026-03-02T08:30:00Z") == {"web": 28, "wholesale": 33}


def test_what_is_dated_later_does_not_count(folder):
    assert shown(folder, "2026-03-02T08:00:00Z")["web"] == 32
    assert shown(folder, "2026-03-02T09:00:00Z")["web"] == 27
    assert shown(folder, "2026-03-02T07:59:59Z")["web"] == 0


def test_what_is_left_out_is_said_with_its_reason(folder):
    result = evaluate(folder, as_of="2026-03-02T08:30:00Z")
    assert sorted(bad.reason for bad in result.bad) == ["conflicting_duplicate", "unknown_item"]


def test_the_command_prints_exactly_four_columns_sorted(folder, capsys, monkeypatch):
    arguments = ["evaluate", str(folder), "--as-of", "2026-03-02T08:30:00Z"]
    assert run(arguments, monkeypatch) == 0
    out, err = capsys.readouterr()
    assert out == ("channel,bucket,sku,available\nweb,main,SHIRT,28\nwholesale,main,SHIRT,33\n")
    assert "quarantined: 1 of wms: unknown_item, as landing/stock.csv:4" in err


def test_explaining_shows_every_term_and_the_rule_that_won(folder, capsys, monkeypatch):
    arguments = [
        "evaluate", str(folder), "--as-of", "2026-03-02T08:30:00Z", "--explain", "--channel", "web",
    ]  # fmt: skip
    assert run(arguments, monkeypatch) == 0
    [row] = csv.DictReader(io.StringIO(capsys.readouterr().out))
    terms = ("sellable", "pool", "protected_for_others", "buffer", "buffer_rule", "available")
    assert [row[name] for name in terms] == ["37", "37", "5", "4", "b1", "28"]
    assert run([*arguments, "--format", "json"], monkeypatch) == 0
    assert json.loads(capsys.readouterr().out)[0]["available"] == "28"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"as_of": "yesterday"}, "is no time"),
        ({"as_of": "2026-03-02T08:30:00"}, "has no offset"),
        ({"sku": "NOBODY"}, "there is no sku NOBODY"),
        ({"channel": "moon"}, "there is no channel moon"),
    ],
)
def test_a_wrong_question_is_one_clear_error(folder, options, said):
    with pytest.raises(HubError, match=said):
        evaluate(folder, **options)


def test_a_snapshot_that_lost_too_many_rows_is_left_out_in_the_order_of_time(folder):
    policy = (folder / "hub.yaml").read_text()
    (folder / "hub.yaml").write_text(
        policy.replace("{complete: false}", "{complete: true, max_drop: 20%}")
    )
    # The later file sorts before the earlier one by name.
    (folder / "landing" / "a-later.csv").write_text(
        "as_of,location,item,on_hand\n2026-03-02T08:20:00Z,dc,SHIRT,1\n"
        "2026-03-02T08:20:00Z,nyc,SHIRT,1\n"
    )
    result = evaluate(folder, as_of="2026-03-02T08:30:00Z")
    assert [(r.source, r.reason) for r in result.rejected] == [("landing/a-later.csv", "max_drop")]
    assert result.rows[0]["desired_milli"] == 28_000


def test_the_first_hub_can_be_evaluated(tmp_path):
    first = Path(__file__).parents[2] / "examples" / "first-hub"
    shutil.copytree(first, tmp_path / "hub", ignore=shutil.ignore_patterns(".state"))
    result = evaluate(tmp_path / "hub")
    assert len(result.rows) == 5
    assert not result.bad


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["inventory-pipeline", *arguments])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0
