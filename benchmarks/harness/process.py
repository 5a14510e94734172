"""Functions in processes of their own: nothing is warm, and peak memory is theirs alone."""

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 600.0
GRACE_S = 60.0
KIB_PER_MIB = 1024


class ProcessFailed(RuntimeError):
    """A benchmark's process did not end well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a function gave, with the peak of its process (resident) and its wall time."""

    value: Any
    peak_rss_mib: float
    seconds: float


def in_own_process(function: str, *arguments: Any, limit_s: float = LIMIT_S) -> Outcome:
    """Calls "module:function" with JSON arguments in a fresh process; its value must be JSON too.

    Seconds count the call alone, without the start and the imports of the function's module.
    Raises ProcessFailed, with the end of what it said.
    """
    with tempfile.NamedTemporaryFile(suffix=".json") as answer:
        command = [sys.executable, "-m", __name__, answer.name, function, json.dumps(arguments)]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            _, said = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired as error:
            _end(process)
            raise ProcessFailed(f"{function} took longer than {limit_s:.0f} s") from error
        if process.returncode != 0:
            last = "\n".join(said.splitlines()[-12:])
            raise ProcessFailed(f"{function} ended with {process.returncode}:\n{last}")
        return Outcome(**json.loads(Path(answer.name).read_text(encoding="utf-8")))


def _end(process: subprocess.Popen[str]) -> None:
    """Lets it stop its servers and remove its files first."""
    process.terminate()
    try:
        process.communicate(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def peak_rss_mib() -> float:
    """The most memory that this process had resident so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB


def _main(answer: str, function: str, arguments: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    module, name = function.split(":")
    call = getattr(importlib.import_module(module), name)
    begin = time.perf_counter()
    value = call(*json.loads(arguments))
    seconds = time.perf_counter() - begin
    found = {"value": value, "peak_rss_mib": peak_rss_mib(), "seconds": seconds}
    Path(answer).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    _main(*sys.argv[1:])
