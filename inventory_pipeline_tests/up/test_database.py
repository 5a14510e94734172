"""The embedded Postgres under `up`: killed, noticed, started again."""

import os
import signal
import time
import warnings

import psycopg
import pytest

from inventory_pipeline.up import database
from inventory_pipeline.up.database import Database


@pytest.fixture
def said():
    return []


def test_an_embedded_server_that_is_killed_is_started_again_with_everything(
    tmp_path, said, monkeypatch
):
    monkeypatch.setattr(database, "LOOK_EVERY_S", 0.1)
    tmp_path.chmod(0o755)
    server = Database(tmp_path / "postgres", given_url="", say=said.append)
    url = server.start()
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept (n integer)")
            connection.execute("INSERT INTO kept VALUES (7)")
        assert not server.is_down()
        pid = int((tmp_path / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.3)
        assert server.is_down()
        end = time.monotonic() + 20
        while server.is_down():
            assert time.monotonic() < end, said
            time.sleep(0.1)
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT n FROM kept").fetchall() == [(7,)]
        assert said[0].endswith("nothing is lost, starting it again")
        assert said[-1] == "Postgres answers again; everything goes on"
    finally:
        server.stop()


def test_a_server_that_was_given_is_only_waited_for(tmp_path, said):
    server = Database(
        tmp_path, given_url="postgresql://hub:s3cret@127.0.0.1:1/hub", say=said.append
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert server.start() == "postgresql://hub:s3cret@127.0.0.1:1/hub"
        assert server.is_down()
        assert server.is_down()
    assert len(said) == 1
    assert "waiting until it is back" in said[0]
    assert "s3cret" not in said[0]
    server.stop()  # not ours: nothing happens
