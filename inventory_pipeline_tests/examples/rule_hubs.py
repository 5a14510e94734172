"""The example hubs under examples/rules, the tables they expect, and the tables of their pages."""

import csv
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

from inventory_pipeline.config.rule_schema import RULE_KINDS
from inventory_pipeline.core.quantities import from_milli
from inventory_pipeline.flow.evaluate import Evaluation, evaluate

REPOSITORY = Path(__file__).parents[2]
RULES = REPOSITORY / "examples" / "rules"
HEADER = ["channel", "bucket", "sku", "available"]

Table = dict[tuple[str, str, str], str]  # (channel, bucket, sku) → available
Line = dict[str, str]  # column → cell


def folders() -> list[Path]:
    return sorted(path for path in RULES.iterdir() if path.is_dir())


def moments(folder: Path) -> list[str]:
    """The moments that the folder has a table for: the names of the files in expected/."""
    return sorted(path.stem for path in (folder / "expected").glob("*.csv"))


def expected_rows(folder: Path, moment: str) -> list[list[str]]:
    """The header and the rows, in the file's order."""
    with (folder / "expected" / f"{moment}.csv").open(newline="") as file:
        return list(csv.reader(file))


def expected(folder: Path, moment: str) -> Table:
    return {(c, b, s): available for c, b, s, available in expected_rows(folder, moment)[1:]}


def kind_of(folder: Path) -> str:
    """The rule kind that the example is about; "" where it is about none."""
    if folder.name in RULE_KINDS:
        return folder.name
    return "buffer" if folder.name in ("auto_buffer", "which_rule_wins") else ""


def rules_of(folder: Path) -> list[dict[str, object]]:
    return list(yaml.safe_load((folder / "hub.yaml").read_text(encoding="utf-8"))["rules"])


@cache
def evaluated(folder: Path, moment: str) -> Evaluation:
    """Computed once for all tests that look at it."""
    return evaluate(folder, as_of=moment)


def shown(folder: Path, moment: str) -> list[list[str]]:
    """What `evaluate --format csv` prints, as rows."""
    rows = evaluated(folder, moment).rows
    cells = [
        [r["channel"], r["bucket"], r["sku"], str(from_milli(r["desired_milli"]))] for r in rows
    ]
    return [HEADER, *cells]


@cache
def without_kind(folder: Path, moment: str, scratch: Path) -> Table:
    """The same hub at the same moment, without the rules that the example is about."""
    copy = scratch / folder.name
    if not copy.exists():
        shutil.copytree(folder, copy)
        policy = yaml.safe_load((copy / "hub.yaml").read_text(encoding="utf-8"))
        policy["rules"] = [rule for rule in policy["rules"] if rule["kind"] != kind_of(folder)]
        (copy / "hub.yaml").write_text(yaml.safe_dump(policy), encoding="utf-8")
    return {(c, b, s): available for c, b, s, available in shown(copy, moment)[1:]}


def key(line: Line) -> tuple[str, str, str]:
    """`web` in a page means its bucket main, `web/outlet` the other one."""
    channel, _, bucket = line["channel"].partition("/")
    return channel, bucket or "main", line["item"]


def sections(page: str, marks: str) -> dict[str, str]:
    """Heading of that level → the text below it, up to the next heading of the level."""
    parts = re.split(rf"^{marks} (.+)$", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def lines(text: str) -> Iterator[Line]:
    """The rows of the Markdown tables that have a column `channel`."""
    header: list[str] = []
    for one in text.splitlines():
        cells = [cell.strip() for cell in one.strip().strip("|").split("|")]
        if not one.startswith("|"):
            header = []
        elif not header:
            header = cells
        elif "channel" in header and not set(cells[0]) <= set("-:"):
            yield dict(zip(header, cells, strict=True))
