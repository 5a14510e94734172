"""`inventory-pipeline guard`, `dead`, `mode` and `activate`: what they say, ask, record and do."""

import io
import json
import sys

import pytest

from inventory_pipeline import cli
from inventory_pipeline.memory import audit, guard
from inventory_pipeline_tests.flow.guarded import CHANNEL, Guarded
from inventory_pipeline_tests.flow.worlds import World


@pytest.fixture
def world(tmp_path, pg_url):
    made = World(tmp_path, pg_url)
    made.open()
    made.close()
    return made


@pytest.fixture
def run(world, monkeypatch, capsys):
    """Runs a command on the world's hub in this process; returns its status, stdout, stderr."""
    monkeypatch.setenv("HUB_POSTGRES_URL", world.url)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("USER", "rosa")

    def call(command: str, *arguments: object) -> tuple[int, str, str]:
        words = [*command.split(), world.folder, *arguments, "--state", world.state]
        monkeypatch.setattr(sys, "argv", ["inventory-pipeline", *(str(word) for word in words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture
def held(pg, tmp_path, world):
    """Thirty of forty listings are held."""
    hub = Guarded(pg, tmp_path, 40)
    hub.shows(**hub.every(40))
    hub.imported()
    hub.want(**hub.every(0, 30))
    hub.push()
    return hub


def acts(pg, action):
    with pg.connection() as connection:
        return audit.recent(connection, action=action)


@pytest.mark.parametrize(
    "command",
    ["guard list", "guard show", "guard release", "guard reject", "dead list", "dead retry",
     "dead drop", "mode", "activate"],
)  # fmt: skip
def test_every_command_teaches_with_an_example(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert "Example" in out


def test_the_list_says_how_many_and_what(run, held):
    status, out, _ = run("guard list")
    assert status == 0
    assert "web: 30 listings held since" in out
    assert "S29" in out
    status, out, _ = run("guard list", "--json", "--sku", "S0")
    told = json.loads(out)
    assert told["channels"]["web"]["held"] == 30
    [row] = told["rows"]
    assert (row["sku"], row["from"], row["desired"]) == ("S0", "40", "0")


def test_nothing_held_is_said(run):
    assert run("guard list")[1] == "the guard holds nothing\n"


def test_a_release_is_recorded_with_the_account_and_the_reason(run, held, pg):
    status, out, _ = run("guard release", "--sku", "S0", "--reason", "sold out")
    assert (status, out) == (0, "1 listing released\n")
    [act] = acts(pg, "guard.release")
    assert (act.by, act.detail["reason"]) == ("rosa", "sold out")
    assert [row[1] for row in act.detail["rows"]] == ["S0"]
    assert len(held.held()) == 29
    assert "S0 at web/main (S0): released" in run("guard show", "--sku", "S0")[1]


def test_many_are_decided_about_only_when_somebody_says_yes(run, held, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    status, _, err = run("guard reject", "--all")
    assert status == 1
    assert "Reject 30 listings?" in err
    assert len(held.held()) == 30
    status, out, _ = run("guard reject", "--all", "--channel", "web", "--yes", "--by", "ops")
    assert (status, out) == (0, "30 listings rejected\n")
    assert held.held() == []


def test_a_decision_about_nothing_ends_with_one(run, held):
    assert run("guard release", "--sku", "NO")[0] == 1
    status, _, err = run("guard release")
    assert status == 2
    assert "--all" in err
    assert "one of: web" in run("guard list", "--channel", "wob")[2]


def test_a_show_says_why(run, held):
    status, out, _ = run("guard show", "--sku", "S1")
    assert status == 0
    for said in ("showed    40", "would get 0", "30 of 40 listings would go to zero"):
        assert said in out


def test_dead_listings_are_listed_tried_again_and_dropped(run, held, pg):
    with pg.connection() as connection:
        connection.execute(
            "UPDATE hub.outbox SET dead_at = now(), failure = 'no such variant', attempts = 8"
            " WHERE sku IN ('S38', 'S39')"
        )
    status, out, _ = run("dead list")
    assert status == 0
    assert "2 listings in the dead letter" in out
    assert "no such variant" in out
    assert run("dead retry", "--sku", "S38")[1] == "1 listing tried again\n"
    assert run("dead drop", "--all")[1] == "1 listing dropped\n"
    assert run("dead list")[1] == "nothing is dead\n"
    assert run("dead drop", "--all")[0] == 1
    assert [act.action for act in acts(pg, "dead.")] == ["dead.drop", "dead.retry"]
    assert acts(pg, "dead.")[1].detail["rows"][0][1:] == ["S38", "S38", 40_000, "no such variant"]


def test_modes_are_listed_lowered_and_lifted(run, pg):
    assert run("mode")[1].split() == ["web", "shadow"]
    status, out, _ = run("mode", "web", "off", "--reason", "wrong prices")
    assert status == 0
    assert "off     hub.yaml says shadow; set to off by rosa" in out
    assert "wrong prices" in out
    told = json.loads(run("mode", "--json")[1])["channels"]
    assert [(row["mode"], row["hub.yaml"], row["set"]) for row in told] == [
        ("off", "shadow", "off")
    ]
    assert run("mode", "web", "shadow")[1].split() == ["web", "shadow"]
    assert [act.action for act in acts(pg, "mode.")] == ["mode.lift", "mode.set"]


def test_a_mode_above_hub_yaml_is_refused_with_what_to_do(run):
    status, _, err = run("mode", "web", "live")
    assert status == 2
    assert "inventory-pipeline activate" in err
    assert "there is no mode 'liv'" in run("mode", "web", "liv")[2]
    assert "no channel 'wob'" in run("mode", "wob")[2]


def test_a_kill_switch_needs_no_secret(run, world, monkeypatch):
    text = (world.folder / "hub.yaml").read_text()
    more = "  erp: {connector: shopify, options: {store: a, access_token: {env: A_TOKEN}}}\n"
    (world.folder / "hub.yaml").write_text(text.replace("channels:\n", more + "channels:\n"))
    monkeypatch.setenv("A_TOKEN", "s3cret")
    assert run("activate")[0] == 0
    monkeypatch.delenv("A_TOKEN")
    assert run("mode", "web", "off")[0] == 0


def test_an_activation_says_what_changes_and_a_dry_run_leaves_it(run, world, pg):
    world.items("A", "B", "C", "D")
    text = (world.folder / "hub.yaml").read_text()
    rules = "rules: [{id: c1, kind: cap, units: 3}]\n"
    (world.folder / "hub.yaml").write_text(text.replace("mode: shadow", "mode: off") + rules)
    status, out, _ = run("activate", "--dry-run")
    assert status == 0
    for said in ("mode       web: shadow → off", "rule       c1: new", "items: 1 rows new"):
        assert said in out
    assert "nothing was changed" in out
    assert "active: rules version 2, catalogue version 2" in run("activate")[1]
    assert "count already" in run("activate")[1]
    [act] = acts(pg, "policy.activate")
    assert act.by == "rosa"


def test_a_mistake_is_said_and_nothing_is_activated(run, world):
    text = (world.folder / "hub.yaml").read_text()
    (world.folder / "hub.yaml").write_text(text.replace("mode: shadow", "mode: shade"))
    status, _, err = run("activate")
    assert status == 2
    assert "hub.yaml:" in err
    (world.folder / "hub.yaml").write_text(text)
    assert "count already" in run("activate")[1]


def test_what_is_released_is_what_is_listed(held, pg):
    """The pages use the same functions, by place."""
    with pg.connection() as connection:
        rows = guard.held_rows(connection, CHANNEL, limit=5)
        places = [(row.channel, row.bucket, row.external_id) for row in rows]
        assert guard.release(connection, places, by="a", reason="b", at=held.clock()) == 5
        assert guard.release(connection, places, by="a", reason="b", at=held.clock()) == 0
