"""A declared connector meets answers that its author did not think of: none passes for an empty
shop, none stops the others, and nothing goes where it should not.
"""

from datetime import UTC, datetime
from urllib.parse import unquote

import httpx
import pytest

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.rest import RestConnector
from inventory_pipeline.connectors.rest_client import container
from inventory_pipeline.core.errors import ChannelRefused, OutcomeUnknown, SourceRefused
from inventory_pipeline.core.ports import Opening
from inventory_pipeline_tests.connectors.test_rest import (
    LEVELS,
    ORDERS,
    STOCK,
    WRITE,
    There,
    opened,
    set_to,
    shown,
)

PAGED = LEVELS | {
    "call": {"path": "/stock", "query": {"page": "{page}"}},
    "paging": {"style": "page", "size": 2},
    "items": "$.items[?@.sku != 'GIFT']",
}
ORDER = {"id": 7, "at": "2026-03-01T10:00:00Z", "lines": [{"sku": "A", "n": 1}]}


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("$.a[*]", "$.a"),
        ("$.a[?@.b != ']']", "$.a"),
        ("$.a[?@.b[?@.c]]", "$.a"),
        ("$.a[0].b", None),
        ("$['a']", None),
        ("$[*]", "$"),
    ],
)
def test_the_list_is_what_stands_before_the_choice(path, place):
    assert container(path) == place


@pytest.mark.parametrize("answer", [{}, {"stock": [{"sku": "A"}]}, {"items": None}, []])
def test_a_list_that_is_not_there_is_not_an_empty_shop(answer):
    with pytest.raises(ChannelRefused, match=r"nothing at \$\.items"):
        shown(opened(There(lambda _: answer)))
    assert shown(opened(There(lambda _: {"items": []}))) == {}


def test_an_answer_without_its_list_is_empty_where_hub_yaml_says_so():
    assert shown(opened(There(lambda _: {}), levels=LEVELS | {"absent_is_empty": True})) == {}


def test_a_page_is_full_by_what_stands_in_it_and_not_by_what_is_chosen_of_it():
    def answer(request):
        skus = {"1": ["A", "GIFT"], "2": ["B"]}[request.url.params["page"]]
        return {"items": [{"sku": sku, "quantity": 1} for sku in skus]}

    assert shown(opened(There(answer), levels=PAGED)) == {"A": 1000, "B": 1000}


@pytest.mark.parametrize("quantity", [None, "many", [1]])
def test_one_odd_level_does_not_hide_the_others(quantity):
    answer = {"items": [{"sku": "A", "quantity": quantity}, {"sku": "B", "quantity": 2}]}
    assert shown(opened(There(lambda _: answer))) == {"B": 2000}
    with pytest.raises(ChannelRefused, match="not as expected"):
        shown(opened(There(lambda _: {"items": answer["items"][:1]})))


@pytest.mark.parametrize("odd", [{"at": "soon"}, {"id": None}, {"at": None}])
def test_one_odd_order_goes_to_quarantine_and_the_others_are_told(odd):
    connector = opened(There(lambda _: [ORDER | odd, ORDER]), changes=ORDERS)
    kept, told = connector.changes({}).events
    assert kept.body is None
    assert kept.error
    assert kept.text
    assert told.body is not None
    assert told.body["event_id"] == "7/A"
    with pytest.raises(SourceRefused, match="not as expected"):
        opened(There(lambda _: [ORDER | odd]), changes=ORDERS).changes({})


@pytest.mark.parametrize("sku", ["A/B", "A?b=1", "../orders", "ä#1"])
def test_a_sku_stays_one_part_of_the_address(sku):
    there = There(lambda _: {})
    assert set_to(opened(there, write=WRITE), **{sku: 3}) == {sku: None}
    path = there.asked[0].url.raw_path.decode()
    assert path.count("/") == 2
    assert unquote(path) == f"/stock/{sku}"


def test_credentials_do_not_follow_a_link_to_another_host():
    there = There(
        lambda _: httpx.Response(
            200, json=STOCK, headers={"Link": '<https://evil.example/stock?p=2>; rel="next"'}
        )
    )
    connector = opened(
        there,
        auth={"scheme": "bearer", "token": Secret("t0p-secret")},
        levels=LEVELS | {"paging": {"style": "link"}},
    )
    with pytest.raises(ChannelRefused, match="another address"):
        shown(connector)
    assert [request.url.host for request in there.asked] == ["api.example.com"]


@pytest.mark.parametrize("answer", [{"error": "no such item"}, {}, []])
def test_a_200_that_does_not_show_the_write_is_no_acknowledgement(answer):
    connector = opened(There(lambda _: answer), write=WRITE | {"applied": "$.quantity"})
    with pytest.raises(OutcomeUnknown, match=r"nothing at \$\.quantity"):
        set_to(connector, A=3)


def test_a_write_that_the_answer_shows_is_acknowledged():
    connector = opened(There(lambda _: {"quantity": 3}), write=WRITE | {"applied": "$.quantity"})
    assert set_to(connector, A=3) == {"A": None}


def test_readings_are_dated_by_the_hubs_clock():
    opening = Opening(
        system="shop",
        options={"url": "https://api.example.com", "levels": LEVELS},
        hub_folder=".",
        clock=lambda: datetime(2027, 1, 2, tzinfo=UTC),
    )
    transport = httpx.MockTransport(There(lambda _: STOCK))
    level = next(iter(RestConnector(opening, transport=transport).read_levels(None)))
    assert level.asked_at == level.answered_at == datetime(2027, 1, 2, tzinfo=UTC)
