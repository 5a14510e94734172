"""Real Postgres for every test: the embedded server, and a Debian Postgres 15 where one is
installed.
"""

import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import psycopg
import pytest
import structlog

from inventory_pipeline.memory.embedded import start_embedded, stop_embedded
from inventory_pipeline.memory.postgres import Postgres, migrate

DEBIAN_POSTGRES = Path("/usr/lib/postgresql/15/bin")
TEMPLATE = "hub_template"
# Every test has a database of its own: made and dropped in memory that is ten times as quick.
MEMORY = Path("/dev/shm")
ROOM = 4 * 2**30
# Where SQL is what is tested, every test runs on both servers; elsewhere each runs on one of them,
# always the same, unless HUB_EVERY_SERVER is set.
ON_EVERY_SERVER = {"memory", "push"}


def _servers() -> list[str]:
    return ["embedded", *(["postgres15"] if DEBIAN_POSTGRES.is_dir() else [])]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("HUB_EVERY_SERVER"):
        return
    here = Path(__file__).parent
    servers = _servers()
    left_out = {
        item
        for item in items
        if (server := _server_of(item)) is not None
        and item.path.relative_to(here).parts[0] not in ON_EVERY_SERVER
        and server != servers[crc32(item.nodeid.replace(server, "").encode()) % len(servers)]
    }
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(autouse=True)
def logs_as_at_the_start() -> Iterator[None]:
    """What a command or a run set up for its process does not outlive its test."""
    loggers = [logging.getLogger(name) for name in ("", "inventory_pipeline", "psycopg.pool")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    structlog.reset_defaults()
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


def _server_of(item: pytest.Item) -> str | None:
    call = getattr(item, "callspec", None)
    return call.params.get("postgres_server") if call else None


@pytest.fixture(scope="session", params=_servers())
def postgres_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a server's maintenance database; it has a migrated template."""
    folder = Path(tempfile.mkdtemp(prefix="hubpg", dir=_quick_folder()))
    folder.chmod(0o755)
    server = _Debian(folder) if request.param == "postgres15" else _Embedded(folder)
    url = server.start()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
        connection.execute("ALTER SYSTEM SET fsync TO off")  # these servers' machine never crashes
        connection.execute("SELECT pg_reload_conf()")
    migrate(database_url(url, TEMPLATE))
    yield url
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


def _quick_folder() -> Path | None:
    """In memory where there is room, else wherever temporary files are."""
    try:
        return MEMORY if shutil.disk_usage(MEMORY).free >= ROOM else None
    except OSError:
        return None


@pytest.fixture
def pg_url(postgres_server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a fresh, migrated database of this test's own."""
    name = f"t{os.getpid()}_{abs(hash(request.node.nodeid)) % 10**9}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
    yield database_url(postgres_server, name)
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def pg(pg_url: str) -> Iterator[Postgres]:
    postgres = Postgres(pg_url)
    yield postgres
    postgres.close()


def database_url(url: str, database: str) -> str:
    """The same server, another database."""
    head, _, query = url.partition("?")
    return f"{head.rsplit('/', 1)[0]}/{database}" + (f"?{query}" if query else "")


class _Embedded:
    def __init__(self, folder: Path) -> None:
        self.data = folder / "pg"

    def start(self) -> str:
        return start_embedded(self.data)

    def stop(self) -> None:
        stop_embedded(self.data)


class _Debian:
    """An installed Postgres 15; it refuses to run as root, so it runs as Debian's own user then."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.as_user: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
            # Not everybody's path has the administrator's programs.
            runuser = shutil.which("runuser", path=f"{os.defpath}:/usr/sbin:/sbin")
            assert runuser is not None, "runuser belongs to every Debian (util-linux)"
            self.as_user = [runuser, "-u", "postgres", "--"]

    def start(self) -> str:
        data = str(self.folder / "data")
        self._run("initdb", "-D", data, "-A", "trust", "-U", "postgres")
        options = f"-k {self.folder} -h ''"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", data, "-w", "-l", log, "-o", options, "start")
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*self.as_user, str(DEBIAN_POSTGRES / program), *arguments],
            check=True,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
