"""Starts runs as Dagster does, and can tell whether a run's process still lives."""

import re
from collections.abc import Mapping
from typing import Any, Self

import psutil
from dagster import DagsterEventType, DagsterInstance, DagsterRun, DefaultRunLauncher
from dagster._config import UserConfigSchema
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._serdes import ConfigurableClassData

# Processes and stored events read two clocks; a process that began this much later is another one.
CLOCK_SLACK_S = 2.0
_STARTED = re.compile(r"Started process for run \(pid: (\d+)\)")


class HubRunLauncher(DefaultRunLauncher):
    """Runs are processes of this machine, so a killed one can be seen by its process id.

    Dagster's own launcher hears of a dead run only from the code server that started it; if that
    is gone too, the run would count as running for ever and nothing would take its place.
    """

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> Self:
        del config_value
        return cls(inst_data=inst_data)

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        started = _process(self._instance, run.run_id)
        if started is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "its process has not reported yet")
        pid, at = started
        if _lives(pid, at):
            return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=str(pid))
        return CheckRunHealthResult(
            WorkerStatus.FAILED, f"its process {pid} is gone", run_worker_id=str(pid)
        )


def _process(instance: DagsterInstance, run_id: str) -> tuple[int, float] | None:
    """Process id of a run and when it said so, in seconds since 1970."""
    for event in instance.all_logs(run_id, of_type=DagsterEventType.ENGINE_EVENT):
        found = _STARTED.search(event.user_message or event.message or "")
        if found:
            return int(found.group(1)), event.timestamp
    return None


def _lives(pid: int, seen_at: float) -> bool:
    """Whether the process `pid` is the one that was alive at `seen_at`: ids are used again."""
    try:
        process = psutil.Process(pid)
        return (
            process.status() != psutil.STATUS_ZOMBIE
            and process.create_time() <= seen_at + CLOCK_SLACK_S
        )
    except psutil.NoSuchProcess:
        return False
