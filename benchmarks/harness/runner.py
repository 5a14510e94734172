"""Runs benchmarks, each in a process of its own, and writes down what they say."""

import importlib
import json
import pkgutil
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.harness.figures import Figure, Target
from benchmarks.harness.machine import facts, load
from benchmarks.harness.process import ROOT, ProcessFailed, in_own_process

RESULTS = ROOT / "build" / "bench.json"
BUDGET_S = 1800.0
SCRATCH = "inventory-bench-"  # short: a Postgres socket's path has to fit


def benchmarks() -> list[str]:
    """Names of the modules in `benchmarks/` itself; what begins with _ is none."""
    found = pkgutil.iter_modules([str(ROOT / "benchmarks")])
    return sorted(one.name for one in found if not one.ispkg and not one.name.startswith("_"))


def run(names: list[str]) -> tuple[list[Figure], dict[str, str]]:
    """Figures in the order of the names, and what was wrong with benchmarks that failed."""
    figures: list[Figure] = []
    failed: dict[str, str] = {}
    begin = time.monotonic()
    for name in names:
        left_s = BUDGET_S - (time.monotonic() - begin)
        print(f"{name} ...", flush=True)
        if left_s <= 0:
            failed[name] = f"no time was left: all together may take {BUDGET_S:.0f} s"
            continue
        try:
            outcome = in_own_process("benchmarks.harness.runner:collect", name, limit_s=left_s)
        except ProcessFailed as error:
            failed[name] = str(error)
            print(f"  failed: {error}", flush=True)
            continue
        figures += [_figure(one) for one in outcome.value]
        print(f"  {outcome.seconds:.0f} s", flush=True)
    return figures, failed


def collect(name: str) -> list[dict[str, Any]]:
    """Runs one benchmark here, in a folder that is gone afterwards."""
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH))
    try:
        module = importlib.import_module(f"benchmarks.{name}")
        return [asdict(figure) for figure in module.run(scratch)]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write(figures: list[Figure], path: Path = RESULTS) -> None:
    """Replaces the figures of these names in the file; others stay as they were measured."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    new = {figure.name: _line(figure) for figure in figures}
    lines = [new.pop(line["name"], line) for line in kept]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps([*lines, *new.values()], indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _line(figure: Figure) -> dict[str, Any]:
    target = f"target {figure.target} {figure.unit}, {figure.verdict}; " if figure.target else ""
    return {
        "name": figure.name,
        "value": figure.value,
        "unit": figure.unit,
        "against": figure.against,
        "note": f"{target}{figure.note}; {load()}; {facts()}",
    }


def table(figures: list[Figure]) -> str:
    """One line a figure: its value, its target, whether it is met, and what it stands beside."""
    rows = [
        (
            figure.name,
            f"{figure.value:,.4g}" if abs(figure.value) < 1000 else f"{figure.value:,.0f}",
            figure.unit,
            str(figure.target or ""),
            figure.verdict,
            figure.against,
        )
        for figure in figures
    ]
    rows.insert(0, ("figure", "value", "unit", "target", "", "against (same run)"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}} {row[2]:<{widths[2]}}  "
        f"{row[3]:>{widths[3]}}  {row[4]:<{widths[4]}}  {row[5]}".rstrip()
        for row in rows
    )


def _figure(found: dict[str, Any]) -> Figure:
    target = found.pop("target")
    return Figure(**found, target=Target(**target) if target else None)
