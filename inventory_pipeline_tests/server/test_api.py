"""Availability for storefronts, metrics for Prometheus, and the API as OpenAPI describes it."""

from datetime import timedelta

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from prometheus_client.parser import text_string_to_metric_families
from schemathesis.specs.openapi.checks import positive_data_acceptance

from inventory_pipeline.memory import periods
from inventory_pipeline.server.app import create_app
from inventory_pipeline_tests.server.conftest import NOW
from inventory_pipeline_tests.server.filled import LISTINGS, fill, fill_trouble


@pytest.fixture
def api(ctx, serve, pg):
    fill(pg)
    return serve(create_app(ctx)).http


def pages(http, **query) -> list[dict]:
    """All pages of the channel web."""
    told = [http.get("/v1/channels/web/ats", params=query).json()]
    while told[-1]["next"]:
        more = query | {"after": told[-1]["next"]}
        told.append(http.get("/v1/channels/web/ats", params=more).json())
        assert len(told) < 100
    return told


@pytest.mark.parametrize("limit", [1, 7, 30, 60, 61, 1000])
def test_the_pages_of_a_channel_are_all_of_it_once(api, limit):
    told = pages(api, limit=limit)
    ids = [row["external_id"] for page in told for row in page["listings"]]
    assert len(ids) == len(set(ids)) == LISTINGS
    assert ids == sorted(ids)
    assert len(told) == -(-LISTINGS // limit)
    assert {page["ledger_offset"] for page in told} == {12_340}


def test_only_what_changed_since_an_offset_is_told_and_that_offset_again(api):
    changed = pages(api, since=12_338)
    assert {row["ledger_offset"] for row in changed[0]["listings"]} == {12_338, 12_339}
    assert pages(api, since=12_340)[0]["listings"] == []


def test_changes_come_in_pages_too_and_each_once(api):
    whole = [row["external_id"] for row in pages(api, since=12_320)[0]["listings"]]
    told = [row for page in pages(api, since=12_320, limit=7) for row in page["listings"]]
    assert [row["external_id"] for row in told] == whole
    assert len(set(whole)) == len(whole) > 14
    assert [row["ledger_offset"] for row in told] == sorted(row["ledger_offset"] for row in told)


def test_a_number_that_time_alone_changed_is_told_to_whoever_asks_from_that_offset(api, pg):
    """A reservation that ends makes a new number without a new entry of the ledger."""
    since = pages(api)[0]["ledger_offset"]
    with pg.connection() as connection:
        connection.execute(
            "UPDATE hub.outbox SET desired_milli = 1000, desired_offset = 12340, computed_at = %s"
            " WHERE channel = 'web' AND sku = 'SHIRT-S'",
            (NOW,),
        )
    [row] = pages(api, since=since)[0]["listings"]
    assert (row["sku"], row["available"]) == ("SHIRT-S", "1")


def test_an_unchanged_page_is_not_sent_again(api, pg):
    first = api.get("/v1/channels/web/ats")
    etag = first.headers["etag"]
    again = api.get("/v1/channels/web/ats", headers={"If-None-Match": f'"other", {etag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    with pg.connection() as connection:
        connection.execute("UPDATE hub.sync_cursor SET ledger_offset = 12345")
    assert api.get("/v1/channels/web/ats", headers={"If-None-Match": etag}).status_code == 304
    with pg.connection() as connection:
        connection.execute(
            "UPDATE hub.outbox SET desired_milli = 1 WHERE channel = 'web' AND sku = 'SHIRT-S'"
        )
    assert api.get("/v1/channels/web/ats", headers={"If-None-Match": etag}).status_code == 200


@pytest.mark.parametrize("cursor", ["x", "bm9uZQ==", "WzEsIDIsIDNd", "WyIxIiwgImEiLCAiYiJd", "é"])
def test_a_cursor_that_is_none_is_a_clear_error(api, cursor):
    answer = api.get("/v1/channels/web/ats", params={"after": cursor})
    assert answer.status_code == 422
    assert "`next`" in answer.json()["detail"]


def test_an_unknown_channel_is_not_found(api):
    assert api.get("/v1/channels/nope/ats").status_code == 404


def metrics(http) -> dict[tuple, float]:
    text = http.get("/metrics").text
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_tell_what_the_health_page_tells(api, pg):
    fill_trouble(pg)
    with pg.connection() as connection:
        connection.execute(
            "INSERT INTO hub.intake (system, accepted, duplicates, conflicting, quarantined)"
            " VALUES ('till', 7, 2, 1, 3)"
        )
    told = metrics(api)
    assert told["hub_events_total", "accepted", "till"] == 7
    assert told["hub_events_total", "quarantined", "till"] == 3
    assert told["hub_status",] == 2
    assert told["hub_behind_entries",] == 5
    assert told["hub_channel_listings", "web"] == LISTINGS
    assert told["hub_channel_in_sync_listings", "market"] == 52
    assert told["hub_channel_dead_listings", "market"] == 1
    assert told["hub_channel_held_listings", "web"] == 12
    assert told["hub_channel_breaker_open", "market"] == 1
    assert told["hub_channel_breaker_open", "web"] == 0
    assert told["hub_open_variances", "lost_update"] == 36
    assert told["hub_feed_failing", "changes", "shop"] == 1
    assert told["hub_system_quarantined_rows", "wms"] == 3
    assert told["hub_system_snapshot_age_seconds", "wms"] == 55 * 60
    assert 0.5 < told["hub_channel_event_to_ack_seconds", "0.5", "web"] < 1.2
    assert told["hub_channel_open_variances", "market"] >= 1
    assert told["hub_channel_oldest_variance_seconds", "market"] > 0
    assert told["hub_channel_last_push_age_seconds", "web"] >= 0
    assert told["hub_system_rejected_snapshots_last_day", "shop"] >= 0
    assert 3 <= told["hub_system_budget_remaining", "orders", "shop"] <= 40


def test_percentiles_from_periods_are_at_most_a_tenth_off(pg):
    import random

    rng = random.Random(7)
    seconds = sorted(rng.lognormvariate(0, 1) for _ in range(2_000))
    with pg.connection() as c, c.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO hub.attempts (key, channel, bucket, external_id, sku, epoch,"
            " quantity_milli, desired_offset, policy_version, mode, occurred_at, computed_at,"
            " sent_at, answered_at, outcome)"
            " VALUES (%s, 'web', 'main', 'x', 'x', 1, 1, 1, 1, 'live', %s, %s, %s, %s, 'acked')",
            [
                (str(n), at - timedelta(seconds=s), at, at, at)
                for n, s in enumerate(seconds)
                for at in [NOW - timedelta(seconds=n % 3000)]
            ],
        )
        for _ in range(5):
            periods.roll(c, at=NOW)
        told = periods.periods(
            c, ["web"], since=NOW - timedelta(hours=2), until=NOW + timedelta(seconds=1)
        )["web"]
    whole = periods.together(told)
    assert whole.acked == len(seconds)
    for share in (0.5, 0.95, 0.99):
        exact = seconds[int(share * len(seconds)) - 1]
        assert periods.percentile_s(whole.event_steps, share) == pytest.approx(exact, rel=0.11)


def test_rolling_up_again_changes_nothing_and_takes_late_answers_in(pg):
    fill(pg)
    with pg.connection() as c:
        before = c.execute("SELECT * FROM hub.channel_periods ORDER BY 1, 2").fetchall()
        periods.roll(c, at=NOW)
        assert c.execute("SELECT * FROM hub.channel_periods ORDER BY 1, 2").fetchall() == before
        c.execute(
            "UPDATE hub.attempts SET outcome = 'acked', answered_at = %s WHERE outcome IS NULL"
            " AND sent_at > %s",
            (NOW, NOW - timedelta(minutes=10)),
        )
        periods.roll(c, at=NOW)
        acked = c.execute("SELECT sum(acked) FROM hub.channel_periods").fetchone()[0]
    assert acked == sum(row[2] for row in before) + 1


def test_openapi_names_the_token_where_one_is_needed(api):
    described = api.get("/openapi.json").json()
    assert described["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    paths = described["paths"]
    assert paths["/v1/ats"]["get"]["security"] == [{"token": []}, {}]
    assert "security" not in paths["/hooks/{system}"]["post"]
    for methods in paths.values():
        for operation in methods.values():
            assert operation["summary"]
            assert all(p.get("description") for p in operation.get("parameters", [])
                       if p["in"] != "header")  # fmt: skip


@pytest.mark.parametrize("postgres_server", ["embedded"], indirect=True)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(120)
def test_the_api_answers_anything_as_openapi_says(ctx, pg, serve):
    fill(pg)
    receiver = serve(create_app(ctx))
    schema = schemathesis.openapi.from_url(f"{receiver.url}/openapi.json")
    seen: dict[str, int] = {}
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=15, deadline=None, derandomize=True, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def ask(case):
            # That one of two parameters is needed is more than OpenAPI can say.
            case.call_and_validate(timeout=10, excluded_checks=[positive_data_acceptance])
            seen[case.path] = seen.get(case.path, 0) + 1

        ask()
    assert set(seen) >= {"/v1/ats", "/v1/channels/{channel}/ats", "/v1/health", "/metrics"}
