"""Every kind of mistake in hub.yaml: one finding, with its line, text and offending value."""

import pytest

from inventory_pipeline.config.load import check_hub
from inventory_pipeline_tests.config.hub_folders import EXAMPLE, Folder, changed, line_of

B1 = "{id: b1, kind: buffer, channels: [web], percent: 10}"
S2 = "{id: s2, kind: location_reserve, locations: [nyc], units: 1, except_channels: [pickup]}"
P1 = '{id: p1, kind: protect, for: wholesale, skus: ["SHIRT-*"], units: 5}'
WEB_BUCKET = '[{id: main, external: "gid://1", locations: [dc, nyc]}]'

# what stands in the example, what stands there instead, where, what is said, which value
CASES = {
    "a misspelt key of a system": (
        "    lag: 2m",
        "    lagg: 2m",
        "lagg",
        "systems.wms: unknown key 'lagg' - did you mean 'lag'?",
        "lagg",
    ),
    "a misspelt key on top": (
        "tolerances: {units: 0, percent: 0}",
        "tolerence: {units: 0, percent: 0}",
        "tolerence",
        "unknown key 'tolerence' - did you mean 'tolerances'?",
        "tolerence",
    ),
    "a misspelt key deep inside": (
        "max_drop: 20%",
        "max_dropp: 20%",
        "max_dropp",
        "systems.wms.snapshot: unknown key 'max_dropp' - did you mean 'max_drop'?",
        "max_dropp",
    ),
    "a misspelt key of a bucket": (
        WEB_BUCKET,
        "[\n      {id: main, location: [dc, nyc], locations: [dc]}]",
        "location: [dc",
        "channels.web.buckets[0]: unknown key 'location' - did you mean 'locations'?",
        "location",
    ),
    "a key like no other": (
        "    lag: 2m",
        "    zzz: 2m",
        "zzz",
        "unknown key 'zzz' - known keys: connector, options, locations, owns",
        "zzz",
    ),
    "a key that the rule's kind does not take": (
        B1,
        "{id: b1, kind: share, percent: 10, units: 3}",
        "id: b1",
        "rule b1: unknown key 'units'",
        "units",
    ),
    "protect with channels": (
        P1,
        "{id: p1, kind: protect, for: wholesale, units: 5, channels: [web]}",
        "id: p1",
        "rule p1: unknown key 'channels' - known keys: locations, id, skus, from, until, kind, for",
        "channels",
    ),
    "contract with priority": (
        P1,
        "{id: p1, kind: contract, for: wholesale, units: 5, priority: 1}",
        "id: p1",
        "rule p1: unknown key 'priority'",
        "priority",
    ),
    "protect without for": (
        P1,
        "{id: p1, kind: protect, units: 5}",
        "id: p1",
        "rule p1: the key 'for' is missing",
        "",
    ),
    "safety stock without units": (
        B1,
        "{id: b1, kind: safety_stock}",
        "id: b1",
        "rule b1: the key 'units' is missing",
        "",
    ),
    "share without percent": (
        B1,
        "{id: b1, kind: share}",
        "id: b1",
        "rule b1: the key 'percent' is missing",
        "",
    ),
    "backorder without limit": (
        B1,
        "{id: b1, kind: backorder}",
        "id: b1",
        "rule b1: the key 'limit' is missing",
        "",
    ),
    "preorder without horizon": (
        B1,
        "{id: b1, kind: preorder, limit: 3}",
        "id: b1",
        "rule b1: the key 'horizon' is missing",
        "",
    ),
    "a buffer of nothing": (
        B1,
        "{id: b1, kind: buffer}",
        "id: b1",
        "rule b1: a buffer needs exactly one of units, percent, auto",
        "none of them",
    ),
    "a buffer of two things": (
        B1,
        "{id: b1, kind: buffer, percent: 10, units: 2}",
        "id: b1",
        "rule b1: a buffer needs exactly one of units, percent, auto",
        "units and percent",
    ),
    "an auto buffer without max": (
        B1,
        "{id: b1, kind: buffer, auto: {factor: 1}}",
        "id: b1",
        "rule b1: auto: the key 'max' is missing",
        "",
    ),
    "a rule without id": (
        B1,
        "{kind: buffer, percent: 10}",
        "kind: buffer",
        "rule no. 4: the key 'id' is missing",
        "",
    ),
    "a rule without kind": (
        B1,
        "{id: b1, percent: 10}",
        "id: b1",
        "rule b1: the key 'kind' is missing",
        "",
    ),
    "an unknown kind of rule": (
        B1,
        "{id: b1, kind: bufer, percent: 10}",
        "id: b1",
        "cap, min_display, exclude, bundle - did you mean 'buffer'?",
        "bufer",
    ),
    "a rule that is a word": (B1, "buffer", "  - buffer", "should be a mapping", "buffer"),
    "a rule id twice": (
        B1,
        "{id: s1, kind: exclude}",
        "{id: s1, kind: exclude}",
        "rule s1: id: this id stands twice; the first is in line 25",
        "s1",
    ),
    "a rule for an unknown channel": (
        P1,
        "{id: p1, kind: protect, for: wholesail, units: 5}",
        "id: p1",
        "there is no channel 'wholesail' - did you mean 'wholesale'?",
        "wholesail",
    ),
    "a rule of an unknown channel": (
        "channels: [web]",
        "channels: [webb]",
        "id: b1",
        "rule b1: channels[0]: there is no channel 'webb' - did you mean 'web'?",
        "webb",
    ),
    "a star for channels": (
        "channels: [web]",
        'channels: ["*"]',
        "id: b1",
        "leave the key out for all channels",
        "*",
    ),
    "a rule of an unknown bucket": (
        "channels: [web]",
        "channels: [web/man]",
        "id: b1",
        "the channel 'web' has no bucket 'man' - did you mean 'main'?",
        "web/man",
    ),
    "an exception of an unknown channel": (
        "except_channels: [pickup]",
        "except_channels: [picup]",
        "id: s2",
        "rule s2: except_channels[0]: there is no channel 'picup' - did you mean 'pickup'?",
        "picup",
    ),
    "a rule at an unknown location": (
        S2,
        "{id: s2, kind: location_reserve, locations: [nycc], units: 1}",
        "id: s2",
        "rule s2: locations[0]: there is no location 'nycc' - did you mean 'nyc'?",
        "nycc",
    ),
    "a rule of an unknown region": (
        S2,
        '{id: s2, kind: location_reserve, locations: ["region:us-west"], units: 1}',
        "id: s2",
        "no location has region 'us-west' - did you mean 'us-east'?",
        "region:us-west",
    ),
    "a rule of an unknown kind of location": (
        S2,
        '{id: s2, kind: location_reserve, locations: ["kind:shop"], units: 1}',
        "id: s2",
        "no location has kind 'shop'",
        "kind:shop",
    ),
    "a channel of an unknown system": (
        "{system: shop,",
        "{system: shopp,",
        "system: shopp",
        "channels.web.system: there is no system 'shopp' - did you mean 'shop'?",
        "shopp",
    ),
    "a bucket at an unknown location": (
        "locations: [dc, nyc]}]",
        "locations: [dc, nic]}]",
        "[dc, nic]",
        "channels.web.buckets[0].locations[1]: there is no location 'nic' - did you mean 'nyc'?",
        "nic",
    ),
    "a system's location mapped to an unknown one": (
        '{"1": dc}',
        '{"1": dd}',
        '{"1": dd}',
        "systems.wms.locations.1: there is no location 'dd'",
        "dd",
    ),
    "an unknown mode": (
        "mode: live",
        "mode: life",
        "mode: life",
        "channels.web.mode: should be one of off, shadow, canary, live - did you mean 'live'?",
        "life",
    ),
    "canary without skus": (
        "mode: live",
        "mode: canary",
        "mode: canary",
        "canary sends canary.skus only, and names none",
        "canary",
    ),
    "an unknown state": (
        "incoming], locations: [nyc]}]",
        "incomming, incoming], locations: [nyc]}]",
        "incomming",
        "committed, reserved, incoming - did you mean 'incoming'?",
        "incomming",
    ),
    "an unknown cause to heal": (
        "mode: live,",
        "mode: live, heal: {lost_updat: repush},",
        "lost_updat",
        "unexplained - did you mean 'lost_update'?",
        "lost_updat",
    ),
    "a duration without unit": (
        "lag: 2m",
        "lag: 2",
        "lag: 2",
        "systems.wms.lag: should be a whole number and a unit s, m, h, d or w, as in 30m",
        "2",
    ),
    "a duration of nothing": (
        "max_age: 30m",
        "max_age: 0",
        "max_age: 0",
        "systems.wms.snapshot.max_age: should be longer than 0",
        "0",
    ),
    "a percentage that is none": (
        "max_drop: 20%",
        "max_drop: lots",
        "max_drop: lots",
        "systems.wms.snapshot.max_drop: should be a percentage of 0 or more, as in 20 or 20%",
        "lots",
    ),
    "a part that exceeds the whole": (
        "percent: 10}",
        "percent: 120}",
        "id: b1",
        "rule b1: percent: should be at most 100 %",
        "120",
    ),
    "a percentage too fine": (
        "percent: 10}",
        "percent: 0.00001}",
        "id: b1",
        "rule b1: percent: should have at most 4 decimals",
        "0.00001",
    ),
    "units below zero": (
        "units: 2}",
        "units: -2}",
        "id: s1",
        "rule s1: units: should be a number of base units, 0 or more",
        "-2",
    ),
    "units too fine": (
        "units: 2}",
        "units: 2.0005}",
        "id: s1",
        "rule s1: units: should have at most 3 decimals",
        "2.0005",
    ),
    "a number that is a word": (
        "units: 2}",
        "units: two}",
        "id: s1",
        "rule s1: units: should be a number",
        "two",
    ),
    "a key without value": (
        "units: 2}",
        "units: }",
        "id: s1",
        "rule s1: units: there is no value",
        "",
    ),
    "decimals beyond three": (
        "mode: live,",
        "mode: live, decimals: 4,",
        "decimals: 4",
        "channels.web.decimals: should be 0, 1, 2 or 3",
        "4",
    ),
    "a flag that is none": (
        "complete: true",
        "complete: maybe",
        "complete: maybe",
        "systems.wms.snapshot.complete: should be true or false",
        "maybe",
    ),
    "a time without offset": (
        "from: 2026-01-01",
        "from: 2026-01-01T08:00:00",
        "id: c1",
        "rule c1: from: should have an offset",
        "2026-01-01T08:00:00",
    ),
    "a date that does not exist": (
        "from: 2026-01-01",
        "from: 2026-02-30",
        "id: c1",
        "rule c1: from: should be a date",
        "2026-02-30",
    ),
    "a rule that ends before it begins": (
        "until: 2026-07-01",
        "until: 2025-07-01",
        "until: 2025",
        "rule c1: until: should be later than `from`",
        "2025-07-01",
    ),
    "a list that is a word": (
        'skus: ["*"]',
        'skus: "*"',
        "id: s1",
        "rule s1: skus: should be a list, as in [a, b]",
        "*",
    ),
    "an empty list": (
        'skus: ["*"]',
        "skus: []",
        "id: s1",
        "rule s1: skus: should not be empty",
        "[]",
    ),
    "a mapping that is a word": (
        "{complete: true, max_age: 30m, max_drop: 20%}",
        "complete",
        "snapshot: complete",
        "systems.wms.snapshot: should be a mapping of keys and values",
        "complete",
    ),
    "a section that is a list": (
        "tolerances: {units: 0, percent: 0}",
        "tolerances: [1]",
        "tolerances: [1]",
        "tolerances: should be a mapping",
        "a list",
    ),
    "a name that is no name": (
        "hub: acme",
        "hub: acme shop",
        "acme shop",
        "hub: should be a name of letters, digits, _ and -",
        "acme shop",
    ),
    "two buckets of one name": (
        WEB_BUCKET,
        "[\n    {id: main, locations: [dc]},\n    {id: main, locations: [nyc]}]",
        "    {id: main, locations: [nyc]}]",
        "channels.web.buckets[1].id: stands twice; the first is in line 22",
        "main",
    ),
    "two buckets of one place": (
        WEB_BUCKET,
        "[\n  {id: a, external: x, locations: [dc]},\n  {id: b, external: x, locations: [nyc]}]",
        "{id: b",
        "channels.web.buckets[1].external: stands twice; the first is in line 22",
        "x",
    ),
    "more approvals than approvers": (
        "required: 1",
        "required: 2",
        "required: 2",
        "asks for 2 of 1 approvers: nobody could",
        "2",
    ),
    "a secret that is not set": (
        "{env: SHOPIFY_TOKEN}",
        "{env: SHOPIFY_TOKN}",
        "SHOPIFY_TOKN",
        "systems.shop.options.access_token: the environment variable SHOPIFY_TOKN is not set",
        "SHOPIFY_TOKN",
    ),
    "a secret with a misspelt default": (
        "{env: SHOPIFY_TOKEN}",
        "{env: SHOPIFY_TOKN, defualt: x}",
        "SHOPIFY_TOKN",
        "unknown key beside env - did you mean 'default'?",
        "defualt",
    ),
    "a secret that is a list": (
        "{env: SHOPIFY_TOKEN}",
        "{env: [a]}",
        "{env: [a]}",
        "should be the name of an environment variable",
        "",
    ),
    "a feed that is a list": (
        "options: {store: acme,",
        "options: {feed: [a],",
        "feed: [a]",
        "systems.shop.options.feed: should be a text",
        "",
    ),
    "a key twice": (
        "    lag: 2m",
        "    lag: 2m\n    lag: 3m",
        "lag: 3m",
        "the key 'lag' stands twice here; the first is in line 12",
        "lag",
    ),
    "a tag of YAML's": (
        "    lag: 2m",
        "    lag: !!binary aGk=",
        "!!binary",
        "this YAML tag is not supported here",
        "tag:yaml.org,2002:binary",
    ),
    "a list for a key": (
        "    lag: 2m",
        "    ? [a]\n    : 2m",
        "? [a]",
        "a key must be one word",
        "",
    ),
}
# A wrong part may make others unreadable; nothing else may be found beside these.
COMPANIONS = {"a tag of YAML's": ["systems.wms.lag: there is no value"]}


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


def test_a_broken_line_is_not_quoted_because_it_may_hold_a_secret(tmp_path):
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
