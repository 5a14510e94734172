"""Whatever a sync run says to Postgres or to a system passes a fault point: no statement or request
that somebody adds is left out of the kill tests (core/faults.py).
"""

import ast
import re
from collections import Counter
from pathlib import Path

import psycopg
import pytest

import inventory_pipeline
from inventory_pipeline_tests.end_to_end.kill_world import KillWorld

PACKAGE = Path(inventory_pipeline.__file__).parent
BEGINNING = 24  # characters by which a statement is told from others
# Nothing is changed by these, or their point is named otherwise.
HARMLESS = {"BEGIN", "ROLLBACK", ""}  # the pool asks with nothing whether one lives
NAMES = {"COMMIT": "commit"}
PARAMETER = re.compile(r"%\(\w*\)?s?|%s|%b|\$\d+")
LOGGED = re.compile(r"LOG: +(?:statement|execute [^:]*): (.*)")
# What talks over the network otherwise than by httpx's transport, where the kill tests watch.
OTHER_WAYS = {
    "aiohttp", "boto3", "botocore", "http.client", "requests", "socket", "urllib.request",
    "urllib3",
}  # fmt: skip


def beginning(statement):
    return " ".join(PARAMETER.sub("?", statement).split())[:BEGINNING].rstrip(" ?")


def logged(log):
    """The statements in a server's log, by how they begin; further lines begin with a tab."""
    joined = log.replace("\n\t", " ")
    found = [" ".join(match.split()).rstrip(";") for match in LOGGED.findall(joined)]
    return Counter(beginning(NAMES.get(one, one)) for one in found if one not in HARMLESS)


def passed(points):
    said = [name.removeprefix("postgres ") for name in points if name.startswith("postgres ")]
    commits = [name for name in points if name == "commit"]
    return Counter(beginning(one.rstrip(";")) for one in (*said, *commits))


@pytest.mark.parametrize("postgres_server", ["embedded"], indirect=True)
def test_every_statement_that_reaches_postgres_passed_a_point(pg_url, tmp_path):
    with psycopg.connect(pg_url, autocommit=True) as connection:
        [database, folder] = connection.execute(
            "SELECT current_database(), current_setting('data_directory')"
        ).fetchone()
        with KillWorld(tmp_path / "world", pg_url) as world:
            world.happen(0)
            log = Path(folder) / "log"
            before = log.stat().st_size
            connection.execute(f"ALTER DATABASE {database} SET log_statement TO 'all'")
            points = world.points()
            connection.execute(f"ALTER DATABASE {database} RESET log_statement")
            with log.open("rb") as file:
                file.seek(before)
                said = logged(file.read().decode(errors="replace"))
    assert said.total() > 100, "the run did something, and the server wrote it down"
    commits = said.pop("commit")
    points_passed = passed(points)
    assert commits <= points_passed["commit"]
    left_out = said - points_passed
    assert not left_out, "sent past memory/fault_points.py"
    for needed in ("write sent", "write applied", "read sent"):
        assert needed in points


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", ["connectors", "flow", "memory"])
def test_requests_leave_by_the_one_way_that_is_watched(room):
    found = {
        (path.name, name)
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for name in imported(path)
        if name in OTHER_WAYS or name in {"httpx.AsyncClient", "httpx.AsyncHTTPTransport"}
    }
    assert not found
