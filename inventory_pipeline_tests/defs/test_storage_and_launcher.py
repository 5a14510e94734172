"""Where Dagster keeps its runs, and how it learns that a run's process is gone."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from click import ClickException
from dagster import DagsterInstance
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher.base import WorkerStatus

from inventory_pipeline.defs.launcher import HubRunLauncher
from inventory_pipeline.defs.storage import HubStorage

REPOSITORY = Path(__file__).resolve().parents[2]
FIRST_HUB = REPOSITORY / "examples" / "first-hub"
SETTINGS = {"should_autocreate_tables": True}


def test_without_a_url_the_message_says_what_to_do(monkeypatch):
    monkeypatch.delenv("HUB_POSTGRES_URL", raising=False)
    with pytest.raises(ClickException) as caught:
        HubStorage.from_config_value(None, SETTINGS)
    assert "HUB_POSTGRES_URL is not set" in caught.value.message
    assert 'export HUB_POSTGRES_URL="$(inventory-pipeline postgres)"' in caught.value.message


def test_a_server_that_is_down_is_named_without_its_password(monkeypatch):
    monkeypatch.setenv("HUB_POSTGRES_URL", "postgresql://hub:secret@127.0.0.1:9/hub")
    monkeypatch.setattr("dagster_postgres.utils.time.sleep", lambda _: None)  # between its attempts
    with pytest.raises(ClickException) as caught:
        HubStorage.from_config_value(None, SETTINGS)
    assert "postgresql://hub:***@127.0.0.1:9/hub does not answer" in caught.value.message
    assert "secret" not in caught.value.message


def validate(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "HUB_POSTGRES_URL"}
    return subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        cwd=REPOSITORY,
        env={
            **inherited,
            "HUB_FOLDER": str(FIRST_HUB),
            "HUB_STATE": str(tmp_path),
            "PYTHONPATH": str(REPOSITORY),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_definitions_are_valid_for_dagster(tmp_path, pg_url):
    answer = validate(tmp_path, HUB_POSTGRES_URL=pg_url)
    assert answer.returncode == 0, answer.stderr
    assert "All code locations passed validation." in answer.stderr + answer.stdout


def test_dagsters_command_line_prints_the_message_and_no_stack(tmp_path):
    answer = validate(tmp_path)
    assert answer.returncode == 1
    assert "HUB_POSTGRES_URL is not set" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.fixture
def instance(tmp_path, pg_url, monkeypatch):
    """An instance as dagster.yaml makes it, in this test's database."""
    monkeypatch.setenv("HUB_POSTGRES_URL", pg_url)
    (tmp_path / "home").mkdir()
    reference = InstanceRef.from_dir(str(tmp_path / "home"), config_dir=str(REPOSITORY))
    with DagsterInstance.from_ref(reference) as instance:
        yield instance


def test_the_settings_make_an_instance_in_postgres(instance):
    assert isinstance(instance.run_launcher, HubRunLauncher)
    assert instance.run_monitoring_enabled
    assert not instance.telemetry_enabled
    assert not instance.nux_enabled
    assert instance.get_runs() == []


@pytest.fixture
def process():
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], stdout=subprocess.DEVNULL
    )
    yield process
    process.kill()
    process.wait()


def test_a_killed_run_is_seen_by_its_process(instance, process):
    run = instance.create_run_for_job(dg.GraphDefinition(name="any").to_job())

    def health() -> WorkerStatus:
        return instance.run_launcher.check_run_worker_health(run).status

    assert health() is WorkerStatus.RUNNING  # its process has not reported yet
    instance.report_engine_event(f"Started process for run (pid: {process.pid}).", run)
    assert health() is WorkerStatus.RUNNING
    process.kill()
    process.wait()
    assert health() is WorkerStatus.FAILED


def test_another_process_with_the_same_id_is_not_the_run(instance, process, monkeypatch):
    run = instance.create_run_for_job(dg.GraphDefinition(name="any").to_job())
    instance.report_engine_event(f"Started process for run (pid: {process.pid}).", run)
    monkeypatch.setattr("psutil.Process.create_time", lambda self: 4e9)
    found = instance.run_launcher.check_run_worker_health(run)
    assert found.status is WorkerStatus.FAILED
