"""Dagster's three processes: a code server that both others ask, the webserver, the daemon."""

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import inventory_pipeline
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.up.ports import HOST
from inventory_pipeline.up.processes import ChildSpec

LOCATION = "hub"
DEFINITIONS = "inventory_pipeline.definitions"
# The operating system's limit for the path of a unix socket, with room for its end.
MAX_SOCKET_PATH = 100
LOADING_S = 180.0

_WORKSPACE = """load_from:
  - grpc_server:
      socket: {socket}
      location_name: {location}
"""
_LOADED = """
query { workspaceOrError { ... on Workspace { locationEntries {
  name loadStatus locationOrLoadError { __typename ... on PythonError { message } } } } } }
"""


class DefinitionsBroken(HubError):
    """Dagster could not load the hub's definitions."""


def prepare_dagster_home(home: Path) -> Path:
    """Writes dagster.yaml and workspace.yaml into `home`; returns the code server's socket."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_instance_settings(), home / "dagster.yaml")
    socket = _socket(home)
    workspace = _WORKSPACE.format(socket=json.dumps(str(socket)), location=LOCATION)
    (home / "workspace.yaml").write_text(workspace, encoding="utf-8")
    return socket


def dagster_processes(
    home: Path, socket: Path, *, port: int, env: Mapping[str, str]
) -> list[ChildSpec]:
    """The code server, the webserver and the daemon, in the order of their start."""
    python = [sys.executable, "-m"]
    workspace = str(home / "workspace.yaml")
    return [
        ChildSpec(
            name="dagster-code",
            argv=[
                *python, "dagster", "code-server", "start", "--socket", str(socket),
                "--module-name", DEFINITIONS, "--location-name", LOCATION,
                "--use-python-environment-entry-point", "--log-level", "warning",
            ],
            env=env,
            ready=lambda: _listens(socket),
            ready_timeout_s=LOADING_S,
            grace_s=15.0,
            wave=1,
        ),
        ChildSpec(
            name="dagster-webserver",
            argv=[
                *python, "dagster_webserver", "--host", HOST, "--port", str(port),
                "--workspace", workspace, "--dagster-log-level", "warning",
            ],
            env=env,
            ready=lambda: definitions_loaded(port),
            ready_timeout_s=LOADING_S,
            wave=1,
        ),
        ChildSpec(
            name="dagster-daemon",
            argv=[*python, "dagster._daemon", "run", "--workspace", workspace],
            env=env,
            wave=1,
        ),
    ]  # fmt: skip


def definitions_loaded(port: int) -> bool:
    """The webserver answers and has the hub's definitions. Raises DefinitionsBroken if they do not
    load.
    """
    import httpx

    try:
        answer = httpx.post(
            f"http://{HOST}:{port}/graphql", json={"query": _LOADED}, timeout=10.0
        ).json()
    except (httpx.HTTPError, ValueError):
        return False
    entries = answer.get("data", {}).get("workspaceOrError", {}).get("locationEntries", [])
    for entry in entries:
        loaded = entry.get("locationOrLoadError") or {}
        message = loaded.get("message", "")
        # While the code server is still starting there is an error as well; it goes away by itself.
        if loaded.get("__typename") == "PythonError" and "UserCodeUnreachable" not in message:
            raise DefinitionsBroken(
                f"Dagster cannot load {DEFINITIONS}: {message.strip()}",
                hint="read dagster-code.log; `inventory-pipeline check HUB` looks at the hub.",
            )
    return any(
        (entry.get("locationOrLoadError") or {}).get("__typename") == "RepositoryLocation"
        for entry in entries
    )


def _listens(socket: Path) -> bool:
    import grpc  # type: ignore[import-untyped]

    with grpc.insecure_channel(f"unix:{socket}") as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=1.0)
        except grpc.FutureTimeoutError:
            return False
        return True


def _socket(home: Path) -> Path:
    """In `home` if the path is short enough, else in a folder that only this user can enter."""
    direct = home / "code.sock"
    if len(str(direct)) <= MAX_SOCKET_PATH:
        return direct
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"inventory-hub-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != home.stat().st_uid:
        raise HubError(
            f"{folder} belongs to somebody else",
            hint="choose a state folder with a shorter path: --state DIR.",
        )
    return folder / "code.sock"


def _instance_settings() -> Path:
    package = Path(inventory_pipeline.__file__).parent
    for place in (package.parent / "dagster.yaml", package / "defs" / "dagster.yaml"):
        if place.exists():
            return place
    raise HubError(
        f"dagster.yaml is not beside {package}",
        hint="install from a checkout of the repository (`make run` does).",
    )
