"""Seven more systems fit the protocol as it is: found as an installed package's connectors are,
their deliveries through the real receiver, their writes by the one sender.
"""

import base64
import hashlib
import hmac
import json
import threading
import time
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from inventory_pipeline.connectors import build, offers
from inventory_pipeline.core.ports import (
    Challenged,
    Connector,
    Delivery,
    Hinting,
    Opening,
    Receipting,
    Write,
)
from inventory_pipeline.flow.push import push_channel
from inventory_pipeline.memory import outbox, sync
from inventory_pipeline.server.app import create_app
from inventory_pipeline.server.verifying import AT_ONCE
from inventory_pipeline_tests.connectors.curve import public_key, signed
from inventory_pipeline_tests.connectors.fitting import (
    SEVEN,
    BigCommerce,
    EBay,
    ShipHero,
)
from inventory_pipeline_tests.connectors.servers import Reply, scripted, serving
from inventory_pipeline_tests.fakes import START, Clock, context, small_hub

MODULE = "inventory_pipeline_tests.connectors.fitting"
PRIVATE = 0xC0FFEE1234567890
WRITTEN = ["bigcommerce", "ebay", "magento", "odoo", "walmart"]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package of somebody else that brings the seven by entry points."""
    about = tmp_path / "seven_systems-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: seven-systems\nVersion: 1.0\n")
    points = "".join(f"{name} = {MODULE}:{made.__name__}\n" for name, made in SEVEN.items())
    (about / "entry_points.txt").write_text(f"[inventory_pipeline.connectors]\n{points}")
    monkeypatch.syspath_prepend(tmp_path)


def built(name, system="shop", **options):
    opening = Opening(
        system=system, options=SEVEN[name].EXAMPLE | options, hub_folder=".", clock=lambda: START
    )
    return build(opening, name)


@pytest.fixture
def hub(installed, pg, tmp_path):
    """The receiver with whatever connectors a test names, on a real port."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(**connectors):
            ctx = context(small_hub(), pg, tmp_path, Clock())
            address = stack.enter_context(serving(create_app(replace(ctx, connectors=connectors))))
            return stack.enter_context(httpx.Client(base_url=address, timeout=20))

        yield start


def kept(pg):
    with pg.connection() as connection:
        return connection.execute(
            "SELECT system, topic, delivery_id FROM hub.inbox ORDER BY inbox_id"
        ).fetchall()


@pytest.mark.parametrize("name", SEVEN)
def test_it_is_found_like_any_installed_connector(installed, name):
    offer = {offer.name: offer for offer in offers()}[name]
    assert (offer.origin, offer.problem) == ("seven-systems", "")
    assert offer.capabilities == SEVEN[name].capabilities
    assert isinstance(built(name), Connector)


# -- deliveries -------------------------------------------------------------------------------

CHANGED = json.dumps(
    {
        "scope": "store/sku/inventory/updated", "store_id": "1", "hash": "116d", "created_at":
        int(START.timestamp()), "producer": "stores/abc",
        "data": {"type": "sku", "id": 461, "inventory": {
            "product_id": 206, "method": "absolute", "value": 5, "variant_id": 509}},
    }
).encode()  # fmt: skip


