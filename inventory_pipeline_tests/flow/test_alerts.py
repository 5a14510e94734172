"""What people get, through a real SMTP server and a real webhook: once, or later if it failed."""

import email
import email.header
import json
import socket
from datetime import timedelta

import pytest
from aiosmtpd.controller import Controller

from inventory_pipeline.core.breaker import Breaker
from inventory_pipeline.flow.alerts import NotDelivered, send_by_apprise, watch
from inventory_pipeline.memory import alerts, breakers
from inventory_pipeline_tests.connectors.servers import Reply, scripted
from inventory_pipeline_tests.flow.worlds import World

SECRET = "hunter2"


class Mailbox:
    """Every message that the server took."""

    def __init__(self):
        self.messages = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - the library's name
        self.messages.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content)))
        return "250 taken"

    def texts(self):
        return [_texts(message) for _, message in self.messages]


def _texts(message):
    subject = str(email.header.make_header(email.header.decode_header(message["Subject"])))
    parts = [part for part in message.walk() if part.get_content_type().startswith("text/")]
    return subject, parts[0].get_payload(decode=True).decode()


@pytest.fixture
def mail():
    mailbox = Mailbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    address = f"mailto://127.0.0.1:{port}/?from=hub@example.com&to=ops@example.com&mode=insecure"
    yield mailbox, address
    controller.stop()


@pytest.fixture
def world(tmp_path, pg_url):
    made = World(tmp_path, pg_url)
    yield made
    made.close()


def told_at(world, *addresses, quiet=""):
    """The hub with these places to tell, its own first snapshot already there."""
    to = "".join(f"    place{n}: '{address}'\n" for n, address in enumerate(addresses))
    policy = world.folder / "hub.yaml"
    policy.write_text(policy.read_text() + f"alerts:\n{quiet}  to:\n{to}")
    world.open()
    world.snapshot("first", "1,A,5,0")
    world.cycle()
    return world


def breaker(world, *, broken):
    state = Breaker(
        channel="web", state="open" if broken else "closed", since=world.clock(),
        why="shop answered 503",
    )  # fmt: skip
    with world.ctx.pg.connection() as connection:
        breakers.store(connection, state)


def looks(world, count, every=timedelta(seconds=15)):
    told = []
    for _ in range(count):
        world.clock.pass_(seconds=every.total_seconds())
        told += watch(world.ctx)
    return told


def test_an_open_breaker_is_mailed_once_and_its_end_once(world, mail, monkeypatch):
    mailbox, address = mail
    monkeypatch.setenv("HUB_URL", "http://hub.example.com:8400")
    told_at(world, address)
    breaker(world, broken=True)
    looks(world, 20)
    [(subject, text)] = mailbox.texts()
    assert "small: 1 new" in subject
    assert "ERROR web since" in text
    assert "shop answered 503" in text
    assert "http://hub.example.com:8400/pushes?channel=web" in text
    assert mailbox.messages[0][0] == ["ops@example.com"]
    breaker(world, broken=False)
    looks(world, 40)
    assert [subject for subject, _ in mailbox.texts()][1:] == ["small: 1 well again"]


def test_a_webhook_gets_the_same(world):
    with scripted(Reply({"ok": True})) as script:
        told_at(world, script.url.replace("http://", "json://"))
        breaker(world, broken=True)
        looks(world, 5)
    [(_, body)] = script.asked
    sent = json.loads(body) if isinstance(body, (str, bytes)) else body
    assert sent["title"] == "small: 1 new"
    assert "shop answered 503" in sent["message"]


def test_a_message_that_does_not_leave_is_kept_and_sent_later(world, mail):
    mailbox, address = mail
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"mailto://127.0.0.1:{free.getsockname()[1]}/?from=hub@example.com&to=ops@example.com&mode=insecure"
    told_at(world, nobody)
    breaker(world, broken=True)
    looks(world, 4)
    [(failure, attempts)] = world.rows("SELECT failure, attempts FROM hub.notifications")
    assert "did not take the message" in failure
    policy = world.folder / "hub.yaml"
    policy.write_text(policy.read_text().replace(nobody, address))
    world.open()
    world.cycle()
    looks(world, 4, every=timedelta(minutes=1))
    assert len(mailbox.messages) == 1
    assert world.rows(
        "SELECT sent_at IS NOT NULL, attempts > %s FROM hub.notifications", attempts
    ) == [(True, True)]


def test_two_processes_that_look_tell_once(world, mail):
    mailbox, address = mail
    told_at(world, address)
    breaker(world, broken=True)
    looks(world, 3)
    with world.ctx.pg.connection() as other:
        assert alerts.take_turn(other)
        world.clock.pass_(hours=1)
        breaker_news = watch(world.ctx)
    assert breaker_news == []
    assert len(mailbox.messages) == 1


def test_a_hub_that_names_nobody_still_knows_since_when(world):
    world.open()
    world.snapshot("first", "1,A,5,0")
    world.cycle()
    breaker(world, broken=True)
    looks(world, 3)
    with world.ctx.pg.connection() as connection:
        assert "web: breaker_closed" in alerts.known(connection)
    assert world.rows("SELECT count(*) FROM hub.notifications") == [(0,)]


def test_an_address_that_no_service_has_is_refused_without_being_shown():
    from inventory_pipeline.core.verdicts import Level

    with pytest.raises(NotDelivered) as refused:
        send_by_apprise(f"nonsense://{SECRET}", "t", "b", Level.ERROR)
    assert SECRET not in str(refused.value)


def test_positions_below_zero_are_told_and_are_well_once_counted(world, mail):
    mailbox, address = mail
    told_at(world, address)
    at = world.clock().isoformat()
    world.events("wms", "e", {
        "event_id": "1", "type": "pos_sale", "occurred_at": at, "item": "A", "location": "1",
        "quantity": 9,
    })  # fmt: skip
    world.clock.pass_(seconds=1)
    world.cycle()
    assert world.rows("SELECT sku, location, on_hand_milli FROM hub.negative_positions") == [
        ("A", "dc", -4000)
    ]
    looks(world, 5)
    [(_, text)] = mailbox.texts()
    assert "1 positions are below zero" in text
    world.events("wms", "f", {
        "event_id": "2", "type": "counted", "occurred_at": world.clock().isoformat(), "item": "A",
        "location": "1", "quantity": 0,
    })  # fmt: skip
    world.clock.pass_(seconds=1)
    world.cycle()
    assert world.rows("SELECT count(*) FROM hub.negative_positions") == [(0,)]
