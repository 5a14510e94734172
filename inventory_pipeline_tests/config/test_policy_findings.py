"""Every kind of mistake in hub.yaml: one finding, with its line, text and offending value."""

import pytest
import yaml

from inventory_pipeline.config import yaml_tree
from inventory_pipeline.config.load import check_hub
from inventory_pipeline_tests.config.hub_folders import (
    ENVIRON,
    EXAMPLE,
    Folder,
    changed,
    line_of,
)
from inventory_pipeline_tests.config.policy_cases import CASES, COMPANIONS


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_one_finding_with_its_line(name, tmp_path):
    old, new, needle, message, value = CASES[name]
    policy = changed(old, new)
    hub, findings = Folder(policy=policy).check(tmp_path)
    errors = [f for f in findings if f.message not in COMPANIONS.get(name, [])]
    assert hub is None
    assert len(errors) == 1, "\n".join(map(str, findings))
    found = errors[0]
    assert message in found.message
    assert (found.file, found.line, found.severity) == (
        "hub.yaml",
        line_of(policy, needle),
        "error",
    )
    assert found.value == value


@pytest.mark.parametrize("key", ["region:x", "kind:y", "'*'", "' dc'"])
def test_a_location_cannot_be_named_like_a_selector(key, tmp_path):
    policy = changed("  nyc: {kind", f'  "{key.strip(chr(39))}": {{}}\n  nyc: {{kind')
    findings = Folder(policy=policy).check(tmp_path)[1]
    assert [(f.line, f.value) for f in findings] == [(4, key.strip("'"))]
    assert "the name should" in findings[0].message


@pytest.mark.parametrize("key", ["hub", "locations", "systems"])
def test_a_missing_top_level_key_is_named(key, tmp_path):
    policy = changed(f"{key}:", f"{key}x:") if key == "hub" else changed(f"\n{key}:", f"\n{key}x:")
    messages = [f.message for f in Folder(policy=policy).check(tmp_path)[1]]
    assert f"hub.yaml: the key '{key}' is missing" in messages
    assert f"unknown key '{key}x' - did you mean '{key}'?" in messages


def test_two_owners_of_one_state_are_named_with_both_places(tmp_path):
    policy = changed("locations: [nyc]}]\n  shop", 'locations: ["region:us-east"]}]\n  shop')
    findings = Folder(policy=policy).check(tmp_path)[1]
    assert len(findings) == 1
    assert str(findings[0]) == (
        "hub.yaml:16: systems.pos.owns[0]: on_hand, damaged, quality_control, incoming at dc has "
        "two owners: wms (hub.yaml:10) and pos (hub.yaml:16); take it out of one of them "
        "(found: on_hand, damaged, quality_control, incoming at dc)"
    )


def test_a_location_that_a_channel_sells_from_needs_its_owners(tmp_path):
    policy = changed(
        "[on_hand, damaged, quality_control, incoming], locations: [nyc]",
        "[on_hand], locations: [nyc]",
    )
    findings = Folder(policy=policy).check(tmp_path)[1]
    assert [(f.line, f.value) for f in findings] == [(21, "nyc")]
    assert "no system owns damaged, quality_control, incoming at nyc" in findings[0].message


def test_a_channel_that_is_off_needs_no_owners(tmp_path):
    policy = changed(
        "[on_hand, damaged, quality_control, incoming], locations: [nyc]",
        "[on_hand], locations: [nyc]",
    )
    policy = changed("[dc, nyc]", "[dc]", policy)
    policy = changed("{system: pos,  mode: shadow,", "{system: pos,  mode: off,", policy)
    assert Folder(policy=policy).check(tmp_path)[1] == []


def test_a_part_that_cannot_be_read_makes_no_second_error(tmp_path):
    """A system with a wrong lag still owns, and a channel with a wrong mode still exists."""
    policy = changed("lag: 2m", "lag: soon")
    policy = changed("{system: wms,  mode: shadow,", "{system: wms,  mode: dark,", policy)
    policy = changed("dc:  {kind: warehouse, region: us-east}", "dc:  {knd: warehouse}", policy)
    lines = [f.line for f in Folder(policy=policy).check(tmp_path)[1]]
    assert lines == [3, 12, 22]


def test_a_tag_that_no_item_has_is_a_warning(tmp_path):
    policy = changed('"SHIRT-*"', '"tag:sumer", "tag:gift"')
    hub, findings = Folder(policy=policy).check(tmp_path)
    assert hub is not None
    assert [(f.severity, f.line, f.value) for f in findings] == [("warning", 27, "tag:sumer")]
    assert "did you mean 'summer'?" in findings[0].message


def test_a_canary_sku_that_does_not_exist_is_a_warning(tmp_path):
    policy = changed("mode: live,", "mode: canary, canary: {skus: [MUGG]},")
    hub, findings = Folder(policy=policy).check(tmp_path)
    assert hub is not None
    assert [(f.severity, f.line, f.value) for f in findings] == [("warning", 21, "MUGG")]


@pytest.mark.parametrize(
    ("policy", "line", "message"),
    [
        ("hub: acme\nlocations: {dc: [\n", 3, "not readable as YAML"),
        ("hub: acme\n\tlocations: {}\n", 2, "not readable as YAML"),
        ("hub: acme\nlocations: *nothing\n", 2, "not readable as YAML"),
        ("hub: a\n---\nhub: b\n", 2, "not readable as YAML"),
        ("", 1, "the file is empty"),
        ("# nothing\n", 1, "the file is empty"),
        ("- a\n- b\n", 1, "should be a mapping"),
        ("hub: &a [*a]\n", 1, "too large or too deep"),
    ],
)
def test_a_file_that_is_no_policy_says_so(policy, line, message, tmp_path):
    hub, findings = Folder(policy=policy).check(tmp_path)
    assert hub is None
    assert findings[0].line == line
    assert message in findings[0].message


