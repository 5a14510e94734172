"""What people do on the pages, and that each of it is in the audit."""

import re

import pytest

from inventory_pipeline.memory import audit, dead, guard
from inventory_pipeline.server.app import create_app
from inventory_pipeline_tests.server.filled import fill, fill_trouble

pytestmark = pytest.mark.parametrize("postgres_server", ["embedded"], indirect=True)


@pytest.fixture
def http(ctx, serve, pg):
    fill(pg)
    fill_trouble(pg)
    return serve(create_app(ctx)).http


def form(http, page: str = "/pushes") -> dict[str, str]:
    return {"form_token": re.search(r'name="form_token" value="([^"]+)"', http.get(page).text)[1]}


def chosen(http, number: int, action: str) -> list[str]:
    """The first checkboxes of a form, as a browser would send them."""
    from html import unescape

    text = http.get("/pushes").text
    part = text[text.index(f'action="{action}"') :]
    return [unescape(v) for v in re.findall(r'name="place" value="([^"]+)"', part)[:number]]


def acts(pg, **which):
    with pg.connection() as connection:
        return audit.recent(connection, by="this machine", **which)


def test_the_chosen_held_listings_are_released_and_the_audit_says_by_whom_and_why(http, pg):
    places = chosen(http, 2, "/actions/guard")
    answer = http.post(
        "/actions/guard",
        data=form(http) | {"channel": "web", "place": places, "reason": "recounted",
                           "which": "chosen", "do": "release"},
    )  # fmt: skip
    assert answer.headers["location"] == "/pushes?channel=web&said=released-2"
    assert "Released 2 listings" in http.get(answer.headers["location"]).text
    with pg.connection() as connection:
        assert len(guard.held_rows(connection)) == 10
        looks = connection.execute(
            "SELECT count(*) FROM hub.outbox WHERE channel = 'web' AND look"
        ).fetchone()
    assert looks == (2,)
    [act] = acts(pg, action="guard.release")
    assert (act.subject, act.detail["reason"], len(act.detail["rows"])) == ("web", "recounted", 2)
    assert "recounted" in http.get("/audit").text


def test_all_held_listings_of_a_channel_are_rejected_at_once(http, pg):
    data = form(http) | {"channel": "web", "reason": "no", "which": "all", "do": "reject"}
    assert http.post("/actions/guard", data=data).headers["location"].endswith("rejected-12")
    with pg.connection() as connection:
        assert guard.held_rows(connection) == []


def test_deciding_needs_a_reason(http, pg):
    data = form(http) | {"channel": "web", "reason": " ", "which": "all", "do": "release"}
    assert http.post("/actions/guard", data=data).status_code == 403
    assert acts(pg, action="guard.") == []


@pytest.mark.parametrize(
    ("do", "verb", "look"), [("retry", "retried", True), ("drop", "dropped", False)]
)
def test_a_dead_listing_is_retried_or_dropped(http, pg, do, verb, look):
    [place] = chosen(http, 5, "/actions/dead")
    answer = http.post(
        "/actions/dead",
        data=form(http) | {"channel": "market", "place": [place], "which": "chosen", "do": do},
    )
    assert answer.headers["location"].endswith(f"said={verb}-1")
    with pg.connection() as connection:
        assert dead.dead_rows(connection) == []
        row = connection.execute(
            "SELECT look, failure FROM hub.outbox WHERE channel = 'market' AND sku = 'SHIRT-S'"
        ).fetchone()
    assert row == (look, None)
    [act] = acts(pg, action=f"dead.{do}")
    assert act.detail["rows"] == [["market", "main", "gid://shopify/InventoryItem/4400"]]


def test_a_quarantined_row_that_is_still_bad_stays_and_says_why(http, pg):
    answer = http.post("/actions/quarantine", data=form(http, "/feeds") | {"row": ["1", "999"]})
    assert answer.status_code == 200
    assert "stays" in answer.text
    assert "there is no such row" in answer.text
    [act] = acts(pg, action="quarantine.release")
    assert act.detail == {"released": [], "refused": [1, 999]}


@pytest.mark.parametrize("place", ["nonsense", "[1]", '{"a": 1}', '["a"]'])
def test_a_form_that_no_page_made_does_nothing(http, place):
    data = form(http) | {"channel": "web", "place": place, "reason": "x", "do": "release"}
    assert http.post("/actions/guard", data=data).status_code == 403


@pytest.mark.parametrize("code", ["released-x", "nothing-3", "<b>", "released-9999999999999"])
def test_an_address_cannot_make_a_page_say_what_was_not_done(http, code):
    assert 'class="said"' not in http.get("/pushes", params={"said": code}).text


def test_the_audit_can_not_be_changed(pg, http):
    import psycopg

    for statement in ("UPDATE hub.audit SET by = 'x'", "DELETE FROM hub.audit"):
        with (
            pytest.raises(psycopg.errors.RaiseException, match="append-only"),
            pg.connection() as c,
        ):
            c.execute(statement)


def test_the_audit_is_told_in_pages_and_by_who_and_what(pg, http):
    with pg.connection() as connection:
        for number in range(150):
            audit.record(
                connection, by="bot", action="dead.retry", subject=f"s{number}", detail={},
                at=audit.recent(connection)[0].at,
            )  # fmt: skip
    first = http.get("/audit", params={"by": "bot"}).text
    assert "s149" in first
    assert "s49<" not in first
    older = re.search(r'href="(/audit\?[^"]*before=\d+)"', first)[1].replace("&amp;", "&")
    assert "s49" in http.get(older).text
    assert "maria" not in http.get("/audit", params={"action": "dead.retry"}).text.split("<main")[1]
