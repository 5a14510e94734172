"""How long a fresh process takes to import the code location: what each Dagster process pays."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness.figures import Figure, at_most, side_by_side
from benchmarks.harness.process import ROOT

TIMES = 5


def run(_scratch: Path) -> Iterator[Figure]:
    _import("inventory_pipeline.definitions")  # the first one reads from the disk and compiles
    taken = side_by_side(
        TIMES,
        ours=lambda: _import("inventory_pipeline.definitions"),
        dagster=lambda: _import("dagster"),
        python=lambda: _import("sys"),
    )
    yield Figure(
        name="import_s",
        value=round(taken["ours"].median, 3),
        unit="s",
        against=(
            f"import dagster alone {taken['dagster'].median:.2f} s, "
            f"an empty Python process {taken['python'].median:.2f} s"
        ),
        note=f"a fresh process importing inventory_pipeline.definitions; {taken['ours'].spread}",
        target=at_most(2.5),
    )


def _import(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import {module}"], cwd=ROOT, check=True)
