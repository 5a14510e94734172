"""What can go wrong between the hub and Square: each says the system, the call and what to do."""

import json
from datetime import timedelta

import pytest
import stamina

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.square import SquareConnector
from inventory_pipeline.connectors.square_changes import change_events
from inventory_pipeline.core.errors import (
    ChannelBusy,
    ChannelRefused,
    HubError,
    OutcomeUnknown,
    SourceRefused,
    SourceUnreachable,
)
from inventory_pipeline.core.ports import Delivery
from inventory_pipeline.simulate.square import SCOPES
from inventory_pipeline_tests.connectors.scripts import scripted
from inventory_pipeline_tests.connectors.servers import Reply, closed_port
from inventory_pipeline_tests.connectors.shops import bodies, polled
from inventory_pipeline_tests.connectors.square_merchants import (
    listing,
    merchant,
    opened,
    write,
)

OPEN: list[SquareConnector] = []


@pytest.fixture(autouse=True)
def at_once():
    with stamina.set_testing(True, attempts=3):
        yield
    while OPEN:
        OPEN.pop().close()


@pytest.fixture
def shop(tmp_path):
    with merchant(tmp_path) as running:
        yield running


def to(url: str, **options) -> SquareConnector:
    OPEN.append(opened(url, **({"role": "channel"} | options)))
    return OPEN[-1]


def error(category: str, code: str, field: str = "") -> dict:
    return {"errors": [{"category": category, "code": code, "detail": "why", "field": field}]}


AUTH = error("AUTHENTICATION_ERROR", "UNAUTHORIZED")
SCOPE = error("AUTHENTICATION_ERROR", "INSUFFICIENT_SCOPES")
THEIRS = error("API_ERROR", "INTERNAL_SERVER_ERROR")
FAST = error("RATE_LIMIT_ERROR", "RATE_LIMITED")
CONFLICT = error("API_ERROR", "CONFLICT")
ODD = {"counts": 5, "changes": 5}
WRONG = error("INVALID_REQUEST_ERROR", "INVALID_VALUE")


