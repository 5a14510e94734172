"""What can go wrong between the hub and Amazon: each says the system, the call and what to do."""

import httpx
import pytest
import stamina

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.amazon import AmazonConnector
from inventory_pipeline.core.errors import (
    ChannelBusy,
    ChannelRefused,
    HubError,
    OutcomeUnknown,
    SourceRefused,
    SourceUnreachable,
)
from inventory_pipeline_tests.connectors.amazon_sellers import (
    Seller,
    listing,
    opened,
    seller,
    write,
)
from inventory_pipeline_tests.connectors.scripts import scripted
from inventory_pipeline_tests.connectors.servers import Reply, closed_port
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
    with seller(tmp_path) as running:
        yield running


def connected(shop: Seller, **options) -> AmazonConnector:
    OPEN.append(opened(shop.url, clock=shop.clock, **options))
    return OPEN[-1]


def to(url: str, **options) -> AmazonConnector:
    OPEN.append(opened(url, **options))
    return OPEN[-1]


def asked_nothing_but(shop: Seller, *calls: str) -> bool:
    return set(shop.calls()) <= {"token", *calls}


# -- credentials ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"client_id": "other"}, "client_id"),
        ({"client_secret": Secret("wrong-secret-text")}, "client_secret"),
        ({"refresh_token": Secret("wrong-token-text")}, "refresh token"),
    ],
)
def test_wrong_credentials_are_named_and_never_shown(shop, wrong, hint):
    connector = connected(shop, **wrong)
    with pytest.raises(SourceRefused) as error:
        connector.changes({})
    with pytest.raises(ChannelRefused):
        list(connector.read_levels([listing("SKU-1")]))
    text = str(error.value)
    assert "amazon: searchOrders" in text
    assert hint in text
    assert "-text" not in text + repr(connector.__dict__)
    assert asked_nothing_but(shop)


def test_a_token_is_bought_once_and_again_before_it_ends(tmp_path):
    with seller(tmp_path, token_s=3600) as shop:
        connector = connected(shop)
        for _ in range(3):
            list(connector.read_levels([listing("SKU-1")]))
        assert shop.calls()["token"] == 1


def test_a_token_that_ends_early_is_replaced_and_the_call_repeated(shop):
    connector = connected(shop)
    list(connector.read_levels([listing("SKU-1")]))
    shop.post("/control/expire")
    levels = list(connector.read_levels([listing("SKU-1")]))
    assert [level.quantity_milli for level in levels] == [10_000]
    shop.post("/control/expire")
    (outcome,) = connector.write_levels([write("SKU-1", 4)], key="k")
    assert outcome.error is None
    assert shop.calls()["token"] == 3


def test_many_threads_buy_one_token(shop):
    from concurrent.futures import ThreadPoolExecutor

    connector = connected(shop)
    with ThreadPoolExecutor(8) as threads:
        found = list(
            threads.map(lambda n: list(connector.read_levels([listing(f"SKU-{n}")])), range(1, 8))
        )
    assert all(len(levels) == 1 for levels in found)
    assert shop.calls()["token"] == 1


def test_a_token_near_its_end_is_bought_again_before_the_call():
    from inventory_pipeline.connectors.amazon_lwa import LwaTokens

    now = [0.0]
    bought = []

    def answer(request: httpx.Request) -> httpx.Response:
        bought.append(request)
        body = {"access_token": f"t{len(bought)}", "expires_in": 3600}
        return httpx.Response(200, json=body)

    tokens = LwaTokens(
        system="amazon", url="http://127.0.0.1", client_id=Secret("i"), client_secret=Secret("s"),
        refresh_token=Secret("r"), timeout_s=5, monotonic=lambda: now[0],
        transport=httpx.MockTransport(answer),
    )  # fmt: skip
    for at, token in ((0, "t1"), (3_400, "t1"), (3_500, "t2"), (3_600, "t2")):
        now[0] = at
        assert tokens.token().reveal() == token
    tokens.close()


