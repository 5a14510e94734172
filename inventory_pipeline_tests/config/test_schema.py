import json
from datetime import timedelta
from typing import get_args

import pytest

from inventory_pipeline.config.fields import parse_duration, parse_moment, parse_percent
from inventory_pipeline.config.rule_schema import RULE_KINDS
from inventory_pipeline.config.schema import CauseWord, StateWord, duration_text, json_schema
from inventory_pipeline.core.vocabulary import Cause, State


def test_every_key_has_a_description():
    schema = json_schema()
    parts = {"hub.yaml": schema, **schema["$defs"]}
    bare = [
        f"{name}.{key}"
        for name, part in parts.items()
        for key, value in part.get("properties", {}).items()
        if key != "kind" or "const" not in value
        if "description" not in value and "$ref" not in value
    ]
    assert bare == []
    assert all("description" in part for part in parts.values())


def test_the_schema_allows_no_other_key_and_shows_defaults_as_they_are_written():
    schema = json_schema()
    assert json.loads(json.dumps(schema)) == schema
    parts = [schema, *schema["$defs"].values()]
    assert all(part["additionalProperties"] is False for part in parts)
    system = schema["$defs"]["SystemPart"]["properties"]
    assert (system["poll"]["default"], system["lag"]["default"]) == ("30s", "0")
    assert schema["$defs"]["SnapshotPart"]["properties"]["max_age"]["default"] == "1d"
    assert schema["$defs"]["GuardPart"]["properties"]["share"]["default"] == 20
    assert "default" not in schema["$defs"]["SnapshotPart"]["properties"]["max_drop"]


def test_the_schema_offers_each_kind_of_rule():
    kinds = json_schema()["properties"]["rules"]["items"]["discriminator"]["mapping"]
    assert set(kinds) == set(RULE_KINDS)
    assert "for" in json_schema()["$defs"]["ProtectRule"]["required"]


def test_the_words_are_the_vocabularys():
    assert set(get_args(CauseWord)) == {cause.value for cause in Cause}
    assert set(get_args(StateWord)) == {state.value for state in State}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("90s", 90),
        ("30m", 1800),
        ("4h", 14400),
        ("2 d", 172800),
        ("1w", 604800),
    ],
)
def test_durations_are_an_integer_and_a_unit(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert parse_duration(duration_text(parse_duration(text))) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "1.5h", "-3m", "1h30m", "3 months", "m", True, 1.5, None]
)
def test_other_durations_are_refused(text):
    with pytest.raises(ValueError, match="unit s, m, h, d or w"):
        parse_duration(text)


@pytest.mark.parametrize("value", [0.1, True, None, "NaN", "20 % %", "Infinity", "-1", [], "1,5"])
def test_a_percentage_never_passes_through_a_float(value):
    with pytest.raises(ValueError, match="percentage"):
        parse_percent(value)


@pytest.mark.parametrize(
    "text", ["2026-1-1", "20260101", "2026-W01-1", "today", "2026-01-01 08:00"]
)
def test_other_moments_are_refused(text):
    with pytest.raises(ValueError, match="should "):
        parse_moment(text)
