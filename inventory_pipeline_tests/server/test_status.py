"""`inventory-pipeline status` and `token`: what scripts and people get."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inventory_pipeline.cli import app
from inventory_pipeline.core.breaker import Breaker
from inventory_pipeline.flow import alerts
from inventory_pipeline.flow.context import open_context
from inventory_pipeline.memory import access, audit, breakers
from inventory_pipeline.memory.postgres import Postgres

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "first-hub"
pytestmark = pytest.mark.parametrize("postgres_server", ["embedded"], indirect=True)


@pytest.fixture
def run(tmp_path, pg_url, monkeypatch):
    hub = tmp_path / "hub"
    shutil.copytree(EXAMPLE, hub)
    monkeypatch.setenv("HUB_POSTGRES_URL", pg_url)
    monkeypatch.setenv("HUB_STATE", str(tmp_path / "state"))

    def call(*words: str):
        at = 2 if words[0] == "token" else 1
        return CliRunner().invoke(app, [*words[:at], str(hub), *words[at:]])

    call.hub = hub
    return call


def landed(pg: Postgres, *systems: str) -> None:
    """A good snapshot of each, of this moment."""
    with pg.connection() as c:
        for system in systems:
            c.execute(
                "INSERT INTO hub.snapshots (system, feed, source, key, as_of, status, data_rows,"
                " quarantined_rows, landed_at) VALUES (%s, %s, 's', 's', now(), 'accepted', 1, 0,"
                " now())",
                (system, system),
            )


def test_a_hub_that_has_heard_of_everybody_is_well(run, pg: Postgres):
    run("status")
    landed(pg, "wms", "pos")
    answer = run("status")
    assert (answer.exit_code, "all is well" in answer.output) == (0, True), answer.output


def test_a_new_hub_says_whom_it_waits_for(run):
    answer = run("status")
    assert answer.exit_code == 1
    assert "nothing ever came from pos, wms" in answer.output
    assert "wms: no snapshot was accepted yet" in answer.output


def test_trouble_is_told_and_ends_with_two(run, pg: Postgres):
    landed(pg, "wms", "pos")
    with pg.connection() as c:
        since = datetime(2026, 3, 2, tzinfo=UTC)
        breakers.store(c, Breaker(channel="web", state="open", since=since, why="it answers 503"))
    answer = run("status", "--json")
    told = json.loads(answer.stdout)
    assert (answer.exit_code, told["status"]) == (2, "errors")
    [web] = [one for one in told["channels"] if one["channel"] == "web"]
    assert (web["status"], web["breaker"]) == ("error", "open")
    [concern] = told["concerns"]
    assert (concern["subject"], concern["check"]) == ("web", "breaker_closed")
    assert "it answers 503" in concern["message"]
    assert "error    web: nothing is sent since 2026-03-02" in run("status").output


def test_warnings_end_with_one(run, pg: Postgres):
    landed(pg, "wms", "pos")
    with pg.connection() as c:
        c.execute(
            "INSERT INTO hub.quarantine (system, kind, source, position, reason, message, raw,"
            " received_at) VALUES ('wms', 'event', 's', '1', 'unknown_item', 'm', '{}', now())"
        )
    answer = run("status")
    assert (answer.exit_code, "1 rows came into quarantine" in answer.output) == (1, True), (
        answer.output
    )


def test_status_says_what_the_checks_say_and_nothing_else(run, pg: Postgres, tmp_path):
    landed(pg, "wms")
    with pg.connection() as c:
        c.execute(
            "INSERT INTO hub.negative_positions (sku, location, on_hand_milli, ledger_offset,"
            " since) VALUES ('SHIRT-S', 'dc', -2000, 1, now())"
        )
    told = {
        (one["subject"], one["check"], one["level"])
        for one in json.loads(run("status", "--json").stdout)["concerns"]
    }
    ctx = open_context(run.hub, tmp_path / "state", pg.url)
    with pg.connection() as c:
        troubles = list(alerts.troubles(c, ctx, ctx.clock()))
    ctx.close()
    assert ("positions", "no_negative_positions", "warning") in told
    assert told == {(one.subject, one.alert.partition(": ")[2], str(one.level)) for one in troubles}


def test_a_hub_that_cannot_be_asked_ends_with_three(run, monkeypatch):
    (run.hub / "hub.yaml").write_text("hub: [")
    assert run("status").exit_code == 3
    monkeypatch.setenv("HUB_POSTGRES_URL", "postgresql://127.0.0.1:1/none")
    answer = run("status", "--json")
    assert (answer.exit_code, json.loads(answer.stdout)["status"]) == (3, "cannot be asked")


def test_a_token_is_made_shown_once_listed_and_revoked(run, pg: Postgres):
    made = run("token", "create", "maria", "--role", "approve", "--days", "30", "--by", "root")
    assert made.exit_code == 0, made.output
    text = made.stdout.strip()
    with pg.connection() as connection:
        token = access.listed(connection)[0]
    assert (token.name, token.role, token.created_by) == ("maria", "approve", "root")
    assert (token.expires_at - token.created_at).days == 30
    listed = run("token", "list", "--json")
    assert text not in listed.output
    assert json.loads(listed.stdout)["tokens"][0]["name"] == "maria"
    assert "maria" in run("token", "list").output
    assert run("token", "revoke", "maria").exit_code == 0
    assert "no tokens" in run("token", "list").output
    assert "revoked" in run("token", "list", "--all").output
    with pg.connection() as connection:
        assert access.by_text(connection, text, at=token.created_at) is None
        assert [act.action for act in audit.recent(connection)] == ["token.revoke", "token.create"]