def standard(body, at=START, secret=BigCommerce.SECRET):
    stamp = str(int(at.timestamp()))
    mac = hmac.digest(secret, f"m1.{stamp}.".encode() + body, "sha256")
    return {
        "webhook-id": "m1", "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }  # fmt: skip


def test_bigcommerce_signs_a_time_and_tells_levels(hub, pg):
    shop = built("bigcommerce")
    http = hub(shop=shop)
    late = START - timedelta(minutes=6)
    sent = [
        (CHANGED, standard(CHANGED)),
        (CHANGED.replace(b"509", b"508"), standard(CHANGED)),
        (CHANGED, standard(CHANGED, late)),
        (CHANGED, standard(CHANGED, secret=b"guessed")),
    ]
    answers = [http.post("/hooks/shop", content=body, headers=head) for body, head in sent]
    assert [answer.status_code for answer in answers] == [200, 401, 401, 401]
    assert answers[0].json() == {"received": True}
    assert kept(pg) == [("shop", "store/sku/inventory/updated", "m1")]
    assert isinstance(shop, Hinting)
    [hint] = shop.hints(
        "store/sku/inventory/updated", Delivery(headers={}, body=CHANGED, received_at=START)
    )
    assert (hint.external_id, hint.quantity_milli, hint.told_at) == ("509", 5_000, START)


def shiphero(kind="Inventory Change"):
    body = {
        "webhook_type": kind, "sku": "A", "warehouse_id": 7, "previous_on_hand": 9,
        "change_in_on_hand": -2, "timestamp": "2026-03-02T07:59:00+00:00",
        "inventory": [{"sku": "A", "inventory": "7"}],
    }  # fmt: skip
    return json.dumps(body).encode()


def test_shiphero_reads_the_answer_that_it_asks_for_once_the_delivery_is_durable(hub, pg):
    source = built("shiphero")
    http = hub(shop=source)
    body = shiphero()
    mac = base64.b64encode(hmac.digest(ShipHero.SECRET, body, "sha256")).decode()
    headers = {"X-Shiphero-Hmac-Sha256": mac, "X-Shiphero-Message-ID": "m7"}
    answer = http.post("/hooks/shop", content=body, headers=headers)
    assert (answer.status_code, answer.content) == (200, b'{"code":"200","Status":"Success"}')
    assert answer.headers["content-type"] == "application/json"
    assert kept(pg) == [("shop", "Inventory Change", "m7")]
    forged = http.post("/hooks/shop", content=body + b" ", headers=headers)
    assert (forged.status_code, b"Success" in forged.content) == (401, False)
    assert http.get("/hooks/shop").status_code == 405, "it asks nothing"
    delivery = Delivery(headers={"x-shiphero-message-id": "m7"}, body=body, received_at=START)
    [event] = source.parse("Inventory Change", delivery)
    assert event.body == {
        "event_id": "m7", "type": "adjusted", "item": "A", "location": "7", "quantity": "-2",
        "occurred_at": "2026-03-02T07:59:00+00:00",
    }  # fmt: skip
    update = replace(delivery, body=shiphero("Inventory Update"))
    assert [hint.quantity_milli for hint in source.hints("Inventory Update", update)] == [7_000]


NOTICE = json.dumps(
    {
        "metadata": {"topic": "MARKETPLACE_ACCOUNT_DELETION", "schemaVersion": "1.0"},
        "notification": {"notificationId": "n1", "publishAttemptCount": 1, "data": {}},
    }
).encode()


def notice(body=NOTICE, private=PRIVATE, kid="k1"):
    said = {"alg": "ecdsa", "kid": kid, "signature": signed(body, private), "digest": "SHA1"}
    return {"X-EBAY-SIGNATURE": base64.b64encode(json.dumps(said).encode()).decode()}


def test_ebay_asks_whose_address_it_is(hub, pg):
    connector = built("ebay")
    assert isinstance(connector, Challenged)
    http = hub(shop=connector)
    answer = http.get("/hooks/shop?challenge_code=a8628072")
    options = EBay.EXAMPLE
    told = "a8628072" + options["token"] + options["endpoint"]
    assert answer.status_code == 200
    assert answer.json() == {"challengeResponse": hashlib.sha256(told.encode()).hexdigest()}
    assert answer.headers["content-type"] == "application/json"
    assert http.get("/hooks/shop").status_code == 400
    assert http.put("/hooks/shop?challenge_code=1").status_code == 405
    assert kept(pg) == []


def test_ebay_is_verified_by_a_key_that_is_asked_for(hub, pg):
    with scripted(Reply(body={"key": public_key(PRIVATE), "algorithm": "ECDSA"})) as keys:
        http = hub(shop=built("ebay", url=keys.url))
        sent = [
            (NOTICE, notice()),
            (NOTICE.replace(b"n1", b"n2"), notice()),
            (NOTICE, notice(private=PRIVATE + 1)),
            (NOTICE, {}),
        ]
        answers = [http.post("/hooks/shop", content=b, headers=h).status_code for b, h in sent]
    assert answers == [200, 401, 401, 401]
    assert [path for path, _ in keys.asked] == ["/commerce/notification/v1/public_key/k1"]
    assert kept(pg) == [("shop", "MARKETPLACE_ACCOUNT_DELETION", "n1")]


def test_while_the_key_cannot_be_had_the_sender_comes_again(hub, pg):
    with scripted(Reply(status=503)) as keys:
        http = hub(shop=built("ebay", url=keys.url))
        answer = http.post("/hooks/shop", content=NOTICE, headers=notice())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert kept(pg) == []


def test_whoever_hangs_while_it_is_verified_keeps_nobody_else_waiting(hub, pg, monkeypatch):
    """Each system has threads of its own, and the event loop none to wait with."""
    monkeypatch.setattr("inventory_pipeline.server.verifying.MOST_WAITING", AT_ONCE + 1)
    go_on = threading.Event()
    hanging = built("ebay")
    hanging.verify = lambda delivery: go_on.wait(8)
    http = hub(shop=hanging, other=built("bigcommerce", system="other"))
    answers = []

    def send():
        answers.append(http.post("/hooks/shop", content=NOTICE).status_code)

    senders = [threading.Thread(target=send, daemon=True) for _ in range(AT_ONCE + 1)]
    for sender in senders:
        sender.start()
    until = time.monotonic() + 5
    while not answers and time.monotonic() < until:
        quick = http.post("/hooks/other", content=CHANGED, headers=standard(CHANGED))
        assert quick.status_code == 200
        if http.post("/hooks/shop", content=NOTICE).status_code == 503:
            break  # too many wait: told at once
    began = time.monotonic()
    assert http.post("/hooks/shop", content=NOTICE).status_code == 503
    assert time.monotonic() - began < 2
    for sender in senders:
        sender.join(20)
    go_on.set()
    assert answers == [503] * (AT_ONCE + 1), "within the time that a sender waits"
    assert {system for system, _, _ in kept(pg)} == {"other"}


# -- writes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITTEN)
def test_the_one_sender_brings_its_number_to_what_it_must_show(installed, pg, tmp_path, name):
    clock = Clock()
    connector = replace_clock(built(name), clock)
    connector.remote["A"] = 10_000
    ctx = context(small_hub(), pg, tmp_path, clock, connector)
    with sync.drain_lock(pg, holder="test", wait=True) as epoch:
        want(ctx, "A", 7)
        for _ in range(4):
            push_channel(ctx, "web", epoch)
            clock.pass_(minutes=3)
    shown = connector.remote["A"] - connector.reserved_milli("A")
    assert shown == 7_000
    assert len(connector.calls) == 1, "told once"
    with pg.connection() as connection:
        waiting = connection.execute("SELECT count(*) FROM hub.outbox WHERE look").fetchone()
    assert waiting == (0,)


def test_walmart_says_later_what_became_of_a_feed(installed):
    assert isinstance(built("walmart"), Receipting)


def test_odoo_applies_nothing_where_another_count_came_between(installed, pg, tmp_path):
    clock = Clock()
    connector = replace_clock(built("odoo"), clock)
    connector.remote["A"] = 10_000
    plain, others = connector.write_levels, [9_000]

    def counted_meanwhile(writes, *, key):
        if others:
            connector.remote["A"] = others.pop()
        return plain(writes, key=key)

    connector.write_levels = counted_meanwhile
    ctx = context(small_hub(), pg, tmp_path, clock, connector)
    with sync.drain_lock(pg, holder="test", wait=True) as epoch:
        want(ctx, "A", 7)
        push_channel(ctx, "web", epoch)
        clock.pass_(minutes=1)
        push_channel(ctx, "web", epoch)
    assert connector.remote["A"] == 7_000
    with pg.connection() as connection:
        outcomes = connection.execute("SELECT outcome FROM hub.attempts ORDER BY sent_at")
        assert [outcome for (outcome,) in outcomes] == ["stale", "acked"]


def test_netsuite_is_a_source_of_snapshots_and_pages(installed):
    source = built("netsuite")
    assert source.capabilities.write is Write.NONE
    [snapshot] = source.snapshots(frozenset())
    assert snapshot.frame["on_hand"].tolist() == ["12"]
    assert list(source.snapshots(frozenset({snapshot.key}))) == []
    cursor, found, more = {}, [], True
    while more:
        page = source.changes(cursor)
        found += [event.position for event in page.events]
        cursor, more = page.cursor, page.more
    assert found == ["1", "2", "3", "4", "5"]


def replace_clock(connector, clock):
    connector.clock = clock
    return connector


def want(ctx, sku, units):
    row = {
        "channel": "web", "bucket": "main", "bucket_external": "1", "external_id": sku,
        "sku": sku, "units_milli": 1000, "desired_milli": units * 1000, "ledger_offset": 1,
        "occurred_at": START, "received_at": START, "listed": True,
    }  # fmt: skip
    with ctx.pg.connection() as connection:
        outbox.store_desired(
            connection, [row], policy_version=1, mapping_version=1, computed_at=ctx.clock()
        )
