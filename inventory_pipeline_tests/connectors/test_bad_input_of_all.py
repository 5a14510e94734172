"""Every connector that speaks HTTP meets every bad answer: an error that names system, call and
what to do, and never an acknowledgement that nobody gave.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import stamina

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors import build
from inventory_pipeline.core.errors import (
    AccessRefused,
    ChannelBusy,
    ChannelRefused,
    OutcomeUnknown,
    SourceRefused,
    SourceUnreachable,
    SystemFailure,
)
from inventory_pipeline.core.ports import Connector, LevelWrite, ListingRef, Opening
from inventory_pipeline_tests.connectors.scripts import TOKEN, scripted
from inventory_pipeline_tests.connectors.servers import Reply, closed_port

SYSTEM = "market"
HUSH = "hush-hush-secret"
REST = {
    "auth": {"scheme": "bearer", "token": Secret(HUSH)},
    "levels": {
        "call": {"path": "/stock"},
        "items": "$.items[*]",
        "item": "@.sku",
        "quantity": "@.quantity",
    },
    "changes": {
        "call": {"path": "/orders"},
        "items": "$.orders[*]",
        "changed_at": "$.at",
        "events": [
            {
                "type": "order_placed",
                "take": {"id": "$.id", "at": "$.at"},
                "event_id": "{id}",
                "occurred_at": "{at}",
            }
        ],
    },
    "write": {
        "call": {"method": "PUT", "path": "/stock/{item}", "json": {"to": "{quantity}"}},
        "applied": "$.quantity",
    },
}
LOGGED_IN = (
    Reply(body={"id": 1, "result": [1, HUSH, 0]}),
    Reply(body={"id": 1, "result": {"company": 1}}),
)


@dataclass(frozen=True)
class Kind:
    """A connector, what it is opened with, and what comes before the answer that counts."""

    name: str
    options: dict[str, Any]
    before: tuple[Reply, ...] = ()
    item: str = "12"
    place: str = ""


KINDS = [
    Kind("shopify", {"access_token": Secret(HUSH)}, item="gid://shopify/InventoryItem/12",
         place="gid://shopify/Location/1"),
    Kind("woocommerce", {"consumer_key": "ck", "consumer_secret": Secret(HUSH)}),
    Kind("square", {"access_token": Secret(HUSH), "role": "channel"}, place="L1"),
    Kind("amazon", {"seller_id": "S", "marketplace_id": "M", "client_id": "app",
                    "client_secret": Secret(HUSH), "refresh_token": Secret(HUSH)}),
    Kind("vendure", {"api_key": Secret(HUSH)}, place="1"),
    Kind("tryton", {"database": "db", "username": "u", "password": Secret(HUSH)}, LOGGED_IN),
    Kind("rest", REST),
]  # fmt: skip

HTML = b"<!doctype html><html><body>Please log in</body></html>"
AWAY = {
    "an HTML page": Reply(body=HTML),
    "nothing": Reply(body=b""),
    "JSON that was cut off": Reply(body=b'{"items": [{"sku": "A", "qua'),
    "a body that breaks off": Reply(body=b'{"items": []}', cut=True),
    "a connection that ends": Reply(hang_up=True),
    "429": Reply(status=429, headers={"Retry-After": "30"}),
    "500": Reply(status=500, body=HTML),
    "502": Reply(status=502, body=b"Bad gateway"),
    "503 with a pause": Reply(status=503, headers={"Retry-After": "30"}),
}
REFUSALS = {
    "wrong credentials": Reply(status=401, body={"message": "invalid token"}),
    "a missing right": Reply(status=403, body={"message": "missing scope"}),
    "a wrong address": Reply(status=404, body=HTML),
    "a moved address": Reply(status=302, headers={"Location": "https://elsewhere.example"}),
}
ODD = {
    "null": Reply(body=b"null"),
    "a text": Reply(body=b'"hello"'),
    "an error in a 200": Reply(body={"error": "no such thing", "errors": [{"message": "no such"}]}),
    "data that is null": Reply(body={"data": None}),
    "names that nobody knows": Reply(body={"result_v2": {"rows": [{"code": 1}]}}),
}
EMPTY_IS_SAID_SO = {("square", "names that nobody knows"), ("square", "data that is null")}


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    """As many attempts as ever, without the time between them."""
    with stamina.set_testing(True, attempts=3):
        yield


@contextlib.contextmanager
def opened(kind: Kind, reply: Reply) -> Iterator[Connector]:
    with scripted(*kind.before, reply, token=Reply(body=TOKEN)) as there:
        yield connected(kind, there.url)


def connected(kind: Kind, url: str) -> Connector:
    quick = {"url": url, "timeout_s": 2}
    if kind.name == "amazon":
        quick["token_url"] = url
    if kind.name in {"shopify", "square", "amazon"}:
        quick["max_wait_s"] = 1
    known = frozenset({kind.item})
    opening = Opening(
        system=SYSTEM, options=kind.options | quick, hub_folder=".", external_ids=known
    )
    return build(opening, kind.name)


def changes(connector: Connector, kind: Kind) -> object:
    return connector.changes({})


def snapshots(connector: Connector, kind: Kind) -> object:
    return list(connector.snapshots(frozenset()))


def all_levels(connector: Connector, kind: Kind) -> object:
    return list(connector.read_levels(None))


def some_levels(connector: Connector, kind: Kind) -> object:
    return list(connector.read_levels([listing(kind)]))


def write(connector: Connector, kind: Kind) -> object:
    one = LevelWrite(listing=listing(kind), quantity_milli=3000, compare_milli=2000)
    outcomes = connector.write_levels([one], key="key-1")
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
    return outcomes


def listing(kind: Kind) -> ListingRef:
    return ListingRef(bucket="main", bucket_external=kind.place, external_id=kind.item)


READINGS = [changes, snapshots, all_levels, some_levels]
CALLS = [*READINGS, write]


def offered(kind: Kind, call: Callable[..., object]) -> bool:
    """Whether the connector can do this at all."""
    able = connected(kind, "http://127.0.0.1:1").capabilities
    return {
        changes: able.changes,
        snapshots: able.snapshots,
        all_levels: able.levels,
        some_levels: able.levels,
        write: able.write != "none",
    }[call]


PAIRS = [
    pytest.param(kind, call, id=f"{kind.name}-{call.__name__}")
    for kind in KINDS
    for call in CALLS
    if offered(kind, call)
]


def failed(connector: Connector, kind: Kind, call: Callable[..., object]) -> SystemFailure:
    """The error of a call, which names system, call and what to do, and no secret."""
    with pytest.raises(SystemFailure) as caught:
        call(connector, kind)
    error = caught.value
    assert error.system == SYSTEM
    assert error.call
    assert str(error).startswith(f"{SYSTEM}: {error.call}")
    assert "\n  What to do: " in str(error)
    assert HUSH not in str(error)
    return error


@pytest.mark.parametrize("said", AWAY)
@pytest.mark.parametrize(("kind", "call"), PAIRS)
def test_a_system_that_is_away_is_asked_again_and_nothing_is_believed(kind, call, said):
    with opened(kind, AWAY[said]) as connector:
        error = failed(connector, kind, call)
    if call is write:
        assert isinstance(error, ChannelBusy | OutcomeUnknown)
    elif call in {changes, snapshots}:
        assert isinstance(error, SourceUnreachable)
    else:
        assert isinstance(error, ChannelBusy)


@pytest.mark.parametrize("said", REFUSALS)
@pytest.mark.parametrize(("kind", "call"), PAIRS)
def test_a_refusal_is_a_persons_to_look_at(kind, call, said):
    with opened(kind, REFUSALS[said]) as connector:
        error = failed(connector, kind, call)
    assert isinstance(error, SourceRefused | ChannelRefused | AccessRefused)


@pytest.mark.parametrize("said", ODD)
@pytest.mark.parametrize(("kind", "call"), PAIRS)
def test_another_shape_is_an_error_and_never_an_empty_answer(kind, call, said):
    if (kind.name, said) in EMPTY_IS_SAID_SO and call is not write:
        pytest.skip("an answer without the list means there: an empty list")
    with opened(kind, ODD[said]) as connector:
        failed(connector, kind, call)


@pytest.mark.parametrize(("kind", "call"), PAIRS)
def test_nobody_at_the_address_means_that_nothing_happened(kind, call):
    error = failed(connected(kind, closed_port()), kind, call)
    assert isinstance(error, SourceUnreachable | ChannelBusy)


PLACED = {
    "code": "A1",
    "updatedAt": "2026-03-01T10:00:00Z",
    "orderPlacedAt": "2026-03-01T10:00:00Z",
    "lines": [
        {
            "id": "1",
            "orderPlacedQuantity": 2,
            "productVariant": {"id": "5", "sku": "SKU-5"},
        }
    ],
    "modifications": [],
    "history": {"items": []},
    "fulfillments": [],
}


def test_one_odd_order_of_a_vendure_shop_goes_to_quarantine_and_the_others_are_told():
    kind = next(kind for kind in KINDS if kind.name == "vendure")
    odd = PLACED | {"code": "B2", "lines": "none"}
    with opened(kind, Reply(body={"data": {"orders": {"items": [odd, PLACED]}}})) as connector:
        kept, told = connector.changes({}).events
    assert (kept.body, kept.position) == (None, "B2")
    assert "not as expected" in kept.error
    assert told.body is not None
    assert told.body["order_id"] == "A1"
