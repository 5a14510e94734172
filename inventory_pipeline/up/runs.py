"""Lets Dagster's runs come to their end before anything that they need is stopped."""

import time
from collections.abc import Callable
from pathlib import Path

import psutil

from inventory_pipeline.core.errors import PostgresUnavailable
from inventory_pipeline.memory import sync
from inventory_pipeline.memory.postgres import Postgres
from inventory_pipeline.up.ownership import supervised

PATIENCE_S = 15.0
LOOK_EVERY_S = 0.2
# Dagster's code server starts each run as a spawned process of Python's own.
RUN_WORKER = "multiprocessing.spawn"


def end_runs(state: Path, url: str, *, hurry: Callable[[], bool]) -> None:
    """Asks the drain to end and waits for every run worker of this hub, PATIENCE_S at most.

    What still runs then is ended with the rest: it loses nothing either, but shows as failed.
    """
    postgres = Postgres(url, patience_s=1.0)
    try:
        sync.end_drain(postgres, patience_s=PATIENCE_S / 2)
    except PostgresUnavailable:
        return  # its runs ended with it
    finally:
        postgres.close()
    until = time.monotonic() + PATIENCE_S
    while _workers(state) and time.monotonic() < until and not hurry():
        time.sleep(LOOK_EVERY_S)


def _workers(state: Path) -> list[psutil.Process]:
    found = []
    for process in supervised(state):
        try:
            if any(RUN_WORKER in word for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue  # it has just ended
    return found
