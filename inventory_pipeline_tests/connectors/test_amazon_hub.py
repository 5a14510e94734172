"""A hub with a warehouse, a seller on Amazon and a till at Square: the whole loop, on Postgres."""

import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from inventory_pipeline.flow import hints
from inventory_pipeline.flow.context import open_context
from inventory_pipeline.flow.drain import drain
from inventory_pipeline.flow.land import land_changes, land_inbox, land_snapshots
from inventory_pipeline.flow.times import utc_now
from inventory_pipeline.memory import inbox
from inventory_pipeline.simulate.square_ledger import variation_id
from inventory_pipeline_tests.connectors.amazon_sellers import RealClock, seller
from inventory_pipeline_tests.connectors.square_merchants import MAIN, SECOND, merchant

HUB = """\
hub: loop
locations:
  dc: {{kind: warehouse}}
  nyc: {{kind: store}}
  fba: {{kind: warehouse}}
systems:
  wms:
    connector: files
    options: {{snapshots: "in/*.csv", settle_s: 0}}
    owns: [{{states: [on_hand, damaged, quality_control, incoming], locations: [dc]}}]
  amazon:
    connector: amazon
    options:
      url: {amazon}
      token_url: {amazon}
      seller_id: A1SELLER
      marketplace_id: ATVPDKIKX0DER
      client_id: app
      client_secret: hush
      refresh_token: refresh
      fba_location: amazons
      queue_url: {amazon}/123456789012/notifications
      aws_region: us-east-1
      aws_access_key_id: AKIDEXAMPLE
      aws_secret_access_key: secret
      queue_wait_s: 0
    locations: {{amazons: fba}}
    owns:
      - states: [on_hand, damaged, quality_control, committed, reserved, incoming]
        locations: [fba]
  till:
    connector: square
    options:
      url: {square}
      access_token: token
      locations: LMAIN
      webhook_secret: hush
      notification_url: {hook}
    locations: {{LMAIN: nyc}}
    owns: [{{states: [on_hand, damaged, quality_control, incoming], locations: [nyc]}}]
  stall:
    connector: square
    options: {{url: {square}, access_token: token, role: channel, locations: LSECOND}}
    locations: {{LSECOND: nyc}}
channels:
  market:
    system: amazon
    mode: live
    skew: 0s
    guard: {{share: 100%, percent: 100}}
    buckets: [{{id: main, locations: [dc, nyc]}}]
  stall:
    system: stall
    mode: live
    skew: 0s
    guard: {{share: 100%, percent: 100}}
    buckets: [{{id: second, external: LSECOND, locations: [nyc]}}]
"""


@pytest.fixture
def world(tmp_path, pg_url):
    """The hub's context and both systems."""
    for name in ("seller", "merchant", "hub/catalog", "hub/in"):
        (tmp_path / name).mkdir(parents=True)
    catalog = "sku,title,price,available\nSKU-1,One,1.00,8\n"
    with (
        seller(tmp_path / "seller", clock=RealClock(), apply_s=0.3) as shop,
        merchant(tmp_path / "merchant", catalog=catalog) as till,
    ):
        hub = tmp_path / "hub"
        text = HUB.format(amazon=shop.url, square=till.url, hook=till.hook)
        (hub / "hub.yaml").write_text(text)
        (hub / "catalog" / "items.csv").write_text("sku,title,kind,decimals,tags\nA,A,simple,0,\n")
        rows = ["amazon,SKU-1,A,1", "amazon,FBA-1,A,1"]
        rows += [f"{system},{variation_id('SKU-1')},A,1" for system in ("till", "stall")]
        names = "system,external_id,sku,units\n" + "\n".join(rows) + "\n"
        (hub / "catalog" / "identifiers.csv").write_text(names)
        at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        (hub / "in" / "stock.csv").write_text(f"as_of,location,item,on_hand\n{at},dc,A,5\n")
        ctx = open_context(hub, tmp_path / "state", pg_url)
        yield ctx, shop, till
        ctx.close()


def land(ctx) -> None:
    for system in ("wms", "amazon", "till"):
        land_snapshots(ctx, system)
    for system in ("amazon", "till", "stall"):
        land_changes(ctx, system)


def work(ctx) -> None:
    drain(ctx, idle=timedelta(0), max_run=timedelta(seconds=20), report=lambda cycles, pushes: None)


