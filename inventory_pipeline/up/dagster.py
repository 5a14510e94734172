"""Dagster's three processes: a code server that both others ask, the webserver, the daemon."""

import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import inventory_pipeline
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.up.ports import HOST
from inventory_pipeline.up.processes import ChildSpec

LOCATION = "hub"
DEFINITIONS = "inventory_pipeline.definitions"
# The operating system's limit for the path of a unix socket, with room for its end.
MAX_SOCKET_PATH = 100
LOADING_S = 180.0
# Stopped first, so that nothing new begins while the rest comes to its end.
STARTS_WORK = 2
LOAD_ANSWER_S = 60.0
LOOK_EVERY_S = 10.0

_WORKSPACE = """load_from:
  - grpc_server:
      socket: {socket}
      location_name: {location}
"""
_LOADED = """
query { workspaceOrError { ... on Workspace { locationEntries {
  name loadStatus locationOrLoadError { __typename ... on PythonError { message } } } } } }
"""
_RELOAD = f"""
mutation {{ reloadRepositoryLocation(repositoryLocationName: "{LOCATION}") {{ __typename }} }}
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
            wave=STARTS_WORK,
        ),
    ]  # fmt: skip


def definitions_loaded(port: int) -> bool:
    """The webserver answers and has the hub's definitions. Raises DefinitionsBroken if they do not
    load.
    """
    state, message = _location(port)
    if state == "PythonError":
        raise DefinitionsBroken(
            f"Dagster cannot load {DEFINITIONS}: {message.strip()}",
            hint="read dagster-code.log; `inventory-pipeline check HUB` looks at the hub.",
        )
    return state == "RepositoryLocation"


def reload_definitions(port: int) -> bool:
    """Has the code server load the hub's definitions again; False where nobody answers yet.

    Runs that are active go on with those that they began with.
    """
    return bool(_ask(port, _RELOAD).get("reloadRepositoryLocation"))


class LocationWatch:
    """Has the definitions loaded again that could not be loaded while Postgres was away.

    Dagster keeps an error of loading until somebody asks for a reload, and runs nothing meanwhile.
    """

    def __init__(self, port: int, *, say: Callable[[str], None]) -> None:
        self._port = port
        self._say = say
        self._looked_at = time.monotonic()
        self._said = ""

    def look(self) -> None:
        """Looks every LOOK_EVERY_S seconds at most; a webserver that is starting is left alone."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        if _location(self._port)[0] != "PythonError":
            return
        _ask(self._port, _RELOAD)
        state, message = _location(self._port)
        if state == "RepositoryLocation":
            self._said = ""
            self._say("Dagster's definitions are loaded again")
            return
        said = f"Dagster's definitions do not load: {_last_line(message)}"
        if said != self._said:
            self._said = said
            self._say(said)


def _location(port: int) -> tuple[str, str]:
    """GraphQL's type of the hub's code location and its error; both empty while it is starting."""
    answer = _ask(port, _LOADED)
    entries = answer.get("workspaceOrError", {}).get("locationEntries", [])
    loaded = (entries[0].get("locationOrLoadError") or {}) if entries else {}
    message = str(loaded.get("message", ""))
    if "UserCodeUnreachable" in message:
        return "", ""  # its process is not there yet, or not there any more
    return str(loaded.get("__typename", "")), message


def _last_line(message: str) -> str:
    lines = message.strip().splitlines()
    return lines[-1] if lines else "no reason is given"


def _ask(port: int, query: str) -> dict[str, Any]:
    """The data of an answer; empty where there is none."""
    import httpx

    try:
        answer = httpx.post(
            f"http://{HOST}:{port}/graphql", json={"query": query}, timeout=LOAD_ANSWER_S
        ).json()
    except (httpx.HTTPError, ValueError):
        return {}
    return dict(answer.get("data") or {})


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