@pytest.mark.parametrize("loader", [yaml.SafeLoader, yaml_tree._LOADER])
def test_a_broken_line_is_not_quoted_because_it_may_hold_a_secret(loader, tmp_path, monkeypatch):
    monkeypatch.setattr(yaml_tree, "_LOADER", loader)
    policy = changed("{env: SHOPIFY_TOKEN}", '"hunter2": ]')
    text = "\n".join(map(str, Folder(policy=policy).check(tmp_path)[1]))
    assert "not readable as YAML" in text
    assert "hunter2" not in text


def test_a_folder_without_policy_says_what_is_missing(tmp_path):
    findings = Folder(policy=None).check(tmp_path)[1]
    assert [(f.file, f.line) for f in findings] == [("hub.yaml", 0)]
    assert f"{tmp_path} has no hub.yaml" in findings[0].message


def test_text_that_is_not_utf8_is_named_with_its_line(tmp_path):
    Folder().write(tmp_path)
    (tmp_path / "hub.yaml").write_bytes(EXAMPLE.encode() + b"# caf\xe9\n")
    findings = check_hub(tmp_path, Folder().environ)[1]
    assert [(f.line, "UTF-8" in f.message) for f in findings] == [
        (len(EXAMPLE.splitlines()) + 1, True)
    ]


def test_many_mistakes_in_many_files_come_at_once(tmp_path):
    policy = EXAMPLE
    for old, new in [
        ("lag: 2m", "lag: 2"),
        ("mode: live", "mode: life"),
        ("percent: 10}", "percnt: 10}"),
        ("until: 2026-07-01", "until: never"),
        ("except_channels: [pickup]", "except_channels: [picup]"),
        ("{env: SHOPIFY_TOKEN}", "{env: NOT_SET}"),
        ("required: 1", "requird: 1"),
    ]:
        policy = changed(old, new, policy)
    folder = Folder(
        policy=policy,
        items="sku,title,kind,decimals,tags\nMUG,Mug,simpel,0,\nA,A,simple,9,\nB,B,simple,0,\n",
        identifiers="system,external_id,sku,units\nshopp,1,B,1\nshop,1,C,1\nshop,2,B,-1\n",
        bundles="bundle_sku,component_sku,quantity\nB,C,0\n",
    )
    hub, findings = folder.check(tmp_path)
    assert hub is None
    assert [(f.file, f.line) for f in findings] == [
        *(("hub.yaml", line) for line in (12, 19, 21, 26, 28, 30, 32)),
        *(("catalog/bundles.csv", 2),) * 3,
        *(("catalog/identifiers.csv", line) for line in (2, 3, 4)),
        *(("catalog/items.csv", line) for line in (2, 3)),
    ]


@pytest.mark.parametrize("written", ["[*]", "[*, MUG]", "[*-RED]", "*"])
def test_a_star_without_quotes_is_met_with_quotes(written, tmp_path):
    policy = changed('skus: ["*"]', f"skus: {written}")
    [finding] = Folder(policy=policy).check(tmp_path)[1]
    assert (finding.file, finding.line) == ("hub.yaml", line_of(policy, "id: s1"))
    assert 'must stand in quotes: "*"' in finding.message


@pytest.mark.parametrize("kind", ["safety_stock", "location_reserve"])
def test_stock_that_is_to_be_kept_of_a_bundle_is_a_warning(kind, tmp_path):
    policy = changed('safety_stock, skus: ["*"]', f"{kind}, skus: [MUG, KIT]")
    hub, [finding] = Folder(policy=policy).check(tmp_path)
    assert hub is not None
    assert (finding.severity, finding.line) == ("warning", line_of(policy, "id: s1"))
    assert f"rule s1: KIT is a bundle, which has no stock of its own: {kind}" in finding.message
    policy = changed("kind: buffer,", "kind: buffer, skus: [KIT],")
    assert Folder(policy=policy).check(tmp_path)[1] == []


def alerts(text: str) -> str:
    return changed("rules:\n", f"alerts: {text}\nrules:\n")


def test_quiet_hours_are_two_times_and_a_zone(tmp_path):
    hub = Folder(policy=alerts('{quiet: "22:00 - 7:00 Europe/Berlin"}')).check(tmp_path)[0]
    assert hub is not None
    assert (quiet := hub.alerts.quiet) is not None
    assert (quiet.begin.hour, quiet.until.hour, str(quiet.zone)) == (22, 7, "Europe/Berlin")


@pytest.mark.parametrize("text", ["22-7", "22:00-25:00", "22:00-07:00 Mars/Base", "always"])
def test_odd_quiet_hours_are_refused(tmp_path, text):
    findings = Folder(policy=alerts(f'{{quiet: "{text}"}}')).check(tmp_path)[1]
    assert ["should be two times of day and a time zone" in f.message for f in findings] == [True]


def test_where_alerts_go_is_a_secret_that_shows_nowhere(tmp_path):
    environ = {**ENVIRON, "ALERT_MAIL": "mailto://ops:hunter2@example.com"}
    folder = Folder(policy=alerts("{to: {ops: {env: ALERT_MAIL}}}"), environ=environ)
    hub = folder.check(tmp_path)[0]
    assert hub is not None
    assert hub.alerts.to["ops"].reveal() == "mailto://ops:hunter2@example.com"
    assert "hunter2" not in repr(hub.alerts)


def test_an_address_has_to_be_one_text(tmp_path):
    findings = Folder(policy=alerts("{to: {ops: [1, 2]}}")).check(tmp_path)[1]
    assert any("should be an Apprise address" in f.message for f in findings)
