"""The commands about what differs, as a shell sees them."""

import json

import pytest
from typer.testing import CliRunner

from inventory_pipeline.cli import app
from inventory_pipeline_tests.flow.worlds import World


@pytest.fixture
def run(tmp_path, pg_url, monkeypatch):
    world = World(tmp_path, pg_url)
    world.open()
    world.snapshot("first", "1,A,10,0", "1,B,5,0", hours=-3)
    world.snapshot("second", "1,A,8,0", "1,B,5,0", hours=-2)
    world.close()
    monkeypatch.setenv("HUB_POSTGRES_URL", pg_url)
    monkeypatch.setenv("HUB_STATE", str(world.state))

    def run(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        return result.exit_code, result.stdout, result

    run.hub = world.folder
    return run


def test_what_differs_is_said_listed_and_put_right_by_a_person(run):
    status, out, _ = run("reconcile", run.hub)
    assert status == 1
    assert "ledger: 4 cells compared, 1 differ" in out
    assert "web: not compared" in out
    status, out, _ = run("variances", run.hub, "--json")
    assert status == 1
    [row] = json.loads(out)["variances"]
    assert (row["sku"], row["difference_milli"], row["system"]) == ("A", -2000, "wms")
    status, out, _ = run("variances", run.hub)
    assert status == 1
    assert "wms/dc/on_hand" in out
    decision = ("rebaseline", "A", run.hub, "--location", "dc", "--units=1", "--reason", "found")
    status, out, _ = run(*decision, "--by", "ada")
    assert (status, "+1 units" in out) == (0, True)


def test_nothing_of_a_cause_ends_with_nothing(run):
    status, out, _ = run("variances", run.hub, "--cause", "rounding")
    assert (status, "nothing differs" in out) == (0, True)


def test_a_cause_that_does_not_exist_names_those_that_do(run):
    status, _, result = run("variances", run.hub, "--cause", "rouding")
    assert status != 0
    assert "rounding" in result.exception.hint
