"""The guard where it works: a bad snapshot, the real sender, a channel, and a person."""

import string
from dataclasses import replace
from datetime import timedelta

import pytest

from inventory_pipeline.config.policy import PushPolicy
from inventory_pipeline.flow.drain import drain
from inventory_pipeline.memory import guard
from inventory_pipeline_tests.fakes import Clock, FakeChannel, context, happened, land, small_hub

SKUS = string.ascii_letters[:50]


class Shop:
    """Fifty listings that show 40, and what a drain makes of what comes in."""

    def __init__(self, pg, tmp_path):
        self.clock = Clock()
        self.channel = FakeChannel(self.clock, levels=dict.fromkeys(SKUS, 40))
        hub = small_hub(skus=SKUS)
        web = replace(hub.channels["web"], push=PushPolicy(), skew=timedelta(0))
        self.ctx = context(
            replace(hub, channels={"web": web}), pg, tmp_path, self.clock, self.channel
        )
        self.stock(40)

    def stock(self, units, count=50):
        land(self.ctx, complete=False, **dict.fromkeys(SKUS[:count], units))
        return self.drained()

    def drained(self):
        """Every drain is a process of its own, a minute later."""
        self.ctx = replace(self.ctx, tallies={})
        self.clock.pass_(seconds=30)
        report = drain(
            self.ctx, idle=timedelta(0), max_run=timedelta(minutes=1), report=lambda *_: None
        )
        self.clock.pass_(seconds=30)
        return report.pushes["web"]

    def decide(self, verb):
        with self.ctx.pg.connection() as connection:
            rows = guard.held_rows(connection, "web")
            places = [(row.channel, row.bucket, row.external_id) for row in rows]
            return verb(connection, places, by="ops", reason="", at=self.clock())

    def shows(self, count=30):
        return {self.channel.levels[sku] for sku in SKUS[:count]}


@pytest.fixture
def shop(pg, tmp_path):
    return Shop(pg, tmp_path)


def test_a_bad_snapshot_does_not_reach_the_channel_and_sales_do(shop):
    assert shop.stock(0, 30).held == 30
    assert shop.shows() == {40}
    happened(shop.ctx, "order_placed", "a", 3, system="wms", order_id="1", line_id="1")
    shop.channel.levels["b"] -= 2  # the shop sells by itself, and says so
    happened(
        shop.ctx, "order_placed", "b", 2, system="shop", order_id="3", line_id="1", channel="web"
    )
    shop.drained()
    assert (shop.channel.levels["a"], shop.channel.levels["b"]) == (37, 38)
    shop.drained()
    assert (shop.channel.levels["a"], shop.channel.levels["b"]) == (37, 38)


def test_what_is_released_is_sent_and_what_is_rejected_stays_until_the_source_is_mended(shop):
    shop.stock(0, 30)
    assert shop.decide(guard.reject) == 30
    shop.drained()
    assert shop.shows() == {40}
    shop.stock(38, 30)
    assert shop.shows() == {38}
    shop.clock.pass_(minutes=20)
    shop.stock(0, 30)
    assert shop.decide(guard.release) == 30
    assert shop.drained().acked == 30
    assert shop.shows() == {0}


def test_a_corrected_snapshot_ends_the_holds_by_itself(shop):
    shop.stock(0, 30)
    shop.stock(40, 30)
    with shop.ctx.pg.connection() as connection:
        assert guard.held_counts(connection) == {}
        waiting = connection.execute(
            "SELECT count(*) FROM hub.outbox WHERE look OR failure IS NOT NULL"
        ).fetchone()
    assert waiting == (0,)
    assert shop.shows() == {40}
