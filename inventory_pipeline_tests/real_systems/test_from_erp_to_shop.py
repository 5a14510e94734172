"""The example hub between a real Tryton and a real Vendure, both ways."""

import contextlib
import shutil
import threading
import time
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn

from inventory_pipeline.flow.context import open_context
from inventory_pipeline.flow.derived import derived
from inventory_pipeline.flow.drain import drain
from inventory_pipeline.flow.land import land_changes, land_inbox, land_snapshots
from inventory_pipeline.flow.probe import probe
from inventory_pipeline.flow.times import utc_now
from inventory_pipeline.server.app import create_app
from inventory_pipeline_tests.real_systems.servers import EXAMPLE, PASSWORD, WEBHOOK_SECRET

pytestmark = [pytest.mark.real_systems, pytest.mark.timeout(1200)]
PATIENCE_S = 90


@pytest.fixture
def hub(erp, shop, pg_url, tmp_path, monkeypatch):
    """The example's folder with both systems' addresses, open for work, its receiver listening."""
    for name, value in {
        "TRYTON_URL": erp.url,
        "TRYTON_PASSWORD": PASSWORD,
        "VENDURE_URL": shop.url,
        "VENDURE_PASSWORD": PASSWORD,
        "VENDURE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "hub"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("vendure", "tryton", ".state"))
    policy = folder / "hub.yaml"
    text = policy.read_text().replace("snapshot_every_s: 300", "snapshot_every_s: 1")
    policy.write_text(text.replace("lag: 1m", "lag: 1s"))
    suffix = f"{time.time_ns() % 10**9}"
    for path in (folder / "catalog").glob("*.csv"):
        text = path.read_text().replace("MUG", f"MUG-{suffix}").replace("BOWL", f"BOWL-{suffix}")
        path.write_text(text)
    ctx = open_context(folder, tmp_path / "state", pg_url)
    try:
        with receiving(ctx, shop.hub_url):
            yield Hub(ctx, f"MUG-{suffix}", f"BOWL-{suffix}")
    finally:
        ctx.close()


@contextlib.contextmanager
def receiving(ctx, url):
    """The hub's receiver where the shop's plugin sends to."""
    port = urlsplit(url).port
    config = uvicorn.Config(create_app(ctx), host="127.0.0.1", port=port, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield
    server.should_exit = True
    thread.join(10)


class Hub:
    """The hub's verbs, as its schedule calls them."""

    def __init__(self, ctx, mug, bowl):
        self.ctx, self.mug, self.bowl = ctx, mug, bowl

    def settles(self, until, *, poll_shop=True):
        """Reads both systems and drains, again and again, until `until` holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not until():
            assert time.monotonic() < deadline, f"not reached: {self.available()}"
            land_changes(self.ctx, "erp")
            land_inbox(self.ctx)
            if poll_shop:
                land_changes(self.ctx, "shop")
            self.drain()

    def drain(self):
        drain(
            self.ctx,
            idle=timedelta(0),
            max_run=timedelta(seconds=30),
            report=lambda *_: None,
        )

    def available(self):
        """(channel, sku) → what it may sell."""
        with derived(self.ctx) as engine:
            rows = engine.ats().to_pylist()
        return {(row["channel"], row["sku"]): row["available_milli"] // 1000 for row in rows}

    def deliveries(self):
        with self.ctx.pg.connection() as connection:
            return connection.execute(
                "SELECT count(*) FROM hub.inbox WHERE done_at IS NOT NULL AND failure IS NULL"
            ).fetchone()[0]

    def quarantined(self):
        with self.ctx.pg.connection() as connection:
            return connection.execute(
                "SELECT reason, message FROM hub.quarantine WHERE raw LIKE %s",
                (f"%{self.mug}%",),
            ).fetchall()


def test_stock_moves_reach_the_shop_and_sales_are_kept_until_they_are_shipped(hub, erp, shop):
    mug, bowl = hub.mug, hub.bowl
    for sku in (mug, bowl):
        erp.product(sku)
        shop.product(sku)
    erp.count("STO", **{mug: 20, bowl: 3})
    erp.move(mug, 5, "SUP", "STO2")
    assert (shop.shown(mug), shop.shown(bowl)) == (0, 0)

    # What Tryton holds is what can be bought: both warehouses, less the safety stock.
    land_snapshots(hub.ctx, "erp")
    hub.settles(lambda: (shop.shown(mug), shop.shown(bowl)) == (24, 2))

    # A stock move in Tryton reaches the shop.
    erp.move(mug, 10, "SUP", "STO")
    hub.settles(lambda: shop.shown(mug) == 34)
    assert hub.available()["trade", mug] == 29

    # An order in Vendure is told by its webhook; every channel has less, and the shop, which has
    # lowered its own number already, is not lowered twice.
    before = hub.deliveries()
    order = shop.buy(mug, 4)
    hub.settles(lambda: hub.available()["trade", mug] == 25, poll_shop=False)
    assert hub.deliveries() > before
    assert hub.available()["web", mug] == 30
    hub.settles(lambda: shop.shown(mug) == 30)
    assert shop.stock(mug)[1] == 4

    # Tryton ships it and names the order: that proves the shipment, once.
    erp.ship(mug, 4, reference=order["code"])
    hub.settles(lambda: lines(hub, order) == [(0, 4)])
    assert (hub.available()["web", mug], hub.available()["trade", mug]) == (30, 25)
    shop.fulfil(order, 4)
    time.sleep(3)  # past the lag, a snapshot holds what was shipped before
    land_snapshots(hub.ctx, "erp")
    hub.settles(lambda: shop.stock(mug) == (30, 0))
    assert (shop.shown(mug), hub.available()["web", mug]) == (30, 30)

    # Another order is cancelled: its units can be bought again.
    order = shop.buy(mug, 7)
    hub.settles(lambda: hub.available()["web", mug] == 23)
    shop.cancel(order)
    hub.settles(lambda: hub.available()["web", mug] == 30 and shop.shown(mug) == 30)
    assert hub.quarantined() == []


def test_a_probe_tells_of_both_systems_what_is_mapped_and_writes_nothing(hub, erp, shop):
    for sku in (hub.mug, hub.bowl):
        erp.product(sku)
        shop.product(sku, on_hand=1)
    stray = shop.product()
    for system, what in (("erp", "snapshots"), ("shop", "levels")):
        report = probe(hub.ctx.hub, hub.ctx.connectors[system], now=utc_now())
        assert report.usable, report
        reading = next(one for one in report.readings if one.what == what)
        items = next(one for one in reading.coverage if one.what == "items")
        assert items.known == 2
        assert items.unknown >= (system == "shop")
    assert shop.stock(stray) == (0, 0)
    assert (shop.stock(hub.mug), shop.stock(hub.bowl)) == ((1, 0), (1, 0))


def lines(hub, order):
    """(open, shipped) units of the order's lines, as the hub has them."""
    with derived(hub.ctx) as engine:
        rows = engine.order_lines().to_pylist()
    return [
        (row["open_milli"] // 1000, row["shipped_milli"] // 1000)
        for row in rows
        if row["order_id"] == order["code"]
    ]


def test_the_example_folder_can_be_used_as_it_is(monkeypatch):
    from inventory_pipeline.config.load import check_hub
    from inventory_pipeline.flow.connecting import connector_findings

    environ = dict.fromkeys(("TRYTON_URL", "VENDURE_URL"), "http://127.0.0.1:1") | dict.fromkeys(
        ("TRYTON_PASSWORD", "VENDURE_PASSWORD", "VENDURE_WEBHOOK_SECRET"), "x"
    )
    loaded, findings = check_hub(Path(EXAMPLE), environ)
    assert loaded is not None
    assert [f for f in (*findings, *connector_findings(loaded)) if f.severity == "error"] == []
