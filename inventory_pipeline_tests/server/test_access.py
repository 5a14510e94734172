"""Who is let in, what each may do, and what other sites' pages can't do in somebody's name."""

import re
from datetime import timedelta

import httpx
import pytest

from inventory_pipeline.core.access import Role
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.memory import access, audit
from inventory_pipeline.server.app import create_app
from inventory_pipeline.server.sessions import Sessions
from inventory_pipeline_tests.server.conftest import NOW, order
from inventory_pipeline_tests.server.filled import fill, fill_trouble

# What Postgres' versions could change here is tested where the memory is.
pytestmark = pytest.mark.parametrize("postgres_server", ["embedded"], indirect=True)


@pytest.fixture
def log_in():
    """Logs a browser in; all of them are closed with the test."""
    browsers = []

    def start(receiver, text: str) -> httpx.Client:
        browser = httpx.Client(base_url=receiver.url)
        browsers.append(browser)
        answer = browser.post("/login", data={"token": text, "next": "/pushes"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/pushes")
        return browser

    yield start
    for browser in browsers:
        browser.close()


def token(pg, role=Role.READ, name=None, **more) -> str:
    with pg.connection() as connection:
        return access.create(
            connection, name=name or str(role), role=role, by="test", at=NOW, **more
        )


@pytest.fixture
def open_to_all(ctx, serve):
    """The application as on an address that other machines reach."""
    return serve(create_app(ctx, host="0.0.0.0"))


@pytest.fixture
def local(ctx, serve):
    return serve(create_app(ctx))


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def form_token(browser: httpx.Client, page: str = "/pushes") -> str:
    return re.search(r'name="form_token" value="([^"]+)"', browser.get(page).text)[1]


@pytest.mark.parametrize("path", ["/v1/ats?sku=A", "/metrics", "/openapi.json"])
def test_programs_need_a_token_where_others_can_reach_the_server(open_to_all, pg, path):
    answer = open_to_all.http.get(path)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert open_to_all.http.get(path, headers=bearer("hub_wrong")).status_code == 401
    assert open_to_all.http.get(path, headers=bearer(token(pg))).status_code in {200, 404}


def test_people_are_sent_to_the_login_page_and_back(open_to_all):
    answer = open_to_all.http.get("/variances?channel=web", headers={"Accept": "text/html"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Fvariances%3Fchannel%3Dweb"


def test_on_this_machine_alone_no_token_is_needed(local):
    assert local.http.get("/").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
        {"Host": "evil.example"},
    ],
    ids=["behind a proxy", "behind another proxy", "under a foreign name"],
)
def test_a_request_that_only_seems_local_needs_a_token(local, headers):
    assert local.http.get("/v1/ats?sku=A", headers=headers).status_code == 401


def test_webhooks_and_probes_need_no_token(open_to_all):
    assert open_to_all.send(order("e1")).status_code == 200
    assert open_to_all.http.get("/v1/health").json()["status"] == "ok"


def test_a_stranger_learns_from_the_probe_only_that_it_is_well(open_to_all, pg):
    strangers = open_to_all.http.get("/v1/health").json()
    assert {name for name, value in strangers.items() if value is not None} == {"status"}
    ours = open_to_all.http.get("/v1/health", headers=bearer(token(pg))).json()
    assert ours["hub"] == "acme"


def test_a_login_gives_a_session_that_scripts_and_other_sites_cannot_use(log_in, open_to_all, pg):
    browser = log_in(open_to_all, token(pg))
    cookie = browser.get("/login").request.headers["cookie"]
    assert cookie.startswith("hub_session=")
    assert browser.get("/").status_code == 200
    answer = httpx.post(f"{open_to_all.url}/login", data={"token": token(pg, name="b")})
    attributes = answer.headers["set-cookie"].lower()
    assert "httponly" in attributes
    assert "samesite=lax" in attributes


def test_a_session_with_one_changed_letter_does_not_count(log_in, open_to_all, pg):
    browser = log_in(open_to_all, token(pg))
    value = browser.cookies["hub_session"]
    token_id, until, signature = value.split(".")
    later = f"{token_id}.{int(until) + 1}.{signature}"
    for forged in (later, value[:-1] + ("A" if value[-1] != "A" else "B"), "", "a.b.c"):
        answer = httpx.get(f"{open_to_all.url}/metrics", cookies={"hub_session": forged})
        assert answer.status_code == 401, forged


def test_a_wrong_token_does_not_log_in_and_guessing_is_slowed_down(open_to_all):
    tries = [
        httpx.post(f"{open_to_all.url}/login", data={"token": f"hub_{n}"}).status_code
        for n in range(12)
    ]
    assert tries[:10] == [401] * 10
    assert tries[-1] == 429


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example"]
)
def test_the_login_leads_nowhere_else(open_to_all, pg, elsewhere):
    answer = httpx.post(f"{open_to_all.url}/login", data={"token": token(pg), "next": elsewhere})
    assert answer.headers["location"] == "/"


def test_a_revoked_token_ends_its_sessions(ctx, pg):
    now = [NOW]
    sessions = Sessions(pg, lambda: now[0], bound_to="0.0.0.0")
    text = token(pg, name="maria")
    cookie = sessions.open_session(text)
    assert sessions.of_cookie(cookie).name == "maria"
    assert sessions.of_token(text).name == "maria"
    with pg.connection() as connection:
        access.revoke(connection, "maria", by="test", at=NOW)
    now[0] += timedelta(seconds=6)
    assert sessions.of_cookie(cookie) is None
    assert sessions.of_token(text) is None


def test_tokens_and_sessions_end_by_themselves(pg):
    now = [NOW]
    sessions = Sessions(pg, lambda: now[0], bound_to="0.0.0.0")
    short = token(pg, name="short", expires_at=NOW + timedelta(hours=1))
    long = token(pg, name="long")
    of_short, of_long = sessions.open_session(short), sessions.open_session(long)
    now[0] += timedelta(hours=1)
    assert sessions.of_token(short) is None
    assert sessions.of_cookie(of_short) is None
    assert sessions.of_cookie(of_long).name == "long"
    now[0] += timedelta(hours=11)
    assert sessions.of_cookie(of_long) is None


def test_the_memory_holds_no_token_that_could_be_used(pg):
    text = token(pg)
    with pg.connection() as connection:
        rows = connection.execute("SELECT t::text FROM hub.tokens t").fetchall()
        rows += connection.execute("SELECT a::text FROM hub.audit a").fetchall()
    assert rows
    assert not any(text in row[0] or text.removeprefix("hub_") in row[0] for row in rows)


def test_two_tokens_in_use_have_two_names(pg):
    token(pg, name="maria")
    with pytest.raises(HubError, match="maria"):
        token(pg, name=" maria ")
    with pg.connection() as connection:
        access.revoke(connection, "maria", by="test", at=NOW)
    token(pg, name="maria")
    with pg.connection() as connection, pytest.raises(HubError, match="no token"):
        access.revoke(connection, "nobody", by="test", at=NOW)


@pytest.mark.parametrize(
    ("role", "allowed"),
    [(Role.READ, []), (Role.OPERATE, ["reject"]), (Role.APPROVE, ["reject", "release"])],
)
def test_whoever_may_read_decides_nothing_and_releasing_takes_an_approver(
    log_in, open_to_all, pg, role, allowed
):
    fill(pg)
    fill_trouble(pg)
    browser = log_in(open_to_all, token(pg, role))
    form = {"form_token": form_token(browser), "channel": "web", "reason": "ok", "which": "all"}
    found = [
        browser.post("/actions/guard", data=form | {"do": do}).status_code
        for do in ("reject", "release")
    ]
    assert found == [303 if do in allowed else 403 for do in ("reject", "release")]


def test_a_form_of_another_session_is_refused(log_in, open_to_all, pg):
    fill(pg)
    fill_trouble(pg)
    browser = log_in(open_to_all, token(pg, Role.APPROVE, name="a"))
    other = log_in(open_to_all, token(pg, Role.APPROVE, name="b"))
    form = {"channel": "web", "reason": "ok", "which": "all", "do": "release"}
    for forged in ("", form_token(other), "x" * 43):
        answer = browser.post("/actions/guard", data=form | {"form_token": forged})
        assert answer.status_code == 403
    with pg.connection() as connection:
        assert audit.recent(connection, by="a", action="guard.") == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
    ],
)
def test_another_sites_page_can_post_nothing(local, pg, headers):
    fill(pg)
    form = {"form_token": form_token(local.http), "channel": "market", "which": "all", "do": "drop"}
    answer = local.http.post("/actions/dead", data=form, headers=headers)
    assert answer.status_code == 403
    assert local.http.post("/actions/dead", data=form).status_code == 303


