"""Amazon's notifications: signed calls, hints that are read again, deleted only when stored."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import stamina

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.amazon import AmazonConnector
from inventory_pipeline.connectors.amazon_notifications import KNOWN_IDS, parse
from inventory_pipeline.connectors.amazon_sigv4 import signed_headers
from inventory_pipeline.core.errors import HubError, SourceRefused, SourceUnreachable
from inventory_pipeline_tests.connectors.amazon_sellers import (
    Clock,
    Seller,
    opened,
    queue_options,
    seller,
)
from inventory_pipeline_tests.connectors.servers import closed_port
from inventory_pipeline_tests.connectors.shops import bodies, polled

OPEN: list[AmazonConnector] = []


@pytest.fixture(autouse=True)
def at_once():
    with stamina.set_testing(True, attempts=3):
        yield
    while OPEN:
        OPEN.pop().close()


@pytest.fixture
def shop(tmp_path):
    with seller(tmp_path, duplicates=100) as running:
        yield running


def connected(shop: Seller, **options) -> AmazonConnector:
    given = queue_options(shop.url) | {"orders_since": "2100-01-01"} | options
    OPEN.append(opened(shop.url, clock=shop.clock, **given))
    return OPEN[-1]


def at_rest(connector: AmazonConnector, shop: Seller) -> dict:
    """A cursor after the search, so that only the queue is due."""
    return {"orders": {"asked_at": (shop.clock() + timedelta(hours=1)).isoformat()}}


def waiting(shop: Seller) -> int:
    """Messages in the queue that nobody deleted; one more is put in to hear of it."""
    answer = shop.client.post("/control/notify", content=b"{}")
    return answer.json()["waiting"] - 1


# The published examples of the algorithm: key AKIDEXAMPLE, 30 August 2015, service "service".
EXAMPLES = {
    "GET": "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    "POST": "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
}


@pytest.mark.parametrize("method", list(EXAMPLES))
def test_signatures_are_those_of_the_published_examples(method):
    signed = signed_headers(
        url="https://example.amazonaws.com/", headers={}, body=b"", key_id="AKIDEXAMPLE",
        secret=Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), session_token=None,
        region="us-east-1", service="service", now=datetime(2015, 8, 30, 12, 36, tzinfo=UTC),
        method=method,
    )  # fmt: skip
    assert signed["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={EXAMPLES[method]}"
    )


def test_an_order_is_told_at_once_though_the_search_rests(shop):
    connector = connected(shop)
    shop.order("1", SKU_1=2)
    events, cursor = polled(connector, at_rest(connector, shop))
    placed = bodies(events)["order/701-0000000-0000001:item/100:placed"]
    assert placed["quantity"] == 2
    assert all(event.source == "queue ORDER_CHANGE" for event in events)
    assert shop.calls()["getOrder"] == 1, "a notification that comes twice is read once"
    assert "searchOrders" not in shop.calls()
    assert json.loads(json.dumps(cursor)) == cursor


def test_a_message_is_deleted_only_after_its_page_was_stored(shop):
    connector = connected(shop)
    shop.order("1", SKU_1=2)
    start = at_rest(connector, shop)
    page = connector.changes(start)
    assert len(page.events) == 1
    assert page.more
    assert waiting(shop) == 4  # two notifications, each twice: received, not deleted
    # The process dies before it stores the page: after a while everything comes again.
    shop.clock.forward(200)
    again = connector.changes(at_rest(connector, shop))
    assert [e.body for e in again.events if e.body] == [e.body for e in page.events]
    # Stored: the next call, with the stored cursor, deletes them.
    connector.changes(again.cursor)
    assert waiting(shop) < 4
    events, _ = polled(connector, again.cursor)
    assert [event.body for event in events if event.body] == []


def test_a_notification_whose_deletion_was_lost_is_recognized(shop):
    connector = connected(shop)
    shop.order("1", SKU_1=2)
    page = connector.changes(at_rest(connector, shop))
    shop.clock.forward(200)  # they are visible again before anybody deletes them
    kept = page.cursor | {"queue": page.cursor["queue"] | {"stored": []}}
    again = connector.changes(kept)
    assert again.events == []
    assert shop.calls()["getOrder"] == 1


def test_every_notification_has_an_id_of_its_own_though_the_queue_was_empty_in_between(shop):
    connector = connected(shop)
    shop.order("1", SKU_1=1)
    told, place = polled(connector, at_rest(connector, shop))
    assert {body["type"] for body in bodies(told).values()} == {"order_placed"}
    shop.post("/storefront/orders/1/cancel")
    after, _ = polled(connector, place)
    assert "order_cancelled" in {body["type"] for body in bodies(after).values()}


def test_the_ids_that_are_remembered_are_bounded(shop):
    connector = connected(shop)
    for number in range(KNOWN_IDS + 5):
        body = {
            "NotificationType": "FEED_PROCESSING_FINISHED",
            "NotificationMetadata": {"NotificationId": f"n{number}"},
        }
        shop.post("/control/notify", **body)
    _, cursor = polled(connector, at_rest(connector, shop))
    assert cursor["queue"]["known"] == [f"n{n}" for n in range(5, KNOWN_IDS + 5)]
    assert cursor["queue"]["stored"] == []


@pytest.mark.parametrize(
    "text",
    [
        b"no JSON", b"[]", b"{}", b'{"NotificationType": "ORDER_CHANGE"}',
        b'{"NotificationType": "NEW_THING", "NotificationMetadata": {"NotificationId": "1"}}',
        b'{"NotificationType": "ORDER_CHANGE", "NotificationMetadata": {"NotificationId": "1"}}',
    ],
)  # fmt: skip
def test_a_message_that_nobody_understands_is_kept_aside_and_stops_no_other(shop, text):
    connector = connected(shop)
    shop.client.post("/control/notify", content=text)
    shop.order("1", SKU_1=2)
    events, _ = polled(connector, at_rest(connector, shop))
    (odd,) = [event for event in events if event.body is None]
    assert odd.text == text.decode()
    assert "not a notification" in odd.error
    assert len([event for event in events if event.body]) == 1


def test_an_order_that_is_not_there_or_shipped_by_amazon_says_nothing(shop):
    connector = connected(shop)
    change = {"AmazonOrderId": "701-0000000-0000099", "Summary": {"FulfillmentType": "MFN"}}
    by_amazon = {"AmazonOrderId": "701-0000000-0000098", "Summary": {"FulfillmentType": "AFN"}}
    for number, one in enumerate((change, by_amazon)):
        body = {
            "NotificationType": "ORDER_CHANGE",
            "Payload": {"OrderChangeNotification": one},
            "NotificationMetadata": {"NotificationId": f"n{number}"},
        }
        shop.post("/control/notify", **body)
    assert polled(connector, at_rest(connector, shop))[0] == []
    assert shop.calls()["getOrder"] == 1


def test_notifications_are_also_read_in_the_envelope_of_eventbridge_and_in_small_letters():
    inner = {
        "notificationType": "FEED_PROCESSING_FINISHED",
        "payload": {},
        "notificationMetadata": {"notificationId": "n1"},
    }
    assert parse(json.dumps(inner)).id == "n1"
    assert parse(json.dumps({"version": "0", "detail": inner})).type == "FEED_PROCESSING_FINISHED"


def test_when_the_search_fails_the_queue_is_still_read(shop):
    connector = connected(shop, orders_since="2026-10-01")
    shop.order("1", SKU_1=2)
    shop.post("/control/faults", mode="fail", count=3, only="reads")
    with pytest.raises(SourceUnreachable):
        connector.changes({})
    page = connector.changes({})
    assert [event.source for event in page.events] == ["queue ORDER_CHANGE"]
    shop.clock.forward(61)
    assert "orders" in connector.changes(page.cursor).cursor


def test_when_the_queue_fails_the_search_is_still_read(shop):
    connector = connected(shop, queue_url=closed_port() + "/1/q", orders_since="2026-01-01")
    shop.order("1", SKU_1=2)
    page = connector.changes({})
    assert len(page.events) == 1
    assert page.more
    with pytest.raises(SourceUnreachable, match="ReceiveMessage"):
        connector.changes(page.cursor)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"aws_secret_access_key": Secret("wrong-key-text")}, "SignatureDoesNotMatch"),
        ({"queue_url": "/999/other"}, "QueueDoesNotExist"),
    ],
)
def test_a_queue_that_refuses_says_what_to_check(shop, options, said):
    if "queue_url" in options:
        options = {"queue_url": shop.url + options["queue_url"]}
    connector = connected(shop, **options)
    with pytest.raises(SourceRefused, match=said) as error:
        connector.changes(at_rest(connector, shop))
    assert "aws_access_key_id" in str(error.value)
    assert "wrong-key" not in str(error.value)


def test_a_clock_that_is_wrong_is_named(shop):
    late = Clock(now=shop.clock() - timedelta(hours=1))
    OPEN.append(opened(shop.url, clock=late, **queue_options(shop.url)))
    rest = {"orders": {"asked_at": shop.clock().isoformat()}}
    with pytest.raises(SourceRefused, match="RequestExpired") as error:
        OPEN[-1].changes(rest)
    assert "clock" in str(error.value)


def test_a_queue_needs_its_keys_and_a_region():
    with pytest.raises(HubError, match="aws_access_key_id"):
        opened("http://127.0.0.1:1", queue_url="https://sqs.us-east-1.amazonaws.com/1/q")
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s"}
    with pytest.raises(HubError, match="names no region"):
        opened("http://127.0.0.1:1", queue_url="https://queue.example.com/1/q", **keys)
    opened(
        "http://127.0.0.1:1", queue_url="https://sqs.eu-west-1.amazonaws.com/1/q", **keys
    ).close()


def test_a_search_that_is_always_due_does_not_keep_the_queue_waiting(shop):
    connector = connected(shop, orders_every_s=0, orders_since="2026-10-01")
    shop.order("1", SKU_1=2)
    events, cursor = polled(connector)
    assert {event.source for event in events} == {"poll orders", "queue ORDER_CHANGE"}
    assert shop.calls()["searchOrders"] <= 3
    assert cursor["queue"]["stored"] == []
