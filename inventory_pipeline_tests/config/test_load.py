import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from inventory_pipeline.config.load import catalog_files, check_texts, load_hub, policy_text
from inventory_pipeline.config.policy import (
    Bucket,
    BundlePart,
    Channel,
    Guard,
    Identifier,
    Item,
    Location,
    Ownership,
    PushPolicy,
    Rollout,
    Rule,
    SnapshotPolicy,
    Sync,
    Tolerances,
)
from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.core.errors import ConfigInvalid
from inventory_pipeline.core.vocabulary import OWNED_STATES, Mode, State
from inventory_pipeline_tests.config.hub_folders import ENVIRON, EXAMPLE, TOKEN, Folder, changed


@pytest.fixture
def hub(tmp_path):
    return load_hub(Folder().write(tmp_path), ENVIRON)


def test_the_reference_example_has_no_findings(tmp_path):
    assert Folder().check(tmp_path)[1] == []


def test_its_locations_and_systems_are_exact(hub, tmp_path):
    assert (hub.name, hub.folder) == ("acme", tmp_path)
    assert hub.locations == {
        "dc": Location(id="dc", kind="warehouse", region="us-east"),
        "nyc": Location(id="nyc", kind="store", region="us-east"),
    }
    wms = hub.systems["wms"]
    assert wms.connector == "files"
    assert wms.options == {"snapshots": "landing/wms/*.csv", "events": "landing/wms/*.jsonl"}
    assert wms.locations == {"1": "dc"}
    assert wms.owns == (Ownership(states=OWNED_STATES, locations=("dc",)),)
    assert wms.snapshot == SnapshotPolicy(
        complete=True, max_age=timedelta(minutes=30), max_drop=Decimal(20)
    )
    assert wms.lag == timedelta(minutes=2)
    pos = hub.systems["pos"]
    assert pos.snapshot == SnapshotPolicy(complete=False, max_age=timedelta(hours=24))
    assert (pos.lag, pos.orders, pos.poll, pos.feed) == (
        timedelta(0),
        "count",
        timedelta(seconds=30),
        "",
    )
    assert hub.systems["shop"].options == {"store": "acme", "access_token": Secret(TOKEN)}
    assert hub.owner(State.ON_HAND, "nyc") == "pos"


def test_its_channels_have_the_defaults_of_the_reference(hub):
    assert hub.channels["web"] == Channel(
        id="web",
        system="shop",
        mode=Mode.LIVE,
        buckets=(Bucket(id="main", external="gid://1", locations=("dc", "nyc")),),
        decimals=0,
        canary_skus=(),
        skew=timedelta(seconds=5),
        guard=Guard(
            percent=Decimal(50),
            share=Decimal(20),
            window=timedelta(minutes=15),
            min_listings=20,
        ),
        push=PushPolicy(max_attempts=8, give_up=timedelta(hours=24)),
        heal={},
    )
    assert hub.tolerances == Tolerances(escalate_after=timedelta(hours=4))
    assert hub.sync == Sync(idle=timedelta(seconds=60), max_run=timedelta(minutes=10))
    assert hub.rollout == Rollout(approvers=("ops-lead",), required=1)


def test_its_rules_are_exact(hub):
    assert hub.rules == (
        Rule(
            id="s1",
            kind="safety_stock",
            order=0,
            line=25,
            skus=("*",),
            locations=("dc",),
            units=Decimal(2),
        ),
        Rule(
            id="s2",
            kind="location_reserve",
            order=1,
            line=26,
            except_channels=("pickup",),
            locations=("nyc",),
            units=Decimal(1),
        ),
        Rule(
            id="p1",
            kind="protect",
            order=2,
            line=27,
            skus=("SHIRT-*",),
            for_channel="wholesale",
            units=Decimal(5),
        ),
        Rule(id="b1", kind="buffer", order=3, line=28, channels=("web",), percent=Decimal(10)),
        Rule(
            id="c1",
            kind="contract",
            order=4,
            line=29,
            skus=("MUG",),
            for_channel="wholesale",
            units=Decimal(100),
            from_at=datetime(2026, 1, 1, tzinfo=UTC),
            until_at=datetime(2026, 7, 1, tzinfo=UTC),
            exclusive=True,
        ),
    )


