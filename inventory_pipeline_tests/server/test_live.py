"""The serving process takes up a changed hub while it answers."""

import json
import os
import threading
import time

import pytest

from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline.flow import context as context_module
from inventory_pipeline.flow.activation import activate_folder
from inventory_pipeline.flow.context import open_context
from inventory_pipeline.flow.times import utc_now
from inventory_pipeline.memory import modes
from inventory_pipeline.server.app import create_app
from inventory_pipeline.server.live import LiveApp, Renewals
from inventory_pipeline_tests.server.conftest import SignedShop, order

HUB = """\
hub: acme
locations:
  dc: {kind: warehouse}
systems:
  wms:
    connector: files
    options: {events: "in/*.jsonl", settle_s: 0}
    owns: [{states: [on_hand, damaged, quality_control, incoming], locations: [dc]}]
    poll: 1s
  shop:
    connector: files
    options: {snapshots: "shop/*.csv"}
    poll: 1s
channels:
  web: {system: shop, buckets: [{id: main, locations: [dc]}]}
"""
MORE = "  two: {system: shop, buckets: [{id: b, locations: [dc]}]}\n"
ITEMS = "sku,title,kind,decimals,tags\nA,A,simple,0,\nB,B,simple,0,\n"


class Served:
    def __init__(self, folder, url, serve, monkeypatch):
        self.folder, self.state, self.url = folder / "hub", folder / "state", url
        (self.folder / "catalog").mkdir(parents=True)
        (self.folder / "in").mkdir()
        (self.folder / "hub.yaml").write_text(HUB)
        (self.folder / "catalog" / "items.csv").write_text(ITEMS)
        self.maps("A")
        build = context_module.build_connectors
        self.shops = []

        def with_shop(hub, *args):
            self.shops.append(SignedShop())
            return {**build(hub, *args), "shop": self.shops[-1]}

        monkeypatch.setattr(context_module, "build_connectors", with_shop)
        self.ctx = open_context(self.folder, self.state, url)
        self.made = []

        def make(ctx):
            self.made.append(ctx)
            return create_app(ctx, intake=True)

        self.receiver = serve(LiveApp(self.ctx, make, look_every_s=0.1))

    def maps(self, sku):
        (self.folder / "catalog" / "identifiers.csv").write_text(
            f"system,external_id,sku,units\nwms,X,{sku},1\n"
        )

    def counted(self, number):
        event = {
            "event_id": f"e{number}", "type": "counted", "occurred_at": "2026-03-02T08:00:00Z",
            "item": "X", "quantity": number, "location": "dc",
        }  # fmt: skip
        path = self.folder / "in" / "e.jsonl"
        with path.open("a") as file:
            file.write(json.dumps(event) + "\n")
        os.utime(path, (number, number))

    def activate(self):
        return activate_folder(self.folder, self.state, self.url, by="ops")

    def rows(self, sql):
        with self.ctx.pg.connection() as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def served(tmp_path, pg_url, serve, monkeypatch):
    return Served(tmp_path, pg_url, serve, monkeypatch)


def until(holds, timeout=20.0):
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_new_channel_is_known_without_a_restart(served):
    http = served.receiver.http
    assert http.get("/v1/ats", params={"channel": "two"}).status_code == 404
    (served.folder / "hub.yaml").write_text(HUB + MORE)
    served.activate()
    until(lambda: http.get("/v1/ats", params={"channel": "two"}).status_code == 200)


def test_webhooks_are_answered_all_the_while(served):
    statuses, stop = [], threading.Event()

    def send():
        number = 0
        while not stop.is_set():
            number += 1
            statuses.append(served.receiver.send(order(f"e{number}")).status_code)

    sender = threading.Thread(target=send)
    sender.start()
    for text in (HUB + MORE, HUB, HUB + MORE):
        (served.folder / "hub.yaml").write_text(text)
        before = len(served.made)
        served.activate()
        until(lambda before=before: len(served.made) > before)
    time.sleep(0.3)
    stop.set()
    sender.join()
    assert len(statuses) > 20
    assert set(statuses) == {200}
    [(stored,)] = served.rows("SELECT count(*) FROM hub.inbox")
    assert stored == len(statuses)


def test_what_is_read_after_a_catalogue_change_is_mapped_by_the_new_one(served):
    served.counted(1)
    mapped = "SELECT sku FROM hub.ledger WHERE kind = 'event' ORDER BY ledger_offset"
    until(lambda: served.rows(mapped) == [("A",)])
    served.maps("B")
    served.activate()
    served.counted(2)
    until(lambda: len(served.rows(mapped)) == 2)
    assert served.rows(mapped)[1] == ("B",)


def test_a_mode_set_by_hand_is_shown_and_shares_the_connectors(served):
    with served.ctx.pg.connection() as connection:
        modes.set_override(connection, "web", Mode.OFF, by="ops", reason="", at=utc_now())
    until(lambda: len(served.made) == 2)
    assert served.made[1].stopped == {"web"}
    assert served.made[1].connectors is served.made[0].connectors


def test_a_hub_that_cannot_be_taken_up_leaves_the_old_one_going(served):
    renewals = Renewals(served.ctx)
    with served.ctx.pg.connection() as connection:
        connection.execute(
            "INSERT INTO hub.policy_versions SELECT version + 1, hash, ledger_offset, activated_at,"
            " activated_by, replace(content, 'acme', '{env: NOT_SET_ANYWHERE}')"
            " FROM hub.policy_versions"
        )
    assert renewals.look() is None
    assert renewals.look() is None
    assert renewals.ctx is served.ctx
    assert served.receiver.http.get("/v1/health").status_code == 200
