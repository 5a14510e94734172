"""Landing: what a system gave is stored once, with how far it was read, or not at all."""

import base64
import hashlib
import hmac
import json
import threading
import time
from datetime import timedelta
from decimal import Decimal

import pyarrow.parquet as pq
import pytest

from inventory_pipeline.config.policy import SnapshotPolicy, System
from inventory_pipeline.connectors import build
from inventory_pipeline.core.errors import SourceUnreachable
from inventory_pipeline.core.ports import Capabilities, ChangePage, Delivery, Opening, RawEvent
from inventory_pipeline.core.vocabulary import MovesAt
from inventory_pipeline.flow import land
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.land import land_changes, land_inbox, land_snapshots
from inventory_pipeline.memory import inbox, ledger
from inventory_pipeline_tests.fakes import START, Clock, context, small_hub

HEAD = "as_of,location,item,on_hand,damaged\n"
SECRET = "hush"


@pytest.fixture
def hub_folder(tmp_path):
    (tmp_path / "hub" / "in").mkdir(parents=True)
    return tmp_path / "hub"


@pytest.fixture
def ctx(pg, tmp_path, hub_folder) -> HubContext:
    """A hub with a warehouse that leaves files and a shop that sends webhooks."""
    hub = small_hub()
    hub.systems["wms"] = System(
        id="wms", connector="files", options={}, locations={"1": "dc"},
        owns=hub.systems["wms"].owns,
        snapshot=SnapshotPolicy(complete=True, max_drop=Decimal(50)),
    )  # fmt: skip
    made = context(hub, pg, tmp_path / "state", Clock())
    files = {"snapshots": "in/*.csv", "events": "in/*.jsonl", "settle_s": 0, "page_lines": 3}
    made.connectors["wms"] = build(
        Opening(system="wms", options=files, hub_folder=str(hub_folder)), "files"
    )
    shop = {
        "url": "http://127.0.0.1:9", "consumer_key": "k", "consumer_secret": "s",
        "webhook_secret": SECRET, "timeout_s": 0.2,
    }  # fmt: skip
    made.connectors["shop"] = build(
        Opening(
            system="shop", options=shop, hub_folder=".", external_ids=frozenset(hub.catalog.items)
        ),
        "woocommerce",
    )
    shop_connector = made.connectors["shop"]
    yield made
    shop_connector.close()


def leave(folder, name, text):
    path = folder / "in" / name
    path.write_text(text)
    return path


def rows(ctx, sql, *values):
    with ctx.pg.connection() as connection:
        return connection.execute(sql, values).fetchall()


def quarantined(ctx):
    return rows(ctx, "SELECT reason, position, raw FROM hub.quarantine ORDER BY quarantine_id")


def event(number, **more):
    body = {
        "event_id": f"e{number}", "type": "pos_sale", "occurred_at": "2026-03-02T07:00:00Z",
        "item": "A", "quantity": 1, "location": "dc",
    } | more  # fmt: skip
    return json.dumps(body) + "\n"


# -- snapshots ------------------------------------------------------------------------------------


def test_a_snapshot_lands_once_as_parquet_and_as_an_entry_of_the_ledger(ctx, hub_folder):
    leave(
        hub_folder, "a.csv", f"{HEAD}2026-03-02T07:00:00Z,1,A,5,1\n2026-03-02T07:00:00Z,1,NO,5,\n"
    )
    seen = []
    report = land_snapshots(ctx, "wms", seen.append)
    assert (report.files, report.rows, report.quarantined) == (1, 2, 1)
    assert report.as_of == START - timedelta(hours=1)
    assert report.reasons == {"unknown_item": 1}
    assert [progress.done for progress in seen] == [1]
    with ctx.pg.connection() as connection:
        (landed,) = ledger.read_snapshots(connection, 0, ledger.head(connection))
    assert (landed.system, landed.states, landed.complete) == ("wms", ("on_hand", "damaged"), True)
    table = pq.read_table(ctx.state / landed.path)
    assert table["on_hand"].to_pylist() == [5_000, None]
    assert landed.path.startswith("landing/wms/20260302T070000")
    assert [reason for reason, _, _ in quarantined(ctx)] == ["unknown_item"]
    assert land_snapshots(ctx, "wms") == land.LandReport(system="wms")
    assert rows(ctx, "SELECT as_of FROM hub.feeds WHERE feed = 'snapshots'") == [(landed.as_of,)]


