"""Numbers from the hub folder's files alone."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from inventory_pipeline.cli import main
from inventory_pipeline.cli.why_text import NOTHING
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
        ({"sku": "NOBODY"}, r"there is no sku NOBODY in this hub\n"),
        ({"sku": "SHRIT"}, "there is no sku SHRIT in this hub - did you mean 'SHIRT'?"),
        ({"channel": "moon"}, r"there is no channel moon in this hub\n.*one of: web, wholesale"),
        ({"channel": "wbe"}, "there is no channel wbe in this hub - did you mean 'web'?"),
    ],
)
def test_a_wrong_question_is_one_clear_error(folder, options, said):
    with pytest.raises(HubError, match=said):
        evaluate(folder, **options)


def test_a_wrong_question_ends_with_2(folder, capsys, monkeypatch):
    assert run(["evaluate", str(folder), "--sku", "SHRIT"], monkeypatch) == 2
    assert "did you mean 'SHIRT'" in capsys.readouterr().err


def test_an_owner_of_which_nothing_was_known_yet_is_named(folder, capsys, monkeypatch):
    arguments = ["evaluate", str(folder), "--as-of", "2026-03-02T07:00:00Z"]
    assert run(arguments, monkeypatch) == 0
    assert (
        "missing: wms: nothing was known of it yet at 2026-03-02T07:00:00+00:00; its first "
        "snapshot is of 2026-03-02T08:00:00+00:00\n"
    ) in capsys.readouterr().err
    assert evaluate(folder, as_of="2026-03-02T08:00:00Z").missing == ()


def test_a_glob_that_finds_nothing_is_said_on_the_error_output(folder, capsys, monkeypatch):
    (folder / "landing" / "orders.jsonl").unlink()
    assert run(["evaluate", str(folder)], monkeypatch) == 0
    out, err = capsys.readouterr()
    assert "missing: systems.wms.options.events: no file matches 'landing/*.jsonl'" in err
    assert "missing" not in out


@pytest.mark.parametrize("left_out", ["a rejected snapshot", "a bad row", "no file", "nothing"])
def test_strict_ends_with_3_if_anything_was_left_out(folder, monkeypatch, left_out):
    landing = folder / "landing"
    good = SNAPSHOT[: SNAPSHOT.index("2026-03-02T08:00:00Z,dc,NOBODY")]
    (landing / "stock.csv").write_text(SNAPSHOT if left_out == "a bad row" else good)
    (landing / "orders.jsonl").write_text(placed(1, 4) + "\n")
    if left_out == "a rejected snapshot":
        (landing / "later.csv").write_text("when,what\n1,2\n")
    if left_out == "no file":
        (landing / "orders.jsonl").unlink()
    arguments = ["evaluate", str(folder), "--as-of", "2026-03-02T08:30:00Z"]
    assert run(arguments, monkeypatch) == 0
    assert run([*arguments, "--strict"], monkeypatch) == (0 if left_out == "nothing" else 3)


def test_the_text_form_says_which_place_and_which_part_limits_a_number(folder, capsys, monkeypatch):
    (folder / "catalog" / "items.csv").write_text(
        "sku,title,kind,decimals,tags,price\nSHIRT,A shirt,simple,0,,\nMUG,A mug,simple,0,,\n"
        "KIT,A kit,bundle,0,,\n"
    )
    (folder / "catalog" / "bundles.csv").write_text(
        "bundle_sku,component_sku,quantity\nKIT,SHIRT,1\nKIT,MUG,2\n"
    )
    (folder / "landing" / "mugs.csv").write_text(
        "as_of,location,item,on_hand\n2026-03-02T08:00:00Z,dc,MUG,7\n"
    )
    arguments = [
        "evaluate", str(folder), "--as-of", "2026-03-02T08:30:00Z", "--format", "text",
        "--channel", "wholesale",
    ]  # fmt: skip
    assert run(arguments, monkeypatch) == 0
    said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "KIT A kit" in said
    assert "2 MUG: at 2 each enough for 2" in said
    assert "2 can be put together +2 2 each at one location" in said
    assert "2 SHIRT: at 1 each enough for 33" in said
    assert "1 dc: safety stock -2 33 s1" in said
    assert run([*arguments, "--as-of", "2026-03-02T07:00:00Z"], monkeypatch) == 0
    said_before = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "2 can be put together 0 0 each at one location" in said_before
    assert f"wms 1 / 1 SHIRT 4 0 0 4 0 dc {NOTHING}" in said


def test_the_text_form_shows_what_awaits_its_proof_of_shipment(folder, capsys, monkeypatch):
    shipped = {
        "event_id": "f1", "type": "order_fulfilled", "item": "SHIRT", "quantity": 3,
        "occurred_at": "2026-03-02T08:10:00Z", "order_id": "1", "line_id": "1", "location": "dc",
    }  # fmt: skip
    policy = (folder / "hub.yaml").read_text()
    shop = '  shop: {connector: files, options: {events: "landing/shop/*.jsonl"}}\nchannels:'
    (folder / "hub.yaml").write_text(policy.replace("channels:", shop, 1))
    (folder / "landing" / "shop").mkdir()
    (folder / "landing" / "shop" / "o.jsonl").write_text(
        placed(1, 4) + "\n" + json.dumps(shipped) + "\n"
    )
    (folder / "landing" / "orders.jsonl").write_text("")
    arguments = ["evaluate", str(folder), "--as-of", "2026-03-02T08:30:00Z", "--format", "text"]
    assert run(arguments, monkeypatch) == 0
    out = capsys.readouterr().out
    [line] = {" ".join(row.split()) for row in out.splitlines() if row.startswith(" shop")}
    assert line == f"shop 1 / 1 SHIRT 4 0 0 4 3 dc {NOTHING}"


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
