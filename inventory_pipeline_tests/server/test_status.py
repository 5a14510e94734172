"""`inventory-pipeline status` and `token`: what scripts and people get."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inventory_pipeline.cli import app
from inventory_pipeline.core.breaker import Breaker
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


def test_a_new_hub_is_well(run):
    answer = run("status")
    assert (answer.exit_code, "all is well" in answer.output) == (0, True), answer.output


def test_trouble_is_told_and_ends_with_two(run, pg: Postgres):
    with pg.connection() as c:
        since = datetime(2026, 3, 2, tzinfo=UTC)
        breakers.store(c, Breaker(channel="web", state="open", since=since, why="it answers 503"))
    answer = run("status", "--json")
    told = json.loads(answer.stdout)
    assert (answer.exit_code, told["status"]) == (2, "errors")
    [web] = [one for one in told["channels"] if one["channel"] == "web"]
    assert (web["status"], web["breaker"]) == ("error", "open")
    [concern] = told["concerns"]
    assert concern["subject"] == "web"
    assert "it answers 503" in concern["message"]
    assert "error    web: breaker open" in run("status").output


def test_warnings_end_with_one(run, pg: Postgres):
    with pg.connection() as c:
        c.execute(
            "INSERT INTO hub.quarantine (system, kind, source, position, reason, message, raw,"
            " received_at) VALUES ('wms', 'event', 's', '1', 'unknown_item', 'm', '{}', now())"
        )
    answer = run("status")
    assert (answer.exit_code, "1 row in quarantine" in answer.output) == (1, True), answer.output


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