@pytest.mark.parametrize(
    "reply", [Reply(body=b"<html>login</html>"), Reply(status=503), Reply(body=b"", hang_up=True)]
)
def test_when_no_token_can_be_bought_nothing_happened(reply):
    with scripted(Reply(), token=reply) as script:
        connector = to(script.url)
        with pytest.raises(SourceUnreachable, match="no access token"):
            connector.changes({})
        with pytest.raises(ChannelBusy, match="no access token"):
            connector.write_levels([write("SKU-1", 4)], key="k")


@pytest.mark.parametrize("body", [{}, {"access_token": ""}, {"access_token": "x"}, []])
def test_a_token_answer_that_is_none_is_refused(body):
    with (
        scripted(Reply(), token=Reply(body=body)) as script,
        pytest.raises(SourceRefused, match="token_url"),
    ):
        to(script.url).changes({})


# -- scope, shape, storms ---------------------------------------------------------------------

FORBIDDEN = {"errors": [{"code": "Forbidden", "message": "denied", "details": ""}]}
TRUNCATED = Reply(body=b'{"items": [', cut=True)


@pytest.mark.parametrize(
    ("reply", "reading", "source"),
    [
        (Reply(status=403, body=FORBIDDEN), ChannelRefused, SourceRefused),
        (Reply(body=b"<html>maintenance</html>"), ChannelBusy, SourceUnreachable),
        (TRUNCATED, ChannelBusy, SourceUnreachable),
        (Reply(status=500, body={"errors": []}), ChannelBusy, SourceUnreachable),
        (Reply(status=503, body=b"<html>"), ChannelBusy, SourceUnreachable),
        (Reply(status=429, body={"errors": []}), ChannelBusy, SourceUnreachable),
        (Reply(body={"unexpected": 1}), ChannelRefused, SourceRefused),
        (Reply(body=[1]), ChannelBusy, SourceUnreachable),
        (Reply(body={"errors": [{"code": "InternalFailure"}]}), ChannelRefused, SourceRefused),
        (
            Reply(status=302, headers={"Location": "https://x.example"}),
            ChannelRefused,
            SourceRefused,
        ),
    ],
)
def test_an_answer_that_is_none_becomes_the_error_that_says_what_to_do(reply, reading, source):
    with scripted(reply) as script:
        connector = to(script.url)
        with pytest.raises(reading, match="amazon: searchListingsItems"):
            list(connector.read_levels([listing("SKU-1")]))
        with pytest.raises(source, match="amazon: searchOrders") as error:
            connector.changes({})
        assert "What to do:" in str(error.value)


def test_a_missing_role_says_so():
    with scripted(Reply(status=403, body=FORBIDDEN)) as script:
        with pytest.raises(SourceRefused, match="role") as error:
            to(script.url).changes({})
        assert "Forbidden: denied" in str(error.value)
        assert len(script.asked) == 1, "no other token is bought for it"


FOUND = Reply(
    body={
        "numberOfResults": 1,
        "items": [
            {
                "sku": "SKU-1",
                "summaries": [{"marketplaceId": "ATVPDKIKX0DER", "productType": "LUGGAGE"}],
            }
        ],
    }
)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(status=400, body=FORBIDDEN), ChannelRefused),
        (Reply(status=403, body=FORBIDDEN), ChannelRefused),
        (Reply(status=413, body={"errors": []}), ChannelRefused),
        (Reply(status=500), OutcomeUnknown),
        (Reply(body=b"<html>"), OutcomeUnknown),
        (TRUNCATED, OutcomeUnknown),
        (Reply(body={"sku": "SKU-1"}), OutcomeUnknown),
        (Reply(body={"sku": "SKU-1", "status": "ODD", "submissionId": "1"}), OutcomeUnknown),
        (
            Reply(body={"sku": "SKU-1", "status": "INVALID", "submissionId": "1", "issues": []}),
            ChannelRefused,
        ),
    ],
)
def test_a_patch_that_fails_says_what_is_known_of_its_listing(reply, error):
    with scripted(FOUND, reply) as script:
        (outcome,) = to(script.url).write_levels([write("SKU-1", 4)], key="k")
    assert type(outcome.error) is error
    assert outcome.receipt is None
    assert "amazon: patchListingsItem" in str(outcome.error)


