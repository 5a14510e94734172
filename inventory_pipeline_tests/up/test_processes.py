"""The supervisor with tiny real processes."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from inventory_pipeline.up import processes
from inventory_pipeline.up.ownership import (
    MARKER,
    AlreadyRunning,
    ProcessFile,
    end_leftovers,
    only_one,
)
from inventory_pipeline.up.processes import ChildSpec, ProcessFailed, Supervisor, last_lines

SLEEPS = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


def until(condition, seconds=15.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def said():
    return []


@pytest.fixture
def record(tmp_path):
    return ProcessFile(tmp_path / "processes.json")


@pytest.fixture
def supervisor(tmp_path, record, said, monkeypatch):
    monkeypatch.setattr(processes, "LOOK_EVERY_S", 0.02)
    supervisor = Supervisor(logs=tmp_path / "logs", record=record, say=said.append)
    yield supervisor
    supervisor.stop()


def spec(name, argv=SLEEPS, **more):
    return ChildSpec(name=name, argv=argv, env={**os.environ, **more.pop("env", {})}, **more)


def test_a_killed_child_is_started_again_and_that_is_said(supervisor, said):
    supervisor.start(spec("shop"))
    first = supervisor.pid("shop")
    os.kill(first, signal.SIGKILL)
    until(lambda: supervisor.pid("shop") != first)
    assert psutil.pid_exists(supervisor.pid("shop"))
    assert said == ["shop was killed by signal 9; starting it again"]


def test_a_child_that_keeps_dying_ends_the_hub_with_its_last_words(supervisor, monkeypatch):
    monkeypatch.setattr(processes, "MAX_PAUSE_S", 0.05)
    supervisor.start(spec("shop", [sys.executable, "-c", "raise SystemExit('no such catalogue')"]))

    def check_for_long():
        for _ in range(500):
            supervisor.check()
            time.sleep(0.02)

    with pytest.raises(ProcessFailed, match="no such catalogue") as caught:
        check_for_long()
    assert "shop.log" in str(caught.value)


def test_while_something_else_is_down_deaths_are_not_counted(tmp_path, record, said, monkeypatch):
    monkeypatch.setattr(processes, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(processes, "MAX_PAUSE_S", 0.01)
    down = [True]
    supervisor = Supervisor(
        logs=tmp_path / "logs", record=record, say=said.append, blocked=lambda: down[0]
    )
    supervisor.start(spec("daemon", [sys.executable, "-c", "raise SystemExit(1)"]))
    until(lambda: said)
    time.sleep(0.3)
    supervisor.check()
    assert supervisor.restarts == 0
    down[0] = False
    until(lambda: supervisor.restarts > 0)
    supervisor.stop()


def test_ready_is_waited_for(supervisor, tmp_path):
    flag = tmp_path / "ready"
    code = (
        f"import time, pathlib; time.sleep(.3); pathlib.Path({str(flag)!r}).touch(); time.sleep(60)"
    )
    supervisor.start(spec("shop", [sys.executable, "-c", code], ready=flag.exists))
    supervisor.wait_ready("shop")
    assert flag.exists()


def test_one_that_never_answers_is_named_with_the_end_of_its_log(supervisor):
    talks = [
        sys.executable,
        "-c",
        "import time; print('waiting for a port', flush=True); time.sleep(60)",
    ]
    supervisor.start(spec("shop", talks, ready=lambda: False, ready_timeout_s=0.8))
    with pytest.raises(ProcessFailed, match=r"shop was started and does not answer") as caught:
        supervisor.wait_ready("shop")
    assert "waiting for a port" in str(caught.value)


def test_a_program_that_does_not_exist_is_a_clear_message(supervisor):
    with pytest.raises(ProcessFailed, match="cannot be started"):
        supervisor.start(spec("shop", ["/no/such/program"]))


def test_stopping_ends_children_and_what_they_started(supervisor, tmp_path):
    pids = tmp_path / "pids"
    code = (
        "import subprocess, sys, time, pathlib\n"
        "inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(pids)!r}).write_text(str(inner.pid))\n"
        "time.sleep(600)\n"
    )
    supervisor.start(spec("shop", [sys.executable, "-c", code]))
    until(lambda: pids.exists() and pids.read_text())
    outer, inner = supervisor.pid("shop"), int(pids.read_text())
    supervisor.stop()
    assert not psutil.pid_exists(outer)
    until(lambda: not _lives(inner))


def test_one_that_ignores_sigterm_is_killed_after_its_grace(supervisor, tmp_path):
    flag = tmp_path / "deaf"
    code = (
        "import signal, time, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"pathlib.Path({str(flag)!r}).touch(); time.sleep(600)"
    )
    supervisor.start(spec("shop", [sys.executable, "-c", code], grace_s=0.3))
    until(flag.exists)
    pid = supervisor.pid("shop")
    supervisor.stop()
    assert not _lives(pid)


def test_higher_waves_stop_first(supervisor, tmp_path):
    log = tmp_path / "order"
    code = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        f"    open({str(log)!r}, 'a').write(sys.argv[1] + ' '); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True); time.sleep(600)\n"
    )
    for name, wave in (("late", 0), ("early", 1)):
        supervisor.start(spec(name, [sys.executable, "-c", code, name], wave=wave))
        until(lambda name=name: supervisor.log_path(name).read_text())
    supervisor.stop()
    assert log.read_text().split() == ["early", "late"]


def test_a_terminals_ctrl_c_does_not_reach_the_children(supervisor):
    supervisor.start(spec("shop"))
    assert os.getsid(supervisor.pid("shop")) != os.getsid(0)


def test_lines_of_a_process_with_an_end_are_read_to_the_last(supervisor):
    lines: list[str] = []
    code = "[print(n, flush=True) for n in range(50)]"
    supervisor.start(spec("replay", [sys.executable, "-c", code], lines=lines.append, ends=True))
    until(lambda: supervisor.done("replay") and len(lines) == 50)
    assert lines[-1] == "49"


def test_a_replay_that_is_killed_goes_on(supervisor, tmp_path):
    flag = tmp_path / "first"
    code = (
        f"import pathlib, time; f = pathlib.Path({str(flag)!r})\n"
        "if f.exists(): raise SystemExit(0)\n"
        "f.touch(); time.sleep(600)\n"
    )
    supervisor.start(spec("replay", [sys.executable, "-c", code], ends=True))
    until(flag.exists)
    os.kill(supervisor.pid("replay"), signal.SIGKILL)
    until(lambda: supervisor.done("replay"))


def test_leftovers_of_a_killed_start_are_ended(tmp_path, record, said):
    child = subprocess.Popen(SLEEPS, start_new_session=True, stdout=subprocess.DEVNULL)
    record.add("shop", child.pid)
    again = ProcessFile(tmp_path / "processes.json")
    assert end_leftovers(tmp_path, again.recorded(), said.append) == 1
    until(lambda: not _lives(child.pid))
    child.wait(5)
    assert "left behind (shop)" in said[0]


def test_what_a_leftover_started_is_known_by_its_environment(tmp_path):
    child = subprocess.Popen(
        SLEEPS, start_new_session=True, stdout=subprocess.DEVNULL,
        env={**os.environ, MARKER: str(tmp_path)},
    )  # fmt: skip
    until(lambda: psutil.Process(child.pid).environ().get(MARKER))
    assert end_leftovers(tmp_path, []) == 1
    child.wait(5)


def test_a_process_that_only_has_the_same_id_is_left_alone(tmp_path, record):
    stranger = subprocess.Popen(SLEEPS, start_new_session=True, stdout=subprocess.DEVNULL)
    record.add("shop", stranger.pid)
    path = tmp_path / "processes.json"
    entries = json.loads(path.read_text())
    entries[0]["create_time"] -= 100
    path.write_text(json.dumps(entries))
    assert end_leftovers(tmp_path, record.recorded()) == 0
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_another_hubs_processes_are_left_alone(tmp_path):
    other = subprocess.Popen(
        SLEEPS, start_new_session=True, stdout=subprocess.DEVNULL,
        env={**os.environ, MARKER: str(tmp_path / "other")},
    )  # fmt: skip
    until(lambda: psutil.Process(other.pid).environ().get(MARKER))
    assert end_leftovers(tmp_path, []) == 0
    assert other.poll() is None
    other.kill()
    other.wait()


@pytest.mark.parametrize("text", ["", "not json", "[1]", '[{"name": "x"}]'])
def test_an_unreadable_process_file_means_no_leftovers(tmp_path, text):
    (tmp_path / "processes.json").write_text(text)
    assert ProcessFile(tmp_path / "processes.json").recorded() == []


def test_a_second_start_on_one_state_folder_is_a_clear_error(tmp_path):
    code = (
        "import sys, time, pathlib\n"
        "from inventory_pipeline.up.ownership import only_one\n"
        "with only_one(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True); time.sleep(600)\n"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert first.stdout.readline() == "held\n"
    with pytest.raises(AlreadyRunning, match=str(first.pid)), only_one(tmp_path):
        pass
    first.kill()
    first.wait()
    first.stdout.close()
    with only_one(tmp_path):
        pass  # given back although the first one was killed


def test_a_logs_end_is_shown_without_colours(tmp_path):
    log = tmp_path / "x.log"
    log.write_text("one\n\x1b[32mtwo\x1b[0m\n")
    assert last_lines(log) == "  | one\n  | two"


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
