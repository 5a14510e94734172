"""What shops tell about levels: read where it is news, left alone where it is an echo."""

import json
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from inventory_pipeline.core.ports import LevelHint
from inventory_pipeline.flow import hints as hints_flow
from inventory_pipeline.flow.hints import judge_hints, keep_hints
from inventory_pipeline.flow.times import utc_now
from inventory_pipeline.server import pollers
from inventory_pipeline.server.app import create_app
from inventory_pipeline.server.pollers import Intake
from inventory_pipeline_tests.connectors.amazon_sellers import RealClock, opened, seller
from inventory_pipeline_tests.reconcile.worlds import (
    CALM_S,
    World,
    shopify_world,
    woocommerce_world,
)
from inventory_pipeline_tests.server.conftest import SignedShop, order
from inventory_pipeline_tests.server.test_intake import until

SHOPS = {"shopify": shopify_world, "woocommerce": woocommerce_world}


@contextmanager
def told_world(kind, pg, folder, serve):
    """A shop whose webhooks reach the hub's own receiver, showing 9 of SKU-1 and 5 of SKU-2."""
    with SHOPS[kind](pg, folder, levels=True) as world:
        world.want(SKU_1=9, SKU_2=5)
        world.push()
        receiver = serve(create_app(world.ctx, intake=True))
        world.shop.forward_to = f"{receiver.url}/hooks/shop"
        yield world
        world.shop.forward_to = ""


def rows(world, sql):
    with world.ctx.pg.connection() as connection:
        return connection.execute(sql).fetchall()


def all_judged(world):
    def judged():
        return rows(world, "SELECT (SELECT count(*) FROM hub.inbox WHERE done_at IS NULL)"
                           " + (SELECT count(*) FROM hub.hints)") == [(0,)]  # fmt: skip

    until(judged)


def unread(world):
    return rows(world, "SELECT external_id FROM hub.outbox WHERE unread ORDER BY 1")


@pytest.mark.parametrize("kind", SHOPS)
def test_what_a_person_types_into_the_shop_is_put_right_without_a_reconciliation(
    kind, pg, tmp_path, serve
):
    with told_world(kind, pg, tmp_path, serve) as world:
        time.sleep(CALM_S)
        world.edit("SKU-1", 40)
        until(lambda: unread(world) == [("SKU-1",)])
        report = world.push()
        assert world.shop.shown()["SKU-1"] == 9
        assert report.acked == 1
        assert rows(world, "SELECT count(*) FROM hub.reconciliations") == [(0,)]


@pytest.mark.parametrize("kind", SHOPS)
def test_the_echo_of_our_own_write_causes_no_reading(kind, pg, tmp_path, serve):
    with told_world(kind, pg, tmp_path, serve) as world:
        time.sleep(CALM_S)
        world.push()
        looks = rows(world, "SELECT looks FROM hub.outbox WHERE external_id = 'SKU-1'")
        came = len(world.shop.deliveries)
        world.want(SKU_1=4)
        world.push()
        world.shop.wait_for(came + 2)  # every webhook comes twice
        until(lambda: rows(world, "SELECT count(*) FROM hub.inbox") != [(0,)])
        all_judged(world)
        assert unread(world) == []
        [(after,)] = rows(world, "SELECT looks FROM hub.outbox WHERE external_id = 'SKU-1'")
        assert after == looks[0][0] + 1, "marked by the new number alone"


def test_an_order_and_its_level_give_nothing_back(pg, tmp_path, serve):
    with told_world("shopify", pg, tmp_path, serve) as world:
        time.sleep(CALM_S)
        world.shop.order("1", SKU_1=2)
        ends = time.monotonic() + 4
        while time.monotonic() < ends:
            world.push()
            assert world.shop.shown()["SKU-1"] == 7
            time.sleep(0.1)
            if rows(world, "SELECT 1 FROM hub.ledger WHERE type = 'order_placed'"):
                world.want(SKU_1=7)
                world.computed()


# -- judging, without a server --------------------------------------------------------------------


@pytest.fixture
def world(pg, tmp_path, monkeypatch):
    monkeypatch.setattr(hints_flow, "GRACE", timedelta(0))
    with shopify_world(pg, tmp_path) as world:
        world.want(SKU_1=9, SKU_2=5)
        world.push()
        yield world


def tell(world: World, *hints: LevelHint):
    with world.ctx.pg.connection() as connection:
        keep_hints(world.ctx, connection, {"shop": hints})
    return judge_hints(world.ctx)


def hint(sku="SKU-1", units=40, **more):
    milli = None if units is None else units * 1000
    return LevelHint(external_id=sku, quantity_milli=milli, **more)


def test_a_number_that_is_not_known_is_read_and_one_that_is_known_is_not(world):
    assert tell(world, hint(units=40), hint("SKU-2", 5)).to_read == 1
    assert unread(world) == [("SKU-1",)]
    assert world.push().acked == 0, "nobody had changed it: it was read, and shows what it must"
    assert unread(world) == []


def test_what_names_no_number_is_read(world):
    assert tell(world, hint(units=None)).to_read == 1


