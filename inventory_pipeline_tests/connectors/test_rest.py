"""A connector that is declared in hub.yaml: how it logs in, pages, judges, writes, and errs."""

import json
from datetime import UTC, datetime
from urllib.parse import parse_qs

import httpx
import pytest
import yaml

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.rest import RestConnector
from inventory_pipeline.connectors.tracing import tracing
from inventory_pipeline.core.errors import (
    ChannelBusy,
    ChannelRefused,
    HubError,
    OutcomeUnknown,
    SourceRefused,
    SourceUnreachable,
    StaleCompare,
)
from inventory_pipeline.core.ports import LevelWrite, ListingRef, Opening
from inventory_pipeline_tests.connectors.servers import Reply, closed_port, scripted

LEVELS = {
    "call": {"path": "/stock"},
    "items": "$.items[*]",
    "item": "@.sku",
    "quantity": "@.quantity",
}
STOCK = {"items": [{"sku": "A", "quantity": 5}, {"sku": "B", "quantity": 2.5}]}
WRITE = {"call": {"method": "PUT", "path": "/stock/{item}", "json": {"to": "{quantity}"}}}
ORDERS = {
    "call": {"path": "/orders", "query": {"since": "{since}", "page": "{page}", "n": "{size}"}},
    "paging": {"style": "page", "size": 2},
    "items": "$[*]",
    "changed_at": "$.at",
    "events": [
        {
            "type": "order_placed",
            "each": "$.lines[*]",
            "take": {"order": "$.id", "sku": "@.sku", "units": "@.n", "at": "$.at"},
            "event_id": "{order}/{sku}",
            "occurred_at": "{at}",
            "fields": {"order_id": "{order}", "line_id": "{sku}", "item": "{sku}",
                       "quantity": "{units}"},
        }
    ],
}  # fmt: skip


class There:
    """The other side: answers by its handler, and keeps what it was asked."""

    def __init__(self, answer):
        self.asked = []
        self.answer = answer

    def __call__(self, request):
        self.asked.append(request)
        found = self.answer(request)
        return found if isinstance(found, httpx.Response) else httpx.Response(200, json=found)


def opened(there=None, url="https://api.example.com", **options):
    given = {"url": url, "timeout_s": 2} | ({} if "changes" in options else {"levels": LEVELS})
    transport = httpx.MockTransport(there) if there else None
    opening = Opening(system="shop", options=given | options, hub_folder=".")
    return RestConnector(
        opening, transport=transport, clock=lambda: datetime(2026, 3, 2, tzinfo=UTC)
    )


def shown(connector, *items):
    refs = [ListingRef(bucket="m", bucket_external="", external_id=item) for item in items]
    return {
        level.listing.external_id: level.quantity_milli
        for level in connector.read_levels(refs or None)
    }


def set_to(connector, **levels):
    writes = [
        LevelWrite(
            listing=ListingRef(bucket="m", bucket_external="w1", external_id=item),
            quantity_milli=units * 1000,
            compare_milli=3000,
        )
        for item, units in levels.items()
    ]
    return {
        one.write.listing.external_id: one.error
        for one in connector.write_levels(writes, key="key-1")
    }


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"scheme": "bearer", "token": Secret("t0p")}, "authorization", "Bearer t0p"),
        ({"scheme": "basic", "username": "me", "password": Secret("x")}, "authorization",
         "Basic bWU6eA=="),
        ({"scheme": "header", "name": "X-Key", "value": Secret("k3y")}, "x-key", "k3y"),
    ],
)  # fmt: skip
def test_credentials_go_where_the_scheme_says(auth, header, value):
    there = There(lambda _: STOCK)
    assert shown(opened(there, auth=auth)) == {"A": 5000, "B": 2500}
    assert there.asked[0].headers[header] == value


def test_a_key_can_stand_in_the_address():
    there = There(lambda _: STOCK)
    shown(opened(there, auth={"scheme": "query", "name": "key", "value": Secret("k3y")}))
    assert there.asked[0].url.params["key"] == "k3y"


@pytest.mark.parametrize("refresh", [None, Secret("r")])
def test_oauth_tokens_are_asked_for_kept_and_renewed_when_they_end(refresh):
    issued = []

    def answer(request):
        if request.url.path == "/token":
            issued.append(parse_qs(request.content.decode()))
            return {"access_token": f"token-{len(issued)}", "expires_in": 3600}
        if request.headers["authorization"] == "Bearer token-1" and len(issued) == 1 and ended:
            return httpx.Response(401)
        return STOCK

    ended = []
    auth = {"scheme": "oauth2", "token_path": "/token", "client_id": "id",
            "client_secret": Secret("s"), "refresh_token": refresh}  # fmt: skip
    connector = opened(There(answer), auth=auth)
    shown(connector)
    shown(connector)
    assert len(issued) == 1
    ended.append(True)
    assert shown(connector) == {"A": 5000, "B": 2500}
    assert len(issued) == 2
    assert issued[0]["grant_type"] == ["refresh_token" if refresh else "client_credentials"]