def test_another_sites_page_can_load_nothing_but_may_link_here(local):
    foreign = {"Sec-Fetch-Site": "cross-site"}
    image = foreign | {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    assert local.http.get("/v1/ats?sku=A", headers=image).status_code == 403
    link = foreign | {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert local.http.get("/", headers=link).status_code == 200


@pytest.mark.parametrize("path", ["/", "/login", "/v1/health"])
def test_pages_run_no_scripts_stand_in_no_frame_and_are_not_kept(local, path):
    headers = local.http.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers


def test_a_program_with_a_token_needs_no_form_token(open_to_all, pg):
    fill(pg)
    answer = open_to_all.http.post(
        "/actions/dead",
        data={"channel": "market", "which": "all", "do": "retry"},
        headers=bearer(token(pg, Role.OPERATE)),
    )
    assert answer.status_code == 303
    assert answer.headers["location"].endswith("said=retried-1")


def test_a_form_has_an_end(local):
    answer = local.http.post("/actions/dead", content=b"place=" + b"x" * 300_000)
    assert answer.status_code == 403


def test_logging_out_ends_the_browsers_session(log_in, open_to_all, pg):
    browser = log_in(open_to_all, token(pg))
    answer = browser.post("/logout", data={"form_token": form_token(browser, "/")})
    assert answer.status_code == 303
    assert browser.get("/metrics").status_code == 401


def test_while_postgres_is_away_nobody_is_let_in(ctx, serve, pg):
    from dataclasses import replace

    from inventory_pipeline.memory.postgres import Postgres

    away = Postgres("postgresql://127.0.0.1:1/none", patience_s=0.2)
    receiver = serve(create_app(replace(ctx, pg=away), host="0.0.0.0", patience_s=0.2))
    answer = receiver.http.get("/metrics", headers=bearer("hub_any"))
    assert answer.status_code == 503
    away.close()