def test_a_storm_of_429_stops_the_batch_and_is_waited_out(shop):
    connector = connected(shop)
    writes = [write(f"SKU-{n}", n) for n in range(1, 5)]
    connector.write_levels(writes[:1], key="learn")
    list(connector.read_levels(None))
    shop.post("/control/faults", mode="throttle", count=1, only="writes")
    with pytest.raises(ChannelBusy) as error:
        connector.write_levels(writes, key="k")
    assert error.value.retry_after_s > 0
    assert shop.calls()["patchListingsItem"] == 2, "what follows the 429 is not even sent"


def test_a_429_in_the_middle_leaves_the_others_as_they_went(shop):
    writes = [write(f"SKU-{n}", n) for n in range(1, 5)]
    ok = Reply(body={"sku": "x", "status": "ACCEPTED", "submissionId": "1", "issues": []})
    with scripted(*many_found(), ok, Reply(status=429)) as script:
        outcomes = to(script.url).write_levels(writes, key="k")
    assert [type(one.error) for one in outcomes] == [type(None)] + [ChannelBusy] * 3
    assert [one.receipt is None for one in outcomes] == [False, True, True, True]


def many_found():
    item = FOUND.body["items"][0]
    return [Reply(body={"items": [item | {"sku": f"SKU-{n}"} for n in range(1, 5)]})]


def test_a_write_that_was_taken_and_not_answered_has_an_unknown_outcome(shop):
    connector = connected(shop, timeout_s=0.5)
    list(connector.read_levels(None))
    shop.post("/control/faults", mode="timeout_after_apply", count=1, seconds=1)
    (outcome,) = connector.write_levels([write("SKU-1", 4)], key="k")
    assert isinstance(outcome.error, OutcomeUnknown)
    shop.clock.forward(10)
    assert shop.shown()["SKU-1"] == 4


def test_what_fails_before_a_feed_is_created_changed_nothing(shop):
    connector = connected(shop, feed_from=1)
    list(connector.read_levels(None))
    shop.post("/control/faults", mode="fail", count=3, only="writes")
    with pytest.raises(ChannelBusy, match="createFeedDocument"):
        connector.write_levels([write("SKU-1", 4)], key="k")
    assert "createFeed" not in shop.calls()


def test_a_feed_that_may_have_been_created_is_unknown():
    document = Reply(body={"feedDocumentId": "d", "url": "URL"})
    with scripted(FOUND, document, Reply(), Reply(status=500)) as script:
        document.body = {"feedDocumentId": "d", "url": f"{script.url}/put"}
        with pytest.raises((OutcomeUnknown, ChannelBusy)):
            to(script.url, feed_from=1).write_levels([write("SKU-1", 4)], key="k")


@pytest.mark.parametrize(
    ("report", "error"),
    [
        ({"issues": [], "summary": {"messagesInvalid": 0}}, type(None)),
        ({"issues": [], "summary": {"messagesInvalid": 1}}, OutcomeUnknown),
        (
            {
                "issues": [{"severity": "ERROR", "message": "the header is wrong"}],
                "summary": {"messagesInvalid": 0},
            },
            OutcomeUnknown,
        ),
        (
            {
                "issues": [{"severity": "WARNING", "message": "odd", "messageId": 1}],
                "summary": {"messagesInvalid": 0},
            },
            type(None),
        ),
    ],
)
def test_a_report_is_believed_for_what_it_names(shop, report, error):
    receipt = connected(shop, feed_from=1).write_levels([write("SKU-1", 4)], key="k")[0].receipt
    done = Reply(body={"processingStatus": "DONE", "resultFeedDocumentId": "r"})
    with scripted(done, Reply(body={"url": "?"}), Reply(body=report)) as script:
        script.replies[1].body = {"url": f"{script.url}/report"}
        (outcome,) = to(script.url).poll_receipt(receipt, [write("SKU-1", 4)])
    assert type(outcome.error) is error