def test_a_login_that_does_not_help_is_refused_and_tells_no_secret():
    auth = {"scheme": "login", "path": "/login", "json": {"u": "{username}", "p": "{password}"},
            "username": "me", "password": Secret("very-secret"), "token": "$.token"}  # fmt: skip
    there = There(
        lambda r: {"token": "t"} if r.url.path == "/login" else httpx.Response(401, text="no")
    )
    with pytest.raises(ChannelRefused, match="credentials") as error:
        shown(opened(there, auth=auth))
    assert json.loads(there.asked[0].content) == {"u": "me", "p": "very-secret"}
    assert "very-secret" not in str(error.value)


@pytest.mark.parametrize("style", ["page", "offset", "cursor", "link"])
def test_every_paging_style_reads_to_the_end(style):
    rows = [{"sku": str(n), "quantity": n} for n in range(5)]

    def answer(request):
        asked = request.url.params
        start = {
            "page": (int(asked.get("page") or 1) - 1) * 2,
            "offset": int(asked.get("offset") or 0),
        }.get(style, int(asked.get("after") or 0))
        body = {"items": rows[start : start + 2]}
        headers = {}
        if start + 2 < len(rows):
            body["next"] = str(start + 2)
            headers["Link"] = f'<https://api.example.com/stock?after={start + 2}>; rel="next"'
        return httpx.Response(200, json=body, headers=headers)

    query = {"page": "{page}", "offset": "{offset}", "after": "{cursor}"}
    levels = LEVELS | {
        "call": {"path": "/stock", "query": query if style != "link" else {}},
        "paging": {"style": style, "size": 2} | ({"next": "$.next"} if style == "cursor" else {}),
    }
    assert shown(opened(There(answer), levels=levels)) == {str(n): n * 1000 for n in range(5)}


def test_changes_go_on_from_the_newest_that_was_seen_and_lose_none():
    orders = [
        {"id": n, "at": f"2026-03-02T08:00:0{n // 2}Z", "lines": [{"sku": "A", "n": n + 1}]}
        for n in range(7)
    ]

    def answer(request):
        since, page = request.url.params["since"], int(request.url.params["page"])
        found = [order for order in orders if order["at"] > since[:19] + "Z"]
        return found[(page - 1) * 2 : page * 2]

    connector = opened(There(answer), changes=ORDERS)
    ids, cursor = [], {}
    for _ in range(50):
        page = connector.changes(cursor)
        ids += [event.body["event_id"] for event in page.events]
        cursor = page.cursor
        if not page.more:
            break
    assert set(ids) == {f"{n}/A" for n in range(7)}
    assert datetime.fromisoformat(cursor["since"]) == datetime(2026, 3, 2, 8, 0, 3, tzinfo=UTC)
    first = connector.changes({}).events[0].body
    assert first == {
        "event_id": "0/A", "type": "order_placed", "occurred_at": "2026-03-02T08:00:00Z",
        "order_id": "0", "line_id": "A", "item": "A", "quantity": 1,
    }  # fmt: skip
    again = list(connector.orders_since(datetime(2026, 3, 2, 8, 0, 3, tzinfo=UTC)))
    assert "6/A" in {event.body["event_id"] for event in again}


def test_a_write_is_filled_in_with_numbers_as_numbers():
    there = There(lambda _: {})
    body = {"to": "{quantity}", "if": "{compare}", "at": "{location}"}
    call = {"method": "POST", "path": "/stock/{item}", "query": {"k": "{key}"}, "json": body}
    write = {"call": call}
    connector = opened(there, write=write, capabilities={"keys_for_h": 24})
    assert set_to(connector, A=7) == {"A": None}
    (request,) = there.asked
    assert (request.url.path, request.url.params["k"]) == ("/stock/A", "key-1")
    assert json.loads(request.content) == {"to": 7, "if": 3, "at": "w1"}
    able = connector.capabilities
    assert able.compare_and_swap
    assert able.idempotency is not None


BATCH = {
    "call": {"method": "POST", "path": "/batch", "json": {"update": "{writes}"}},
    "each": {"sku": "{item}", "to": "{quantity}"},
    "batch": 10,
    "failed": {"items": "$.errors[*]", "item": "@.sku", "message": "@.why"},
}


