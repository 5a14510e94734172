"""`make mutants` is run by hand; that its list still fits the reference is seen here."""

from pathlib import Path

from inventory_pipeline_tests.properties import mutants


def test_the_reference_says_what_each_misreading_replaces():
    texts = [Path(module.__file__).read_text("utf-8") for module in mutants.MODULES]
    gone = [m["name"] for m in mutants.misreadings() if not any(m["old"] in t for t in texts)]
    assert gone == []


def test_a_misread_rule_gives_other_numbers_and_the_rule_itself_does_not():
    [misread] = [m for m in mutants.misreadings() if m["name"] == "a posting at T counts"]
    tried = mutants.Tried([], [], at_most=20)
    assert mutants.killed_by(misread["old"], misread["new"], tried) is not None
    assert mutants.killed_by(misread["old"], misread["old"], tried) is None
