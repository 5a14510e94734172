"""`inventory-pipeline connectors` and `probe`: what there is, and what a system answers."""

import json
import os
import textwrap

import pytest
from typer.testing import CliRunner

from inventory_pipeline.cli import app
from inventory_pipeline.connectors import built_in
from inventory_pipeline_tests.connectors.servers import Reply, closed_port, scripted

HUB = """\
hub: small
locations: {{dc: {{kind: warehouse}}}}
systems:
  wms:
    connector: files
    options: {{snapshots: "in/*.csv", events: "in/*.jsonl", settle_s: 0}}
    locations: {{"1": dc}}
    owns: [{{states: [on_hand, damaged, quality_control, incoming], locations: [dc]}}]
  shop: {shop}
channels:
  web: {{system: shop, mode: shadow, buckets: [{{id: main, external: "L1", locations: [dc]}}]}}
"""
# A module of somebody's own: whoever writes through it, ends the test.
GUARDED = """
from datetime import UTC, datetime
from inventory_pipeline.core.errors import WebhookRefused
from inventory_pipeline.core.ports import *
from inventory_pipeline.core.vocabulary import MovesAt

AT = datetime(2026, 3, 2, tzinfo=UTC)

class Guarded:
    def __init__(self, opening):
        self.system = opening.system
        self.capabilities = Capabilities(
            changes=True, webhooks=True, levels=True, write=Write.ABSOLUTE, moves_at=MovesAt.ORDER)
    def changes(self, cursor):
        assert cursor == {}
        body = {"event_id": "1", "type": "order_placed", "occurred_at": "2026-03-02T08:00:00Z",
                "order_id": "1", "line_id": "1", "item": "A", "quantity": 1}
        both = (body, body | {"event_id": "2", "item": "NOBODY"})
        events = [RawEvent(body=one, source="poll", position=one["event_id"]) for one in both]
        return ChangePage(events=events, cursor={"after": 2}, more=True)
    def verify(self, delivery):
        raise WebhookRefused("no webhook_secret is set", system=self.system, status=403)
    def read_levels(self, listings):
        assert listings is None
        for item, place in (("A", "L1"), ("NEW", "L2")):
            ref = ListingRef(bucket="", bucket_external=place, external_id=item)
            yield Level(listing=ref, quantity_milli=1000, asked_at=AT, answered_at=AT)
    def write_levels(self, writes, *, key):
        raise SystemExit("a probe has written")
    def close(self):
        pass
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A hub folder; `shop` is filled in by the test."""
    (tmp_path / "catalog").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "catalog" / "items.csv").write_text(
        "sku,title,kind,decimals,tags\nA,A,simple,0,\nB,B,simple,0,\n"
    )
    (tmp_path / "catalog" / "identifiers.csv").write_text(
        "system,external_id,sku,units\nshop,A,A,1\nshop,B,B,1\n"
    )
    (tmp_path / "in" / "one.csv").write_text(
        "as_of,location,item,on_hand\n2026-03-02T08:00:00Z,1,A,5\n2026-03-02T08:00:00Z,1,GONE,5\n"
    )
    (tmp_path / "guarded_shop.py").write_text(GUARDED)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def probed(folder, system, *options, shop='{connector: "guarded_shop:Guarded"}'):
    (folder / "hub.yaml").write_text(HUB.format(shop=shop))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    result = CliRunner().invoke(app, ["probe", system, str(folder), *options])
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    # Python keeps what it compiled beside the guarded module; nothing else may change.
    assert {p: t for p, t in after.items() if p.suffix != ".pyc"} == before
    return result


def test_connectors_are_listed_with_what_they_can_do():
    result = CliRunner().invoke(app, ["connectors"])
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()][: len(built_in())] == list(
        built_in()
    )
    assert "compares and swaps" in result.output


def test_scripts_get_the_capabilities_as_json():
    listed = json.loads(CliRunner().invoke(app, ["connectors", "--json"]).output)["connectors"]
    shopify = next(one for one in listed if one["name"] == "shopify")
    assert shopify["capabilities"]["compare_and_swap"] is True
    assert shopify["capabilities"]["restores_on"] == ["cancel", "refund"]
    assert shopify["capabilities"]["idempotency"] == 86_400


def test_a_probe_never_writes_and_says_what_is_not_mapped(folder):
    result = probed(folder, "shop")
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "2 rows, and there are more" in text
    assert "items: 1 of 2 known; unknown: NOBODY" in text
    assert "would go to quarantine: 1 unknown_item" in text
    assert "items: 1 of 2 known; unknown: NEW" in text
    assert "places: 1 of 2 known; unknown: L2" in text
    assert "our listings there: 1 of 2 known; unknown: B" in text
    assert "no webhook_secret is set" in text
    assert "Nothing was written." in text


def test_snapshots_are_checked_as_landing_checks_them(folder):
    result = probed(folder, "wms", "--json")
    report = json.loads(result.output)
    snapshots = report["readings"][0]
    assert (snapshots["what"], snapshots["rows"]) == ("snapshots", 2)
    assert snapshots["coverage"][0] | {"samples": list(snapshots["coverage"][0]["samples"])} == {
        "what": "items", "known": 1, "unknown": 1, "samples": ["GONE"],
    }  # fmt: skip
    assert snapshots["quarantined"][0][:2] == ["unknown_item", 1]


def woo(url):
    return (
        f"{{connector: woocommerce, options: {{url: '{url}', consumer_key: {{env: WOO_KEY}},"
        " consumer_secret: plain-secret, timeout_s: 1}}"
    )


def test_a_system_that_does_not_answer_ends_with_2_and_what_to_do(folder, monkeypatch):
    monkeypatch.setitem(os.environ, "WOO_KEY", "ck_very_secret")
    result = probed(folder, "shop", shop=woo(closed_port()))
    assert result.exit_code == 2
    assert "changes: FAILED" in result.output
    assert "cannot be reached" in result.output
    assert "not all is well" in result.output


def test_a_system_that_is_not_in_the_folder_is_named(folder):
    result = probed(folder, "shopp")
    assert "no system 'shopp'" in str(result.exception)


def test_a_trace_shows_requests_and_answers_and_no_secret():
    import httpx

    from inventory_pipeline.config.secrets import Secret
    from inventory_pipeline.connectors.tracing import finder, traced, tracing

    shown = []
    reply = Reply(
        {"access_token": "fresh-from-there", "note": "it knows s3cr3t-words"},
        headers={"Set-Cookie": "sid=42", "vendure-auth-token": "tok"},
    )
    with scripted(reply) as script:
        with tracing(shown.append, [Secret("s3cr3t-words"), Secret("s3cr3t")]):
            client = httpx.Client(transport=traced(None), headers={"Authorization": "Bearer abc"})
            found = finder()
        answer = client.post(f"{script.url}/x?key=s3cr3t-words", json={"password": "hunter22"})
        found("$.note", "s3cr3t-words")
        client.close()
    assert answer.json()["note"] == "it knows s3cr3t-words"
    text = textwrap.dedent(str(shown))
    assert "POST" in text
    assert "200" in text
    for secret in ("s3cr3t", "hunter22", "abc", "fresh-from-there", "sid=42", "'tok'", ": tok"):
        assert secret not in text, secret
    assert shown[-1] == "$.note → ***"
