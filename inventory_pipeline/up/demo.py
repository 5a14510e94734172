"""An example that brings its own shops: its settings, also for commands beside a running `up`."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inventory_pipeline.core.errors import HubError
from inventory_pipeline.up.folders import DEMO_FILE, Folders, folders_of


class Remembered:
    """A few facts in the state folder that the next start wants to know: ports, finished work."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, name: str, default: Any = None) -> Any:
        return self._read().get(name, default)

    def set(self, name: str, value: Any) -> None:
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps(self._read() | {name: value}, indent=1), encoding="utf-8")
        beside.replace(self._path)

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise HubError(
                f"{self._path} is not readable: {error}",
                hint="delete it; ports and the demo start anew.",
            ) from error
        return dict(found)


def remembered(folders: Folders) -> Remembered:
    """What `up` wrote into this state folder."""
    return Remembered(folders.state / "up.json")


def saved_environment(folders: Folders) -> dict[str, str]:
    """The settings of an example's shops as `up` chose them; empty for any other hub.

    Raises HubError for an example that was never started: it has no catalogue and no shops yet.
    """
    if not folders.is_demo:
        return {}
    from inventory_pipeline.simulate.demo import load_demo

    ports = remembered(folders).get("ports")
    demo = load_demo(folders.named)
    if demo is None or ports is None or not folders.hub.exists():
        raise HubError(
            f"{folders.named} is an example that has not been started with this state folder",
            hint=f"start it: inventory-pipeline up {folders.named}",
        )
    return demo.env(ports)


@contextmanager
def checked_folder(named: Path) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """The folder to check and its environment; an example is prepared beside, and left as it is."""
    folders_of(named)  # says so if there is no such folder
    if not (named / DEMO_FILE).exists():
        yield named, os.environ
        return
    from inventory_pipeline.simulate.demo import load_demo

    demo = load_demo(named)
    assert demo is not None, "there is a demo.yaml"
    with tempfile.TemporaryDirectory() as beside:
        demo.prepare(Path(beside) / "hub")
        yield Path(beside) / "hub", {**os.environ, **demo.env(dict.fromkeys(demo.port_names, 1))}
