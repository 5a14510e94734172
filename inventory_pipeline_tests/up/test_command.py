"""The parts of `up` that need no hub: folders, Dagster's home, the replay's progress, the voice."""

import io
import json
import re
import sys
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from inventory_pipeline.core.errors import ConfigInvalid, HubError, PortTaken
from inventory_pipeline.up.command import Wishes, up
from inventory_pipeline.up.dagster import (
    MAX_SOCKET_PATH,
    dagster_processes,
    definitions_loaded,
    prepare_dagster_home,
)
from inventory_pipeline.up.demo import Remembered, remembered, saved_environment
from inventory_pipeline.up.folders import folders_of
from inventory_pipeline.up.ownership import ProcessFile
from inventory_pipeline.up.processes import Supervisor
from inventory_pipeline.up.replay import ReplayProgress, run_replay
from inventory_pipeline.up.terminal import Terminal


@pytest.fixture
def heard():
    return io.StringIO()


@pytest.fixture
def terminal(heard):
    return Terminal(Console(file=heard, width=120))


def test_the_state_is_beside_the_hub_unless_it_is_named(tmp_path):
    assert folders_of(tmp_path, environ={}).state == tmp_path / ".state"
    assert folders_of(tmp_path, environ={"HUB_STATE": "/srv/hub"}).state == Path("/srv/hub")
    named = folders_of(tmp_path, tmp_path / "s", environ={"HUB_STATE": "/srv/hub"})
    assert named.state == tmp_path / "s"


def test_an_example_works_in_a_copy_and_any_other_hub_in_place(tmp_path):
    assert folders_of(tmp_path, environ={}).hub == tmp_path
    (tmp_path / "demo.yaml").touch()
    assert folders_of(tmp_path, environ={}).hub == tmp_path / ".state" / "hub"
    assert folders_of(tmp_path, demo=False, environ={}).hub == tmp_path


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ConfigInvalid, match="no such hub folder"):
        folders_of(tmp_path / "nowhere")


def test_dagsters_home_has_its_settings_and_names_the_shared_code_server(tmp_path):
    home = tmp_path / "dagster"
    socket = prepare_dagster_home(home)
    settings = yaml.safe_load((home / "dagster.yaml").read_text())
    assert settings["telemetry"] == {"enabled": False}
    workspace = yaml.safe_load((home / "workspace.yaml").read_text())
    assert workspace["load_from"] == [
        {"grpc_server": {"socket": str(socket), "location_name": "hub"}}
    ]