def test_a_refused_snapshot_is_remembered_and_nothing_of_it_is_applied(ctx, hub_folder):
    leave(hub_folder, "a.csv", f"{HEAD}2026-03-02T07:00:00Z,1,A,5,\n2026-03-02T07:00:00Z,1,A,6,\n")
    leave(hub_folder, "b.csv", "as_of,item\n")
    leave(hub_folder, "c.csv", "as_of,location,item,on_hand\n2026-03-02T07:00:00Z,1\n")
    report = land_snapshots(ctx, "wms")
    assert [one["reason"] for one in report.rejections] == [
        "conflicting_rows", "missing_columns", "unreadable",
    ]  # fmt: skip
    assert report.rejections[0]["source"] == "in/a.csv"
    assert (report.accepted, report.as_of) == ((), None)
    assert rows(ctx, "SELECT count(*) FROM hub.snapshots WHERE status = 'rejected'") == [(3,)]
    assert not list((ctx.state / "landing").rglob("*")) if ctx.state.exists() else True
    assert land_snapshots(ctx, "wms").rejected == ()  # not again and again


def test_max_drop_is_measured_against_the_last_snapshot_that_was_accepted(ctx, hub_folder):
    def lines(hour, items):
        return HEAD + "".join(f"2026-03-02T0{hour}:00:00Z,1,{item},1,\n" for item in items)

    leave(hub_folder, "1.csv", lines(1, "ABC"))
    leave(hub_folder, "2.csv", lines(2, "A"))
    leave(hub_folder, "3.csv", lines(3, "AB"))
    report = land_snapshots(ctx, "wms")
    assert [s.as_of.hour for s in report.accepted] == [1, 3]
    assert [s.reason for s in report.rejected] == ["max_drop"]


