"""What runs beside the receiver: reading the inbox, asking systems, and staying calm in trouble."""

import time
from dataclasses import replace
from datetime import timedelta

import pytest
import structlog

from inventory_pipeline.core.errors import PostgresUnavailable, SourceUnreachable
from inventory_pipeline.core.ports import ChangePage, RawEvent
from inventory_pipeline.memory.postgres import Postgres
from inventory_pipeline.server import pollers
from inventory_pipeline.server.app import create_app
from inventory_pipeline.server.pollers import Intake, Trouble, polled_systems
from inventory_pipeline_tests.server.conftest import NOW, SignedShop, order


@pytest.fixture
def logged():
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture
def intake(ctx):
    intake = Intake(ctx)
    yield intake
    intake.stop()


def events(pg: Postgres) -> list[str]:
    with pg.connection() as connection:
        rows = connection.execute(
            "SELECT event_id FROM hub.ledger WHERE kind = 'event' ORDER BY ledger_offset"
        )
        return [event_id for (event_id,) in rows]


def until(condition, seconds=15.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def change(event_id: str) -> ChangePage:
    import json

    event = RawEvent(body=json.loads(order(event_id)), source="poll", position=event_id)
    return ChangePage(events=[event], cursor={"after": event_id}, more=False)


def test_a_webhook_is_in_the_ledger_a_moment_after_its_answer(ctx, pg, serve):
    receiver = serve(create_app(ctx, intake=True))
    assert receiver.send(order("e1")).status_code == 200
    until(lambda: events(pg) == ["e1"])


def test_a_delivery_that_comes_twice_is_one_event(ctx, pg, serve):
    receiver = serve(create_app(ctx, intake=True))
    for _ in range(3):
        assert receiver.send(order("e1")).status_code == 200
    assert receiver.send(order("e2")).status_code == 200
    until(lambda: "e2" in events(pg))
    assert events(pg) == ["e1", "e2"]


def test_deliveries_of_an_earlier_process_are_read_without_being_told(ctx, pg, serve):
    receiver = serve(create_app(ctx))
    assert receiver.send(order("e1")).status_code == 200
    assert events(pg) == []
    intake = Intake(ctx)
    intake.start()
    until(lambda: events(pg) == ["e1"])
    intake.stop()


def test_systems_are_asked_for_changes_again_and_again(intake, shop, pg):
    shop.pages = [change("e1"), change("e2")]
    intake.start()
    until(lambda: events(pg) == ["e1", "e2"])


def test_a_system_that_is_away_is_one_line_when_it_goes_and_one_when_it_is_back(
    ctx, pg, logged, monkeypatch
):
    monkeypatch.setattr(pollers, "MAX_BACKOFF_S", 0.05)
    away = [True]

    class FlakyShop(SignedShop):
        def changes(self, cursor):
            if away[0]:
                raise SourceUnreachable("no answer", system="shop", call="poll")
            return super().changes(cursor)

    shop = FlakyShop()
    shop.pages = [change("e1")]
    shop_ctx = replace(ctx, connectors={"shop": shop})
    intake = Intake(shop_ctx)
    intake.start()
    until(lambda: any(line["event"] == "failing" for line in logged))
    time.sleep(2.5)
    away[0] = False
    until(lambda: events(pg) == ["e1"])
    intake.stop()
    about = [line["event"] for line in logged if line.get("subject") == "poll shop"]
    assert about == ["failing", "works again"]


def test_an_error_that_nobody_foresaw_does_not_end_the_thread(ctx, pg, logged):
    class BrokenShop(SignedShop):
        broken = True

        def changes(self, cursor):
            if self.broken:
                BrokenShop.broken = False
                raise ZeroDivisionError
            return super().changes(cursor)

    shop = BrokenShop()
    shop.pages = [change("e1")]
    intake = Intake(replace(ctx, connectors={"shop": shop}))
    intake.start()
    until(lambda: events(pg) == ["e1"])
    intake.stop()
    assert any(line["log_level"] == "error" for line in logged)


def test_a_trouble_of_another_kind_is_said_again(logged):
    trouble = Trouble("poll shop", lambda: NOW)
    trouble.met(SourceUnreachable("no answer", system="shop", call="poll"))
    trouble.met(SourceUnreachable("no answer", system="shop", call="poll"))
    trouble.met(PostgresUnavailable("gone"))
    trouble.over()
    trouble.over()
    assert [line["event"] for line in logged] == ["failing", "failing", "works again"]
    assert logged[-1]["failures"] == 3


def test_a_lost_postgres_is_one_line_for_all_threads(ctx, logged):
    nowhere = Postgres("postgresql://127.0.0.1:1/hub", patience_s=0.2)
    intake = Intake(replace(ctx, pg=nowhere))
    intake.start()
    until(lambda: logged)
    time.sleep(1.5)
    intake.stop()
    nowhere.close()
    assert [(line["event"], line["subject"]) for line in logged] == [("failing", "Postgres")]


def test_a_failure_that_is_reported_late_does_not_open_the_trouble_again(logged):
    now = [NOW]
    trouble = Trouble("Postgres", lambda: now[0])
    trouble.met(PostgresUnavailable("gone"), tried_at=NOW)
    now[0] = NOW + timedelta(seconds=9)
    trouble.over()
    trouble.met(PostgresUnavailable("gone"), tried_at=NOW + timedelta(seconds=8))
    assert [line["event"] for line in logged] == ["failing", "works again"]


def test_waiting_doubles_up_to_a_ceiling_and_never_below_the_poll():
    trouble = Trouble("poll shop", lambda: NOW)
    waits = []
    for _ in range(8):
        trouble.met(SourceUnreachable("no answer", system="shop", call="poll"))
        waits.append(trouble.backoff_s(2.0))
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]
    assert trouble.backoff_s(90.0) == 90


def test_only_systems_that_can_be_asked_are_polled(ctx):
    assert polled_systems(ctx) == ["shop"]


class DoubtingShop(SignedShop):
    """Knows of something odd, and is asked for it."""

    asked = 0

    def doubts(self) -> list[str]:
        self.asked += 1
        return ["options.events: no file matches '*.jsonl' in /hub"]


@pytest.mark.parametrize("polls", [True, False])
def test_a_poller_says_once_that_it_finds_nothing_to_read(ctx, logged, polls):
    shop = DoubtingShop()
    quick = replace(ctx.hub.systems["shop"], poll=timedelta(seconds=0.02))
    hub = replace(ctx.hub, systems={**ctx.hub.systems, "shop": quick})
    intake = Intake(replace(ctx, hub=hub, connectors={"shop": shop}), poll=polls)
    intake.start()
    time.sleep(0.5)
    intake.stop()
    said = [(line["event"], line["log_level"], line["why"]) for line in logged]
    warned = ("nothing to read yet", "warning", "options.events: no file matches '*.jsonl' in /hub")
    assert said == ([warned] if polls else [])
    assert shop.asked == polls
