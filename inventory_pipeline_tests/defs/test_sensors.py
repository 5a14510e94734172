"""When runs are requested: decided from the memory's real rows and Dagster's real run records."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from inventory_pipeline.config.load import load_hub
from inventory_pipeline.defs import keys
from inventory_pipeline.defs.build import build_definitions
from inventory_pipeline.defs.resources import HubResource
from inventory_pipeline.defs.runs import Active, active_runs, decide_sync
from inventory_pipeline.memory import facts
from inventory_pipeline.memory.facts import Backlog
from inventory_pipeline_tests.conftest import database_url
from inventory_pipeline_tests.defs.hubs import snapshot, two_channels

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
IDLE, MAX_RUN = timedelta(seconds=60), timedelta(minutes=10)


def backlog(**changed: object) -> Backlog:
    values: dict[str, object] = {
        "head": 5, "cursor": 5, "computed_at": NOW - timedelta(hours=1), "next_wakeup_at": None,
        "looks": 0,
    }  # fmt: skip
    return Backlog(**{**values, **changed})


def decided(found: Backlog, *started: timedelta | None) -> bool:
    active = [
        Active(run_id=str(i), started_at=None if ago is None else NOW - ago)
        for i, ago in enumerate(started)
    ]
    return decide_sync(found, active, now=NOW, idle=IDLE, max_run=MAX_RUN).request


@pytest.mark.parametrize(
    "work",
    [
        backlog(head=6),
        backlog(next_wakeup_at=NOW),
        backlog(looks=1),
    ],
)
def test_any_work_starts_a_sync_unless_one_is_active(work):
    assert decided(work)
    assert not decided(work, None)
    assert not decided(work, timedelta(minutes=1))


def test_without_work_nothing_starts():
    assert not decided(backlog())
    assert not decided(backlog(next_wakeup_at=NOW + timedelta(seconds=1)))


def test_a_successor_warms_up_before_the_active_sync_ends_while_there_is_traffic():
    soon = timedelta(minutes=9, seconds=30)
    assert decided(backlog(head=6), soon)
    assert decided(backlog(computed_at=NOW - timedelta(seconds=59)), soon)
    assert not decided(backlog(), soon)
    assert not decided(backlog(head=6), soon - timedelta(seconds=1))


def test_there_is_never_a_second_successor():
    assert not decided(backlog(head=6), timedelta(minutes=11), timedelta(seconds=5))
    assert not decided(backlog(head=6), timedelta(minutes=11), None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = two_channels(tmp_path / "hub")
    text = (folder / "hub.yaml").read_text().replace("orders, mode: shadow", "orders, mode: live")
    (folder / "hub.yaml").write_text(text)
    return folder


@pytest.fixture
def resource(folder: Path, pg_url: str, tmp_path: Path) -> HubResource:
    return HubResource(hub_folder=str(folder), state=str(tmp_path / "state"), postgres_url=pg_url)


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def evaluated(folder, resource, instance):
    """Evaluates a sensor of the hub as the daemon does; cursors are kept between calls."""
    repository = build_definitions(load_hub(folder, {}), resource).get_repository_def()
    cursors: dict[str, str | None] = {}

    def evaluate(name: str):
        context = dg.build_sensor_context(
            instance=instance,
            cursor=cursors.get(name),
            repository_def=repository,
            resources={"hub": resource},
        )
        data = repository.get_sensor_def(name).evaluate_tick(context)
        cursors[name] = data.cursor
        return data

    return evaluate


def active(instance: dg.DagsterInstance, tags: dict[str, str]) -> None:
    instance.create_run_for_job(
        dg.GraphDefinition(name="any").to_job(), tags=tags, status=dg.DagsterRunStatus.STARTED
    )


def fill(pg, *statements: str) -> None:
    with pg.connection() as connection:
        for statement in statements:
            connection.execute(statement)


AHEAD = "UPDATE hub.counter SET ledger_offset = 3"
LISTING = (
    "INSERT INTO hub.outbox (channel, bucket, external_id, bucket_external, sku, units_milli,"
    " desired_milli, desired_offset, policy_version, mapping_version, computed_at, look,"
    " look_after) VALUES ('{channel}', 'main', 'A', '', 'A', 1000, 1, 1, 1, 1, now(), true,"
    " {after})"
)


def test_the_sync_sensor_asks_the_memory(evaluated, pg, instance):
    assert evaluated("sync_sensor").skip_message == "nothing to do at offset 0"
    fill(pg, AHEAD)
    (request,) = evaluated("sync_sensor").run_requests
    assert request.tags[keys.REASON_TAG] == "the ledger is at 3, the numbers are at 0"
    active(instance, {keys.JOB_TAG: keys.SYNC})
    assert evaluated("sync_sensor").skip_message == "a sync is active"


def test_listings_that_wait_start_a_sync_when_they_are_due(evaluated, pg):
    fill(pg, LISTING.format(channel="web", after="now() + interval '1 hour'"))
    assert not evaluated("sync_sensor").run_requests
    fill(pg, "UPDATE hub.outbox SET look_after = NULL")
    (request,) = evaluated("sync_sensor").run_requests
    assert request.tags[keys.REASON_TAG] == "1 listings wait to be pushed"


def test_listings_of_a_channel_that_is_off_start_nothing(evaluated, pg):
    fill(pg, LISTING.format(channel="later", after="NULL"))
    assert not evaluated("sync_sensor").run_requests


def test_a_new_snapshot_starts_a_landing_of_its_system_alone(evaluated, folder, pg):
    snapshot(folder, "1.csv", ("dc", "SHIRT", 4), as_of="2026-03-02T08:00:00Z")
    fill(
        pg,
        "INSERT INTO hub.feeds (system, feed, read_at) SELECT s, 'changes', now()"
        " FROM unnest(ARRAY['wms', 'orders']) s",
    )
    (request,) = evaluated("land_sensor").run_requests
    assert request.asset_selection == [dg.AssetKey(["landing", "wms"])]
    assert request.tags[keys.SYSTEM_TAG] == "wms"
    assert request.tags[keys.REASON_TAG] == "new snapshot landing/wms/1.csv"


def test_a_system_is_looked_at_once_a_poll_and_not_while_it_is_read(
    evaluated, folder, pg, instance
):
    active(instance, {keys.SYSTEM_TAG: "wms"})
    snapshot(folder, "1.csv", ("dc", "SHIRT", 4), as_of="2026-03-02T08:00:00Z")
    first = evaluated("land_sensor")
    asked = [r.tags[keys.SYSTEM_TAG] for r in first.run_requests or []]
    assert asked == ["orders"]  # nobody ever asked it for its changes
    assert "wms" not in first.cursor
    again = evaluated("land_sensor")
    assert not again.run_requests
    assert again.skip_message == "wms is being read"


def test_deliveries_that_nobody_reads_start_a_landing(evaluated, pg):
    fill(
        pg,
        "INSERT INTO hub.feeds (system, feed, read_at) SELECT s, 'changes', now()"
        " FROM unnest(ARRAY['wms', 'orders']) s",
        "INSERT INTO hub.inbox (system, topic, delivery_id, headers, body, url, received_at)"
        " VALUES ('web', 't', '1', '{}', '', '', now() - interval '16 seconds')",
    )
    (request,) = evaluated("land_sensor").run_requests
    assert request.asset_selection == [dg.AssetKey("ledger")]


def variance(channel: str, cause: str) -> str:
    return (
        "INSERT INTO hub.variances (comparison, channel, external_id, cause, first_seen, last_seen)"
        f" VALUES ('channel', '{channel}', '{cause}', '{cause}', now(), now())"
    )


def test_a_variance_that_is_to_be_sent_again_starts_a_heal_once(evaluated, pg, instance):
    fill(pg, variance("web", "unmapped"), variance("pickup", "lost_update"))
    assert not evaluated("heal_sensor").run_requests  # a person's case, and a shadow channel
    fill(pg, variance("web", "lost_update"))
    assert len(evaluated("heal_sensor").run_requests) == 1
    active(instance, {keys.JOB_TAG: keys.HEAL})
    assert evaluated("heal_sensor").skip_message == "a heal is active"


def test_runs_that_ended_are_not_active(instance):
    run = instance.create_run_for_job(
        dg.GraphDefinition(name="any").to_job(), tags={keys.JOB_TAG: keys.SYNC}
    )
    assert [one.run_id for one in active_runs(instance, {keys.JOB_TAG: keys.SYNC})] == [run.run_id]
    instance.report_run_failed(run)
    assert active_runs(instance, {keys.JOB_TAG: keys.SYNC}) == []


def test_sensors_make_the_schema_where_there_is_none_all_at_once(postgres_server, folder):
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS empty_hub")
        connection.execute("CREATE DATABASE empty_hub")
    resource = HubResource(
        hub_folder=str(folder), postgres_url=database_url(postgres_server, "empty_hub")
    )

    def head(_: int) -> int:
        with resource.memory() as memory, memory.connection() as connection:
            return facts.backlog(connection, [], NOW).head

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(head, range(3))) == [0, 0, 0]
