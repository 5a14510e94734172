"""docs/hub-folder.md names every key, and its example rules are rules."""

import re
from pathlib import Path

from inventory_pipeline.config.catalog import COLUMNS
from inventory_pipeline.config.rule_schema import RULE_KINDS
from inventory_pipeline.config.schema import json_schema
from inventory_pipeline_tests.config.hub_folders import Folder, changed

PAGE = (Path(__file__).parents[2] / "docs" / "hub-folder.md").read_text(encoding="utf-8")


def test_every_key_kind_and_column_is_described():
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", prose))))
    keys = {key for part in json_schema()["$defs"].values() for key in part["properties"]}
    keys |= set(json_schema()["properties"]) | set(RULE_KINDS)
    keys |= {column for columns in COLUMNS.values() for column in columns}
    assert keys - words == set()


def test_the_example_rules_are_valid(tmp_path):
    example = next(b for b in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "rules:" in b)
    policy = changed("rules:\n", example)
    policy = policy.replace(
        "[{id: main, external", "[{id: outlet, locations: [nyc]}, {id: main, external"
    )
    findings = Folder(policy=policy).check(tmp_path)[1]
    assert {f.message for f in findings if f.severity == "error"} == set()