def drained_until(ctx, holds, seconds: float = 40) -> None:
    """Drains again and again, as the hub does, until `holds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it does not come to that"
        land(ctx)
        work(ctx)
        time.sleep(0.2)


def rows(ctx, sql: str):
    with ctx.pg.connection() as connection:
        return connection.execute(sql).fetchall()


def test_from_the_warehouse_to_amazon_and_back_by_an_order(world):
    ctx, shop, till = world
    # 5 in the warehouse and 8 at the till; what lies with Amazon is not offered by the seller.
    drained_until(ctx, lambda: shop.shown()["SKU-1"] == 13)
    shop.order("1", SKU_1=4)
    till.sell("t1", 2)
    assert shop.shown()["SKU-1"] == 9
    drained_until(ctx, lambda: shop.shown()["SKU-1"] == 7)
    placed = rows(
        ctx, "SELECT event_id FROM hub.ledger WHERE system = 'amazon' AND type = 'order_placed'"
    )
    assert placed == [("order/701-0000000-0000001:item/100:placed",)], "told twice, counted once"
    drained_until(ctx, lambda: _queue_is_empty(shop))
    assert rows(ctx, "SELECT reason FROM hub.quarantine") == []


@pytest.mark.parametrize("restocks", [True, False])
def test_a_cancelled_order_frees_its_units_whether_amazon_gives_them_back_or_not(world, restocks):
    ctx, shop, _ = world
    drained_until(ctx, lambda: shop.shown()["SKU-1"] == 13)
    shop.order("1", SKU_1=4)
    ordered = "SELECT count(*) FROM hub.ledger WHERE system = 'amazon' AND type = 'order_placed'"
    drained_until(ctx, lambda: rows(ctx, ordered) == [(1,)])
    desired = "SELECT desired_milli FROM hub.outbox WHERE external_id = 'SKU-1'"
    assert rows(ctx, desired) == [(9_000,)]
    shop.post("/storefront/orders/1/cancel")
    if not restocks:
        shop.post("/control/set", sku="SKU-1", available=9)
    drained_until(ctx, lambda: rows(ctx, desired) == [(13_000,)])
    drained_until(ctx, lambda: shop.shown()["SKU-1"] == 13)
    assert rows(ctx, "SELECT reason FROM hub.quarantine") == []


def test_a_quantity_that_was_typed_in_at_amazon_is_read_and_put_right(world, monkeypatch):
    monkeypatch.setattr(hints, "GRACE", timedelta(0))
    ctx, shop, _ = world
    drained_until(ctx, lambda: shop.shown()["SKU-1"] == 13)
    settled = "SELECT count(*) FROM hub.outbox WHERE open_key IS NULL AND NOT look"
    drained_until(ctx, lambda: rows(ctx, settled + " AND external_id = 'SKU-1'") == [(1,)])
    land_changes(ctx, "amazon")
    assert hints.judge_hints(ctx).to_read == 0, "our own write, told back"
    shop.post("/control/set", sku="SKU-1", available=40)
    land_changes(ctx, "amazon")
    assert hints.judge_hints(ctx).to_read == 1
    assert rows(ctx, "SELECT external_id FROM hub.outbox WHERE unread") == [("SKU-1",)]
    drained_until(ctx, lambda: shop.shown()["SKU-1"] == 13)
    assert rows(ctx, "SELECT count(*) FROM hub.reconciliations") == [(0,)]


def _queue_is_empty(shop) -> bool:
    answer = httpx.post(shop.url + "/control/notify", content=_SAYS_NOTHING, trust_env=False)
    return answer.json()["waiting"] <= 1


_SAYS_NOTHING = (
    b'{"NotificationType": "FEED_PROCESSING_FINISHED",'
    b' "NotificationMetadata": {"NotificationId": "n"}}'
)


def test_a_stall_shows_what_the_store_has_and_its_sales_come_back(world):
    ctx, _, till = world
    drained_until(ctx, lambda: till.shown(SECOND).get("SKU-1") == 8)
    till.sell("s1", 3, location=SECOND)
    assert till.shown(SECOND)["SKU-1"] == 5
    land(ctx)
    work(ctx)
    assert till.shown(SECOND)["SKU-1"] == 5, "what was sold is not given back"
    # At the till, which owns the stock, two leave the shelf: the stall must show two less.
    till.sell("t1", 2, location=MAIN)
    drained_until(ctx, lambda: till.shown(SECOND)["SKU-1"] == 3)


def test_a_webhook_of_a_sale_lands_once_however_often_it_comes(world):
    ctx, _, till = world
    connector = ctx.connectors["till"]
    till.sell("t1", 2)
    for delivery in till.wait_for(2):
        verified = connector.verify(delivery)
        with ctx.pg.connection() as connection:
            inbox.put(connection, "till", verified, delivery)
    land_inbox(ctx)
    land_changes(ctx, "till")
    sales = "SELECT quantity_milli FROM hub.ledger WHERE system = 'till' AND type = 'pos_sale'"
    assert rows(ctx, sales) == [(2_000,)]
    assert rows(ctx, "SELECT reason FROM hub.quarantine") == []


def test_amazons_own_stock_becomes_a_position_in_its_states(world):
    ctx, shop, _ = world
    shop.post("/control/fba", sku="FBA-1", fulfillable=20, pending_orders=3, unfulfillable=4)
    report = land_snapshots(ctx, "amazon")
    assert (report.quarantined, report.rejected) == (0, ())
    assert utc_now() - report.as_of < timedelta(minutes=5)
    (accepted,) = report.accepted
    (row,) = accepted.rows.to_pylist()
    assert (row["location"], row["on_hand"], row["damaged"], row["committed"]) == (
        "fba", 27_000, 4_000, 3_000,
    )  # fmt: skip