def test_one_bad_item_of_a_batch_never_stops_the_others():
    def inline(_):
        return {"errors": [{"sku": "B", "why": "it is locked"}]}

    errors = set_to(opened(There(inline), write=BATCH), A=1, B=2)
    assert errors["A"] is None
    assert isinstance(errors["B"], ChannelRefused)
    assert "it is locked" in str(errors["B"])

    def whole(request):
        skus = [one["sku"] for one in json.loads(request.content)["update"]]
        return httpx.Response(422, json={}) if "B" in skus else {}

    there = There(whole)
    errors = set_to(opened(there, write=BATCH), A=1, B=2, C=3)
    assert {name: type(error) for name, error in errors.items()} == {
        "A": type(None), "B": ChannelRefused, "C": type(None),
    }  # fmt: skip
    assert len(there.asked) == 4


@pytest.mark.parametrize(
    ("reply", "reading", "writing"),
    [
        (Reply({"error": "slow down"}), ChannelBusy, ChannelBusy),
        (Reply({"error": "changed"}), ChannelRefused, StaleCompare),
        (Reply({"error": "broken"}), ChannelBusy, OutcomeUnknown),
        (Reply({"error": "never"}), ChannelRefused, ChannelRefused),
        (Reply({}, status=409), ChannelRefused, StaleCompare),
        (Reply({}, status=503), ChannelBusy, OutcomeUnknown),
        (Reply({}, status=429), ChannelBusy, ChannelBusy),
        (Reply(b"<html>Sign in</html>"), ChannelBusy, OutcomeUnknown),
        (Reply({"items": []}, cut=True), ChannelBusy, OutcomeUnknown),
    ],
    ids=lambda value: getattr(value, "__name__", str(getattr(value, "body", ""))[:20]),
)
def test_an_answer_means_what_the_classes_say(reply, reading, writing):
    errors = [
        {"path": "$[?@ == 'slow down']", "means": "busy", "message": "$.error"},
        {"path": "$[?@ == 'changed']", "means": "stale"},
        {"path": "$[?@ == 'broken']", "means": "unknown"},
        {"path": "$.error", "means": "refused", "message": "$.error"},
        {"status": [409], "means": "stale"},
    ]
    with scripted(reply) as script:
        post = {"call": WRITE["call"] | {"method": "POST"}}
        connector = opened(url=script.url, errors=errors, write=post)
        with pytest.raises(reading):
            shown(connector)
        try:
            found = set_to(connector, A=1)["A"]
        except (ChannelBusy, OutcomeUnknown) as error:
            found = error
        assert type(found) is writing or isinstance(found, writing)
        connector.close()


def test_a_source_that_is_silent_or_of_another_shape_is_said():
    connector = opened(url=closed_port(), changes=ORDERS)
    with pytest.raises(SourceUnreachable, match="cannot be reached"):
        connector.changes({})
    with pytest.raises(SourceRefused, match="not as expected"):
        opened(There(lambda _: [{"no": "time"}]), changes=ORDERS).changes({})


def test_what_is_not_a_whole_number_is_refused_where_none_counts():
    connector = opened(There(lambda _: {}), write=WRITE)
    half = LevelWrite(
        listing=ListingRef(bucket="m", bucket_external="", external_id="A"),
        quantity_milli=500,
        compare_milli=None,
    )
    (outcome,) = connector.write_levels([half], key="k")
    assert "0 decimals" in str(outcome.error)


HUB = """\
hub: x
systems:
  shop:
    connector: rest
    options:
      url: https://api.example.com
      auth: {scheme: bearer, token: abc}
      levels:
        call: {path: /stock}
        items: "$.items[*"
        item: "@.sku"
        quantities: "@.q"
      write:
        batch: 5
        call: {method: DELETE, path: /x}
"""


def test_every_mistake_is_named_with_file_line_and_key(tmp_path):
    (tmp_path / "hub.yaml").write_text(HUB)
    options = yaml.safe_load(HUB)["systems"]["shop"]["options"]
    with pytest.raises(HubError) as error:
        RestConnector(Opening(system="shop", options=options, hub_folder=str(tmp_path)))
    said = str(error.value)
    where = "systems.shop.options."
    assert f"hub.yaml:10: {where}levels.items" in said
    assert "is no JSON path" in said
    assert f"hub.yaml:9: {where}levels.quantity: Field required" in said
    assert f"hub.yaml:12: {where}levels.quantities: Extra inputs" in said
    assert f"hub.yaml:15: {where}write.call.method" in said
    assert "probe shop --trace" in said
    assert "abc" not in said


def test_a_trace_shows_what_every_path_found():
    lines = []
    with tracing(lines.append):
        connector = opened(There(lambda _: STOCK))
    shown(connector)
    texts = [line for line in lines if isinstance(line, str)]
    assert any(line.startswith("$.items[*] → 2 found") for line in texts)
    assert "$.sku → A" in texts
    assert any(not isinstance(line, str) and line.status == "200" for line in lines)