def test_a_deep_state_folder_still_gets_a_socket_that_fits(tmp_path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    socket = prepare_dagster_home(deep)
    assert len(str(socket)) <= MAX_SOCKET_PATH
    assert socket.parent.stat().st_mode & 0o077 == 0
    assert prepare_dagster_home(deep) == socket
    socket.parent.rmdir()


def test_dagster_runs_with_this_interpreter_and_on_this_machine_only(tmp_path):
    specs = dagster_processes(tmp_path, tmp_path / "code.sock", port=3999, env={})
    assert [spec.name for spec in specs] == ["dagster-code", "dagster-webserver", "dagster-daemon"]
    assert all(spec.argv[0] == sys.executable for spec in specs)
    assert list(specs[1].argv[3:7]) == ["--host", "127.0.0.1", "--port", "3999"]


def test_a_webserver_that_does_not_answer_yet_has_no_definitions():
    assert not definitions_loaded(1)


def test_progress_is_taken_from_json_lines_and_the_rest_goes_to_the_log(tmp_path):
    progress = ReplayProgress(tmp_path / "replay.log")
    progress.line('{"step": "replay", "done": 3, "total": 10}')
    progress.line("a warning")
    progress.line('{"step": "replay"}')
    assert (progress.step, progress.done, progress.total) == ("replay", 3, 10)
    assert (tmp_path / "replay.log").read_text().splitlines() == ["a warning", '{"step": "replay"}']


def test_a_replay_is_waited_for_and_its_own_summary_is_kept(tmp_path, terminal, heard):
    last = json.dumps({"step": "done", "done": 2, "total": 2, "summary": {"orders": 5}})
    code = f"print('{{\"step\": \"replay\", \"done\": 1, \"total\": 2}}'); print('''{last}''')"
    supervisor = Supervisor(
        logs=tmp_path / "logs", record=ProcessFile(tmp_path / "p.json"), say=terminal.say
    )
    found = run_replay(
        supervisor, terminal, [sys.executable, "-c", code], env={}, check=supervisor.check
    )
    supervisor.stop()
    assert found == {"orders": 5}
    assert re.search(r"replaying real baskets 2 in \d", heard.getvalue())


def test_without_a_terminal_there_are_plain_lines(terminal, heard):
    with terminal.step("Postgres"):
        pass
    terminal.table("done", [("events", "4,711")])
    terminal.addresses({"pages": "http://127.0.0.1:8400/"})
    text = heard.getvalue()
    assert "✓ Postgres" in text
    assert re.search(r"events +4,711", text)
    assert "http://127.0.0.1:8400/" in text
    assert "\x1b" not in text


def test_square_brackets_in_a_message_are_shown(terminal, heard):
    terminal.say("shop: write [SHIRT-S]: refused")
    assert "[SHIRT-S]" in heard.getvalue()


def test_a_terminal_that_is_gone_is_no_reason_to_fail(terminal, heard):
    terminal.mute()
    heard.close()
    with terminal.step("stopped"):
        terminal.say("stopping")


def wishes(folder, port=18_999, dagster_port=18_998):
    return Wishes(
        folders=folders_of(folder, folder / "state", environ={}),
        port=port,
        dagster_port=dagster_port,
        once=True,
        postgres_url="postgresql://127.0.0.1:1/hub",
    )


@pytest.fixture
def calm_signals():
    import signal

    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("which", ["port", "dagster_port"])
def test_a_taken_port_ends_the_start_before_anything_runs(
    tmp_path, terminal, heard, which, calm_signals
):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        with pytest.raises(PortTaken, match=str(taken)):
            up(wishes(tmp_path, **{which: taken}), terminal)
    assert heard.getvalue() == ""


def test_a_postgres_that_is_down_at_the_start_is_one_clear_error(tmp_path, terminal, calm_signals):
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "items.csv").write_text("sku,title,kind,decimals,tags\nA,A,simple,0,\n")
    (tmp_path / "hub.yaml").write_text(
        "hub: acme\nlocations: {dc: {}}\nsystems:\n"
        "  wms: {connector: files, options: {snapshots: 'x/*.csv'}}\n"
        "channels: {}\n"
    )
    with pytest.raises(HubError, match=r"127\.0\.0\.1:1"):
        up(wishes(tmp_path), terminal)


EXAMPLE = Path(__file__).parents[2] / "examples" / "grocer"


def test_an_example_that_was_never_started_says_how_to_start_it(tmp_path):
    with pytest.raises(HubError, match="inventory-pipeline up"):
        saved_environment(folders_of(EXAMPLE, tmp_path))


def test_an_example_that_was_started_has_its_settings_in_every_shell(tmp_path):
    folders = folders_of(EXAMPLE, tmp_path)
    folders.hub.mkdir()
    remembered(folders).set("ports", {"shop": 4001, "market": 4002})
    assert saved_environment(folders)["GROCER_SHOP_URL"] == "http://127.0.0.1:4001"


def test_what_was_remembered_stays_when_something_is_added(tmp_path):
    facts = Remembered(tmp_path / "up.json")
    facts.set("ports", {"shop": 1})
    facts.set("replayed", True)
    assert (facts.get("ports"), facts.get("replayed")) == ({"shop": 1}, True)


def test_a_broken_file_of_facts_says_what_to_do(tmp_path):
    (tmp_path / "up.json").write_text("{")
    with pytest.raises(HubError, match="delete it"):
        Remembered(tmp_path / "up.json").get("ports")
