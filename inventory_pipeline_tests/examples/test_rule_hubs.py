"""Every example of a rule gives the table that was computed by hand beside it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inventory_pipeline.config.load import check_hub
from inventory_pipeline.config.rule_schema import RULE_KINDS
from inventory_pipeline.flow.connecting import connector_findings
from inventory_pipeline_tests.examples.rule_hubs import (
    HEADER,
    REPOSITORY,
    RULES,
    evaluated,
    expected_rows,
    folders,
    key,
    kind_of,
    lines,
    moments,
    rules_of,
    sections,
    shown,
)

EXAMPLES = [pytest.param(folder, id=folder.name) for folder in folders()]
MOMENTS = [
    pytest.param(folder, moment, id=f"{folder.name}-{moment}")
    for folder in folders()
    for moment in moments(folder)
]


@pytest.mark.parametrize(("folder", "moment"), MOMENTS)
def test_the_whole_table_is_as_computed_by_hand(folder: Path, moment: str) -> None:
    assert shown(folder, moment) == expected_rows(folder, moment)


def test_the_command_prints_the_expected_file_byte_for_byte() -> None:
    folder, moment = RULES / "units_and_decimals", "2026-03-02T0900Z"
    command = [
        str(Path(sys.executable).parent / "inventory-pipeline"),
        "evaluate", "examples/rules/units_and_decimals", "--as-of", moment, "--format", "csv",
    ]  # fmt: skip
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=os.environ, capture_output=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout == (folder / "expected" / f"{moment}.csv").read_bytes()


@pytest.mark.parametrize("kind", RULE_KINDS)
def test_every_rule_kind_has_an_example_that_uses_it(kind: str) -> None:
    assert kind in {rule["kind"] for rule in rules_of(RULES / kind)}


def test_every_example_has_a_table_and_is_about_a_kind_or_named_here() -> None:
    without_a_kind = {"reservations", "shipment_proof", "units_and_decimals"}
    assert {folder.name for folder in folders() if not kind_of(folder)} == without_a_kind
    assert [folder.name for folder in folders() if not moments(folder)] == []


@pytest.mark.parametrize("folder", EXAMPLES)
def test_check_finds_neither_errors_nor_warnings(folder: Path) -> None:
    hub, findings = check_hub(folder, {})
    assert findings == []
    assert hub is not None
    assert connector_findings(hub) == []


@pytest.mark.parametrize("folder", EXAMPLES)
def test_nothing_in_its_files_is_quarantined_or_rejected(folder: Path) -> None:
    result = evaluated(folder, moments(folder)[-1])
    assert (result.bad, result.rejected, result.skipped) == ((), (), ())


@pytest.mark.parametrize("folder", EXAMPLES)
def test_every_file_is_read_by_some_system(folder: Path) -> None:
    hub, _ = check_hub(folder, {})
    assert hub is not None
    read = {
        path
        for system in hub.systems.values()
        for glob in (system.options.get("snapshots"), system.options.get("events"))
        if glob is not None
        for path in folder.glob(str(glob))
    }
    assert {path for path in (folder / "landing").rglob("*") if path.is_file()} == read


@pytest.mark.parametrize("folder", EXAMPLES)
def test_its_readme_names_the_commands_and_shows_the_expected_numbers(folder: Path) -> None:
    page = (folder / "README.md").read_text(encoding="utf-8")
    commands = [line.split() for line in page.splitlines() if line.startswith("$ ")]
    program = ["$", "inventory-pipeline", "evaluate", f"examples/rules/{folder.name}", "--as-of"]
    assert commands == [[*program, moment] for moment in moments(folder)]
    told = sections(page, "##")
    assert list(told) == moments(folder)
    for moment, text in told.items():
        rows = {(c, b, s): available for c, b, s, available in expected_rows(folder, moment)}
        interesting = list(lines(text))
        assert interesting, f"{moment} has no row by hand"
        for line in interesting:
            assert line["available"] == rows[key(line)], line


def test_the_tables_are_in_the_format_of_the_command() -> None:
    for folder in folders():
        for moment in moments(folder):
            header, *rows = expected_rows(folder, moment)
            assert header == HEADER
            assert rows == sorted(rows)
