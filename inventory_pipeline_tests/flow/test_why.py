"""Every number explained: now and at past moments, with the rules and the pushes of that moment."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from inventory_pipeline.core.errors import HubError
from inventory_pipeline.flow.context import open_context
from inventory_pipeline.flow.cycle import run_cycle
from inventory_pipeline.flow.push import push_channel
from inventory_pipeline.flow.why import why
from inventory_pipeline_tests.fakes import START, Clock, FakeChannel, happened, land

HUB = """\
hub: acme
locations: {dc: {}, nyc: {}}
systems:
  wms:
    connector: files
    options: {snapshots: "wms/*.csv"}
    owns: [{states: [on_hand, damaged, quality_control, incoming], locations: [dc, nyc]}]
  shop:
    connector: "inventory_pipeline_tests.flow.test_why:selling"
    options: {token: {env: SHOP_TOKEN}}
channels:
  web: {system: shop, mode: live, skew: 0s, buckets: [{id: main, locations: [dc, nyc]}]}
  market: {system: shop, mode: shadow, buckets: [{id: all, locations: [dc]}]}
rules:
  - {id: keep, kind: safety_stock, locations: [dc], units: SAFETY}
  - {id: careful, kind: buffer, channels: [web], percent: 10}
  - {id: for-market, kind: protect, for: market, skus: [A], units: 3}
"""
ITEMS = """\
sku,title,kind,decimals,tags
A,Apple,simple,0,
B,Berry,simple,1,
C,Cake,simple,0,
KIT,Kit,bundle,0,
"""
PARTS = "bundle_sku,component_sku,quantity\nKIT,A,1\nKIT,B,2.5\n"


def selling(_opening):
    """The connector of a shop that sells by itself."""
    return FakeChannel(Clock())


class Hub:
    """A hub folder that is started, lives for a while, and is started again with other rules."""

    def __init__(self, folder, pg, state):
        self.folder, self.pg, self.state, self.clock = folder, pg, state, Clock()
        self.channel = FakeChannel(self.clock, levels={"A": 0, "B": 0, "C": 0, "KIT": 0})
        (folder / "catalog").mkdir(parents=True)
        (folder / "catalog" / "items.csv").write_text(ITEMS)
        (folder / "catalog" / "bundles.csv").write_text(PARTS)

    def start(self, *, safety):
        (self.folder / "hub.yaml").write_text(HUB.replace("SAFETY", str(safety)))
        ctx = open_context(self.folder, self.state, self.pg.url, self.clock)
        return replace(ctx, connectors={**ctx.connectors, "shop": self.channel})

    def why(self, sku="A", **options):
        return why(
            self.pg,
            self.state,
            self.folder,
            sku,
            clock=self.clock,
            environ={},
            **options,
        )


@pytest.fixture
def hub(tmp_path, pg, monkeypatch):
    monkeypatch.setenv("SHOP_TOKEN", "secret")
    return Hub(tmp_path / "hub", pg, tmp_path / "state")


@pytest.fixture
def lived(hub):
    """Ten apples with 2 kept; two are ordered; then 4 are kept; each time it is pushed."""
    ctx = hub.start(safety=2)
    land(ctx, A=10, B=7, C=0)
    live(ctx)
    hub.before = hub.clock()
    hub.clock.pass_(minutes=10)
    order(ctx, 2, line_id="1", event_id="o1")
    live(ctx)
    hub.ordered = hub.clock()
    hub.clock.pass_(minutes=10)
    ctx.pg.close()
    ctx = hub.start(safety=4)
    live(ctx)
    hub.clock.pass_(minutes=10)
    hub.ctx = ctx
    yield hub
    ctx.pg.close()


def live(ctx):
    """A cycle and a push, as a drain does them."""
    with ctx.pg.connection() as connection:
        [(epoch,)] = connection.execute("SELECT epoch FROM hub.sync_cursor").fetchall()
    run_cycle(ctx)
    ctx.clock.pass_(seconds=1)
    push_channel(ctx, "web", epoch)
    push_channel(ctx, "market", epoch)


def order(ctx, units, sku="A", **fields):
    """By telephone; the shop's own orders move its own number."""
    named = {"system": "wms", "channel": "web", "order_id": "1001", **fields}
    happened(ctx, "order_placed", sku, units, **named)


