"""`inventory-pipeline quarantine`: what it lists, shows and lets in, and how it ends."""

import io
import json
import sys

import pytest

from inventory_pipeline import cli
from inventory_pipeline_tests.flow.worlds import World, sale


@pytest.fixture
def world(tmp_path, pg_url):
    made = World(tmp_path, pg_url)
    made.open()
    made.snapshot("s", "1,X1,7,0", "1,A,3,0")
    made.events("wms", "e", sale(1, "X1", 2), sale(2, "NO"), sale(3, "A", "many"))
    made.close()
    yield made
    made.close()


@pytest.fixture
def run(world, monkeypatch, capsys):
    """Runs a command on the world's hub in this process; returns its status, stdout, stderr."""
    monkeypatch.setenv("HUB_POSTGRES_URL", world.url)
    monkeypatch.setenv("COLUMNS", "200")

    def call(command: str, *arguments: object) -> tuple[int, str, str]:
        place = (world.folder, "--state", world.state)
        words = ["inventory-pipeline", "quarantine", command, *place, *arguments]
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def activated(world: World) -> None:
    """Commands take the hub as it was activated last."""
    world.open()
    world.close()


@pytest.mark.parametrize("command", ["list", "show", "release"])
def test_every_command_teaches_with_an_example(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert "Example" in out


def test_the_list_counts_per_system_and_reason_and_says_what_a_release_would_do(world, run):
    status, out, _ = run("list")
    assert status == 0
    assert "bad_number" in out
    assert "3 held" in out
    assert "item 'X1' is not mapped" in out
    world.identifiers("wms,X1,A,1")
    activated(world)
    status, out, _ = run("list")
    assert "2 of these would be let in now" in out
    status, out, _ = run("list", "--reason", "bad_number", "--json")
    told = json.loads(out)
    assert [row["position"] for row in told["rows"]] == ["3"]
    assert told["rows"][0]["now"]["released"] is False
    assert told["counts"] == [
        {"system": "wms", "reason": "bad_number", "rows": 1, "released": 0},
    ]


def test_a_row_is_shown_with_everything_and_with_what_to_do(run):
    status, out, _ = run("show", 2)
    assert status == 0
    for said in ("event of wms", "unknown_item", "in/wms/e.jsonl", '"event_id": "e1"', "X1"):
        assert said in out
    assert "identifiers.csv" in out
    status, out, _ = run("show", 1, "--json")
    told = json.loads(out)
    assert (told["kind"], json.loads(told["raw"])["item"]) == ("snapshot_row", "X1")


def test_a_number_that_is_not_there_is_one_clear_message(run):
    status, _, err = run("show", 99)
    assert status == 2
    assert "no row 99" in err
    assert "quarantine list" in err


def test_a_release_says_what_became_of_each_row_and_fails_if_one_was_refused(world, run):
    world.identifiers("wms,X1,A,1")
    activated(world)
    status, out, _ = run("release", 1, 2, 3)
    assert status == 1
    assert "row 1 (wms) released" in out
    assert "row 2 (wms) released" in out
    assert "row 3 (wms) refused: still unknown_item" in out
    assert "2 released, 1 refused" in out
    status, out, _ = run("list", "--all")
    assert "released" in out


def test_rows_are_chosen_by_reason_and_system_and_asked_about(world, run, monkeypatch):
    world.items("A", "B", "C", "NO")
    world.identifiers("wms,X1,A,1")
    activated(world)
    chosen = ("--reason", "unknown_item", "--system", "wms")
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    status, _, err = run("release", *chosen)
    assert status == 1
    assert "Release 3 rows?" in err
    status, out, _ = run("release", *chosen, "--dry-run", "--json")
    assert (status, json.loads(out)["dry_run"], json.loads(out)["released"]) == (0, True, 3)
    status, out, _ = run("release", *chosen, "--yes")
    assert status == 0
    assert "3 released, 0 refused" in out
    world.open()
    world.cycle()
    assert world.available()["A"] == 3 + 7 - 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name rows by number"),
        ((1, "--reason", "bad_number"), "name rows by number"),
        (("--reason", "unknown"), "one of: bad_json"),
        (("--system", "erp"), "one of: wms, shop"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused_with_what_there_is(run, arguments, said):
    status, _, err = run("release", *arguments)
    assert status == 2
    assert said in err