def test_its_catalogue_is_exact(hub):
    shirt = Item(
        sku="SHIRT-S",
        title="Shirt, small",
        kind="simple",
        decimals=0,
        tags=("apparel", "summer"),
        price=Decimal("19.90"),
    )
    assert hub.catalog.items["SHIRT-S"] == shirt
    assert [item.kind for item in hub.catalog.items.values()] == ["simple"] * 3 + ["bundle"]
    assert hub.catalog.identifiers == (
        Identifier(system="shop", external_id="MUG-12", sku="MUG", units=Decimal(12)),
        Identifier(system="wms", external_id="0042", sku="SHIRT-S", units=Decimal(1)),
    )
    assert hub.catalog.parts == (
        BundlePart(bundle_sku="KIT", component_sku="SHIRT-S", quantity=Decimal(1)),
        BundlePart(bundle_sku="KIT", component_sku="MUG", quantity=Decimal(2)),
    )


ALL_KEYS = """\
hub: full
locations:
  dc: {kind: warehouse, region: east}
  s1: {kind: store, region: east}
  s2: {kind: store, region: NO}
  "0123":
systems:
  erp:
    connector: files
    options: {feed: nightly, retries: 3, ratio: 0.1, strict: yes, code: 007, on: [a, 1]}
    locations: {1: dc, 02: s1}
    owns:
      - states: [on_hand, damaged, quality_control, incoming, committed, reserved]
        locations: ["kind:store", dc, "0123"]
    lag: 90 s
    orders: ignore
    poll: 5m
channels:
  web:
    system: erp
    mode: off
    decimals: 2
    canary: {skus: ["tag:hardware", ROPE]}
    skew: 0
    guard: {percent: 12.5, share: 7.5 %, window: 1h, min_listings: 5}
    push: {max_attempts: 3, give_up: 2d}
    heal: {external_edit: alert, lost_update: none}
    buckets: [{id: east, locations: ["region:east"]}, {id: no, locations: ["region:NO"]}]
rules:
  - {id: auto, kind: buffer, auto: {factor: 1.5, max: 20, window: 1w}, priority: -3}
  - {id: back, kind: backorder, limit: 10, channels: [web/east], except_channels: [web/no]}
  - {id: pre, kind: preorder, limit: 5.25, horizon: 4w, until: 2026-05-01T00:00:00+02:00}
  - {id: cap, kind: cap, units: 0}
  - {id: min, kind: min_display, units: 3}
  - {id: out, kind: exclude, skus: ["tag:gift"]}
  - {id: kit, kind: bundle, fulfilment: split}
  - {id: half, kind: share, percent: 12.5%}
tolerances: {units: 0.5, percent: 1, escalate_after: 1h}
sync: {idle: 5s, max_run: 1m}
"""


@pytest.fixture
def full(tmp_path):
    return load_hub(Folder(policy=ALL_KEYS, identifiers=None).write(tmp_path), {})


def test_numbers_are_exact_and_words_stay_words(full):
    web = full.channels["web"]
    assert web.mode is Mode.OFF
    assert web.guard.percent == Decimal("12.5")
    assert web.guard.share == Decimal("7.5")
    assert full.locations["s2"].region == "NO"
    assert full.locations["0123"] == Location(id="0123")
    assert full.systems["erp"].locations == {"1": "dc", "02": "s1"}
    assert full.systems["erp"].options == {
        "feed": "nightly",
        "retries": 3,
        "ratio": Decimal("0.1"),
        "strict": True,
        "code": "007",
        "on": ["a", 1],
    }
    assert full.systems["erp"].feed == "nightly"
    assert full.systems["erp"].lag == timedelta(seconds=90)


def test_region_and_kind_stand_for_all_such_locations_in_file_order(full):
    assert full.systems["erp"].owns[0].locations == ("s1", "s2", "dc", "0123")
    assert full.channels["web"].buckets[0].locations == ("dc", "s1")
    assert full.channels["web"].buckets[1].locations == ("s2",)