@pytest.mark.parametrize(
    ("reply", "reading", "writing", "source"),
    [
        (Reply(status=401, body=AUTH), ChannelRefused, ChannelRefused, SourceRefused),
        (Reply(status=403, body=SCOPE), ChannelRefused, ChannelRefused, SourceRefused),
        (Reply(status=429, body=FAST), ChannelBusy, ChannelBusy, SourceUnreachable),
        (Reply(status=500, body=THEIRS), ChannelBusy, OutcomeUnknown, SourceUnreachable),
        (Reply(status=503, body=b"<html>"), ChannelBusy, OutcomeUnknown, SourceUnreachable),
        (Reply(status=408), ChannelBusy, OutcomeUnknown, SourceUnreachable),
        (Reply(status=409, body=CONFLICT), ChannelBusy, ChannelBusy, SourceUnreachable),
        (Reply(body=b"<html>login</html>"), ChannelBusy, OutcomeUnknown, SourceUnreachable),
        (Reply(body=b'{"counts": [', cut=True), ChannelBusy, OutcomeUnknown, SourceUnreachable),
        (Reply(body=[1]), ChannelBusy, OutcomeUnknown, SourceUnreachable),
        # A 200 that holds an error.
        (Reply(body=THEIRS), ChannelBusy, OutcomeUnknown, SourceUnreachable),
        (Reply(body=FAST), ChannelBusy, ChannelBusy, SourceUnreachable),
        (Reply(body=ODD), ChannelRefused, OutcomeUnknown, SourceRefused),
        (Reply(body=ODD | {"counts": ["?"]}), ChannelRefused, OutcomeUnknown, SourceRefused),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_becomes_the_error_that_says_what_to_do(
    reply, reading, writing, source
):
    with scripted(reply) as script:
        with pytest.raises(reading, match="square: read counts"):
            list(to(script.url).read_levels([listing("SKU-1")]))
        with pytest.raises(writing, match="square: batch-create"):
            to(script.url).write_levels([write("SKU-1", 1_000)], key="k")
        with pytest.raises(source, match="square: read changes") as raised:
            to(script.url).changes({})
        assert "What to do:" in str(raised.value)


def test_wrong_credentials_and_missing_scopes_are_named_and_nothing_secret_shown(shop, tmp_path):
    connector = to(shop.url, access_token=Secret("wrong-token-text"))
    with pytest.raises(SourceRefused, match="UNAUTHORIZED") as raised:
        connector.changes({})
    assert "-text" not in str(raised.value) + repr(connector.__dict__)
    other = tmp_path / "other"
    other.mkdir()
    with merchant(other, scopes=SCOPES - {"INVENTORY_WRITE"}) as limited:
        with pytest.raises(ChannelRefused, match="INVENTORY_WRITE"):
            to(limited.url).write_levels([write("SKU-1", 1_000)], key="k")
        assert list(to(limited.url).read_levels([listing("SKU-1")]))


def test_a_storm_of_429_is_waited_out(shop):
    connector = to(shop.url)
    shop.post("/control/faults", mode="throttle", count=1, only="writes")
    with pytest.raises(ChannelBusy) as raised:
        connector.write_levels([write("SKU-1", 1_000)], key="k")
    assert raised.value.retry_after_s > 0
    assert shop.shown()["SKU-1"] == 10


def test_a_write_that_was_applied_and_not_answered_is_repeated_with_its_key(shop):
    connector = to(shop.url, timeout_s=0.5)
    shop.post("/control/faults", mode="timeout_after_apply", count=1, seconds=1)
    with pytest.raises(OutcomeUnknown):
        connector.write_levels([write("SKU-1", 8_000)], key="k")
    assert shop.shown()["SKU-1"] == 8
    shop.sell("1", 3)
    connector.write_levels([write("SKU-1", 8_000)], key="k")
    assert shop.shown()["SKU-1"] == 5, "what was sold meanwhile is not given back"


def test_a_clock_that_runs_ahead_is_corrected_by_squares_own(shop):
    ahead = lambda: shop.clock() + timedelta(minutes=5)  # noqa: E731
    connector = to(shop.url, clock=ahead)
    list(connector.read_levels([listing("SKU-1")]))  # hears what time it is there
    (outcome,) = connector.write_levels([write("SKU-2", 4_000)], key="k")
    assert not isinstance(outcome.error, ChannelRefused)


def test_a_clock_that_is_far_behind_is_named(shop):
    behind = lambda: shop.clock() - timedelta(days=2)  # noqa: E731
    (outcome,) = to(shop.url, clock=behind).write_levels([write("SKU-2", 4_000)], key="k")
    assert isinstance(outcome.error, ChannelRefused)
    assert "INVALID_TIME" in str(outcome.error)
    assert "clock" in str(outcome.error)


def test_a_refusal_that_names_nobody_is_narrowed_down():
    """Square refuses a batch for one item and does not say which: halves find it."""
    asked = []

    def answer(body):
        asked.append(body)
        counts = [one["physical_count"] for one in body["changes"]]
        if any(one["quantity"] == "3" for one in counts):
            return Reply(status=400, body=WRONG)
        return Reply(body={"counts": counts})

    from inventory_pipeline_tests.connectors import scripts

    class Thinking(scripts.Script):
        def next(self):
            return answer(self.asked[-1][1])

    original, scripts.Script = scripts.Script, Thinking
    try:
        with scripted(Reply()) as script:
            writes = [write(f"SKU-{n}", n * 1_000) for n in range(1, 6)]
            outcomes = to(script.url).write_levels(writes, key="k")
    finally:
        scripts.Script = original
    kinds = [type(one.error).__name__ for one in outcomes]
    assert kinds == ["NoneType", "NoneType", "ChannelRefused", "NoneType", "NoneType"]
    keys = [body["idempotency_key"] for body in asked]
    assert len(set(keys)) == len(keys), "other content, other key"
    assert keys[0] == "k"


@pytest.mark.parametrize(
    ("counts", "kind"),
    [
        ([], OutcomeUnknown),
        ([{"quantity": "4"}], type(None)),
        ([{"quantity": "4.00000"}], type(None)),
        ([{"quantity": "3"}], OutcomeUnknown),
        ([{"quantity": "4.00001"}], OutcomeUnknown),
        ([{"quantity": "many"}], OutcomeUnknown),
        ([{"quantity": "4", "state": "WASTE"}], OutcomeUnknown),
    ],
)
def test_a_write_is_believed_when_the_answer_shows_it(counts, kind):
    place = listing("SKU-1")
    shown = {
        "catalog_object_id": place.external_id, "location_id": place.bucket_external,
        "state": "IN_STOCK",
    }  # fmt: skip
    with scripted(Reply(body={"counts": [shown | one for one in counts]})) as script:
        (outcome,) = to(script.url).write_levels([write("SKU-1", 4_000)], key="k")
        body = script.asked[0][1]
    assert type(outcome.error) is kind
    assert body["ignore_unchanged_counts"] is False
    assert body["changes"][0]["physical_count"]["quantity"] == "4"


COUNT = {
    "type": "PHYSICAL_COUNT",
    "physical_count": {
        "id": "C1", "catalog_object_id": "V", "location_id": "L", "state": "IN_STOCK",
        "quantity": "4", "occurred_at": "2026-03-02T08:00:00Z",
        "created_at": "2026-03-02T08:00:01Z",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    "odd",
    [
        "?", {}, {"type": "NEW"}, {"type": "ADJUSTMENT"}, {"type": "PHYSICAL_COUNT"},
        {"type": "PHYSICAL_COUNT", "physical_count": COUNT["physical_count"] | {"quantity": 4.5}},
    ],
)  # fmt: skip
def test_one_odd_change_goes_to_quarantine_and_stops_no_other(odd):
    with scripted(Reply(body={"changes": [odd, COUNT]})) as script:
        events, cursor = polled(to(script.url, role="source"))
    (bad,) = [event for event in events if event.body is None]
    assert str(json.loads(bad.text)).replace("'4.5'", "4.5") == str(odd)
    assert "not as expected" in bad.error
    assert [b["quantity"] for b in bodies([e for e in events if e.body]).values()] == ["4"]
    assert cursor == {"since": "2026-03-02T08:00:01.000Z"}


def told(change: dict, **more) -> list:
    return change_events(change, lambda name: name, as_orders=False, **more)


def test_an_adjustment_that_a_count_made_is_not_counted_twice():
    one = COUNT["physical_count"] | {"from_state": "NONE", "to_state": "IN_STOCK"}
    assert told({"type": "ADJUSTMENT", "adjustment": one})
    assert told({"type": "ADJUSTMENT", "adjustment": one | {"physical_count_id": "C"}}) == []


@pytest.mark.parametrize("type_", ["ADJUSTMENT", "TRANSFER"])
def test_goods_that_change_their_place_leave_one_and_come_to_the_other(type_):
    states = {"from_state": "IN_STOCK", "to_state": "IN_STOCK"}
    places = {"from_location_id": "L1", "to_location_id": "L2", "location_id": None}
    one = COUNT["physical_count"] | states | places
    gone, there = told({"type": type_, type_.lower(): one})
    assert (gone["location"], gone["quantity"]) == ("L1", "-4")
    assert (there["location"], there["quantity"]) == ("L2", "4")
    assert gone["event_id"] != there["event_id"]


def test_a_webhook_waits_when_square_cannot_be_asked():
    body = {"data": {"object": {"inventory_counts": [{"catalog_object_id": "V"}]}}}
    from datetime import UTC, datetime

    delivery = Delivery(headers={}, body=json.dumps(body).encode(), received_at=datetime.now(UTC))
    with pytest.raises(SourceUnreachable):
        to(closed_port()).parse("inventory.count.updated", delivery)


def test_a_system_that_is_away_is_asked_again_later():
    away = to(closed_port())
    with pytest.raises(SourceUnreachable):
        away.changes({})
    with pytest.raises(ChannelBusy):
        away.write_levels([write("SKU-1", 4_000)], key="k")
    with pytest.raises(ChannelBusy):
        list(away.read_levels(None))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"role": "till"}, "one of source, channel"),
        ({"identify_by": "name"}, "one of id, sku"),
        ({"acces_token": "x"}, "acces_token is unknown"),
        ({"access_token": None}, "access_token is missing"),
        ({"batch_size": 101}, "batch_size must be between"),
        ({"decimals": 5}, "decimals must be between"),
    ],
)
def test_a_wrong_option_is_one_clear_message(options, said):
    with pytest.raises(HubError, match=said):
        opened("http://127.0.0.1:1", **options)