def test_a_listing_that_is_to_be_read_anyway_is_not_written_again(world):
    tell(world, hint(units=40))
    before = rows(world, "SELECT xmin::text, looks FROM hub.outbox WHERE external_id = 'SKU-1'")
    assert tell(world, hint(units=41)).to_read == 0
    assert before == rows(
        world, "SELECT xmin::text, looks FROM hub.outbox WHERE external_id = 'SKU-1'"
    )


def test_of_several_hints_the_newest_counts_in_whatever_order_they_come(world):
    now = utc_now()
    old = hint(units=30, told_at=now + timedelta(seconds=1))
    new = hint(units=9, told_at=now + timedelta(seconds=2))
    assert tell(world, new, old, new).to_read == 0
    assert tell(world, old, new).to_read == 0
    with world.ctx.pg.connection() as connection:
        keep_hints(world.ctx, connection, {"shop": [new]})
    assert tell(world, old).to_read == 0


def test_two_numbers_of_one_moment_are_read(world):
    now = utc_now()
    assert tell(world, hint(units=9, told_at=now), hint(units=30, told_at=now)).to_read == 1


def test_what_was_before_the_newest_write_is_no_news(world):
    assert tell(world, hint(units=30, told_at=utc_now() - timedelta(minutes=1))).to_read == 0


def test_another_place_and_another_item_are_nothing_of_ours(world):
    elsewhere = hint(units=30, bucket_external="gid://shopify/Location/77")
    with capture_logs() as lines:
        assert tell(world, elsewhere, hint("SKU-404", 3), hint("SKU-2", 5)).to_read == 0
    assert rows(world, "SELECT * FROM hub.hints") == []
    [line] = [line for line in lines if line["event"] == "hints of unknown listings"]
    assert (line["system"], line["unknown"], line["told"]) == ("shop", 2, 3)


def test_a_hint_about_a_listing_that_is_being_written_waits_for_the_answer(world):
    with world.ctx.pg.connection() as connection:
        connection.execute("UPDATE hub.outbox SET open_key = 'k' WHERE external_id = 'SKU-1'")
    assert tell(world, hint(units=30)) == hints_flow.HintCount()
    with world.ctx.pg.connection() as connection:
        connection.execute("UPDATE hub.outbox SET open_key = NULL")
    assert judge_hints(world.ctx).to_read == 1


def test_what_waits_for_its_orders_goes_on_waiting(world):
    later = utc_now() + timedelta(minutes=1)
    with world.ctx.pg.connection() as connection:
        connection.execute("UPDATE hub.outbox SET look = true, look_after = %s", (later,))
    tell(world, hint(units=30))
    assert rows(world, "SELECT look_after FROM hub.outbox WHERE unread") == [(later,)]


# -- other systems --------------------------------------------------------------------------------


def test_amazon_tells_of_quantities_that_were_typed_in(tmp_path):
    with seller(tmp_path, clock=RealClock(), apply_s=0) as shop:
        connector = opened(
            shop.url, clock=shop.clock, queue_url=f"{shop.url}/123456789012/notifications",
            aws_region="us-east-1", aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="secret", queue_wait_s=0,
        )  # fmt: skip
        shop.post("/control/set", sku="SKU-3", available=2)
        told, place = [], {}
        for _ in range(5):
            page = connector.changes(place)
            told += page.hints
            place = page.cursor
        connector.close()
    assert [(one.external_id, one.quantity_milli) for one in told] == [("SKU-3", 2_000)]


class Telling(SignedShop):
    """A source whose webhooks only say that something changed."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def parse(self, topic, delivery):
        return []

    def hints(self, topic, delivery):
        return [LevelHint(external_id=json.loads(delivery.body)["item"])]

    def changes(self, cursor):
        self.asked.append(time.monotonic())
        return super().changes(cursor)


def test_a_source_that_tells_of_changes_is_asked_at_once_and_not_too_often(ctx, serve, monkeypatch):
    monkeypatch.setattr(pollers, "LEAST_BETWEEN_POLLS_S", 0.5)
    source = Telling()
    owned = replace(ctx.hub.systems["shop"], owns=ctx.hub.systems["wms"].owns,
                    poll=timedelta(hours=1))  # fmt: skip
    hub = replace(ctx.hub, systems={**ctx.hub.systems, "shop": owned})
    receiver = serve(create_app(replace(ctx, hub=hub, connectors={"shop": source}), intake=True))
    until(lambda: len(source.asked) == 1)
    for number in range(20):
        assert receiver.send(order(f"e{number}")).status_code == 200
        time.sleep(0.05)
    until(lambda: len(source.asked) >= 2)
    time.sleep(1)
    assert 2 <= len(source.asked) <= 5
    gaps = [b - a for a, b in zip(source.asked, source.asked[1:], strict=False)]
    assert min(gaps) >= 0.45


def test_a_hint_of_a_channel_alone_wakes_no_poll(ctx, serve):
    source = Telling()
    calm = replace(ctx.hub.systems["shop"], poll=timedelta(hours=1))
    hub = replace(ctx.hub, systems={**ctx.hub.systems, "shop": calm})
    intake = Intake(replace(ctx, hub=hub, connectors={"shop": source}))
    intake.start()
    until(lambda: len(source.asked) == 1)
    receiver = serve(create_app(replace(ctx, hub=hub, connectors={"shop": source})))
    receiver.send(order("e1"))
    time.sleep(1.5)
    intake.stop()
    assert len(source.asked) == 1
