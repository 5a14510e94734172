"""docs/rules.md shows the examples' own rules and numbers."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from inventory_pipeline.config.rule_schema import RULE_KINDS
from inventory_pipeline_tests.examples.rule_hubs import (
    REPOSITORY,
    RULES,
    expected,
    folders,
    key,
    lines,
    moments,
    rules_of,
    sections,
    without_kind,
)

FILE = REPOSITORY / "docs" / "rules.md"
PAGE = FILE.read_text(encoding="utf-8")
LINK = re.compile(r"\.\./examples/rules/(\w+)/README\.md")


def example_sections() -> dict[str, str]:
    """Folder name → the part of the page that ends with the link to it."""
    found = {}
    for part in re.split(r"^#{2,3} ", PAGE, flags=re.MULTILINE):
        for name in LINK.findall(part):
            assert name not in found, f"{name} is linked from two parts"
            found[name] = part
    return found


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("without")


def test_every_example_is_named() -> None:
    assert set(example_sections()) == {folder.name for folder in folders()}


def test_every_kind_has_its_part_with_a_row_that_the_rule_changes() -> None:
    parts = sections(PAGE, "##")
    for kind in RULE_KINDS:
        changed = [line for line in lines(parts[kind]) if line["without"] != line["with"]]
        assert changed, kind


@pytest.mark.parametrize("folder", [pytest.param(f, id=f.name) for f in folders()])
def test_its_numbers_are_those_of_the_example(folder: Path, scratch: Path) -> None:
    rows = list(lines(example_sections()[folder.name]))
    assert rows
    for line in rows:
        assert line["at"] in moments(folder), line
        if "without" in line:
            before = without_kind(folder, line["at"], scratch)
            assert line["without"] == before[key(line)], line
        told = line["with"] if "with" in line else line["available"]
        assert told == expected(folder, line["at"])[key(line)], line


def test_the_rules_that_it_shows_are_the_examples_own() -> None:
    for name, part in example_sections().items():
        for block in re.findall(r"```yaml\n(.*?)```", part, re.DOTALL):
            shown: list[dict[str, Any]] = yaml.safe_load(block)["rules"]
            known = rules_of(RULES / name)
            assert [rule for rule in shown if rule not in known] == [], name


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        path, _, anchor = target.partition("#")
        file = (FILE.parent / path).resolve() if path else FILE
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", ["README.md", "docs/hub-folder.md"])
def test_the_page_is_linked_from_where_users_begin(page: str) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    targets = {target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text)}
    assert FILE in {(REPOSITORY / page).parent / target for target in targets}


def anchors(file: Path) -> set[str]:
    """As they are made from headings: lower case, words joined by a dash, no punctuation."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