def test_all_snapshots_of_a_file_land_or_none(ctx, hub_folder, monkeypatch):
    leave(hub_folder, "a.csv", f"{HEAD}2026-03-02T06:00:00Z,1,A,5,\n2026-03-02T07:00:00Z,1,A,6,\n")
    write, written = land.write_parquet, []

    def killed_at_the_second(state, snapshot):
        written.append(snapshot)
        if len(written) == 2:
            raise KeyboardInterrupt
        return write(state, snapshot)

    monkeypatch.setattr(land, "write_parquet", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        land_snapshots(ctx, "wms")
    assert rows(ctx, "SELECT count(*) FROM hub.snapshots") == [(0,)]
    monkeypatch.undo()
    assert len(land_snapshots(ctx, "wms").accepted) == 2
    # The file that was written for nothing has the name of the one that counts.
    assert len(list((ctx.state / "landing" / "wms").iterdir())) == 2


def test_of_two_snapshots_of_one_moment_the_names_sort_as_their_sources_do(ctx, hub_folder):
    for name in ("b.csv", "a.csv"):
        leave(hub_folder, name, f"{HEAD}2026-03-02T06:00:00Z,1,A,5,\n")
        land_snapshots(ctx, "wms")
    paths = rows(ctx, "SELECT path FROM hub.snapshots ORDER BY source")
    assert paths == sorted(paths)


# -- changes --------------------------------------------------------------------------------------


def test_events_are_read_to_the_end_and_only_once(ctx, hub_folder):
    path = leave(hub_folder, "a.jsonl", "".join(event(n) for n in range(7)))
    assert land_changes(ctx, "wms").accepted == 7
    assert land_changes(ctx, "wms").accepted == 0
    with path.open("a") as file:
        file.write(event(3) + event(4, quantity=9) + "{broken\n" + event(8, item="NO") + event(9))
    count = land_changes(ctx, "wms")
    assert (count.accepted, count.duplicates, count.conflicting, count.quarantined) == (1, 1, 1, 2)
    assert [(reason, position) for reason, position, _ in sorted(quarantined(ctx))] == [
        ("bad_json", "10"), ("conflicting_duplicate", "9"), ("unknown_item", "11"),
    ]  # fmt: skip
    assert rows(ctx, "SELECT max(ledger_offset), count(*) FROM hub.ledger") == [(8, 8)]


class Feed:
    """A shop's change feed that does what a test wants at each page."""

    system = "shop"
    capabilities = Capabilities(changes=True, moves_at=MovesAt.ORDER)

    def __init__(self, *pages):
        self.pages = list(pages)
        self.cursors = []

    def changes(self, cursor):
        self.cursors.append(cursor)
        page = self.pages.pop(0)
        if isinstance(page, Exception):
            raise page
        return page


def page(number, *, more):
    body = json.loads(event(number)) | {
        "type": "order_placed", "order_id": str(number), "line_id": "1",
    }  # fmt: skip
    raw = RawEvent(body=body, source="poll orders", position="1")
    return ChangePage(events=[raw], cursor={"at": number}, more=more)


def test_a_failure_keeps_the_pages_before_it_and_is_recorded_beside_the_feed(ctx):
    away = SourceUnreachable("it is away", system="shop", call="read orders")
    feed = ctx.connectors["shop"] = Feed(page(1, more=True), away)
    with pytest.raises(SourceUnreachable):
        land_changes(ctx, "shop")
    ((cursor, failure),) = rows(ctx, "SELECT cursor, failure FROM hub.feeds WHERE system = 'shop'")
    assert cursor == {"at": 1}
    assert "it is away" in failure
    feed.pages = [page(2, more=False)]
    assert land_changes(ctx, "shop").accepted == 1
    assert feed.cursors == [{}, {"at": 1}, {"at": 1}]
    assert rows(ctx, "SELECT failure FROM hub.feeds WHERE system = 'shop'") == [(None,)]


def test_a_page_and_its_cursor_are_stored_together_or_not_at_all(ctx, monkeypatch):
    ctx.connectors["shop"] = Feed(page(1, more=False), page(1, more=False))

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(land.feeds, "move", killed)
    with pytest.raises(KeyboardInterrupt):
        land_changes(ctx, "shop")
    assert rows(ctx, "SELECT count(*) FROM hub.ledger") == [(0,)]
    monkeypatch.undo()
    assert land_changes(ctx, "shop").accepted == 1


def test_a_feed_without_an_end_is_an_error_with_a_name(ctx, monkeypatch):
    monkeypatch.setattr(land, "MAX_PAGES", 2)
    ctx.connectors["shop"] = Feed(*(page(n, more=True) for n in range(3)))
    with pytest.raises(land.TooManyPages, match="shop: changes"):
        land_changes(ctx, "shop")


def test_two_readers_of_one_feed_take_turns(ctx):
    """The second begins where the first ended, although it began to read before that."""
    inside, go_on = threading.Event(), threading.Event()

    class Slow(Feed):
        def changes(self, cursor):
            self.cursors.append(cursor)
            if not cursor:
                inside.set()
                assert go_on.wait(10)
            return page(cursor.get("at", 0) + 1, more=False)

    feed = ctx.connectors["shop"] = Slow()
    counts = []
    readers = [
        threading.Thread(target=lambda: counts.append(land_changes(ctx, "shop").accepted))
        for _ in range(2)
    ]
    readers[0].start()
    assert inside.wait(10)
    readers[1].start()
    time.sleep(0.2)
    assert feed.cursors == [{}]
    go_on.set()
    for reader in readers:
        reader.join(10)
    assert feed.cursors == [{}, {"at": 1}]
    assert counts == [1, 1]


def test_a_shops_orders_belong_to_the_one_channel_that_it_is(ctx):
    named = page(2, more=False)
    named.events[0].body["channel"] = "elsewhere"
    ctx.connectors["shop"] = Feed(page(1, more=True), named)
    land_changes(ctx, "shop")
    assert rows(ctx, "SELECT channel FROM hub.ledger ORDER BY ledger_offset") == [
        ("web",), ("elsewhere",),
    ]  # fmt: skip
    assert "channel" not in rows(ctx, "SELECT raw FROM hub.ledger")[0][0]


def test_a_warehouses_orders_belong_to_none(ctx, hub_folder):
    leave(hub_folder, "a.jsonl", event(1, type="order_placed", order_id="1", line_id="1"))
    land_changes(ctx, "wms")
    assert rows(ctx, "SELECT channel FROM hub.ledger") == [(None,)]


# -- webhooks -------------------------------------------------------------------------------------


def order(number, **more):
    return {
        "id": number, "status": "processing", "date_created_gmt": "2026-03-02T07:00:00",
        "date_modified_gmt": "2026-03-02T07:00:00",
        "line_items": [{"id": 10 * number, "product_id": 1, "sku": "A", "quantity": 2}],
    } | more  # fmt: skip


def deliver(ctx, body, *, topic="order.created", system="shop"):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    signature = base64.b64encode(hmac.new(SECRET.encode(), raw, hashlib.sha256).digest()).decode()
    headers = {"x-wc-webhook-signature": signature, "x-wc-webhook-topic": topic}
    delivery = Delivery(headers=headers, body=raw, received_at=ctx.clock())
    verified = ctx.connectors["shop"].verify(delivery)
    with ctx.pg.connection() as connection:
        inbox.put(connection, system, verified, delivery)


def test_webhooks_become_events_once(ctx):
    deliver(ctx, order(1))
    deliver(ctx, order(1))
    deliver(ctx, {"id": 7}, topic="product.updated")
    count = land_inbox(ctx)
    assert (count.accepted, count.duplicates, count.quarantined) == (1, 1, 0)
    assert land_inbox(ctx).accepted == 0
    assert rows(ctx, "SELECT event_id, sku, quantity_milli, channel FROM hub.ledger") == [
        ("order/1:line/10:placed", "A", 2_000, "web")
    ]
    assert rows(ctx, "SELECT count(*) FROM hub.inbox WHERE done_at IS NULL") == [(0,)]


def test_a_delivery_that_nobody_understands_is_given_up_with_its_reason(ctx):
    deliver(ctx, {"id": 1})
    deliver(ctx, order(2))
    deliver(ctx, order(3), system="gone")
    deliver(ctx, order(4, line_items=[{"id": 1, "product_id": 1, "sku": "NO", "quantity": 1}]))
    count = land_inbox(ctx)
    assert (count.accepted, count.quarantined) == (1, 1)
    failures = rows(
        ctx, "SELECT failure FROM hub.inbox WHERE failure IS NOT NULL ORDER BY inbox_id"
    )
    assert [("not an order" in f, "no such system" in f) for (f,) in failures] == [
        (True, False), (False, True),
    ]  # fmt: skip
    assert [reason for reason, _, _ in quarantined(ctx)] == ["unknown_item"]


def test_a_delivery_whose_shop_cannot_be_asked_waits(ctx):
    for number in (1, 2):
        deliver(ctx, order(number))
    connector = ctx.connectors["shop"]
    asked = []

    class Silent:
        capabilities = connector.capabilities

        def parse(self, topic, delivery):
            asked.append(topic)
            raise SourceUnreachable("it is away", system="shop", call="read variants")

    ctx.connectors["shop"] = Silent()
    assert land_inbox(ctx).accepted == 0
    assert len(asked) == 1  # not once for each delivery
    ctx.connectors["shop"] = connector
    assert land_inbox(ctx).accepted == 2


def test_the_limit_is_kept(ctx):
    for number in range(3):
        deliver(ctx, order(number + 1))
    assert land_inbox(ctx, limit=2).accepted == 2
    assert land_inbox(ctx, limit=2).accepted == 1


def test_the_same_order_by_webhook_and_by_poll_is_one_event(ctx):
    deliver(ctx, order(1))
    parsed = ctx.connectors["shop"].parse
    delivery = Delivery(headers={}, body=json.dumps(order(1)).encode(), received_at=ctx.clock())
    land_inbox(ctx)
    events = parsed("order.updated", delivery)
    ctx.connectors["shop"] = Feed(ChangePage(events=events, cursor={}, more=False))
    ctx.clock.pass_(minutes=5)
    count = land_changes(ctx, "shop")
    assert (count.accepted, count.duplicates, count.conflicting) == (0, 1, 0)


def test_nothing_unfinished_is_left_in_the_landing_folder(ctx, hub_folder):
    leave(hub_folder, "a.csv", f"{HEAD}2026-03-02T07:00:00Z,1,A,5,1\n")
    land_snapshots(ctx, "wms")
    assert [path.suffix for path in (ctx.state / "landing" / "wms").iterdir()] == [".parquet"]
