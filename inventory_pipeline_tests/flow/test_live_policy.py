"""A drain takes up another policy, catalogue or mode on its way, and finishes its batch before."""

import json
import os
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline.flow import context as context_module
from inventory_pipeline.flow.activation import activate_folder
from inventory_pipeline.flow.context import is_outdated, open_context, renewed
from inventory_pipeline.flow.drain import drain
from inventory_pipeline.flow.land import land_changes, land_snapshots
from inventory_pipeline.flow.modes import require_lower, with_overrides
from inventory_pipeline.flow.times import utc_now
from inventory_pipeline.memory import audit, modes, versions
from inventory_pipeline.memory.versions import StaleMapping
from inventory_pipeline_tests.fakes import FakeChannel, context, happened, land, small_hub

HUB = """\
hub: small
locations:
  dc: {kind: warehouse}
systems:
  wms:
    connector: files
    options: {snapshots: "in/*.csv", events: "in/*.jsonl", settle_s: 0}
    owns: [{states: [on_hand, damaged, quality_control, incoming], locations: [dc]}]
  shop:
    connector: files
    options: {snapshots: "shop/*.csv"}
channels:
  web: {system: shop, mode: live, skew: 0s, buckets: [{id: main, locations: [dc]}]}
rules: []
"""
ITEMS = "sku,title,kind,decimals,tags\nA,A,simple,0,\nB,B,simple,0,\nC,C,simple,0,\n"