def test_every_kind_of_rule_keeps_its_own_fields(full):
    by_id = {rule.id: rule for rule in full.rules}
    assert by_id["auto"].auto.window == timedelta(weeks=1)
    assert (by_id["auto"].auto.factor, by_id["auto"].auto.max_units) == (Decimal("1.5"), 20)
    assert by_id["auto"].priority == -3
    assert by_id["back"].limit == 10
    assert by_id["pre"].horizon == timedelta(weeks=4)
    assert by_id["pre"].until_at == datetime(2026, 4, 30, 22, tzinfo=UTC)
    assert by_id["pre"].until_at.tzinfo is UTC
    assert by_id["cap"].units == 0
    assert by_id["kit"].fulfilment == "split"
    assert by_id["half"].percent == Decimal("12.5")


def test_a_bundle_rule_without_a_word_means_same_location(tmp_path):
    policy = EXAMPLE.replace("rollout:", "# no\nrollout:").replace(
        "  - {id: b1, kind: buffer, channels: [web], percent: 10}",
        "  - {id: b1, kind: bundle}",
    )
    hub = load_hub(Folder(policy=policy).write(tmp_path), ENVIRON)
    assert hub.rules[3].fulfilment == "same_location"


def test_merged_mappings_and_a_byte_order_mark_are_read(tmp_path):
    policy = "\ufeff" + changed(
        "  - {id: b1, kind: buffer, channels: [web], percent: 10}",
        "  - &b {id: b1, kind: buffer, channels: [web], percent: 10}\n"
        "  - {<<: *b, id: b2, percent: 20}",
    )
    items = "\ufeff" + Folder().items
    hub, findings = Folder(policy=policy, items=items).check(tmp_path)
    assert findings == []
    assert (hub.rules[4].id, hub.rules[4].percent, hub.rules[4].channels) == ("b2", 20, ("web",))


def test_hashes_follow_the_bytes(tmp_path):
    first = load_hub(Folder().write(tmp_path / "a"), ENVIRON)
    again = load_hub(Folder().write(tmp_path / "b"), ENVIRON)
    comment = load_hub(Folder(policy=EXAMPLE + "# x\n").write(tmp_path / "c"), ENVIRON)
    no_bundle = Folder(
        items="sku,title,kind,decimals,tags\nMUG,Mug,simple,0,\n",
        identifiers=None,
        bundles=None,
    )
    other = load_hub(no_bundle.write(tmp_path / "d"), ENVIRON)
    assert (first.policy_hash, first.catalog_hash) == (again.policy_hash, again.catalog_hash)
    assert comment.policy_hash != first.policy_hash
    assert comment.catalog_hash == first.catalog_hash
    assert other.catalog_hash != first.catalog_hash


def test_kept_texts_give_the_same_hub_again(tmp_path):
    folder = Folder().write(tmp_path)
    hub, findings = check_texts(
        policy_text(folder), catalog_files(folder), folder=folder, environ=ENVIRON
    )
    assert findings == []
    assert hub == load_hub(folder, ENVIRON)


def test_load_raises_all_errors_and_no_warning(tmp_path):
    policy = changed("percent: 10}", "percnt: 10}").replace('["MUG"]', '["MGU"]')
    with pytest.raises(ConfigInvalid) as raised:
        load_hub(Folder(policy=policy).write(tmp_path), ENVIRON)
    assert {finding.severity for finding in raised.value.findings} == {"error"}
    assert "hub.yaml:28: rule b1: unknown key 'percnt' - did you mean 'percent'?" in str(
        raised.value
    )


def test_a_warning_alone_still_loads(tmp_path):
    hub, findings = Folder(policy=changed('["MUG"]', '["MGU"]')).check(tmp_path)
    assert hub is not None
    assert [str(f) for f in findings] == [
        "hub.yaml:29: items.csv has no sku 'MGU': this matches nothing (found: MGU)"
    ]
    assert findings[0].severity == "warning"


def test_loading_imports_no_heavy_library():
    code = (
        "import sys, inventory_pipeline.config.load\n"
        "heavy = {'pandas', 'numpy', 'duckdb', 'dagster', 'pyarrow', 'sqlalchemy', 'httpx'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert done.stdout.strip() == "[]"
