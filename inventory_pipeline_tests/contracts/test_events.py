"""What each type of event must have, and what becomes of the rest (SEMANTICS §4)."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory_pipeline.contracts.events import SHAPES, check_events
from inventory_pipeline.contracts.values import canonical
from inventory_pipeline.core.ports import RawEvent
from inventory_pipeline.core.vocabulary import EventType
from inventory_pipeline_tests.contracts.small import NOW, raw_event, small_hub

HUB = small_hub()
PLACED = {
    "event_id": "e1", "type": "order_placed", "occurred_at": "2026-03-02T08:05:00Z",
    "order_id": "1001", "line_id": "1", "item": "CASE", "quantity": 2, "channel": "web",
}  # fmt: skip
EVERYTHING = {
    "event_id": "e1", "occurred_at": "2026-03-02T08:05:00Z", "item": "SHIRT", "quantity": 1,
    "location": "1", "to_location": "nyc", "reference": "PO-1", "order_id": "1001", "line_id": "1",
    "reservation_id": "r1", "channel": "web", "expires_at": "2026-03-02T09:05:00+01:00",
    "expected_at": "2026-03-09T08:05:00Z", "disposition": "restock", "reason": "found",
}  # fmt: skip


def check(**body):
    events, bad = check_events(HUB, "wms", [raw_event(**body)], NOW)
    assert len(events) + len(bad) == 1
    return events[0] if events else bad[0]


def test_an_event_is_mapped_exact_and_kept_as_received():
    event = check(**PLACED)
    assert (event.sku, event.item, event.quantity_milli) == ("MUG", "CASE", 24_000)
    assert event.occurred_at == datetime(2026, 3, 2, 8, 5, tzinfo=UTC)
    assert (event.received_at, event.channel, event.location) == (NOW, "web", None)
    assert (event.source, event.position) == ("events.jsonl", "7")
    assert json.loads(event.raw) == PLACED


@pytest.mark.parametrize("type_", list(EventType))
def test_every_type_is_accepted_with_all_of_its_fields(type_):
    event = check(**EVERYTHING | {"type": type_.value})
    assert event.type == type_
    shape = SHAPES[type_]
    for name in ("location", "order_id", "reservation_id", "expected_at", "disposition"):
        assert (getattr(event, name) is not None) == (name in shape.required + shape.optional)
    assert (event.sku == "SHIRT") == shape.goods


REQUIRED = [(t, name) for t, shape in SHAPES.items() for name in shape.required]
GOODS = [
    (t, name)
    for t, shape in SHAPES.items()
    if shape.goods and t is not EventType.ORDER_CANCELLED
    for name in ("item", "quantity")
]


@pytest.mark.parametrize(("type_", "name"), REQUIRED + GOODS)
@pytest.mark.parametrize("missing", ["absent", None, " "])
def test_a_missing_field_is_a_missing_key_and_is_named(type_, name, missing):
    body = EVERYTHING | {"type": type_.value}
    if missing == "absent":
        del body[name]
    else:
        body[name] = missing
    bad = check(**body)
    if missing == " " and name in {"quantity", "expected_at"}:
        assert bad.reason in {"bad_number", "bad_time", "missing_key"}
    else:
        assert bad.reason == "missing_key"
    assert name in bad.message


@pytest.mark.parametrize("type_", list(EventType))
@pytest.mark.parametrize("name", ["event_id", "type", "occurred_at"])
def test_every_event_says_which_it_is_and_when(type_, name):
    body = EVERYTHING | {"type": type_.value}
    del body[name]
    assert check(**body).reason == "missing_key"


@pytest.mark.parametrize("type_", list(EventType))
def test_only_four_types_may_be_negative(type_):
    found = check(**EVERYTHING | {"type": type_.value, "quantity": -1})
    signed = {"adjusted", "damaged", "quality_held", "order_adjusted"}
    no_goods = {"payment_failed", "payment_recovered", "reservation_released"}
    if type_ in signed | no_goods:
        assert found.type == type_
    else:
        assert found.reason == "negative_quantity"


@pytest.mark.parametrize("type_", list(EventType))
def test_a_bundle_may_be_sold_and_held_but_has_no_stock(type_):
    found = check(**EVERYTHING | {"type": type_.value, "item": "KIT"})
    allowed = {
        "reserved", "reservation_released", "order_placed", "order_adjusted", "order_cancelled",
        "order_fulfilled", "fulfilment_cancelled", "payment_failed", "payment_recovered",
        "goods_issued", "pos_sale", "returned",
    }  # fmt: skip
    if type_ in allowed:
        assert found.type == type_
    else:
        assert found.reason == "bundle_has_no_stock"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": "sold"}, "unknown_type"),
        ({"type": 7}, "unknown_type"),
        ({"item": "NOBODY"}, "unknown_item"),
        ({"location": "moon"}, "unknown_location"),
        ({"occurred_at": "2026-03-02T08:05:00"}, "bad_time"),
        ({"occurred_at": 1772438700}, "bad_time"),
        ({"occurred_at": "0001-01-01T00:00:00+23:00"}, "bad_time"),
        ({"quantity": "two"}, "bad_number"),
        ({"quantity": True}, "bad_number"),
        ({"quantity": [2]}, "bad_number"),
        ({"quantity": 0.1}, "bad_number"),
        ({"quantity": "1e999"}, "bad_number"),
        ({"quantity": 10**12}, "bad_number"),
        ({"item": "SHIRT", "quantity": "0.5"}, "fraction_of_indivisible"),
        ({"item": "ROPE", "quantity": Decimal("0.125")}, "fraction_of_indivisible"),
        ({"order_id": ["1001"]}, "bad_value"),
        ({"order_id": True}, "bad_value"),
        ({"order_id": "1\x002"}, "bad_value"),
        ({"order_id": "x" * 2000}, "bad_value"),
        ({"note": "\ud800"}, "bad_value"),
        ({"note": {"deep": ["\x00"]}}, "bad_value"),
    ],
)
def test_a_bad_value_goes_to_quarantine_with_its_reason(change, reason):
    bad = check(**PLACED | change)
    assert bad.reason == reason
    assert bad.position == "7"
    bad.raw.encode()
    assert "\x00" not in bad.raw


def test_a_bad_disposition_is_a_bad_value():
    body = EVERYTHING | {"type": "returned", "disposition": "burn"}
    assert check(**body).reason == "bad_value"


def test_a_line_that_could_not_be_read_keeps_its_text():
    raw = RawEvent(body=None, source="f", position="3", text='{"half', error="unterminated")
    _, (bad,) = check_events(HUB, "wms", [raw], NOW)
    assert (bad.reason, bad.raw, bad.message) == ("bad_json", '{"half', "unterminated")


def test_a_cancel_of_a_whole_order_ignores_item_and_quantity():
    event = check(
        event_id="c", type="order_cancelled", occurred_at="2026-03-02T08:05:00Z",
        order_id="1", item="NOBODY", quantity="rubbish",
    )  # fmt: skip
    assert (event.item, event.sku, event.quantity_milli) == (None, None, None)


def test_a_cancel_of_a_line_may_leave_out_item_and_quantity():
    body = {k: v for k, v in EVERYTHING.items() if k != "item"} | {"type": "order_cancelled"}
    assert check(**body).quantity_milli == 1_000
    del body["quantity"]
    assert check(**body).quantity_milli is None


def test_numbers_count_by_value_and_texts_stay_texts():
    same = [
        check(**PLACED | {"quantity": quantity}).content_hash
        for quantity in (2, "2", Decimal("2.0"), "2.000", Decimal("0.2E1"))
    ]
    assert len(set(same)) == 1
    assert check(**PLACED | {"order_id": 1001}).content_hash != same[0]
    assert check(**PLACED | {"quantity": 3}).content_hash != same[0]
    assert check(**PLACED | {"extra": None}).content_hash != same[0]
    reordered = dict(reversed(PLACED.items()))
    assert check(**reordered).content_hash == same[0]


def test_one_value_has_one_spelling():
    assert canonical({"b": Decimal("1.50"), "a": [Decimal(-0), True, None, "1.50"]}) == (
        '{"a":[0,true,null,"1.50"],"b":1.5}'
    )
    assert canonical({"n": Decimal("1E+20")}) == canonical({"n": 10**20})


NUMBERS = st.one_of(
    st.integers(),
    st.decimals(allow_nan=True, allow_infinity=True),
    st.floats(),
    st.sampled_from(["1", "-0.5", "1e400", "١٢", "0x1", "", " 3 "]),
)
TEXTS = st.one_of(st.text(st.characters()), st.sampled_from(["1", "dc", "SHIRT", "KIT", "e1"]))
TIMES = st.one_of(
    st.datetimes(timezones=st.none() | st.just(UTC)).map(lambda t: t.isoformat()), TEXTS
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([t.value for t in EventType]) | JSON,
        "event_id": TEXTS | JSON,
        "occurred_at": TIMES | JSON,
        "expected_at": TIMES | JSON,
        "expires_at": TIMES | JSON,
        "item": st.sampled_from(["SHIRT", "CASE", "KIT", "ROPE"]) | JSON,
        "quantity": NUMBERS | JSON,
        "location": st.sampled_from(["1", "dc", "nyc"]) | JSON,
        "to_location": JSON,
        "order_id": JSON,
        "line_id": JSON,
        "reservation_id": JSON,
        "reference": JSON,
        "reason": JSON,
        "disposition": JSON,
        "else": JSON,
    },
)


@settings(max_examples=150, deadline=None)
@given(BODIES | st.dictionaries(TEXTS, JSON, max_size=4))
def test_no_json_object_makes_the_check_fail(body):
    events, bad = check_events(HUB, "wms", [RawEvent(body=body, source="s", position="1")], NOW)
    assert len(events) + len(bad) == 1
    for event in events:
        assert json.loads(event.raw) is not None
        assert "\\u0000" not in event.raw
        assert abs(event.quantity_milli or 0) < 2**63
    for row in bad:
        assert "\x00" not in row.raw + row.message + row.position
        (row.raw + row.message).encode()


def test_deep_nesting_is_a_bad_value():
    deep: list = []
    for _ in range(5_000):
        deep = [deep]
    assert check(**PLACED | {"note": deep}).reason == "bad_value"