class SlowShop(FakeChannel):
    """Writes wait until the test lets them go on."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.asked = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.closed = 0

    def write_levels(self, writes, *, key):
        self.asked.set()
        assert self.go_on.wait(20), "nobody let the shop answer"
        return super().write_levels(writes, key=key)

    def close(self):
        self.closed += 1


class Live:
    """A hub folder that is drained in a thread while the test changes it."""

    def __init__(self, folder, url, monkeypatch):
        self.folder = folder / "hub"
        self.state = folder / "state"
        self.url = url
        (self.folder / "catalog").mkdir(parents=True)
        (self.folder / "in").mkdir()
        self.write(HUB)
        (self.folder / "catalog" / "items.csv").write_text(ITEMS)
        self.shop = SlowShop(utc_now, levels={"A": 0, "B": 0, "C": 0})
        build = context_module.build_connectors

        def with_shop(hub, *args):
            return {**build(hub, *args), "shop": self.shop}

        monkeypatch.setattr(context_module, "build_connectors", with_shop)
        self.ctx = open_context(self.folder, self.state, url)
        self.ended = []

    def write(self, text):
        (self.folder / "hub.yaml").write_text(text)

    def stock(self, name, **units):
        at = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
        rows = "".join(f"{at},dc,{sku},{number}\n" for sku, number in units.items())
        path = self.folder / "in" / f"{name}.csv"
        path.write_text("as_of,location,item,on_hand\n" + rows)
        os.utime(path, (1, 1))
        land_snapshots(renewed(self.ctx), "wms")

    def start(self, idle=4.0):
        self.thread = threading.Thread(
            target=lambda: self.ended.append(
                drain(
                    self.ctx, idle=timedelta(seconds=idle), max_run=timedelta(minutes=1),
                    report=lambda *_: None,
                )
            )
        )  # fmt: skip
        self.thread.start()

    def activate(self, **options):
        return activate_folder(self.folder, self.state, self.url, by="ops", **options)

    def set(self, mode):
        with self.ctx.pg.connection() as connection:
            if mode is None:
                modes.lift_override(connection, "web", by="ops", reason="", at=utc_now())
            else:
                modes.set_override(connection, "web", mode, by="ops", reason="", at=utc_now())

    def end(self):
        self.shop.go_on.set()
        self.thread.join(30)
        assert not self.thread.is_alive()
        return self.ended[0]


@pytest.fixture
def live(tmp_path, pg_url, monkeypatch):
    live = Live(tmp_path, pg_url, monkeypatch)
    yield live
    live.ctx.close()


def until(holds, timeout=15.0):
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_running_drain_stops_sending_when_a_person_says_so_and_goes_on_when_it_is_lifted(live):
    live.stock("one", A=10, B=5, C=2)
    live.start()
    until(lambda: live.shop.levels == {"A": 10, "B": 5, "C": 2})
    live.set(Mode.OFF)
    time.sleep(2.5)
    live.stock("two", A=9, B=5, C=2)
    time.sleep(1.0)
    assert live.shop.levels["A"] == 10
    live.set(None)
    until(lambda: live.shop.levels["A"] == 9)
    assert live.end().ended == "idle"


def test_rules_that_are_activated_count_in_the_running_drain(live):
    live.stock("one", A=10, B=5, C=2)
    live.start()
    until(lambda: live.shop.levels == {"A": 10, "B": 5, "C": 2})
    live.write(HUB.replace("rules: []", "rules: [{id: c1, kind: cap, units: 3}]"))
    done = live.activate()
    assert [(c.what, c.name, c.text) for c in done.changes] == [("rule", "c1", "new")]
    assert (done.policy_before, done.policy_version, done.restructured) == (1, 2, False)
    until(lambda: live.shop.levels == {"A": 3, "B": 3, "C": 2})
    report = live.end()
    assert report.ended == "idle"
    assert live.ctx.connectors["shop"] is live.shop


def test_a_batch_under_way_is_finished_and_no_other_is_begun_with_the_old_rules(live):
    live.shop.go_on.clear()
    live.stock("one", A=10, B=5, C=2)
    live.start()
    assert live.shop.asked.wait(15)
    live.write(HUB.replace("rules: []", "rules: [{id: c1, kind: cap, units: 3}]"))
    live.activate()
    time.sleep(0.5)
    live.shop.go_on.set()
    until(lambda: live.shop.levels == {"A": 3, "B": 3, "C": 2})
    live.end()
    old = {write for write in live.shop.writes if write[1] > 3}
    assert len(old) <= 2, "the batch of two that was under way, and nothing after it"
    with live.ctx.pg.connection() as connection:
        open_ = connection.execute(
            "SELECT count(*) FROM hub.attempts WHERE outcome IS NULL OR outcome = 'unknown'"
        ).fetchone()
    assert open_ == (0,)


def test_a_drain_ends_when_channels_change_because_dagster_has_to_know_them(live):
    live.stock("one", A=10, B=5, C=2)
    live.start(idle=20)
    until(lambda: live.shop.levels["A"] == 10)
    live.write(
        HUB.replace("rules:", "  two: {system: shop, buckets: [{id: b, locations: [dc]}]}\nrules:")
    )
    done = live.activate()
    assert done.restructured
    assert ("channel", "two", "new") in [(c.what, c.name, c.text) for c in done.changes]
    assert live.end().ended == "new policy"


def test_a_canary_sends_its_skus_only_from_the_next_batch_on(live):
    live.write(HUB.replace("mode: live,", "mode: live, canary: {skus: [A]},"))
    live.activate()
    live.stock("one", A=10, B=5, C=2)
    live.start()
    until(lambda: live.shop.levels == {"A": 10, "B": 5, "C": 2})
    live.set(Mode.CANARY)
    time.sleep(2.5)
    live.stock("two", A=9, B=4, C=2)
    until(lambda: live.shop.levels["A"] == 9)
    assert live.shop.levels["B"] == 5
    live.set(None)
    until(lambda: live.shop.levels["B"] == 4)
    live.end()


def test_a_dry_run_says_what_would_change_and_changes_nothing(live):
    live.write(HUB.replace("mode: live", "mode: shadow"))
    done = live.activate(dry_run=True)
    assert [(c.what, c.name, c.text) for c in done.changes] == [("mode", "web", "live → shadow")]
    assert not done.changed
    assert not outdated(live.ctx)


def test_an_activation_is_recorded_with_who_and_what(live):
    (live.folder / "catalog" / "items.csv").write_text(ITEMS + "D,D,simple,0,\n")
    live.activate()
    with live.ctx.pg.connection() as connection:
        [act] = audit.recent(connection, action="policy.activate")
    assert (act.by, act.subject) == ("ops", "small")
    assert act.detail["changes"] == ["catalogue items: 1 rows new or changed, 0 gone or changed"]


def test_a_folder_with_a_mistake_changes_nothing(live):
    live.write(HUB.replace("mode: live", "mode: alive"))
    with pytest.raises(HubError, match="alive"):
        live.activate()
    assert not outdated(live.ctx)


def test_other_commands_do_not_activate_what_somebody_is_editing(live):
    live.write(HUB.replace("mode: live", "mode: alive"))
    ctx = open_context(live.folder, live.state, live.url, activate_changes=False)
    assert (ctx.policy_version, ctx.hub.channels["web"].mode) == (1, Mode.LIVE)
    assert ctx.hub.policy_hash == live.ctx.hub.policy_hash
    ctx.close()


def test_a_process_from_before_a_catalogue_change_stores_nothing_by_the_old_catalogue(live):
    (live.folder / "catalog" / "identifiers.csv").write_text(
        "system,external_id,sku,units\nwms,X,A,1\n"
    )
    live.activate()
    old = renewed(live.ctx)
    (live.folder / "catalog" / "identifiers.csv").write_text(
        "system,external_id,sku,units\nwms,X,B,1\n"
    )
    live.activate()
    event = {
        "event_id": "e1", "type": "counted", "occurred_at": "2026-03-02T08:00:00Z", "item": "X",
        "quantity": 4, "location": "dc",
    }  # fmt: skip
    path = live.folder / "in" / "e.jsonl"
    path.write_text(json.dumps(event) + "\n")
    os.utime(path, (1, 1))
    assert outdated(old)
    with pytest.raises(StaleMapping):
        land_changes(old, "wms")
    land_changes(renewed(old), "wms")
    with live.ctx.pg.connection() as connection:
        rows = connection.execute(
            "SELECT sku, mapping_version FROM hub.ledger WHERE kind = 'event'"
        )
        assert rows.fetchall() == [("B", 3)]


def test_a_snapshot_by_the_old_catalogue_is_not_stored_either(live):
    old = live.ctx
    (live.folder / "catalog" / "items.csv").write_text(ITEMS + "D,D,simple,0,\n")
    live.activate()
    path = live.folder / "in" / "s.csv"
    path.write_text("as_of,location,item,on_hand\n2026-03-02T08:00:00Z,dc,D,4\n")
    os.utime(path, (1, 1))
    with pytest.raises(StaleMapping):
        land_snapshots(old, "wms")
    assert land_snapshots(renewed(old), "wms").quarantined == 0


def test_a_process_without_a_new_secret_says_so(live, monkeypatch):
    monkeypatch.setenv("NEW_SECRET", "s")
    more = "  erp: {connector: shopify, options: {store: acme, access_token: {env: NEW_SECRET}}}\n"
    live.write(HUB.replace("channels:\n", more + "channels:\n"))
    live.activate()
    monkeypatch.delenv("NEW_SECRET")
    with pytest.raises(HubError, match="NEW_SECRET"):
        renewed(live.ctx)


def test_a_mode_set_by_hand_never_goes_further_than_hub_yaml():
    hub = small_hub(mode=Mode.SHADOW)
    assert with_overrides(hub, {"web": Mode.LIVE}).channels["web"].mode is Mode.SHADOW
    with pytest.raises(HubError, match="activate"):
        require_lower(hub.channels["web"], Mode.LIVE)
    with pytest.raises(HubError, match=r"canary\.skus"):
        require_lower(small_hub().channels["web"], Mode.CANARY)
    require_lower(small_hub().channels["web"], Mode.OFF)


def test_a_channel_that_is_switched_off_has_its_numbers_computed_all_the_same(pg, tmp_path):
    ctx = context(small_hub(), pg, tmp_path, utc_now, FakeChannel(utc_now, levels={"A": 1}))
    with pg.connection() as connection:
        modes.set_override(connection, "web", Mode.OFF, by="ops", reason="", at=utc_now())
    ctx = renewed(ctx)
    assert ctx.stopped == {"web"}
    land(ctx, A=10)
    before = time.process_time()
    drain(ctx, idle=timedelta(seconds=1), max_run=timedelta(seconds=20), report=lambda *_: None)
    assert time.process_time() - before < 5, "it waits, and does not spin"
    happened(ctx, "goods_issued", "A", 1, location="dc")
    with pg.connection() as connection:
        desired = connection.execute(
            "SELECT desired_milli FROM hub.outbox WHERE sku = 'A'"
        ).fetchone()
    assert desired == (10_000,)
    assert ctx.connectors["shop"].levels == {"A": 1}


def test_the_text_of_overrides_tells_modes_apart(pg):
    with pg.connection() as connection:
        for channel, mode in (("b", Mode.OFF), ("a", Mode.CANARY)):
            modes.set_override(connection, channel, mode, by="x", reason="", at=utc_now())
        held = versions.newest(connection)
        assert held.overrides == "a=canary,b=off"
        assert not held.supersedes(held)
        assert held.supersedes(replace(held, overrides=""))


def outdated(ctx):
    with ctx.pg.connection() as connection:
        return is_outdated(ctx, connection)