@pytest.mark.parametrize(
    "reply",
    [Reply(status=404), Reply(body=b"<html>"), Reply(body=b"\x1f\x8bbroken"), Reply(body=[])],
)
def test_a_report_that_cannot_be_read_is_asked_for_again(shop, reply):
    receipt = connected(shop, feed_from=1).write_levels([write("SKU-1", 4)], key="k")[0].receipt
    done = Reply(body={"processingStatus": "DONE", "resultFeedDocumentId": "r"})
    with scripted(done, Reply(body={}), reply) as script:
        script.replies[1].body = {"url": f"{script.url}/r", "compressionAlgorithm": "GZIP"}
        with pytest.raises(ChannelBusy, match="processing report"):
            to(script.url).poll_receipt(receipt, [write("SKU-1", 4)])


def test_one_odd_listing_does_not_hide_the_others():
    good = FOUND.body["items"][0] | {
        "fulfillmentAvailability": [{"fulfillmentChannelCode": "DEFAULT", "quantity": 3}]
    }
    odd = {"sku": "SKU-2", "fulfillmentAvailability": [{"quantity": "many"}]}
    with scripted(Reply(body={"items": ["?", odd, good]})) as script:
        levels = list(to(script.url).read_levels([listing("SKU-1"), listing("SKU-2")]))
    assert [(one.listing.external_id, one.quantity_milli) for one in levels] == [("SKU-1", 3_000)]


def test_one_odd_order_does_not_hide_the_others():
    from inventory_pipeline_tests.connectors.test_amazon import ORDER

    odd = {"orderId": "701-9-9", "orderItems": [{}]}
    with scripted(Reply(body={"orders": [odd, ORDER, "?"]})) as script:
        events, _ = polled(to(script.url))
    assert len(bodies([event for event in events if event.body])) == 1
    bad = [event for event in events if event.body is None]
    assert [event.position for event in bad] == ["701-9-9", ""]


def test_one_odd_summary_of_amazons_stock_goes_to_quarantine_alone():
    good = {"sellerSku": "A", "inventoryDetails": {"fulfillableQuantity": 3}}
    odd = {"sellerSku": "B", "inventoryDetails": {"fulfillableQuantity": 1.5}}
    page = {"payload": {"inventorySummaries": [odd, good, {"sellerSku": "C"}]}}
    with scripted(Reply(body=page)) as script:
        (snapshot,) = to(script.url, fba_location="fba").snapshots(frozenset())
    rows = {row["item"]: row["on_hand"] for row in snapshot.frame.to_dict("records")}
    assert rows["A"] == "3"
    assert rows["B"].startswith("unreadable")
    assert rows["C"].startswith("unreadable")


def test_a_page_token_that_ended_begins_the_reading_again_and_not_for_ever():
    page = Reply(body={"payload": {"inventorySummaries": []}, "pagination": {"nextToken": "t"}})
    last = Reply(body={"payload": {"inventorySummaries": []}})
    gone = Reply(status=400, body={"errors": [{"code": "InvalidInput", "message": "expired"}]})
    with scripted(page, gone, last) as script:
        assert len(list(to(script.url, fba_location="f").snapshots(frozenset()))) == 1
    with (
        scripted(page, gone, page, gone, page, gone) as script,
        pytest.raises(SourceRefused, match="3 times from the beginning"),
    ):
        list(to(script.url, fba_location="f").snapshots(frozenset()))


def test_a_system_that_is_away_is_asked_again_later():
    away = to(closed_port())
    with pytest.raises(SourceUnreachable):
        away.changes({})
    with pytest.raises(ChannelBusy):
        away.write_levels([write("SKU-1", 4)], key="k")
    with pytest.raises(ChannelBusy):
        list(away.read_levels(None))


# -- options ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": None, "region": "us"}, "one of na, eu, fe"),
        ({"url": None}, "it is missing"),
        ({"selle_id": "x"}, "selle_id is unknown"),
        ({"batch_size": 30_000}, "batch_size must be between"),
        ({"client_secret": None}, "client_secret is missing"),
        ({"url": "ftp://x"}, "no http or https address"),
    ],
)
def test_a_wrong_option_is_one_clear_message(options, said):
    with pytest.raises(HubError, match=said):
        opened("http://127.0.0.1:1", **options)
