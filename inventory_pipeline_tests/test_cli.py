"""The command line: what it prints, where, and with which status it ends."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inventory_pipeline import cli
from inventory_pipeline.memory.postgres import migrate

HUB = """\
hub: acme
locations:
  dc: {kind: warehouse}
systems:
  wms:
    connector: files
    options: {snapshots: "landing/*.csv", events: "landing/*.jsonl"}
    owns: [{states: [on_hand, damaged, quality_control, incoming], locations: [dc]}]
    poll: 1s
channels:
  web: {system: wms, mode: shadow, buckets: [{id: main, locations: [dc]}]}
"""
ITEMS = "sku,title,kind,decimals,tags\nMUG,Mug,simple,0,\n"


@pytest.fixture
def hub(tmp_path):
    folder = tmp_path / "hub"
    (folder / "catalog").mkdir(parents=True)
    (folder / "hub.yaml").write_text(HUB)
    (folder / "catalog" / "items.csv").write_text(ITEMS)
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a command in this process; returns its status, stdout and stderr."""
    for name in ("HUB_FOLDER", "HUB_STATE", "HUB_POSTGRES_URL", "HUB_PORT", "HUB_DAGSTER_PORT"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["inventory-pipeline", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture
def remembered(run, monkeypatch, pg_url):
    monkeypatch.setenv("HUB_POSTGRES_URL", pg_url)
    return run


COMMANDS = (
    "up", "check", "evaluate", "schema", "rebuild", "reconcile", "status", "serve", "poll",
    "postgres", "why", "quarantine", "quarantine list", "quarantine show", "quarantine release",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_with_an_example(run, command):
    status, out, _ = run(*command.split(), "--help")
    assert status == 0
    assert any(word in out for word in ("Example:", "Examples:", "Start with:"))


def test_help_imports_nothing_heavy():
    code = (
        "import sys, inventory_pipeline.cli;"
        "heavy = ('pandas', 'duckdb', 'dagster', 'psycopg', 'fastapi');"
        "print([m for m in heavy if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


def test_a_good_hub_passes_its_check(run, hub):
    status, out, _ = run("check", hub)
    assert status == 0
    assert "acme: 1 system, 1 channel, 0 rules, 1 item. It can be used." in out


def test_a_glob_that_finds_nothing_is_a_warning_with_the_place_that_was_looked_at(run, hub):
    (hub / "landing").mkdir()
    (hub / "landing" / "stock.csv").write_text("as_of,location,item,on_hand\n")
    status, out, _ = run("check", hub)
    assert status == 0
    [warning] = [line for line in out.splitlines() if line.startswith("warning")]
    assert warning == (
        f"warning: hub.yaml: systems.wms.options.events: no file matches 'landing/*.jsonl' in {hub}"
    )
    (hub / "landing" / "orders.jsonl").write_text("")
    assert "warning" not in run("check", hub)[1]


def test_an_example_that_was_not_started_yet_is_not_blamed_for_files_that_it_will_bring(run):
    status, out, _ = run("check", Path(__file__).parents[1] / "examples" / "grocer")
    assert (status, "warning" in out) == (0, False)


def test_everything_wrong_with_a_hub_is_said_at_once_with_file_and_line(run, hub):
    bad = HUB.replace("poll: 1s", "pol: 1s").replace("mode: shadow", "mode: shaddow")
    (hub / "hub.yaml").write_text(bad)
    status, out, _ = run("check", hub)
    assert status == 2
    assert "hub.yaml:9" in out
    assert "hub.yaml:11" in out


def test_findings_can_be_read_by_scripts(run, hub):
    (hub / "hub.yaml").write_text(HUB.replace("poll: 1s", "pol: 1s"))
    status, out, _ = run("check", hub, "--json")
    found = json.loads(out)
    assert (status, found["usable"]) == (2, False)
    assert found["findings"][0]["line"] == 9


@pytest.mark.parametrize("command", ["check", "up", "rebuild"])
def test_a_folder_that_is_not_there_is_one_clear_message(run, tmp_path, command):
    status, out, err = run(command, tmp_path / "nowhere")
    assert status == 2
    assert "there is no such hub folder" in err
    assert "Traceback" not in err + out


def test_a_broken_hub_is_refused_with_its_findings_and_without_a_stack(remembered, hub):
    (hub / "hub.yaml").write_text(
        HUB.replace("locations: [dc]}]\n    poll", "locations: [cd]}]\n    poll")
    )
    status, _, err = remembered("status", hub)
    assert status == 3
    assert "hub.yaml:8" in err
    assert "What to do:" in err
    assert "Traceback" not in err


def test_a_postgres_that_is_down_is_one_clear_message_without_its_password(run, hub, monkeypatch):
    monkeypatch.setenv("HUB_POSTGRES_URL", "postgresql://hub:s3cret@127.0.0.1:1/hub")
    status, _, err = run("status", hub)
    assert status == 3
    assert "127.0.0.1:1" in err
    assert "HUB_POSTGRES_URL" in err
    assert "s3cret" not in err
    assert "Traceback" not in err


def test_the_schema_is_json(run):
    status, out, _ = run("schema")
    assert status == 0
    assert "channels" in json.loads(out)["properties"]


def test_status_of_a_new_hub_tells_that_it_is_behind(remembered, hub):
    status, out, _ = remembered("status", hub, "--json")
    told = json.loads(out)
    assert [c["channel"] for c in told["channels"]] == ["web"]
    # The catalogue and the policy took offsets that nothing has computed yet.
    assert (told["behind"], told["ledger_offset"]) == (2, 2)
    # And the warehouse, which owns the stock, was not heard yet: that is worth a warning.
    assert (status, {one["check"] for one in told["concerns"]}) == (
        1,
        {"owners_were_heard", "freshness"},
    )


def test_after_a_rebuild_and_without_listings_to_push_a_hub_is_up_to_date(remembered, hub):
    status, out, _ = remembered("rebuild", hub, "--json")
    assert status == 0
    assert json.loads(out)["ledger_offset"] == 2
    _, out, _ = remembered("status", hub)
    assert "up to date" in out
    assert "web" in out


def test_an_unknown_channel_names_the_known_ones(remembered, hub):
    status, _, err = remembered("reconcile", hub, "--channel", "wbe")
    assert status == 2
    assert "one of: web" in err


def test_a_channel_that_cannot_be_asked_says_so(remembered, hub):
    status, out, _ = remembered("reconcile", hub)
    assert status == 0
    assert "not compared" in out


def test_a_taken_port_is_one_clear_message(remembered, hub):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, err = remembered("serve", hub, "--port", port)
    assert status == 2
    assert f"port {port}" in err
    assert "--port PORT" in err


def test_the_embedded_server_gives_its_address_and_ends_when_told(run, hub, monkeypatch):
    import psycopg

    status, out, _ = run("postgres", hub)
    try:
        with psycopg.connect(out.strip()) as connection:
            found = connection.execute("SELECT ledger_offset FROM hub.counter").fetchone()
        assert (status, found) == (0, (0,))
    finally:
        run("postgres", hub, "--stop")
    assert not (hub / ".state" / "postgres" / "postmaster.pid").exists()


def test_serving_answers_and_ends_at_sigterm(hub, pg_url):
    import signal
    import socket

    import httpx

    migrate(pg_url)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "inventory_pipeline", "serve", str(hub), "--port", str(port)],
        env={**os.environ, "HUB_POSTGRES_URL": pg_url},
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 30
    while True:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/v1/health")
            break
        except httpx.HTTPError:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end, "it does not answer"
            time.sleep(0.1)
    assert answer.json()["status"] == "ok"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "Traceback" not in err