def bucket(answer, channel="web"):
    [found] = [b for b in answer.buckets if b.channel == channel]
    return found


def changes(lines):
    return {line.term: line.change_milli // 1000 for line in lines if line.change_milli}


def test_the_number_of_now_is_told_term_by_term(lived):
    answer = bucket(lived.why())
    assert {place.location: changes(place.lines) for place in answer.locations} == {
        "dc": {"on_hand": 10, "safety_stock": -4},
        "nyc": {},
    }
    assert changes(answer.lines) == {
        "sellable": 6, "unassigned": -2, "protected_for_others": -3, "buffer": -1,
    }  # fmt: skip
    assert {line.term: line.rules for line in answer.lines if line.rules} == {
        "protected_for_others": ("for-market",), "buffer": ("careful",),
    }  # fmt: skip
    assert answer.listings[0].desired_milli == answer.lines[-1].after_milli == 0


def outbox(hub):
    with hub.pg.connection() as connection:
        rows = connection.execute("SELECT channel, sku, desired_milli FROM hub.outbox")
        return {(channel, sku): milli for channel, sku, milli in rows}


def test_what_it_explains_is_what_the_outbox_wants(lived):
    explained = {
        (one.channel, sku): one.desired_milli
        for sku in ("A", "B", "C", "KIT")
        for found in lived.why(sku).buckets
        for one in found.listings
    }
    assert explained == outbox(lived)


def test_a_past_moment_has_its_own_rules_and_its_own_push(lived):
    first, second = (bucket(lived.why(at=at)) for at in (lived.before, lived.ordered))
    assert [one.lines[-1].after_milli for one in (first, second)] == [4_000, 2_000]
    assert [one.listings[0].pushed.quantity_milli for one in (first, second)] == [4_000, 2_000]
    assert second.listings[0].pushed_next.quantity_milli == 0
    answer = lived.why(at=lived.ordered)
    assert (answer.moment.policy.version, lived.why().moment.policy.version) == (1, 2)
    assert changes(bucket(answer).locations[0].lines)["safety_stock"] == -2


def test_an_offset_is_explained_as_of_the_time_when_its_entry_was_received(lived):
    with lived.pg.connection() as connection:
        rows = connection.execute("SELECT ledger_offset, received_at, kind FROM hub.ledger")
        [(offset, received_at)] = [(o, at) for o, at, kind in rows if kind == "event"]
    at_order, before_it = lived.why(offset=offset), lived.why(offset=offset - 1)
    assert (at_order.moment.ledger_offset, at_order.moment.at) == (offset, received_at)
    assert bucket(at_order).listings[0].desired_milli == 2_000
    assert bucket(before_it).listings[0].desired_milli == 4_000
    # The push that followed carried this offset.
    assert bucket(at_order).listings[0].pushed_next.desired_offset == offset
    with lived.pg.connection() as connection:
        [(key, milli)] = connection.execute(
            "SELECT key, quantity_milli FROM hub.attempts WHERE sku = 'A' AND channel = 'web'"
            " AND desired_offset = %s",
            (offset,),
        )
    assert bucket(at_order).listings[0].pushed_next.key == key
    assert milli == bucket(at_order).listings[0].desired_milli


def test_the_outbox_says_what_the_channel_must_be_showing_now(lived):
    [listing] = bucket(lived.why()).listings
    assert (listing.outbox.desired_milli, listing.outbox.base_milli) == (0, 0)
    assert listing.showing_milli == 0
    assert bucket(lived.why(at=lived.ordered)).listings[0].showing_milli is None
    lived.clock.pass_(minutes=1)
    order(lived.ctx, 1, sku="B", system="shop", line_id="9", order_id="1009")
    run_cycle(lived.ctx)
    [listing] = bucket(lived.why("B")).listings
    assert listing.outbox.base_milli == 2_000
    assert listing.showing_milli == 1_000


def test_a_shadow_channel_says_that_nothing_was_sent(lived):
    [listing] = bucket(lived.why(), "market").listings
    assert (listing.pushed.outcome, listing.pushed.quantity_milli) == ("shadow", 4_000)


def test_open_order_lines_and_holds_are_listed_with_what_they_promise(lived):
    order(lived.ctx, 1, sku="KIT", order_id="1002", line_id="7", location="dc")
    happened(lived.ctx, "reserved", "KIT", 1, system="shop", reservation_id="cart-1",
             expires_at=lived.clock() + timedelta(hours=1))  # fmt: skip
    happened(lived.ctx, "reserved", "B", 1, system="shop", reservation_id="cart-2")
    happened(lived.ctx, "reservation_released", None, 0, item=None, quantity_milli=None,
             system="shop", reservation_id="cart-2")  # fmt: skip
    answer = lived.why("B")
    [line] = answer.order_lines
    assert (line.order_id, line.item, line.location) == ("1002", "KIT", "dc")
    assert (line.ordered_milli, line.open_milli) == (2_500, 2_500)
    [hold] = answer.reservations
    assert (hold.reservation_id, hold.quantity_milli, hold.location) == ("cart-1", 2_500, None)
    lived.clock.pass_(hours=2)
    assert lived.why("B").reservations == ()
    unassigned = lived.why("A").order_lines[0]
    assert (unassigned.order_id, unassigned.location, unassigned.channel) == ("1001", None, "web")


def words(answer, sku="A"):
    [found] = [p for p in answer.positions if p.sku == sku]
    return {(word.location, word.state): word for word in found.words}


def test_every_position_names_the_entry_that_spoke_last(lived):
    ctx = lived.ctx
    snapshot = words(lived.why())["dc", "on_hand"]
    assert (snapshot.kind, snapshot.system, snapshot.occurred_at) == ("snapshot", "wms", START)
    assert snapshot.source.endswith(".parquet")
    happened(ctx, "adjusted", "A", -1, location="dc", event_id="older")
    lived.clock.pass_(minutes=1)
    happened(ctx, "adjusted", "A", 3, location="dc", event_id="newer")
    happened(ctx, "adjusted", "A", 9, location="dc", event_id="nobody-asked", system="shop")
    happened(ctx, "damaged", "A", 1, location="dc", event_id="broken")
    order(ctx, 1, order_id="1003", line_id="1", location="dc", event_id="o3")
    told = words(lived.why())
    assert {place: word.event_id for place, word in told.items() if word.event_id} == {
        ("dc", "on_hand"): "newer", ("dc", "damaged"): "broken", ("dc", "committed"): "o3",
    }  # fmt: skip
    assert told["dc", "on_hand"].quantity_milli == 12_000
    lived.clock.pass_(minutes=1)
    happened(ctx, "counted", "A", 11, location="dc", event_id="count")
    count = words(lived.why())["dc", "on_hand"]
    assert (count.kind, count.event_id, count.quantity_milli) == ("count", "count", 11_000)


def test_a_bundle_is_told_by_its_components(lived):
    found = bucket(lived.why("KIT"), "market")
    assert {c.sku: (c.units_milli, c.possible_milli) for c in found.components} == {
        "A": (1_000, 4_000), "B": (2_500, 1_000),
    }  # fmt: skip
    assert found.lines[0].after_milli == 1_000
    assert [p.sku for p in lived.why("KIT").positions] == ["A", "B"]


def test_one_channel_is_told_alone(lived):
    answer = lived.why(channel="market")
    assert {b.channel for b in answer.buckets} == {"market"}
    with pytest.raises(HubError, match="there is no channel marke - did you mean 'market'"):
        lived.why(channel="marke")


def test_a_moment_that_the_ledger_does_not_have_is_a_clear_error(lived):
    with pytest.raises(HubError, match=r"no offset 99\n.*goes from 1 to 5"):
        lived.why(offset=99)
    with pytest.raises(HubError, match="no offset 0"):
        lived.why(offset=0)
    with pytest.raises(HubError, match="the ledger was empty"):
        lived.why(at=START - timedelta(seconds=1))
    with pytest.raises(HubError, match="not both"):
        lived.why(at=START, offset=1)
    with pytest.raises(HubError, match="no rules count at offset 1 yet"):
        lived.why(offset=1)


def test_an_unknown_sku_is_met_with_a_near_one(lived):
    with pytest.raises(HubError, match="did you mean 'KIT'"):
        lived.why("KITT")


def test_a_sku_is_explained_with_the_catalogue_of_its_moment(lived):
    items = lived.folder / "catalog" / "items.csv"
    items.write_text(ITEMS + "D,Date,simple,0,\n")
    lived.start(safety=4).pg.close()
    assert lived.why("D").title == "Date"
    with pytest.raises(HubError, match="no sku D in version 1 of the catalogue"):
        lived.why("D", at=lived.ordered)


def test_between_a_catalogue_and_the_rules_of_one_start_nothing_counted(lived):
    items = lived.folder / "catalog" / "items.csv"
    items.write_text(ITEMS.replace("C,Cake,simple,0,\n", ""))
    lived.start(safety=5).pg.close()
    mapping, rules = lived.why().moment.mapping, lived.why().moment.policy
    between = mapping.ledger_offset
    assert rules.ledger_offset == between + 1
    with pytest.raises(
        HubError, match=rf"nothing was computed at offset {between}(?s:.*)--offset {between + 1}"
    ):
        lived.why(offset=between)
    assert lived.why(offset=between + 1).moment.policy == rules
    assert lived.why(offset=between - 1).moment.policy.version == rules.version - 1


def test_asking_changes_nothing(lived):
    def everything():
        with lived.pg.connection() as connection:
            return [
                connection.execute(f"SELECT * FROM hub.{table} ORDER BY 1, 2").fetchall()
                for table in ("outbox", "attempts", "sync_cursor", "counter", "policy_versions")
            ]

    before = everything()
    lived.why(), lived.why("KIT", at=lived.ordered)
    assert everything() == before


def test_an_entry_that_was_long_on_its_way_belongs_to_the_moment_when_it_was_stored(lived):
    before = lived.why(at=lived.ordered).moment
    happened(lived.ctx, "adjusted", "A", 5, location="dc", received_at=START)
    assert lived.why(at=lived.ordered).moment == replace(before, head=before.head + 1)


def test_entries_mean_what_the_catalogue_of_the_moment_makes_of_them(lived):
    told = {
        "event_id": "o5", "type": "order_placed", "occurred_at": lived.clock().isoformat(),
        "order_id": "1005", "line_id": "1", "item": "A", "quantity": 1, "channel": "web",
    }  # fmt: skip
    order(lived.ctx, 1, order_id="1005", line_id="1", event_id="o5", raw=json.dumps(told))
    identifiers = lived.folder / "catalog" / "identifiers.csv"
    identifiers.write_text("system,external_id,sku,units\nwms,A,C,1\nwms,C,A,1\n")
    lived.start(safety=4).pg.close()
    on_hand = {sku: words(lived.why(sku), sku)["dc", "on_hand"].quantity_milli for sku in "AC"}
    assert on_hand == {"A": 0, "C": 10_000}
    [line] = lived.why("C").order_lines
    assert (line.order_id, line.item) == ("1005", "C")
    then = lived.why("A", offset=6)
    assert words(then)["dc", "on_hand"].quantity_milli == 10_000
    assert {line.order_id: line.item for line in then.order_lines} == {"1001": "A", "1005": "A"}
