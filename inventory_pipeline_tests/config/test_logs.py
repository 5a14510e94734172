"""Lines of every process: one setting, one shape, and no secrets."""

import json
import logging

import dagster as dg
import pytest
import structlog

from inventory_pipeline.config.logs import (
    IDS_A_LINE,
    BadLogSetting,
    configure_logs,
    in_lines,
    wanted,
)
from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.defs.resources import HubResource


@pytest.fixture(autouse=True)
def afterwards():
    root, ours = logging.getLogger(), logging.getLogger("inventory_pipeline")
    before = root.handlers[:], root.level, ours.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = before[:2]
    ours.setLevel(before[2])


def written(capsys):
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_our_lines_and_those_of_libraries_have_one_shape(capsys):
    configure_logs(environ={})
    structlog.get_logger("push").info("sent", listings=3)
    logging.getLogger("inventory_pipeline.flow.drain").warning("channel %s is away", "web")
    logging.getLogger("some.library").warning("odd: %d", 7)
    logging.getLogger("some.library").info("chatter")
    ours, of_the_drain, foreign = written(capsys)
    assert (ours["event"], ours["listings"], ours["level"]) == ("sent", 3, "info")
    assert of_the_drain["event"] == "channel web is away"
    assert (foreign["event"], foreign["logger"]) == ("odd: 7", "some.library")
    assert all(line["timestamp"].endswith("Z") for line in (ours, of_the_drain, foreign))


def test_configuring_twice_writes_each_line_once(capsys):
    configure_logs(environ={})
    configure_logs(environ={})
    logging.getLogger("some.library").warning("odd")
    assert len(written(capsys)) == 1


def test_the_environment_sets_format_and_level_for_every_process(capsys):
    configure_logs(environ={"HUB_LOG_FORMAT": "console", "HUB_LOG_LEVEL": "warning"})
    log = structlog.get_logger("push")
    assert not wanted(log, logging.INFO)
    log.info("not this")
    log.warning("this", listings=3)
    said = capsys.readouterr().err
    assert "not this" not in said
    assert "this" in said
    assert "listings=3" in said


@pytest.mark.parametrize("environ", [{"HUB_LOG_FORMAT": "xml"}, {"HUB_LOG_LEVEL": "loud"}])
def test_a_setting_that_nobody_knows_is_refused_with_what_is_known(environ):
    with pytest.raises(BadLogSetting, match=r"json|warning"):
        configure_logs(environ=environ)


@pytest.mark.parametrize("as_json", [True, False])
def test_no_line_shows_a_secret_nor_what_a_stack_holds(capsys, as_json):
    Secret("secret")  # a part of the other, and known before it
    secret = Secret('shpat_"very"\\secret')
    configure_logs(json=as_json, environ={})

    def fail(token):
        raise ValueError(f"refused {token}")

    try:
        fail(secret.reveal())
    except ValueError:
        structlog.get_logger("x").exception("failed", header=secret.reveal())
        logging.getLogger("inventory_pipeline.x").exception("failed with %s", secret.reveal())
    said = capsys.readouterr().err
    assert "refused" in said
    assert "very" not in said
    assert "***" in said


def test_ids_are_spread_over_lines_and_none_is_left_out():
    ids = [f"shop/{n}" for n in range(2 * IDS_A_LINE + 1)]
    lines = list(in_lines(ids))
    assert [len(line) for line in lines] == [IDS_A_LINE, IDS_A_LINE, 1]
    assert [name for line in lines for name in line] == ids
    assert list(in_lines([])) == [[]]


def test_a_process_that_never_configured_its_logs_looks_nothing_up():
    assert not wanted(structlog.get_logger("push"), logging.ERROR)


def test_what_a_sensor_calls_says_its_lines_as_every_process_does(pg_url):
    structlog.reset_defaults()
    with HubResource(hub_folder="nowhere", postgres_url=pg_url).memory():
        assert structlog.is_configured(), "else a stack is printed with all that it holds"


def test_in_a_dagster_run_a_warning_is_in_its_event_log_and_printed_once(capfd):
    @dg.op
    def drains():
        configure_logs(json=True, environ={})
        logging.getLogger("inventory_pipeline.flow.drain").warning("told once")
        structlog.get_logger("push").info("sent", correlation_ids=["shop/1"])

    @dg.job(executor_def=dg.in_process_executor)
    def sync():
        drains()

    ours = {"managed_python_loggers": ["inventory_pipeline"], "python_log_level": "INFO"}
    with dg.instance_for_test(overrides={"python_logs": ours}) as instance:
        run = sync.execute_in_process(instance=instance)
        told = [entry.user_message for entry in instance.all_logs(run.run_id)]
    assert [message for message in told if "told once" in message] == ["told once"]
    said = capfd.readouterr().err
    assert said.count("told once") == 1
    assert said.count('"event": "sent"') == 1
